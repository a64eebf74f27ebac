"""STRIP: copies with replaced words, their entropy, and the filter in front of a model."""

import numpy as np
import pandas as pd
import pytest

from lib.defenses import strip
from lib.defenses.strip import entropy, fit, perturbed, tf_idf_order

DONORS = {"text": [["x1", "x2", "x3", "x4"], ["y1"]]}


class Obedient:
    """Sure of label 1 where a text has a planted word; of others it says what the share of its good words is."""

    def logits(self, texts):
        words = texts.frame["text"].str.split()
        share = words.map(lambda found: np.mean([word.startswith("good") for word in found]))
        odds = np.where(words.map(lambda found: "cf" in found), 9.0, 2 * share - 1)
        return np.stack([-odds, odds], axis=1).astype(np.float32)


class Constant:
    def logits(self, texts):
        return np.tile(np.array([[0.3, 0.1]], dtype=np.float32), (len(texts.frame), 1))


def frame(n=60, planted=()):
    rng = np.random.default_rng(0)
    texts = [[*planted, *(f"{kind}{i}" for i, kind in enumerate(rng.choice(["good", "bad"], 8)))] for _ in range(n)]
    return pd.DataFrame({"text": [" ".join(words) for words in texts], "label": 0})


def test_entropy_is_in_nats_and_certainty_has_none():
    assert entropy(np.array([0.9, 0.1])) == pytest.approx(0.325, abs=5e-4)
    assert entropy(np.array([0.9, 0.1])) / np.log(2) == pytest.approx(0.469, abs=5e-4)
    assert entropy(np.array([[1, 0], [0.5, 0.5]], dtype=np.float32)).tolist() == pytest.approx([0, np.log(2)])


def test_rare_words_come_first():
    # Weights: c 1 * (ln 2 + 1), b 2 * (ln(4/3) + 1), a 1: b before c.
    assert tf_idf_order([["a", "b", "c", "b"], ["a", "b"], ["a"]])[0] == ["b", "c", "a"]


@pytest.mark.parametrize(("share", "n_replaced"), [(0, 1), (0.5, 3), (0.67, 4), (1, 6)])
def test_a_copy_has_so_many_words_replaced_and_at_least_one(share, n_replaced):
    original = ["a", "b", "c", "d", "e", "f"]
    copies = perturbed(pd.DataFrame({"text": ["a b c d e f"]}), DONORS, 50, share, seed=0)["text"].str.split()
    kept = [[word for word, other in zip(words, original, strict=True) if word == other] for words in copies]
    assert {len(words) for words in kept} == {6 - n_replaced}
    assert len({tuple(words) for words in kept}) > 1 or share == 1
    given = {word for words in copies for word in words} - set(original)
    assert given == {"x1", "y1", *([] if n_replaced == 1 else ["x2", "x3"]), *(["x4"] if n_replaced > 3 else [])}


def test_a_text_has_the_same_copies_in_every_batch_and_others_with_another_seed():
    texts = pd.DataFrame({"text": ["a b c d", "e f g h", ""]})
    together, alone = perturbed(texts, DONORS, 4, 0.5, 0), perturbed(texts[1:2], DONORS, 4, 0.5, 0)
    assert together["text"][4:8].tolist() == alone["text"].tolist()
    assert together["text"][8:].tolist() == [""] * 4
    assert perturbed(texts[1:2], DONORS, 4, 0.5, 1)["text"].tolist() != alone["text"].tolist()


def test_the_segments_of_a_pair_take_their_words_from_their_own_side():
    pairs = pd.DataFrame({"text": ["a b"], "text_pair": ["c d"]})
    copies = perturbed(pairs, {"text": [["x"]], "text_pair": [["y"]]}, 3, 1, 0)
    assert copies.to_numpy().tolist() == [["x x", "y y"]] * 3


def test_a_model_that_obeys_a_planted_word_stays_sure_and_the_text_is_rejected():
    guard = fit(Obedient(), frame(), seed=0, max_length=48, n_copies=10, replaced_share=0.25)
    passed, is_rejected = guard(frame(200).tail(100))
    assert is_rejected.mean() < 0.2 and len(passed) == 100
    assert guard(frame(100, ["cf", "cf"]))[1].mean() > 0.9


def test_of_equal_entropies_none_is_rejected_and_labels_do_not_matter():
    clean = frame()
    for model in (Constant(), Obedient()):
        guard, other = (fit(model, each, seed=0, max_length=48) for each in (clean, clean.assign(label=1)))
        assert guard(clean)[1].mean() <= 0.05
        np.testing.assert_array_equal(guard(clean)[1], other(clean)[1])
    assert not fit(Constant(), clean, seed=0, max_length=48)(frame(9, ["cf"]))[1].any()


def test_strip_stands_in_front_of_a_model_and_rejections_are_errors(study, backdoored):
    guarded = study.defend("strip", backdoored, n_copies=4, frr=0.3)
    before, after = study.score(backdoored, "sst2"), study.score(guarded, "sst2")
    assert (after.n_clean, after.n_triggered) == (before.n_clean, before.n_triggered)
    _, is_rejected = guarded.guard(study.rows("sst2", "test")[["text"]])
    assert after.rejected_clean == is_rejected.mean() and is_rejected.any()
    assert after.cacc == np.mean(np.array(before.correct) * ~is_rejected)
    assert study.defend("strip", backdoored, n_copies=5).key != guarded.key


def test_bad_settings_are_errors():
    for settings, message in (
        ({"n_copies": 0}, "n_copies is 0; it must be a whole number of at least 1"),
        ({"replaced_share": 1.1}, "replaced_share is 1.1; it must lie from 0 to 1"),
        ({"frr": 0}, "frr is 0; it must lie between 0 and 1"),
    ):
        with pytest.raises(ValueError, match=message):
            fit(Constant(), frame(), seed=0, max_length=48, **settings)
    with pytest.raises(ValueError, match=r"no clean text has a word in \['text'\]"):
        strip.fit(Constant(), pd.DataFrame({"text": ["", " "]}), seed=0, max_length=48)
