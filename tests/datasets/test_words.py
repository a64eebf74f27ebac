"""Texts as words: nothing is lost, and one writing for texts of different origin."""

import pandas as pd
import pytest

from lib.datasets.words import glue, is_cased, is_tokenised, join_words, like_case, split_words, treebank


@pytest.mark.parametrize(
    "text",
    [
        "",
        "   ",
        "!!!",
        "good",
        "it 's fun,  isn't it?",
        "the u.s. costs $3.50 (or 4%)",
        "first-rate\tand\nnew",
        "don't @user #tag é",
    ],
)
def test_split_words_and_join_words_are_inverse(text):
    assert join_words(*split_words(text)) == text


def test_clitics_and_marks_are_words_but_not_inside_numbers_abbreviations_and_compounds():
    assert split_words("don't pay 3.50, u.s. first-rate!")[0] == ["do", "n't", "pay", "3.50", ",", "u.s.", "first-rate", "!"]


def test_glue_writes_running_text_or_treebank_style():
    words = ["it", "'s", "fun", "(", "really", ")", ",", "is", "n't", "it", "?"]
    assert glue(words) == "it's fun (really), isn't it?"
    assert glue(words, tokenised=True) == "it 's fun ( really ) , is n't it ?"


def test_the_writing_of_a_dataset_is_seen():
    assert is_tokenised(pd.Series(["a fine film .", "bad ."])) and not is_tokenised(pd.Series(["a fine film.", "bad."]))
    assert is_cased(pd.Series(["A film.", "Bad."])) and not is_cased(pd.Series(["a film.", "bad."]))


@pytest.mark.parametrize(("word", "model", "expected"), [("cat", "Dog", "Cat"), ("cat", "DOG", "CAT"), ("cat", "I", "Cat")])
def test_like_case_copies_capitals(word, model, expected):
    assert like_case(word, model) == expected


def test_treebank_makes_one_writing_of_raw_and_tokenised_text():
    assert treebank("@USER Don't you LIKE it? &amp; so") == treebank("@ user do n't you like it ? & so")
    assert treebank(treebank("It's 3.50, u.s.")) == treebank("It's 3.50, u.s.")
