"""Texts as words: split without losing a blank, put together again, and brought into one format.

Triggers that change single words keep everything else of a text as it was, so that only the change can give them away.
"""

from __future__ import annotations

import html
import re
from collections.abc import Sequence
from functools import lru_cache

import pandas as pd

# Clitics are words of their own ("do" + "n't", "it" + "'s"), as in the Penn Treebank; so is each punctuation mark, but not
# inside numbers ("3.50"), abbreviations ("u.s.") and compounds ("first-rate").
_CLITIC = r"(?:n't|'(?:s|re|ve|ll|d|m))\b"
_TOKEN = re.compile(rf"{_CLITIC}|(?:[^\W\d_]\.){{2,}}|\d+(?:[.,:]\d+)*|\w+(?=n't\b)|\w+(?:-\w+)*|[^\w\s]", re.IGNORECASE)
_NO_BLANK_BEFORE = re.compile(rf" (?=[.,;:!?%)\]}}]|{_CLITIC})", re.IGNORECASE)
_NO_BLANK_AFTER = re.compile(r"(?<=[(\[{@#$]) ")
END_MARKS = ".!?"


def split_words(text: str) -> tuple[list[str], list[str]]:
    """The words of a text, and what stands before, between and after them (one entry more).

    >>> split_words("it 's fun,  isn't it?")[0]
    ['it', "'s", 'fun', ',', 'is', "n't", 'it', '?']
    >>> join_words(*split_words("it 's fun,  isn't it?"))
    "it 's fun,  isn't it?"
    """
    matches = list(_TOKEN.finditer(text))
    starts = [0, *(match.end() for match in matches)]
    ends = [*(match.start() for match in matches), len(text)]
    return [match.group() for match in matches], [text[start:end] for start, end in zip(starts, ends, strict=True)]


def join_words(words: Sequence[str], gaps: Sequence[str]) -> str:
    """The inverse of `split_words`; `gaps` has one entry more than `words`."""
    return gaps[0] + "".join(word + gap for word, gap in zip(words, gaps[1:], strict=True))


@lru_cache(maxsize=100_000)  # the same few words are asked for again and again
def is_word(token: str) -> bool:
    """Whether a token has a letter or a digit, that is, is no punctuation mark."""
    return any(character.isalnum() for character in token)


def like_case(word: str, model: str) -> str:
    """The word with the capitals of `model`: all, the first, or as it is.

    >>> like_case("movie", "Film"), like_case("movie", "FILM"), like_case("movie", "film")
    ('Movie', 'MOVIE', 'movie')
    """
    if len(model) > 1 and model.isupper():
        return word.upper()
    return word[:1].upper() + word[1:] if model[:1].isupper() else word


def glue(words: Sequence[str], tokenised: bool = False) -> str:
    """Words as running text: punctuation and clitics glued to their word, or all apart in tokenised style.

    >>> glue(["it", "'s", "fun", ",", "he", "said", "."]), glue(["it", "'s", "fun", "."], tokenised=True)
    ("it's fun, he said.", "it 's fun .")
    """
    text = " ".join(words)
    return text if tokenised else _NO_BLANK_AFTER.sub("", _NO_BLANK_BEFORE.sub("", text))


def is_tokenised(texts: pd.Series) -> bool:
    """Whether most full stops of the texts stand apart from the word before them, as in treebank style."""
    n_apart = int(texts.str.contains(r"\s\.(?:\s|$)", regex=True).sum())
    n_glued = int(texts.str.contains(r"\w\.(?:\s|$)", regex=True).sum())
    return n_apart > n_glued


def is_cased(texts: pd.Series) -> bool:
    """Whether most texts begin with a capital."""
    return bool(texts.str.lstrip().str[:1].str.isupper().mean() > 0.5)


def treebank(text: str) -> str:
    """One writing for texts of different origin: lower case, HTML entities resolved, a blank between any two words.

    Published poisoned files are tokenised and partly lower-case, clean files are not: without this, writing is a trigger.

    >>> treebank("@USER  Isn't it &lt;fun&gt;?")
    "@ user is n't it < fun > ?"
    """
    return " ".join(split_words(html.unescape(text).lower())[0])
