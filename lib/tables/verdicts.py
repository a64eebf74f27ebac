"""Verdicts on claims: agree, disagree or undecided, from intervals over seeds."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import pandas as pd

from lib.metrics.intervals import CONFIDENCE, seed_interval

AGREE, DISAGREE, UNDECIDED = "agree", "disagree", "undecided"


@dataclass(frozen=True)
class Part:
    """A mean over seeds that a claim is about, with its 95 % t-interval."""

    name: str
    value: float
    low: float
    high: float
    n_seeds: int

    @classmethod
    def of(cls, row: pd.Series[Any], measure: str, name: str) -> Part:
        """A measure of a row that has its bounds and `n_seeds`."""
        return cls(name, row[measure], row[f"{measure}_low"], row[f"{measure}_high"], int(row["n_seeds"]))

    def widened(self, n_parts: int) -> tuple[float, float]:
        """Bounds that hold for all of several means at once with 95 %, by Bonferroni's inequality.

        >>> [round(bound, 3) for bound in Part("", 0.5, 0.4, 0.6, 3).widened(4)]
        [0.294, 0.706]
        """
        from scipy.stats import t

        one, all_of_them = (t.ppf(1 - (1 - CONFIDENCE) / 2 / n, self.n_seeds - 1) for n in (1, n_parts))
        factor = float(all_of_them / one)
        return self.value - factor * (self.value - self.low), self.value + factor * (self.high - self.value)


def over_seeds(name: str, values: pd.Series[float]) -> Part:
    """The mean of one value per seed."""
    if len(values) < 2:
        return Part(name, float(values.mean()), float("nan"), float("nan"), len(values))
    low, high = seed_interval(values)
    return Part(name, float(values.mean()), float(low), float(high), len(values))


def ratio_over_seeds(name: str, numerators: pd.Series[float], denominators: pd.Series[float]) -> Part:
    """The ratio of two means over seeds; its interval is that of the linearised ratio, as in `lib.metrics.reduction`."""
    ratio = float(numerators.mean() / denominators.mean())
    return over_seeds(name, ratio + (numerators - ratio * denominators) / denominators.mean())


def verdict(parts: Sequence[Part], at_least: float = -np.inf, at_most: float = np.inf) -> str:
    """Whether means lie in the range of a claim: "agree", "disagree" or "undecided".

    We agree if the interval of every part lies wholly in the range: all must, so no part may stray by chance and no correction
    is due (an intersection-union test, Berger 1982). We disagree if the interval of one part lies wholly outside. One of many
    may do that by chance, so there the intervals are those that hold for all parts at once. Else the seeds do not decide: so
    it is with one seed, which has no interval over seeds, and without any part.

    Args:
        parts: what the claim is about.
        at_least: lower end of the range.
        at_most: upper end of it.

    >>> verdict([Part("a", 0.8, 0.76, 0.84, 3)], at_least=0.75), verdict([Part("a", 0.8, 0.74, 0.86, 3)], at_least=0.75)
    ('agree', 'undecided')
    """
    if not parts or any(part.n_seeds < 2 for part in parts):
        return UNDECIDED
    if all(at_least <= part.low and part.high <= at_most for part in parts):
        return AGREE
    bounds = [part.widened(len(parts)) for part in parts]
    return DISAGREE if any(high < at_least or low > at_most for low, high in bounds) else UNDECIDED
