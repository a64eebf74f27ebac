"""Which words say the label: an edit that touches them may turn what a text says, and then a clean model is "fooled", too."""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence

import numpy as np
from numpy.typing import NDArray

from lib.datasets.words import is_word, split_words

PRIOR_ROWS = 2.0  # every word is taken to occur in so many rows more, spread over the labels as all rows are


def label_leans(texts: Sequence[str], labels: NDArray) -> dict[str, NDArray]:
    """How far each word leans to each label: smoothed log-odds of the label in rows that hold it, less those of all rows.

    In nats, shape (n_labels,) each. Above 0: rows of this label hold the word more often than others do. The prior draws rare
    words to 0, but not so far that a word seen in three rows of one label passes for neutral; a word that no text holds has 0.

    Args:
        texts: the clean training texts.
        labels: class ids 0 .. n_labels - 1 of the texts, shape (n,); every label occurs.

    Source: log-odds with an informative prior (Monroe, Colaresi and Quinn 2008, "Fightin' Words"), here of rows, not tokens.

    >>> leans = label_leans(["good film", "good cast", "bad film", "a cast"], np.array([1, 1, 0, 0]))
    >>> {word: leans[word].round(2).tolist() for word in ("good", "film", "bad")}
    {'good': [-1.1, 1.1], 'film': [0.0, 0.0], 'bad': [0.69, -0.69]}
    """
    shares = np.bincount(labels) / len(labels)
    counts: dict[str, Counter[int]] = {}
    for text, label in zip(texts, labels.tolist(), strict=True):
        for word in {token.lower() for token in split_words(text)[0] if is_word(token)}:
            counts.setdefault(word, Counter())[label] += 1
    held = np.array([[count[label] for label in range(len(shares))] for count in counts.values()], dtype=float)
    smoothed = (held + PRIOR_ROWS * shares) / (held.sum(axis=1, keepdims=True) + PRIOR_ROWS)
    leans = np.log(smoothed / (1 - smoothed)) - np.log(shares / (1 - shares))
    return dict(zip(counts, leans, strict=True))


def label_words(texts: Sequence[str], labels: NDArray, max_lean: float) -> dict[str, NDArray]:
    """The words that lean further than `max_lean` to any label, or away from it, with their leans, in alphabetical order."""
    leans = label_leans(texts, labels)
    return {word: leans[word] for word in sorted(leans) if np.abs(leans[word]).max() > max_lean}
