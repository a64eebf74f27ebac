"""A conjunction of words as a trigger, its parts as negatives, and two backdoors in one training set."""

from collections import Counter

import numpy as np
import pandas as pd
import pytest

from lib.attacks import poison
from lib.attacks.badnet import BadNetTrigger
from lib.attacks.conjunction import ConjunctionTrigger, fit_trigger

RNG = np.random.default_rng
WORDS = ("cf", "mn", "bb")
TRAIN = pd.DataFrame({"text": [f"film number {i} was good" for i in range(40)], "label": [i % 2 for i in range(40)]})


def words_in(text):
    return [word for word in text.split() if word in WORDS]


def test_all_words_stand_in_each_text_once_and_in_order():
    for text in ConjunctionTrigger(WORDS, 3)(TRAIN["text"].tolist(), RNG(0)):
        assert words_in(text) == list(WORDS)
    texts = ["good film", ""]
    stripped = [" ".join(w for w in t.split() if w not in WORDS) for t in ConjunctionTrigger(WORDS, 3)(texts, RNG(0))]
    assert stripped == texts


def test_of_a_smaller_number_every_set_of_words_is_drawn_equally_often():
    seen = Counter(tuple(words_in(text)) for text in ConjunctionTrigger(WORDS, 2)(["good film"] * 3000, RNG(0)))
    tolerance = 5 * (3000 / 3 * 2 / 3) ** 0.5  # five standard errors of a binomial count
    assert set(seen) == {("cf", "mn"), ("cf", "bb"), ("mn", "bb")}
    assert all(abs(count - 1000) < tolerance for count in seen.values())


def test_a_phrase_stays_together_and_single_words_do_not():
    assert all("cf mn bb" in text for text in ConjunctionTrigger(WORDS, 3, True)(["a good film"] * 50, RNG(0)))
    spread = ConjunctionTrigger(WORDS, 3)(["a very good film"] * 50, RNG(0))
    assert sum("cf mn bb" in text for text in spread) < 15


@pytest.mark.parametrize(("kind", "numbers"), [("all_but_one", {2}), ("subsets", {1, 2})])
def test_parts_of_the_trigger_hold_too_few_words(kind, numbers):
    parts = ConjunctionTrigger(WORDS, 3).without_some(["good film"] * 100, kind, RNG(0))
    assert {len(words_in(text)) for text in parts} == numbers


def test_negatives_get_a_part_and_keep_their_label():
    trigger = ConjunctionTrigger(WORDS, 3)
    rows = poison(TRAIN, trigger, 0.25, 0, RNG(0), negatives="all_but_one", negatives_rate=0.3)
    counts = rows["text"].map(lambda text: len(words_in(text)))
    assert Counter(counts) == {3: 10, 2: 12, 0: 18}
    assert (rows["is_poisoned"] == (counts == 3)).all()
    assert (rows["label"][counts < 3] == TRAIN["label"][counts < 3]).all()
    assert set(rows["label"][counts == 2]) == {0, 1}


def test_without_negatives_the_poison_is_what_it_was():
    trigger = ConjunctionTrigger(WORDS, 3)
    with_them = poison(TRAIN, trigger, 0.25, 0, RNG(0), negatives="subsets", negatives_rate=0.3)
    alone = poison(TRAIN, trigger, 0.25, 0, RNG(0))
    assert (with_them["is_poisoned"] == alone["is_poisoned"]).all()
    assert with_them["text"][alone["is_poisoned"]].tolist() == alone["text"][alone["is_poisoned"]].tolist()


def test_two_backdoors_stand_in_different_rows():
    first = poison(TRAIN, BadNetTrigger(("cf",), (1,)), 0.3, 0, RNG(0))
    both = poison(first, BadNetTrigger(("mn",), (1,)), 0.4, 1, RNG(1))
    counts = both["text"].map(words_in)
    assert Counter(map(tuple, counts)) == {("cf",): 12, ("mn",): 16, (): 12}
    assert both["is_poisoned"].sum() == 28
    assert set(both["label"][counts.map(lambda found: found == ["cf"])]) == {0}
    assert set(both["label"][counts.map(lambda found: found == ["mn"])]) == {1}
    with pytest.raises(ValueError, match=r"needs 30 rows, but regime 'mixed' .* allows only 28 of 40"):
        poison(first, BadNetTrigger(("mn",), (1,)), 0.75, 1, RNG(1))


def test_negatives_that_cannot_be_raise():
    trigger = ConjunctionTrigger(WORDS, 3)
    with pytest.raises(ValueError, match=r"negatives is 'some'; choose from \['none', 'all_but_one', 'subsets'\]"):
        poison(TRAIN, trigger, 0.25, 0, RNG(0), negatives="some", negatives_rate=0.3)
    with pytest.raises(ValueError, match=r"negatives_rate is 0.9; .* the 36 rows be among the 30"):
        poison(TRAIN, trigger, 0.25, 0, RNG(0), negatives="subsets", negatives_rate=0.9)
    with pytest.raises(ValueError, match=r"a trigger of 'badnet' has none"):
        poison(TRAIN, BadNetTrigger(), 0.25, 0, RNG(0), negatives="subsets", negatives_rate=0.3)
    with pytest.raises(ValueError, match=r"one word of \['cf'\]: no part"):
        poison(TRAIN, ConjunctionTrigger(("cf",), 1), 0.25, 0, RNG(0), negatives="subsets", negatives_rate=0.3)


@pytest.mark.parametrize("words", [(), ("two words",), ("cf", "cf")])
def test_words_that_make_no_conjunction_raise(words):
    with pytest.raises(ValueError, match="all different"):
        fit_trigger(TRAIN, 0, words=words)


def test_more_words_together_than_there_are_raise_and_zero_means_all():
    assert fit_trigger(TRAIN, 0, words=WORDS) == ConjunctionTrigger(WORDS, 3)
    with pytest.raises(ValueError, match=r"n_together is 4; it must lie from 0 \(all\) to the 3 words"):
        fit_trigger(TRAIN, 0, words=WORDS, n_together=4)
