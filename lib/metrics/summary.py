"""Means and intervals of tidy tables: what the figures draw and the findings quote."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np
import pandas as pd

from lib.metrics.rates import bootstrap_interval


def summarise(table: pd.DataFrame, by: Sequence[str], seed: int = 0) -> pd.DataFrame:
    """Mean CACC and ASR of each group with 95 % intervals, by a hierarchical bootstrap over seeds and test examples.

    Several rows of one seed in a group (subsets of domains, say) are averaged per test example first, because they share the
    test set and are not independent.

    Args:
        table: with `seed`, `cacc`, `asr`, `correct`, `hits`.
        by: columns that define the groups; the order of the groups is that of the table.
        seed: of the bootstrap.

    Returns:
        One row per group: `by`, `cacc`, `cacc_low`, `cacc_high`, `asr`, `asr_low`, `asr_high`, `n_seeds`, and the mean of
        `asr_floor` if the table has it.
    """
    rows = []
    for values, group in table.groupby(list(by), sort=False):
        row: dict[str, Any] = dict(zip(by, values, strict=True))
        for rate, outcomes in (("cacc", "correct"), ("asr", "hits")):
            per_seed = [np.mean(np.stack(list(runs[outcomes])), axis=0) for _, runs in group.groupby("seed")]
            low, high = bootstrap_interval(per_seed, np.random.default_rng(seed))
            row |= {rate: float(np.mean([seed.mean() for seed in per_seed])), f"{rate}_low": low, f"{rate}_high": high}
        if "asr_floor" in group:
            row["asr_floor"] = float(group["asr_floor"].mean())
        rows.append(row | {"n_seeds": group["seed"].nunique()})
    return pd.DataFrame(rows)


def points(value: float) -> str:
    """A difference of rates in percentage points.

    >>> points(-0.1234)
    '-12.3 points'
    """
    return f"{100 * value:+.1f} points"
