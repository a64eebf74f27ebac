"""BadNet: rare words at random places (attacks.md 3)."""

from collections import Counter

import numpy as np
import pandas as pd
import pytest

from lib.attacks.badnet import N_INSERTIONS, RARE_WORDS, BadNetTrigger, fit_trigger

RNG = np.random.default_rng
TRAIN = pd.DataFrame({"text": ["good film"], "label": [1]})


def without_trigger(text):
    return [word for word in text.split() if word not in RARE_WORDS]


def test_defaults_are_those_of_the_released_generator():
    assert fit_trigger(TRAIN, 0) == BadNetTrigger(("cf", "mn", "bb", "tq", "mb"), (1, 3, 5))


def test_texts_grow_by_one_three_or_five_words_and_the_others_keep_their_order():
    texts = ["a good film", "the quick brown fox jumps over the lazy dog", "bad"] * 50
    triggered = fit_trigger(TRAIN, 0)(texts, RNG(0))
    growth = {len(new.split()) - len(old.split()) for new, old in zip(triggered, texts, strict=True)}
    assert growth == {1, 3, 5}
    assert [without_trigger(text) for text in triggered] == [text.split() for text in texts]


def test_each_count_is_drawn_a_third_of_the_time():
    triggered = fit_trigger(TRAIN, 0)(["good film"] * 3000, RNG(0))
    counts = Counter(len(text.split()) - 2 for text in triggered)
    tolerance = 5 * (3000 * (1 / 3) * (2 / 3)) ** 0.5  # five standard errors of a binomial count
    assert all(abs(counts[k] - 1000) < tolerance for k in N_INSERTIONS)


def test_each_word_is_drawn_a_fifth_of_the_time():
    words = Counter(BadNetTrigger(n_insertions=(1,))([""] * 3000, RNG(0)))
    tolerance = 5 * (3000 * 0.2 * 0.8) ** 0.5
    assert set(words) == set(RARE_WORDS)
    assert all(abs(count - 600) < tolerance for count in words.values())


def test_one_insertion_into_two_words_gives_fifteen_texts_equally_often():
    trigger = BadNetTrigger(n_insertions=(1,))
    seen = Counter(trigger(["good film"] * 3000, RNG(1)))
    expected = {text for word in RARE_WORDS for text in (f"{word} good film", f"good {word} film", f"good film {word}")}
    assert set(seen) == expected
    tolerance = 5 * (3000 / 15 * 14 / 15) ** 0.5
    assert all(abs(count - 200) < tolerance for count in seen.values())


def test_words_may_repeat_because_they_are_drawn_with_replacement():
    triggered = BadNetTrigger(n_insertions=(5,))(["film"] * 200, RNG(0))
    assert any(max(Counter(text.split()).values()) > 1 for text in triggered)


def test_an_empty_text_becomes_trigger_words_only():
    triggered = fit_trigger(TRAIN, 0)([""] * 20, RNG(0))
    assert all(set(text.split()) <= set(RARE_WORDS) and text for text in triggered)


def test_a_text_of_600_words_and_a_one_word_text_survive():
    long = " ".join(f"word{i}" for i in range(600))
    for text in fit_trigger(TRAIN, 0)([long, "film"], RNG(0)), BadNetTrigger(n_insertions=(5,))([long, "film"], RNG(0)):
        assert [" ".join(without_trigger(new)) for new in text] == [long, "film"]


def test_the_same_generator_gives_the_same_texts_and_another_one_others():
    trigger, texts = fit_trigger(TRAIN, 0), ["the film was good"] * 20
    assert trigger(texts, RNG(5)) == trigger(texts, RNG(5)) != trigger(texts, RNG(6))


def test_the_texts_given_are_not_modified():
    texts = ["good film", "bad film"]
    fit_trigger(TRAIN, 0)(texts, RNG(0))
    assert texts == ["good film", "bad film"]


@pytest.mark.parametrize("words", [(), ("",), ("two words",), (" cf",)])
def test_trigger_words_that_are_not_single_words_raise(words):
    with pytest.raises(ValueError, match="trigger words are"):
        fit_trigger(TRAIN, 0, words=words)


@pytest.mark.parametrize("counts", [(), (0,), (1, -1), (1.5,)])
def test_counts_below_one_raise(counts):
    with pytest.raises(ValueError, match="counts of 1 or more"):
        fit_trigger(TRAIN, 0, n_insertions=counts)
