"""Which of two factors a rate follows: shares of variation in a complete two-way layout, and paired differences over seeds."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import pandas as pd

from lib.metrics.intervals import seed_interval


@dataclass(frozen=True)
class Difference:
    """Mean over seeds of a difference of two rates, with its 95 % t-interval; NaN bounds of one seed."""

    mean: float
    low: float
    high: float
    n_seeds: int

    def __str__(self) -> str:
        interval = f" [{100 * self.low:+.1f}, {100 * self.high:+.1f}]" if self.n_seeds > 1 else " (one seed)"
        return f"{100 * self.mean:+.1f} points{interval}"


def explained_shares(table: pd.DataFrame, rate: str, factors: tuple[str, str], within: Sequence[str]) -> dict[str, float]:
    """Shares of the variation of a rate's cell means that go with each of two factors, and of what is left.

    Sums of squares of the two-way analysis of variance without replication, added up over panels. A cell is the mean of all
    its rows; all panels whose layout is complete, with two or more values of each factor, count by their own variation.

    Args:
        table: with `rate`, the factors and the columns of `within`.
        rate: whose variation is split.
        factors: names of two columns.
        within: columns that define a panel.

    Returns:
        The share of each factor and of "rest" (noise, and what the factors do only together); they sum to 1. NaN where nothing
        varies.

    >>> table = pd.DataFrame({"task": "a", "w": [0, 0, 1, 1], "n": [1, 2, 1, 2], "asr": [0.2, 0.2, 0.8, 0.8]})
    >>> explained_shares(table, "asr", ("w", "n"), ["task"])
    {'w': 1.0, 'n': 0.0, 'rest': 0.0}
    """
    first, second = factors
    sums = np.zeros(3)
    for _, panel in table.groupby(list(within), sort=False):
        grid = panel.groupby([first, second])[rate].mean().unstack().to_numpy()
        if min(grid.shape) < 2 or np.isnan(grid).any():
            continue
        rows, columns = grid.mean(axis=1, keepdims=True) - grid.mean(), grid.mean(axis=0, keepdims=True) - grid.mean()
        rest = grid - grid.mean() - rows - columns
        sums += [grid.shape[1] * (rows**2).sum(), grid.shape[0] * (columns**2).sum(), (rest**2).sum()]
    shares = sums / sums.sum() if sums.sum() > 1e-12 else np.full(3, np.nan)
    return dict(zip((first, second, "rest"), (float(share) for share in shares), strict=True))


def paired_difference(first: pd.DataFrame, second: pd.DataFrame, rate: str, within: Sequence[str]) -> Difference:
    """How much higher a rate is in the second table than in the first, cell by cell, then seed by seed.

    Cells (the columns of `within`) that only one of the tables has are left out, those that both have count alike.

    Raises:
        ValueError: if the tables share no seed and cell.

    >>> low = pd.DataFrame({"task": "a", "seed": [0, 1], "asr": [0.1, 0.2]})
    >>> str(paired_difference(low, low.assign(asr=[0.3, 0.4]), "asr", ["task"]))
    '+20.0 points [+20.0, +20.0]'
    """
    by = ["seed", *within]
    cells = (second.groupby(by)[rate].mean() - first.groupby(by)[rate].mean()).dropna()
    if cells.empty:
        raise ValueError(f"the tables share no cell of {by} with a {rate}")
    values = cells.groupby("seed").mean().tolist()
    low, high = seed_interval(values) if len(values) > 1 else (float("nan"), float("nan"))
    return Difference(float(np.mean(values)), float(low), float(high), len(values))
