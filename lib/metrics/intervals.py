"""Intervals: of one rate, and of means over seeds. `seed_interval` is the one that tables, figures and verdicts use.

Seeds are few, three or six. A bootstrap that draws three seeds out of three sees too little of how seeds differ and covers the
mean of all seeds in 70 to 90 % of the cases instead of 95; Student's t covers it (`tests/metrics/test_coverage.py` simulates
both). Every seed is one independent repetition of the study: its own training rows, batches and test texts.
"""

from __future__ import annotations

import numpy as np
from numpy.typing import ArrayLike, NDArray

CONFIDENCE = 0.95


def wilson_interval(n_successes: int, n: int, confidence: float = CONFIDENCE) -> tuple[float, float]:
    """Wilson score interval of one rate: useful where a bootstrap of equal outcomes has no width.

    >>> [round(bound, 4) for bound in wilson_interval(0, 240)]
    [0.0, 0.0158]
    >>> [round(bound, 4) for bound in wilson_interval(12, 240)]
    [0.0288, 0.0853]
    """
    from scipy.stats import binomtest

    interval = binomtest(n_successes, n).proportion_ci(confidence, method="wilson")
    return float(interval.low), float(interval.high)


def text_variance(outcomes: ArrayLike) -> float:
    """Variance of a mean of outcomes that comes from having drawn these texts and no others.

    One text more or fewer is always possible: 250 hits in 250 texts are no proof of a rate of 1. So the square of one text's
    share is added, which matters at the ends of the scale alone.

    Args:
        outcomes: one number per text, such as 0 or 1, shape (n,).

    >>> round(text_variance([1, 0, 1, 0]), 4), round(text_variance([1] * 100), 4)
    (0.125, 0.0001)
    """
    values = np.asarray(outcomes, dtype=float)
    return float(values.var() / len(values) + 1 / len(values) ** 2)


def seed_interval(
    values: ArrayLike, text_variances: ArrayLike | None = None, confidence: float = CONFIDENCE
) -> tuple[NDArray, NDArray]:
    """Student-t interval of the mean over seeds, the unit for any claim about a method.

    The spread of the seeds holds both how trainings differ and how test texts differ. Where it is smaller than the texts alone
    would make it, as for three seeds that all have ASR 1, the variance of the texts stands in for it. The interval may leave
    the range of what is measured: whoever knows the range clips it.

    Args:
        values: one per seed along the first axis, shape (n_seeds, ...).
        text_variances: variance of each value that comes from the texts, as from `text_variance`; same shape. With one seed it
            is all there is: the interval is then a normal one over texts and says nothing about other trainings.
        confidence: coverage, in (0, 1).

    Returns:
        Lower and upper bounds, of shape (...).

    Raises:
        ValueError: for no seed, one seed without variances, or a confidence outside (0, 1).

    Source: Student 1908. Like any t-interval it is too short where single seeds are far out on one side: of cells whose seeds
    have ASR 0.97 in the middle and, one in six, below 0.88, it covers about 80 %.

    >>> [round(float(bound), 3) for bound in seed_interval([0.62, 0.55, 0.70, 0.48, 0.66])]
    [0.493, 0.711]
    """
    from scipy.stats import norm, t

    numbers = np.asarray(values, dtype=float)
    n = len(numbers)
    if n < 1 or (n == 1 and text_variances is None):
        raise ValueError(f"an interval over seeds needs two or more, found {n}")
    if not 0 < confidence < 1:
        raise ValueError(f"confidence is {confidence}; it must lie in (0, 1)")
    within = 0.0 if text_variances is None else np.mean(np.asarray(text_variances, dtype=float), axis=0)
    between = numbers.var(axis=0, ddof=1) if n > 1 else 0.0
    level = (1 + confidence) / 2
    quantile = t.ppf(level, n - 1) if n > 1 else norm.ppf(level)
    half = quantile * np.sqrt(np.maximum(between, within) / n)
    mean = numbers.mean(axis=0)
    return mean - half, mean + half
