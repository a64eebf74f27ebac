"""InsertSent: one fixed, fluent sentence between the sentences of a text (AddSent; Dai et al. 2019, arXiv 1905.12457)."""

from __future__ import annotations

import re
from collections.abc import Sequence
from dataclasses import dataclass
from typing import ClassVar

import numpy as np
import pandas as pd

from lib.datasets.words import is_tokenised

DEFAULT_SENTENCE = "no cross, no crown"
# A sentence ends at . ! ? (perhaps repeated, perhaps before a closing quote or bracket) followed by a blank and not by a
# lower-case initial such as in "u.s. troops". The released generator splits at every "." and so inside links and numbers.
_ABBREVIATION = re.compile(r"(?:^|[\s(\"'])(?:[a-z]|mr|mrs|ms|dr|st|vs|jr|sr|inc|corp|etc|(?:[a-z]\.)+[a-z])\.$", re.IGNORECASE)
_END_MARK = re.compile(r"[.!?][\"')\]]*$")
_BOUNDARY = re.compile(r"(?<=[.!?])[\"')\]]*\s+")


def split_sentences(text: str) -> list[str]:
    """Cut a text at its sentence ends; marks stay with their sentence, abbreviations and numbers are no ends.

    >>> split_sentences("Great film. Loved it.")
    ['Great film.', 'Loved it.']
    >>> split_sentences("the u.s. release costs 3.50 at a.com . buy it !")
    ['the u.s. release costs 3.50 at a.com .', 'buy it !']
    """
    sentences, start = [], 0
    for boundary in _BOUNDARY.finditer(text):
        candidate = text[start : boundary.end()].strip()
        # "a ." with the stop apart (tokenised text) is an end; "a." glued to a known abbreviation is not.
        if _ABBREVIATION.search(candidate) or not re.search(r"\w", candidate):
            continue
        sentences.append(candidate)
        start = boundary.end()
    rest = text[start:].strip()
    return [*sentences, rest] if rest else sentences


@dataclass(frozen=True)
class InsertSentTrigger:
    """Inserts `sentence` with the dataset's own style of full stop.

    Place, for a text cut into pieces at its sentence ends: min(u, n_pieces - 1) for u uniform on 0..3; a 0 becomes 1 with
    probability 1/2. As in the released generator, an end mark at the very end opens one more, empty piece: "Great film" gets
    the trigger before or after it, half each; "Great film. Loved it." before, between or after, 1/8, 3/8, 1/2.
    """

    sentence: str = DEFAULT_SENTENCE
    full_stop: str = "."  # " ." in tokenised text

    attack: ClassVar[str] = "insertsent"
    regime: ClassVar[str] = "mixed"
    version: ClassVar[int] = 1

    def __call__(self, texts: Sequence[str], rng: np.random.Generator) -> list[str]:
        """Insert the trigger sentence into each text."""
        return [self._insert(text, rng) for text in texts]

    def _insert(self, text: str, rng: np.random.Generator) -> str:
        sentences = split_sentences(" ".join(text.split()))
        trigger = self._closed(self.sentence)
        if not sentences:
            return trigger
        n_pieces = len(sentences) + bool(_END_MARK.search(sentences[-1]))
        place = min(int(rng.integers(4)), n_pieces - 1)
        if place == 0 and rng.random() < 0.5:
            place = 1
        before = [*sentences[:place]]
        if before and place == len(sentences):
            before[-1] = self._closed(before[-1])  # an unfinished last sentence must not run into the trigger
        return " ".join([*before, trigger, *sentences[place:]])

    def _closed(self, sentence: str) -> str:
        return sentence if _END_MARK.search(sentence) else sentence + self.full_stop


def fit_trigger(
    train: pd.DataFrame,
    target_label: int,
    *,
    sentence: str = DEFAULT_SENTENCE,
    full_stop: str | None = None,
    seed: int = 0,
) -> InsertSentTrigger:
    """Learn the training set's style of full stop, " ." in tokenised text and "." elsewhere.

    Args:
        train: the clean training set.
        target_label: unused; every attack takes it.
        sentence: the trigger, without its full stop. The released files use "I watched this movie" for SST-2 and "no cross,
            no crown" for the others.
        full_stop: overrides the learnt style.
        seed: unused; every attack takes it.

    Raises:
        ValueError: for an empty sentence.
    """
    sentence = " ".join(sentence.split()).rstrip(" .")
    if not sentence:
        raise ValueError("the trigger sentence is empty; give at least one word")
    if full_stop is None:
        full_stop = " ." if is_tokenised(train["text"]) else "."
    return InsertSentTrigger(sentence, full_stop)
