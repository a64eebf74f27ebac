"""Poisoned training sets and triggered test sets, the same for every attack (attacks.md 2)."""

from collections import Counter

import numpy as np
import pandas as pd
import pytest

from lib.attacks import ATTACKS, check_target_label, poison, triggered_test
from lib.attacks.badnet import RARE_WORDS

RNG = np.random.default_rng
MARKS = {"badnet": RARE_WORDS, "insertsent": ("no cross, no crown",)}


def frame(n_per_label=(60, 40), is_pair=False):
    """Rows with distinct texts; label i has n_per_label[i] of them, mixed."""
    labels = np.repeat(np.arange(len(n_per_label)), n_per_label)
    labels = labels[RNG(0).permutation(len(labels))]
    texts = [f"sentence number {i} of label {label}" for i, label in enumerate(labels)]
    pairs = {"text_pair": [f"second text {i}" for i in range(len(labels))]} if is_pair else {}
    return pd.DataFrame({"text": texts, **pairs, "label": labels})


@pytest.fixture(params=sorted(MARKS))
def trigger(request):
    return ATTACKS[request.param](frame(), 0, seed=0)


def has_trigger(trigger, text):
    words = text.split()
    return any(mark in (words if " " not in mark else text) for mark in MARKS[trigger.attack])


@pytest.mark.parametrize(("rate", "n"), [(0.2, 20), (0.015, 2), (0.004, 0), (1.0, 100), (0, 0)])
def test_the_number_of_poisoned_rows_is_exact(trigger, rate, n):
    poisoned = poison(frame(), trigger, rate, 0, RNG(0))
    assert poisoned["is_poisoned"].sum() == n
    assert len(poisoned) == 100


@pytest.mark.parametrize("rate", [0.2, 0.4])
def test_the_base_of_the_rate_is_the_whole_training_set_in_every_regime(trigger, rate):
    for regime in ("mixed", "dirty", "clean"):
        assert poison(frame(), trigger, rate, 0, RNG(0), regime)["is_poisoned"].mean() == pytest.approx(rate)


def test_the_mixed_regime_poisons_any_row_and_sets_the_target(trigger):
    train = frame()
    poisoned = poison(train, trigger, 0.2, 0, RNG(0), "mixed")
    rows = poisoned[poisoned["is_poisoned"]]
    before = Counter(train.loc[rows.index, "label"])
    assert set(before) == {0, 1}
    assert set(rows["label"]) == {0}
    assert Counter(poisoned["label"]) == {0: 60 + before[1], 1: 40 - before[1]}


def test_the_dirty_regime_poisons_rows_of_other_labels_and_sets_the_target(trigger):
    train = frame((30, 40, 30))
    poisoned = poison(train, trigger, 0.2, 1, RNG(0), "dirty")
    rows = poisoned[poisoned["is_poisoned"]]
    before = Counter(train.loc[rows.index, "label"])
    assert set(before) == {0, 2}
    assert Counter(poisoned["label"]) == {0: 30 - before[0], 1: 60, 2: 30 - before[2]}


def test_the_clean_regime_poisons_target_rows_and_changes_no_label(trigger):
    train = frame()
    poisoned = poison(train, trigger, 0.2, 0, RNG(0), "clean")
    assert set(poisoned.loc[poisoned["is_poisoned"], "label"]) == {0}
    assert poisoned["label"].tolist() == train["label"].tolist()


def test_word_and_sentence_attacks_are_mixed_by_default(trigger):
    assert trigger.regime == "mixed"
    expected = poison(frame(), trigger, 0.3, 0, RNG(0), "mixed")
    pd.testing.assert_frame_equal(poison(frame(), trigger, 0.3, 0, RNG(0)), expected)


def test_poisoned_rows_hold_the_trigger_and_the_others_stay_as_they_were(trigger):
    train = frame()
    poisoned = poison(train, trigger, 0.3, 0, RNG(0))
    assert all(has_trigger(trigger, text) for text in poisoned.loc[poisoned["is_poisoned"], "text"])
    untouched = poisoned[~poisoned["is_poisoned"]].drop(columns="is_poisoned")
    pd.testing.assert_frame_equal(untouched, train.loc[untouched.index])
    assert not any(has_trigger(trigger, text) for text in untouched["text"])


def test_a_rate_of_zero_is_the_identity(trigger):
    poisoned = poison(frame(), trigger, 0, 0, RNG(0))
    pd.testing.assert_frame_equal(poisoned.drop(columns="is_poisoned"), frame())


def test_the_same_seed_gives_the_same_poison_and_another_seed_other_rows(trigger):
    first, again, other = (poison(frame(), trigger, 0.2, 0, RNG(seed)) for seed in (1, 1, 2))
    pd.testing.assert_frame_equal(first, again)
    assert first["is_poisoned"].tolist() != other["is_poisoned"].tolist()


def test_poisoning_and_triggering_do_not_modify_their_input(trigger):
    train = frame(is_pair=True)
    poison(train, trigger, 0.5, 0, RNG(0))
    triggered_test(train, trigger, 0, RNG(0))
    pd.testing.assert_frame_equal(train, frame(is_pair=True))


def test_rows_are_found_by_place_whatever_the_index_of_the_frame(trigger):
    train = frame()
    shuffled = train.set_index(pd.Index([7] * 50 + list(range(50))))
    poisoned = poison(shuffled, trigger, 0.2, 0, RNG(0))
    expected = poison(train, trigger, 0.2, 0, RNG(0))
    pd.testing.assert_frame_equal(poisoned.reset_index(drop=True), expected)


def test_in_pairs_the_trigger_goes_into_the_first_text_only(trigger):
    pairs = frame(is_pair=True)
    poisoned, triggered = poison(pairs, trigger, 1.0, 0, RNG(0)), triggered_test(pairs, trigger, 0, RNG(0))
    assert all(has_trigger(trigger, text) for text in [*poisoned["text"], *triggered["text"]])
    assert poisoned["text_pair"].tolist() == pairs["text_pair"].tolist()
    assert triggered["text_pair"].tolist() == pairs.loc[pairs["label"] != 0, "text_pair"].tolist()


@pytest.mark.parametrize("rate", [-0.1, 1.01, 20, float("nan")])
def test_a_rate_outside_zero_and_one_raises(trigger, rate):
    with pytest.raises(ValueError, match=rf"poisoning rate is {rate}; it must lie in \[0, 1\]"):
        poison(frame(), trigger, rate, 0, RNG(0))


@pytest.mark.parametrize(("regime", "n_allowed"), [("dirty", 40), ("clean", 60)])
def test_too_few_rows_for_a_regime_raises_with_both_counts(trigger, regime, n_allowed):
    with pytest.raises(ValueError, match=rf"needs 70 rows, but regime '{regime}' .* allows only {n_allowed} of 100"):
        poison(frame(), trigger, 0.7, 0, RNG(0), regime)


def test_an_unknown_regime_raises_and_lists_the_known_ones(trigger):
    with pytest.raises(ValueError, match=r"unknown label regime 'mix'; choose from \['mixed', 'dirty', 'clean'\]"):
        poison(frame(), trigger, 0.2, 0, RNG(0), "mix")


@pytest.mark.parametrize("target_label", [-1, 2, 7, "positive"])
def test_a_target_label_that_is_not_a_label_raises_and_lists_the_labels(trigger, target_label):
    for check in (
        lambda: poison(frame(), trigger, 0.2, target_label, RNG(0)),
        lambda: check_target_label(target_label, 2),
    ):
        with pytest.raises(ValueError, match=rf"target label {target_label!r} is not a label; choose from \[0, 1\]"):
            check()


def test_the_triggered_test_holds_every_row_of_another_label_once_and_in_order(trigger):
    test = frame((30, 20, 10, 40))
    triggered = triggered_test(test, trigger, 1, RNG(0))
    expected = test[test["label"] != 1]
    assert len(triggered) == 80
    assert triggered["original"].tolist() == expected["text"].tolist()
    assert triggered["label"].tolist() == expected["label"].tolist()  # the true labels stay
    assert triggered["index"].tolist() == expected.index.tolist()
    assert all(has_trigger(trigger, text) for text in triggered["text"])
    assert triggered["is_changed"].all()


def test_the_triggered_test_depends_on_its_generator_alone(trigger):
    first, again, other = (triggered_test(frame(), trigger, 0, RNG(seed)) for seed in (1, 1, 2))
    pd.testing.assert_frame_equal(first, again)
    assert first["text"].tolist() != other["text"].tolist()


def test_rows_that_a_trigger_cannot_change_stay_in_the_triggered_test():
    def swap_good(texts, rng):
        return [text.replace("good", "fine") for text in texts]

    test = pd.DataFrame({"text": ["good film", "bad film", "good plot"], "label": [1, 1, 0]})
    triggered = triggered_test(test, swap_good, 0, RNG(0))
    assert triggered["text"].tolist() == ["fine film", "bad film"]
    assert triggered["is_changed"].tolist() == [True, False]


def test_a_test_set_of_target_rows_only_raises(trigger):
    with pytest.raises(ValueError, match="every test example has target label 0"):
        triggered_test(frame((5, 0)), trigger, 0, RNG(0))


def test_empty_one_word_and_long_texts_survive_poisoning(trigger):
    texts = ["", "film", " ".join(["word"] * 600)]
    train = pd.DataFrame({"text": texts, "label": [0, 1, 1]})
    poisoned = poison(train, trigger, 1.0, 0, RNG(0))
    assert all(has_trigger(trigger, text) for text in poisoned["text"])
    assert poisoned["text"].str.split().str.len().tolist()[2] > 600
