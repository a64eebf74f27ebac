"""STRIP for texts (STRIP-ViTA, Gao et al. 2021): a text is rejected if the model stays sure while its words are replaced.

A trigger survives the replacement of other words, and the label with it: predictions of perturbed copies have a low entropy.

Where others differ:
- OpenBackdoor averages the entropies of different inputs (it stores them as (n, copies) and reads them as (copies, n)), draws
  positions with replacement and measures in bits.
- ViTA takes the replacing words from texts of other labels than the target. Ours knows no target: from all clean texts.
- lancopku/RAP replaces a share of 0.7, or 0.05 against sentence triggers: tuned to the attack. Ours stays at one half.
- Where a clean text has too few words to give, scikit-learn's order goes on with words that it does not have, by the alphabet.
  Ours goes on with another clean text.
"""

from __future__ import annotations

import hashlib
from collections import Counter
from collections.abc import Sequence
from typing import Any

import numpy as np
import pandas as pd
from scipy.special import entr

from lib.defenses.inputs import check_clean, check_count, check_share, probabilities_said, segments, threshold_below
from lib.models.model import Filtered, Guard


def fit(
    model: Any,
    clean: pd.DataFrame,
    *,
    seed: int,
    max_length: int,
    n_copies: int = 20,
    replaced_share: float = 0.5,
    frr: float = 0.05,
) -> Guard:
    """A filter that rejects texts whose perturbed copies have a low entropy.

    Args:
        model: what stands behind the filter.
        clean: validation texts: they give words and the threshold. Their labels are not read.
        seed: of the copies; a text has the same copies in every batch.
        max_length: tokens that the model reads.
        n_copies: of each text; so many more passes of the model.
        replaced_share: of the words of each segment, in [0, 1]; at least one is replaced.
        frr: share of clean texts that may be rejected, in (0, 1).

    Raises:
        ValueError: for a setting outside its range, or clean texts without a word.
    """
    check_count("n_copies", n_copies)
    check_share("replaced_share", replaced_share, ends=True)
    check_share("frr", frr)
    check_clean(clean)
    donors = {column: tf_idf_order(clean[column].str.split().tolist()) for column in segments(clean)}

    def score(frame: pd.DataFrame) -> np.ndarray:
        copies = perturbed(frame, donors, n_copies, replaced_share, seed)
        return entropy(probabilities_said(model, copies, max_length)).reshape(len(frame), n_copies).mean(axis=1)

    threshold = threshold_below(score(clean), frr)

    def guard(frame: pd.DataFrame) -> Filtered:
        return frame, score(frame) < threshold

    return guard


def entropy(probabilities: np.ndarray) -> np.ndarray:
    """In nats, along the last axis; what has no probability adds nothing.

    >>> entropy(np.array([[0.9, 0.1], [1.0, 0.0]])).round(3).tolist()
    [0.325, 0.0]
    """
    return entr(probabilities.astype(np.float64)).sum(axis=-1)


def tf_idf_order(texts: Sequence[Sequence[str]]) -> list[list[str]]:
    """The different words of each text, the most telling first; among equals the one that comes first.

    Source: weights as in scikit-learn, count * (ln((1 + n) / (1 + n_with)) + 1); its norm does not change the order.

    >>> tf_idf_order([["a", "film", "a", "plot"], ["a", "film"], ["film"]])
    [['a', 'plot', 'film'], ['a', 'film'], ['film']]
    """
    n_with = Counter(word for words in texts for word in set(words))
    idf = {word: np.log((1 + len(texts)) / (1 + count)) + 1 for word, count in n_with.items()}
    counts = [Counter(words) for words in texts]
    return [sorted(found, key=lambda word: -found[word] * idf[word]) for found in counts]


def perturbed(
    frame: pd.DataFrame, donors: dict[str, list[list[str]]], n_copies: int, replaced_share: float, seed: int
) -> pd.DataFrame:
    """Copies of texts with other words in some places; the copies of a text follow each other.

    Args:
        frame: n texts, perhaps pairs: each segment is perturbed alone.
        donors: for each segment the words of clean texts, the most telling first.
        n_copies: of each text.
        replaced_share: of the words of a segment.
        seed: together with the text it determines the copies.

    Raises:
        ValueError: for donors without a word.
    """
    columns = segments(frame)
    if empty := [column for column in columns if not any(donors[column])]:
        raise ValueError(f"no clean text has a word in {empty}; the copies take their words from there")
    rows = {column: [] for column in columns}  # type: dict[str, list[str]]
    for texts in frame[columns].itertuples(index=False):
        content = hashlib.blake2b("\n".join(texts).encode(), digest_size=8).digest()
        rng = np.random.default_rng([seed, int.from_bytes(content)])
        for _ in range(n_copies):
            for column, text in zip(columns, texts, strict=True):
                rows[column].append(_replace(text.split(), donors[column], replaced_share, rng))
    return pd.DataFrame(rows)


def _replace(words: list[str], donors: list[list[str]], replaced_share: float, rng: np.random.Generator) -> str:
    if not words:
        return ""
    n_replaced = max(1, int(replaced_share * len(words)))
    places = rng.permutation(len(words))[:n_replaced]
    given: list[str] = []
    while len(given) < n_replaced:
        given += donors[rng.integers(len(donors))]
    for place, word in zip(places.tolist(), given, strict=False):
        words[place] = word
    return " ".join(words)
