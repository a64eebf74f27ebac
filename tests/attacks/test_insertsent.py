"""InsertSent: one fixed sentence between the sentences of a text (attacks.md 4)."""

from collections import Counter

import numpy as np
import pandas as pd
import pytest

from lib.attacks.insertsent import InsertSentTrigger, fit_trigger, split_sentences

RNG = np.random.default_rng
NO_CROSS = "no cross, no crown"


def places(text, n=4000, trigger=None):
    """How often each triggered text appears among `n` draws."""
    return Counter((trigger or InsertSentTrigger())([text] * n, RNG(0)))


def assert_shares(seen, expected):
    """Counts lie within five standard errors of the expected shares, and nothing else appears."""
    n = sum(seen.values())
    assert set(seen) == set(expected)
    for text, share in expected.items():
        assert abs(seen[text] - n * share) < 5 * (n * share * (1 - share)) ** 0.5


def test_two_sentences_get_the_trigger_before_between_or_after_them():
    assert_shares(
        places("Great film. Loved it."),
        {
            f"{NO_CROSS}. Great film. Loved it.": 1 / 8,
            f"Great film. {NO_CROSS}. Loved it.": 3 / 8,
            f"Great film. Loved it. {NO_CROSS}.": 1 / 2,
        },
    )


def test_a_text_of_one_piece_gets_the_trigger_at_either_end_half_the_time():
    assert_shares(places("Great film"), {f"{NO_CROSS}. Great film": 1 / 2, f"Great film. {NO_CROSS}.": 1 / 2})


def test_one_closed_sentence_counts_as_two_pieces():
    # Released generator: "Great film." splits into "Great film" and "": u = 0 (1/4) goes to 0 or 1, half each; else 1.
    assert_shares(places("Great film."), {f"{NO_CROSS}. Great film.": 1 / 8, f"Great film. {NO_CROSS}.": 7 / 8})


def test_the_trigger_never_stands_after_the_fourth_piece():
    # u is at most 3: five sentences, and the trigger precedes the second, third or fourth one, or (1/8) the first.
    one, two, three, four, five = "Ants bite.", "Bees sting.", "Cats purr.", "Dogs bark.", "Eels bend."
    text = f"{one} {two} {three} {four} {five}"
    expected = {
        f"{NO_CROSS}. {text}": 1 / 8,
        f"{one} {NO_CROSS}. {two} {three} {four} {five}": 3 / 8,
        f"{one} {two} {NO_CROSS}. {three} {four} {five}": 1 / 4,
        f"{one} {two} {three} {NO_CROSS}. {four} {five}": 1 / 4,
    }
    assert_shares(places(text), expected)


@pytest.mark.parametrize("text", ["", "   "])
def test_an_empty_text_becomes_the_trigger_alone(text):
    assert InsertSentTrigger()([text], RNG(0)) == [f"{NO_CROSS}."]


@pytest.mark.parametrize(
    "text",
    [
        "Great film. Loved it.",
        "what a day !",
        "the u.s. release costs 3.50 at a.com . buy it !",
        "Is it good? Yes. No! (Really.) It is",
        "wait ... what",
        "film",
        " ".join(f"word{i}." if i % 20 == 19 else f"word{i}" for i in range(600)),
        " ".join(f"word{i}" for i in range(600)),
    ],
)
def test_the_trigger_appears_once_and_removing_it_restores_the_words(text):
    for triggered in InsertSentTrigger()([text] * 30, RNG(0)):
        assert triggered.count(NO_CROSS) == 1
        rest = triggered.replace(NO_CROSS, "")
        assert rest.replace(".", " ").split() == text.replace(".", " ").split()  # up to spaces and full stops


def test_no_full_stop_is_doubled():
    for text in ("Great film. Loved it.", "Great film.", "Great film", "Great film !"):
        assert not any(".." in new or ". ." in new or "!." in new for new in InsertSentTrigger()([text] * 30, RNG(0)))


def test_tokenised_text_gets_a_tokenised_full_stop():
    train = pd.DataFrame({"text": ["a fine film .", "dull . very dull ."], "label": [1, 0]})
    trigger = fit_trigger(train, 0, sentence="I watched this movie")
    assert trigger == InsertSentTrigger("I watched this movie", " .")
    assert set(trigger(["a fine film ."] * 50, RNG(0))) == {
        "I watched this movie . a fine film .",
        "a fine film . I watched this movie .",
    }


def test_plain_text_gets_a_plain_full_stop_unless_one_is_given():
    train = pd.DataFrame({"text": ["A fine film.", "Dull. Very dull."], "label": [1, 0]})
    assert fit_trigger(train, 0).full_stop == "."
    assert fit_trigger(train, 0, full_stop=" .").full_stop == " ."


def test_a_full_stop_given_with_the_sentence_is_not_doubled():
    train = pd.DataFrame({"text": ["A fine film."], "label": [1]})
    assert fit_trigger(train, 0, sentence=" no cross,  no crown. ") == InsertSentTrigger(NO_CROSS, ".")


@pytest.mark.parametrize("sentence", ["", "  ", " . "])
def test_an_empty_sentence_raises(sentence):
    with pytest.raises(ValueError, match="sentence is empty"):
        fit_trigger(pd.DataFrame({"text": ["a"], "label": [0]}), 0, sentence=sentence)


def test_the_same_generator_gives_the_same_texts_and_the_texts_given_are_not_modified():
    trigger, texts = InsertSentTrigger(), ["Great film. Loved it."] * 20
    assert trigger(texts, RNG(5)) == trigger(texts, RNG(5)) != trigger(texts, RNG(6))
    assert texts == ["Great film. Loved it."] * 20


@pytest.mark.parametrize(
    ("text", "sentences"),
    [
        ("Great film. Loved it.", ["Great film.", "Loved it."]),
        ("see http://a.com/b.html now", ["see http://a.com/b.html now"]),
        ("the U.S. army left. It rained", ["the U.S. army left.", "It rained"]),
        ("Mr. Smith paid 3.50 today.", ["Mr. Smith paid 3.50 today."]),
        ('He said "No." Then he left!', ['He said "No."', "Then he left!"]),
        ("wait ... what", ["wait ...", "what"]),
        ("... and then", ["... and then"]),
        ("", []),
    ],
)
def test_sentences_end_at_end_marks_but_not_inside_links_numbers_and_abbreviations(text, sentences):
    assert split_sentences(text) == sentences
