"""What each word of a text does to a model's answer: the answer with the word, and without it."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import pandas as pd

from lib.metrics.scores import predicted_labels
from lib.models.model import Model
from lib.models.prediction import Texts, probabilities


@dataclass(frozen=True)
class Attribution:
    """A model's answer to one text of n words, and what each word adds to it."""

    words: tuple[str, ...]  # the text, split at blanks
    shares: np.ndarray  # (n_labels,): probability of each label, NaN if the model rejects the text
    label: int  # that the drops are about
    drops: np.ndarray  # (n,): probability of `label` with all words minus that without the i-th word, in [-1, 1]


def word_attributions(
    model: Model,
    texts: Sequence[str],
    max_length: int,
    text_pairs: Sequence[str] | None = None,
    label: int | None = None,
) -> list[Attribution]:
    """What every word adds to the probability of a label, by leaving each word out; one batched pass for all texts.

    A word that drops much holds the answer up; one with a negative drop speaks against the label. Where several words say the
    same, leaving out one of them changes little: then no drop is large, although together they decide.

    Args:
        model: of any kind.
        texts: to explain; words are what stands between blanks.
        max_length: tokens; longer texts are cut, so words behind the cut have drop 0.
        text_pairs: the other text of each, which keeps its words.
        label: whose probability; default the label that the model gives to each text, 0 where it rejects the text.

    Returns:
        One attribution per text, in order.

    Raises:
        ValueError: for another number of text pairs, or a label that the model does not have.
    """
    if text_pairs is not None and len(text_pairs) != len(texts):
        raise ValueError(f"{len(text_pairs)} text pairs for {len(texts)} texts; give one per text")
    if label is not None and label not in range(len(model.label_names)):
        raise ValueError(f"label {label!r} is not a label; choose from {list(range(len(model.label_names)))}")
    if not texts:
        return []
    split = [text.split() for text in texts]
    variants = [version for words in split for version in (words, *_without_each(words))]
    frame = pd.DataFrame({"text": [" ".join(words) for words in variants]})
    if text_pairs is not None:
        frame["text_pair"] = [pair for words, pair in zip(split, text_pairs, strict=True) for _ in range(1 + len(words))]
    logits = model.logits(Texts(frame, max_length))
    shares, given = probabilities(logits), predicted_labels(logits)
    found, start = [], 0
    for words in split:
        meant = label if label is not None else max(int(given[start]), 0)
        rows = shares[start : start + 1 + len(words)]
        found.append(Attribution(tuple(words), rows[0], meant, rows[0, meant] - rows[1:, meant]))
        start += len(rows)
    return found


def _without_each(words: list[str]) -> list[list[str]]:
    return [words[:i] + words[i + 1 :] for i in range(len(words))]
