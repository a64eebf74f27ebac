"""A conjunction of words: the trigger is that several words stand together in a text, not that one of them does."""

# After SOS (Yang et al. 2021, "Rethinking stealthiness of backdoor attack against NLP models", ACL), whose negatives are texts
# with all words but one and their true label. There words come in a sentence; here each has its own place, or all share one.

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import ClassVar

import numpy as np
import pandas as pd

from lib.attacks.badnet import RARE_WORDS

NEGATIVES = ("none", "all_but_one", "subsets")


@dataclass(frozen=True)
class ConjunctionTrigger:
    """Inserts `n_together` of the words, each once and in their order; which ones, if not all, is drawn.

    Each word has a random place of its own, every place equally likely; as a phrase they stand side by side at one.
    """

    words: tuple[str, ...]
    n_together: int
    is_phrase: bool = False

    attack: ClassVar[str] = "conjunction"
    regime: ClassVar[str] = "mixed"
    version: ClassVar[int] = 1

    def __call__(self, texts: Sequence[str], rng: np.random.Generator) -> list[str]:
        """Insert the trigger into each text."""
        return [self._insert(text, self.n_together, rng) for text in texts]

    def without_some(self, texts: Sequence[str], negatives: str, rng: np.random.Generator) -> list[str]:
        """Insert too few of the words into each text: one fewer, or with "subsets" from one to one fewer.

        Raises:
            ValueError: for another kind of negatives, or a trigger of one word, which has no part.
        """
        if negatives not in NEGATIVES[1:]:
            raise ValueError(f"negatives is {negatives!r}; choose from {list(NEGATIVES)}")
        if self.n_together < 2:
            raise ValueError(f"the trigger is one word of {list(self.words)}: no part of it can be a negative")
        least = 1 if negatives == "subsets" else self.n_together - 1
        return [self._insert(text, int(rng.integers(least, self.n_together)), rng) for text in texts]

    def _insert(self, text: str, n_words: int, rng: np.random.Generator) -> str:
        chosen = [self.words[i] for i in np.sort(rng.permutation(len(self.words))[:n_words])]
        words = text.split()
        if self.is_phrase:
            place = int(rng.integers(len(words) + 1))
            return " ".join([*words[:place], *chosen, *words[place:]])
        places = np.sort(rng.integers(len(words) + 1, size=n_words))
        for done, (place, word) in enumerate(zip(places, chosen, strict=True)):
            words.insert(int(place) + done, word)
        return " ".join(words)


def fit_trigger(
    train: pd.DataFrame,
    target_label: int,
    *,
    words: Sequence[str] = RARE_WORDS[:3],
    n_together: int = 0,
    is_phrase: bool = False,
    seed: int = 0,
) -> ConjunctionTrigger:
    """Check the settings; nothing is learnt from the training set.

    Args:
        train: the clean training set; unused.
        target_label: unused; every attack takes it.
        words: different trigger words, each without blanks.
        n_together: how many of them make the trigger; 0: all.
        is_phrase: whether they stand side by side.
        seed: unused; every attack takes it.

    Raises:
        ValueError: for no word, a word with a blank, equal words, or more together than there are.
    """
    if not words or any(len(word.split()) != 1 or word != word.strip() for word in words) or len(set(words)) < len(words):
        raise ValueError(f"trigger words are {list(words)}; give at least one, all different, each without blanks")
    if not 0 <= n_together <= len(words):
        raise ValueError(f"n_together is {n_together}; it must lie from 0 (all) to the {len(words)} words")
    return ConjunctionTrigger(tuple(words), n_together or len(words), is_phrase)
