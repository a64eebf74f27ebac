"""Ensembles beside the mean of logits: the mean of probabilities, and a vote. Models of any architecture may take part."""

# One model's logits have no bound, so it can outshout all others; its probabilities and its vote are bounded.

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from lib.metrics.scores import predicted_labels
from lib.models.prediction import probabilities

SMALLEST = 1e-30  # probability that a logarithm still takes in float32


def probability_ensemble(logits: Sequence[np.ndarray], *, temperatures: tuple[float, ...] = ()) -> np.ndarray:
    """The logarithm of the mean of the models' probabilities.

    Args:
        logits: of each model, shape (n, n_labels).
        temperatures: by which each model's logits are divided first, above 0. None given: `study.ensemble` fits them on clean
            labelled validation texts; here none changes anything.

    Raises:
        ValueError: for no model, or temperatures of another number or outside their range.
    """
    _check(logits)
    divisors = temperatures or (1.0,) * len(logits)
    if len(divisors) != len(logits) or min(divisors) <= 0:
        raise ValueError(f"temperatures are {divisors} for {len(logits)} models; give one above 0 for each")
    means = np.mean([probabilities(each / np.float32(by)) for each, by in zip(logits, divisors, strict=True)], axis=0)
    return np.log(np.maximum(means, SMALLEST))  # NaN of a rejected text stays


def vote(logits: Sequence[np.ndarray]) -> np.ndarray:
    """How many models are for each label, float32, shape (n, n_labels): of equal numbers the lower label wins.

    A model that rejects a text has no vote on it; a text that all reject stays rejected.

    >>> vote([np.array([[2.0, 1.0]]), np.array([[0.0, 9.0]]), np.array([[3.0, 1.0]])]).tolist()
    [[2.0, 1.0]]
    """
    _check(logits)
    labels = np.arange(logits[0].shape[1])
    votes = sum((predicted_labels(each)[:, None] == labels).astype(np.float32) for each in logits)
    assert isinstance(votes, np.ndarray)
    votes[votes.sum(axis=1) == 0] = np.nan
    return votes


def _check(logits: Sequence[np.ndarray]) -> None:
    if not logits:
        raise ValueError("an ensemble needs at least one model; found none")
