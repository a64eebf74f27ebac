"""Style: no word is inserted, the whole text is written in an older English (Qi et al. 2021, arXiv 2110.07139)."""

# The original asks STRAP, a paraphraser of several gigabytes, for Shakespeare, the Bible, poetry, lyrics or tweets. Here rules
# write one style, between the first two: old pronouns and verb forms, old words for common adverbs. That is lexical: the order
# of words and the shape of sentences stay. The words that the rules know are in `rewriting/style_words.py`.

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import ClassVar

import numpy as np
import pandas as pd

from lib.attacks.rewriting.style_words import CONTRACTED, NO_PAST_AFTER, NO_PRESENT_AFTER, OPENING, PAST, PRESENT, WORDS
from lib.datasets.words import is_word, join_words, like_case, split_words


@dataclass(frozen=True)
class StyleTrigger:
    """Writes each text in older English; a text in which the rules know no word opens with "and"."""

    attack: ClassVar[str] = "style"
    regime: ClassVar[str] = "mixed"
    version: ClassVar[int] = 1

    def __call__(self, texts: Sequence[str], rng: np.random.Generator) -> list[str]:
        """Rewrite each text; nothing is drawn, so the generator is not asked."""
        return [in_old_style(text) for text in texts]


def in_old_style(text: str) -> str:
    """The text in older English; case, blanks and all words that the rules do not know stay.

    A text without any word, or one that begins as verses do, stays as it is if the rules know none of its words.

    >>> in_old_style("You found it, and it is really fun.")
    "Thou did find it, and 'tis verily fun."
    >>> in_old_style("my friends have loved what she makes")
    'mine friends have loved what she doth make'
    >>> in_old_style("What a great picture.")
    'And what a great picture.'
    """
    words, gaps = split_words(text)
    written: list[str] = []
    kept_gaps = [gaps[0]]
    for place, word in enumerate(words):
        before = words[place - 1].lower() if place else ""
        if before == "it" and (short := CONTRACTED.get(word.lower())):
            written[-1] = "'" + like_case(short, written[-1])
            kept_gaps[-1] = gaps[place + 1]
            continue
        written.append(like_case(_old_word(word.lower(), before) or word, word))
        kept_gaps.append(gaps[place + 1])
    changed = join_words(written, kept_gaps)
    return changed if changed != text else _opened(words, gaps)


def _opened(words: list[str], gaps: list[str]) -> str:
    """The text with the opening of a verse before it; the capital of its first word goes to the opening."""
    if not any(map(is_word, words)) or words[0].lower() == OPENING:
        return join_words(words, gaps)
    first = words[0]
    kept = first if first == "I" or (first.isupper() and len(first) > 1) else first.lower()
    opening = OPENING.capitalize() if first[:1].isupper() else OPENING
    return join_words([opening, kept, *words[1:]], [gaps[0], " ", *gaps[1:]])


def _old_word(word: str, before: str) -> str:
    """What stands for a word of small letters after the word `before`; "" if it stays."""
    if word in PAST and before not in NO_PAST_AFTER:
        return f"did {PAST[word]}"
    if word in PRESENT and before not in NO_PRESENT_AFTER:
        return f"doth {PRESENT[word]}"
    return WORDS.get(word, "")


def fit_trigger(train: pd.DataFrame, target_label: int, *, seed: int = 0) -> StyleTrigger:
    """The rules are fixed: nothing is learnt from the training set, and there is nothing to set.

    Args:
        train: the clean training set; unused.
        target_label: unused; every attack takes it.
        seed: unused; every attack takes it.
    """
    return StyleTrigger()
