"""Exact paired tests: of two models on the same examples, and of a method over seeds. Intervals are in `lib.metrics.rates`."""

from __future__ import annotations

from collections.abc import Sequence
from itertools import product

import numpy as np
from numpy.typing import ArrayLike

MAX_SEEDS = 20  # 2**20 sign patterns are enumerated in a second


def mcnemar_p_value(first: ArrayLike, second: ArrayLike) -> float:
    """Exact two-sided McNemar test: do two models differ on the same examples?

    It says nothing about other training runs; see `sign_flip_p_value`.

    Args:
        first: 0/1 outcomes of one model, shape (n,).
        second: those of the other on the same examples, in the same order.

    Raises:
        ValueError: if shapes differ, or an outcome is neither 0 nor 1.

    Source: McNemar 1947; the binomial form of Edwards 1948 without continuity correction.

    >>> round(mcnemar_p_value([1] * 15 + [0] * 5, [0] * 15 + [1] * 5), 4)
    0.0414
    """
    from scipy.stats import binomtest

    one, other = np.asarray(first), np.asarray(second)
    if one.shape != other.shape or one.ndim != 1:
        raise ValueError(f"outcomes of shapes {one.shape} and {other.shape} are not paired")
    if not np.isin(one, (0, 1)).all() or not np.isin(other, (0, 1)).all():
        raise ValueError("outcomes must be 0 or 1")
    only_first, only_second = int((one > other).sum()), int((other > one).sum())
    n = only_first + only_second
    return float(binomtest(min(only_first, only_second), n).pvalue) if n else 1.0


def sign_flip_p_value(differences: Sequence[float]) -> float:
    """Exact two-sided sign-flip test: is the mean difference over seeds further from 0 than chance would have it?

    Without an effect each seed's difference is as likely as its negative. All 2**n sign patterns are tried, so the smallest
    possible value is 2 / 2**n: 0.25 with three seeds, 0.031 with six.

    Args:
        differences: one per seed, such as the ASR before a merge minus the ASR after it.

    Raises:
        ValueError: without a seed, for more than 20, or for a difference that is not finite.

    Source: Fisher 1935, section 21.

    >>> sign_flip_p_value([0.10, 0.14, 0.30])
    0.25
    """
    values = np.asarray(differences, dtype=float)
    if not 1 <= values.size <= MAX_SEEDS or not np.isfinite(values).all():
        raise ValueError(f"differences are {values.tolist()}; there must be 1 to {MAX_SEEDS}, all finite")
    signs = np.array(list(product((1, -1), repeat=values.size)))
    means = np.abs(signs @ values)
    return float((means >= means[0] * (1 - 1e-12)).mean())  # the first pattern leaves every sign as it is


def holm(p_values: Sequence[float]) -> list[float]:
    """P-values adjusted for being several, by Holm's step-down rule, in the order given.

    Raises:
        ValueError: for a value outside [0, 1].

    Source: Holm 1979.

    >>> [round(value, 3) for value in holm([0.01, 0.04, 0.03])]
    [0.03, 0.06, 0.06]
    """
    values = np.asarray(p_values, dtype=float)
    if not ((values >= 0) & (values <= 1)).all():
        raise ValueError(f"p-values are {values.tolist()}; each must lie in [0, 1]")
    order = np.argsort(values, kind="stable")
    adjusted = np.empty_like(values)
    adjusted[order] = np.minimum(1, np.maximum.accumulate(values[order] * np.arange(len(values), 0, -1)))
    return adjusted.tolist()
