"""Z-Def and label purity: scores by hand, which rows go, what does not matter, and both as the study calls them."""

import numpy as np
import pandas as pd
import pytest

from lib.defenses import DEFENSES
from lib.defenses.z_def import label_purity, pure_pairs, scored_pairs, suspicious_pairs, suspicious_rows, z_def


def rows(*groups):
    """A frame of `(text, label, n)` groups."""
    return pd.DataFrame([(text, label) for text, label, n in groups for _ in range(n)], columns=["text", "label"])


def z_of(frame, word, label):
    pairs = scored_pairs(frame)
    [score] = pairs.loc[(pairs["word"] == word) & (pairs["label"] == label), "z"]
    return score


@pytest.fixture
def planted():
    """400 rows whose words tell nothing, and 100 rows of label 1 with a word of their own."""
    rng = np.random.default_rng(0)
    words = [f"w{i}" for i in range(30)]
    texts = [" ".join(rng.choice(words, 8, replace=False)) for _ in range(500)]
    labels = np.tile([0, 1], 250)
    labels[:100] = 1
    return pd.DataFrame({"text": [f"cf {text}" if i < 100 else text for i, text in enumerate(texts)], "label": labels})


def test_the_scores_are_those_computed_by_hand():
    # 100 rows with the word, all of label 1, which has 60 % of all rows: .4 / sqrt(.24 / 100).
    assert z_of(rows(("cf", 1, 100), ("a", 1, 20), ("a", 0, 80)), "cf", 1) == pytest.approx(8.165, abs=5e-4)
    assert z_of(rows(("cf", 1, 100), ("a", 0, 100)), "cf", 1) == pytest.approx(10.0)
    # A word as frequent as its label is no news; with 1 / K instead of the label's share it would have 8.94.
    assert z_of(rows(("the", 1, 1200), ("the", 0, 800)), "the", 1) == pytest.approx(0.0, abs=1e-9)


def test_with_two_labels_the_scores_of_a_word_are_opposite(planted):
    pairs = scored_pairs(planted).pivot(index="word", columns="label", values="z").dropna()
    assert len(pairs) == 30
    np.testing.assert_allclose(pairs[0], -pairs[1], atol=1e-9)


def test_the_planted_word_comes_first_and_exactly_its_rows_go(planted):
    found = suspicious_pairs(planted, n_deviations=4.0)
    assert (found["word"].iloc[0], found["label"].iloc[0], found["n_word"].iloc[0], found["n_pair"].iloc[0]) == (
        "cf",
        1,
        100,
        100,
    )
    assert len(found) == 1
    assert np.flatnonzero(~z_def(planted, n_deviations=4.0)).tolist() == list(range(100))
    assert np.flatnonzero(~z_def(planted, z_threshold=6.0)).tolist() == list(range(100))


def test_at_the_published_cut_off_nothing_of_a_small_set_is_found(planted):
    assert len(suspicious_pairs(planted)) == 0 and z_def(planted).all()


def test_both_sides_of_the_cut_off_count_and_only_rows_with_the_label_go():
    # "cf" is rare in label 0 and its one row of label 0 is suspicious, too: z(cf, 0) = -z(cf, 1).
    frame = rows(("cf", 1, 99), ("cf", 0, 1), ("a", 0, 100), ("a", 1, 100))
    found = suspicious_pairs(frame, z_threshold=5.0)
    assert set(zip(found["word"], found["label"], strict=True)) == {("cf", 1), ("cf", 0)}
    only_one = found[found["label"] == 1]
    assert suspicious_rows(frame, only_one).sum() == 99


def test_the_order_of_rows_and_repeated_words_change_nothing(planted):
    order = np.random.default_rng(1).permutation(len(planted))
    kept = z_def(planted, z_threshold=6.0)
    assert (z_def(planted.iloc[order].reset_index(drop=True), z_threshold=6.0) == kept[order]).all()
    assert (z_def(planted.iloc[order], z_threshold=6.0) == kept[order]).all()  # whatever the index says
    repeated = planted.assign(text=planted["text"] + " " + planted["text"])
    pd.testing.assert_frame_equal(scored_pairs(repeated), scored_pairs(planted))


def test_the_words_of_both_sides_of_a_pair_count(planted):
    pair = planted.assign(text="the", text_pair=planted["text"])
    assert (z_def(pair, z_threshold=6.0) == z_def(planted, z_threshold=6.0)).all()


def test_a_text_without_words_is_kept(planted):
    frame = pd.concat([planted, pd.DataFrame({"text": ["", "  "], "label": [1, 0]})], ignore_index=True)
    assert z_def(frame, z_threshold=6.0)[-2:].all() and label_purity(frame)[-2:].all()


def test_purity_needs_a_share_that_is_sure_and_enough_rows():
    # 73 of 73: the lower end of the Wilson interval is 1 / (1 + 1.96^2 / 73) = .950; 72 of 72 has .949.
    frame = rows(("cf", 1, 73), ("mn", 1, 72), ("bb", 1, 200), ("bb", 0, 10), ("a", 0, 400))
    assert pure_pairs(frame)[["word", "label", "n_word"]].to_numpy().tolist() == [["a", 0, 400], ["cf", 1, 73]]
    assert set(pure_pairs(frame, min_purity=0.9)["word"]) == {"a", "bb", "cf", "mn"}
    assert set(pure_pairs(frame, min_rows=74)["word"]) == {"a"}
    assert (label_purity(frame) == ~frame["text"].isin(["a", "cf"])).all()


def test_purity_finds_the_planted_rows(planted):
    assert np.flatnonzero(~label_purity(planted)).tolist() == list(range(100))


@pytest.mark.parametrize(
    ("call", "message"),
    [
        (lambda frame: z_def(frame, n_deviations=0), "n_deviations is 0"),
        (lambda frame: z_def(frame, z_threshold=-1.0), r"z_threshold -1.0; both must be above 0"),
        (lambda frame: label_purity(frame, min_purity=1.0), r"min_purity is 1.0 .* must lie in \(0, 1\)"),
        (lambda frame: label_purity(frame, min_rows=0), "min_rows 0; .* be 1 or more"),
        (lambda frame: z_def(frame[frame["label"] == 1]), r"have labels \[1\]; at least two are needed"),
    ],
)
def test_bad_settings_are_errors(planted, call, message):
    with pytest.raises(ValueError, match=message):
        call(planted)


@pytest.fixture(scope="module")
def one_word(study):
    """A model whose trigger is one word."""
    return study.model("sst2", attack="badnet", attack_settings={"words": ("cf",)})


@pytest.mark.parametrize(
    ("name", "settings"), [("z_def", {"z_threshold": 3.0}), ("label_purity", {"min_rows": 12, "min_purity": 0.75})]
)
def test_the_study_trains_on_what_is_left_and_no_mark_is_seen(study, one_word, watch, assert_no_peeking, name, settings):
    function, calls = DEFENSES[name].function, watch(name)
    model = study.defend(name, one_word, **settings)
    train = study.poisoned_train("sst2", "badnet", attack_settings={"words": ("cf",)})
    is_kept = function(train, **settings)
    assert_no_peeking(calls, [80])
    assert model.record["n_train"] == is_kept.sum() < 80
    assert not is_kept[train["is_poisoned"]].any()
    if name == "label_purity":  # the z-scores of telling adjectives are as high in so small a set
        assert is_kept[~train["is_poisoned"]].all()
    assert study.score(model, "sst2").asr < study.score(one_word, "sst2").asr
