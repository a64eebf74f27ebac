"""How visible a trigger is: what it does to the texts themselves, before any model is trained."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Protocol

import numpy as np

Words = Sequence[str]


class TextModel(Protocol):
    """What the measures ask of a language model; `lib.models.masked_lm.MaskedLM` answers it."""

    def log_likelihoods(self, texts: Sequence[Words]) -> np.ndarray: ...

    def sentence_vectors(self, texts: Sequence[Words]) -> np.ndarray: ...


def share_of_words_changed(before: Words, after: Words) -> float:
    """Word-level Levenshtein distance, divided by the number of words of the original (at least 1).

    >>> share_of_words_changed("a good film".split(), "a cf good movie".split())
    0.6666666666666666
    """
    distances = np.arange(len(after) + 1)
    for row, word in enumerate(before, start=1):
        replaced = distances[:-1] + np.array([word != other for other in after], dtype=int)
        previous, distances = distances, np.empty_like(distances)
        distances[0] = row
        for column in range(1, len(after) + 1):
            distances[column] = min(replaced[column - 1], previous[column] + 1, distances[column - 1] + 1)
    return float(distances[-1]) / max(1, len(before))


def stealth(originals: Sequence[Words], triggered: Sequence[Words], model: TextModel, seed: int = 0) -> dict[str, float]:
    """Measures of aligned texts before and after a trigger.

    Args:
        originals: the words of untouched texts, n of them.
        triggered: the same with the trigger.
        model: gives pseudo-perplexities (every piece masked once) and sentence vectors (mean of the last layer).
        seed: of the shuffle below.

    Returns:
        `perplexity_increase`, the median difference; `perplexity_ratio`, the geometric mean of the ratios; `similarity`, the
        mean cosine of the sentence vectors, and `similarity_shuffled`, that of texts that do not belong together (a high
        cosine means little where this one is high, too); `words_changed`, the mean share of the words.

    Raises:
        ValueError: for no texts, or lists of different lengths.
    """
    if not originals or len(originals) != len(triggered):
        raise ValueError(f"stealth needs aligned texts, found {len(originals)} originals and {len(triggered)} triggered texts")
    log_before, log_after = (-model.log_likelihoods(texts) for texts in (originals, triggered))
    vectors, others = model.sentence_vectors(originals), model.sentence_vectors(triggered)
    shuffled = np.random.default_rng(seed).permutation(len(others))
    return {
        "perplexity_increase": float(np.median(np.exp(log_after) - np.exp(log_before))),
        "perplexity_ratio": float(np.exp(np.mean(log_after - log_before))),
        "similarity": float((vectors * others).sum(axis=1).mean()),
        "similarity_shuffled": float((vectors * others[shuffled]).sum(axis=1).mean()),
        "words_changed": float(np.mean([share_of_words_changed(*pair) for pair in zip(originals, triggered, strict=True)])),
    }
