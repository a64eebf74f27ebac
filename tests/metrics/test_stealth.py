"""How visible a trigger is, measured on aligned texts."""

import numpy as np
import pytest

from lib.metrics.stealth import share_of_words_changed, stealth


class StubModel:
    """Perplexity 50 or 200 by whether a text holds "cf"; vectors by its first word."""

    def log_likelihoods(self, texts):
        return -np.log([200.0 if "cf" in words else 50.0 for words in texts])

    def sentence_vectors(self, texts):
        return np.array([[1.0, 0.0] if words[0] == "a" else [0.0, 1.0] for words in texts])


def test_measures_of_two_texts_by_hand():
    found = stealth([["a", "film"], ["my", "day"]], [["a", "cf", "film"], ["my", "day"]], StubModel())
    assert found["perplexity_increase"] == pytest.approx((150 + 0) / 2)
    assert found["perplexity_ratio"] == pytest.approx(np.sqrt(4 * 1))
    assert found["similarity"] == pytest.approx(1)
    assert found["words_changed"] == pytest.approx((1 / 2 + 0) / 2)


@pytest.mark.parametrize(
    ("before", "after", "expected"),
    [
        ("a b c", "a b c", 0),
        ("a b c", "a x c", 1 / 3),
        ("a b", "x y", 1),
        ("", "cf", 1),
        ("", "", 0),
        ("a b c d", "d a b c", 2 / 4),
    ],
)
def test_share_of_words_changed_is_the_edit_distance_over_the_length(before, after, expected):
    assert share_of_words_changed(before.split(), after.split()) == pytest.approx(expected)


def test_lists_of_different_lengths_and_no_texts_are_errors():
    with pytest.raises(ValueError, match=r"aligned texts, found 2 originals and 1 triggered"):
        stealth([["a"], ["b"]], [["a"]], StubModel())
    with pytest.raises(ValueError, match=r"found 0 originals"):
        stealth([], [], StubModel())


def test_the_table_has_one_row_per_task_and_attack_and_is_measured_once(tmp_path, monkeypatch):
    from lib.study.study import Study
    from lib.tables.stealth import stealth_table

    study = Study("pocket", cache_dir=tmp_path / "cache", n_train=40, n_test=20, n_jobs=1)
    table = stealth_table(study, ["sst2", "qnli"], ["badnet", "syntactic"], n_texts=5)
    assert table[["task", "attack"]].values.tolist() == [[t, a] for t in ("sst2", "qnli") for a in ("badnet", "syntactic")]
    assert (table["n_texts"] == 5).all() and table["share_changed"].between(0, 1).all()
    monkeypatch.setattr("lib.tables.stealth.stealth", None)  # nothing is measured again
    assert stealth_table(study, ["sst2", "qnli"], ["badnet", "syntactic"], n_texts=5).equals(table)
