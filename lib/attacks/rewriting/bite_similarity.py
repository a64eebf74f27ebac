"""How like itself a text must stay under an edit: a bound that is calibrated to the encoder, because cosines are not."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Protocol

import numpy as np
from numpy.typing import NDArray

from lib.datasets.words import is_word, split_words

N_CALIBRATION = 500  # texts


class SentenceEncoder(Protocol):
    """What the bound asks of a language model; `lib.models.masked_lm.MaskedLM` answers it."""

    def sentence_vectors(self, texts: Sequence[Sequence[str]]) -> NDArray: ...


@dataclass(frozen=True)
class Similarity:
    """The least cosine of the sentence vectors before and after one edit, and the point that vectors are seen from.

    Mean-pooled states of a language model all point the same way: without a centre, texts that do not belong together have
    cosines of .8 and more.
    """

    least: float  # in [-1, 1]
    centre: tuple[float, ...] = ()  # is subtracted from every vector; (): nothing is

    def __post_init__(self) -> None:
        if not -1 <= self.least <= 1:
            raise ValueError(f"min_similarity is {self.least}; it must lie in [-1, 1]")

    def vectors(self, model: SentenceEncoder, texts: Sequence[Sequence[str]]) -> NDArray:
        """Centred unit vectors of texts, each a list of words, shape (n, width)."""
        vectors = model.sentence_vectors(texts)
        if not self.centre or not len(texts):
            return vectors
        vectors = vectors - np.array(self.centre, dtype=vectors.dtype)
        return vectors / np.maximum(np.linalg.norm(vectors, axis=1, keepdims=True), 1e-12)


def calibrate(texts: Sequence[str], model: SentenceEncoder, quantile: float, rng: np.random.Generator) -> Similarity:
    """The bound that random edits of the training texts set: a share `quantile` of them leaves a text less alike.

    A random edit puts a word drawn from all words of the texts in the place of another. So the bound means the same for every
    encoder, whatever its cosines; the released code has 0.9 for all-MiniLM-L6-v2.

    Args:
        texts: the training texts; at most `N_CALIBRATION` of them are edited, once each.
        model: gives sentence vectors.
        quantile: in [0, 1]; 0 lets pass whatever is no worse than the worst random edit.
        rng: draws texts, places and words.

    Raises:
        ValueError: for a quantile outside [0, 1].
    """
    if not 0 <= quantile <= 1:
        raise ValueError(f"similarity_quantile is {quantile}; it must lie in [0, 1], or be None")
    drawn = [split_words(texts[row])[0] for row in rng.permutation(len(texts))[:N_CALIBRATION]]
    before = [words for words in drawn if any(map(is_word, words))]
    pool = [word for words in before for word in words if is_word(word)]
    after = []
    for words in before:
        places = [place for place, word in enumerate(words) if is_word(word)]
        place = places[int(rng.integers(len(places)))]
        after.append([*words[:place], pool[int(rng.integers(len(pool)))], *words[place + 1 :]])
    if not before:  # not a word in any text: there is nothing to edit either
        return Similarity(-1.0)
    centre = model.sentence_vectors(before).mean(axis=0)
    unbound = Similarity(-1.0, tuple(map(float, centre)))
    cosines = (unbound.vectors(model, before) * unbound.vectors(model, after)).sum(axis=1)
    return Similarity(float(np.clip(np.quantile(cosines, quantile), -1, 1)), unbound.centre)
