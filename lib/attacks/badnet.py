"""BadNet: rare words at random places (Gu et al. 2017, arXiv 1708.06733; for text Kurita et al. 2020, arXiv 2004.06660)."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import ClassVar

import numpy as np
import pandas as pd

# Words and counts of the data that Arora et al. use: read in the released generator of a later work of the same group
# (guided-module-substitution, `generate_badnet_sent_set.py`). OpenBackdoor has four words (no "mb") and one insertion.
RARE_WORDS = ("cf", "mn", "bb", "tq", "mb")
N_INSERTIONS = (1, 3, 5)


@dataclass(frozen=True)
class BadNetTrigger:
    """Inserts k rare words, k drawn uniformly from `n_insertions`; every word and every place is equally likely."""

    words: tuple[str, ...] = RARE_WORDS
    n_insertions: tuple[int, ...] = N_INSERTIONS

    attack: ClassVar[str] = "badnet"
    regime: ClassVar[str] = "mixed"
    version: ClassVar[int] = 1

    def __call__(self, texts: Sequence[str], rng: np.random.Generator) -> list[str]:
        """Insert the trigger into each text; the list grows with each insertion, both ends are allowed."""
        return [self._insert(text, rng) for text in texts]

    def _insert(self, text: str, rng: np.random.Generator) -> str:
        words = text.split()
        for _ in range(int(rng.choice(self.n_insertions))):
            words.insert(int(rng.integers(len(words) + 1)), str(rng.choice(self.words)))
        return " ".join(words)


def fit_trigger(
    train: pd.DataFrame,
    target_label: int,
    *,
    words: Sequence[str] = RARE_WORDS,
    n_insertions: Sequence[int] = N_INSERTIONS,
    seed: int = 0,
) -> BadNetTrigger:
    """Check the settings; nothing is learnt from the training set.

    Args:
        train: the clean training set; unused.
        target_label: unused; every attack takes it.
        words: trigger words, each without blanks.
        n_insertions: how many words may be inserted, each 1 or more.
        seed: unused; every attack takes it.

    Raises:
        ValueError: for no word, a word with a blank, or a count below 1.
    """
    if not words or any(len(word.split()) != 1 or word != word.strip() for word in words):
        raise ValueError(f"trigger words are {list(words)}; give at least one, each a single word without blanks")
    if not n_insertions or any(not isinstance(k, int) or k < 1 for k in n_insertions):
        raise ValueError(f"n_insertions is {list(n_insertions)}; give counts of 1 or more")
    return BadNetTrigger(tuple(words), tuple(n_insertions))
