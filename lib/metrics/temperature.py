"""Temperature scaling (Guo et al. 2017, arXiv 1706.04599): one number that divides the logits of an overconfident model."""

from __future__ import annotations

import math
from collections.abc import Sequence

import numpy as np

from lib.metrics.scores import cross_entropy

LOWEST, HIGHEST = 0.05, 20.0


def fit_temperature(logits: np.ndarray, labels: Sequence[int] | np.ndarray) -> float:
    """The temperature with the lowest cross-entropy, in [0.05, 20]; above 1 for a model that is surer than it is right.

    Args:
        logits: on texts that the model was not trained on, shape (n, n_labels).
        labels: their class ids, shape (n,).

    Raises:
        ValueError: for no text.

    >>> round(fit_temperature(np.array([[4.0, 0.0]] * 4), [0, 0, 0, 1]), 2)  # three of four are right: log 3 is wanted
    3.64
    """
    from scipy.optimize import minimize_scalar

    if not len(logits):
        raise ValueError("a temperature is fitted on texts; found none")
    loss = lambda log_temperature: cross_entropy(logits / math.exp(log_temperature), labels)  # noqa: E731
    found = minimize_scalar(loss, bounds=(math.log(LOWEST), math.log(HIGHEST)), method="bounded")
    return math.exp(found.x)
