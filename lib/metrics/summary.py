"""Means and intervals of tidy tables: what the figures draw and the findings quote."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from typing import Any

import numpy as np
import pandas as pd
from numpy.typing import NDArray

from lib.metrics.intervals import seed_interval, text_variance

# Each rate with its outcomes per text, and the range to which its interval is clipped.
SUMMARISED = {"cacc": (("correct",), (0, 1)), "asr": (("hits",), (0, 1)), "asr_rise": (("hits", "untriggered_hits"), (-1, 1))}
# The same of differences to another model on the same texts: an interval of its own, for the texts that both get alike cancel.
CHANGES = {"cacc_change": (("correct", "backdoored_correct"), (-1, 1)), "excess_asr": (("hits", "floor_hits"), (-1, 1))}


def summarise(table: pd.DataFrame, by: Sequence[str], changes: Sequence[str] = ()) -> pd.DataFrame:
    """Mean CACC and ASR of each group with 95 % t-intervals over seeds (`lib.metrics.intervals.seed_interval`).

    Several rows of one seed in a group (subsets of domains, attacks, tasks) make one value of that seed. Rows on the same texts
    are averaged per text first: they share the draw of texts and are not independent. Intervals are clipped to the range of
    what they bound; with one seed they are over texts only.

    Args:
        table: with `seed`, `correct`, `hits`, and perhaps `untriggered_hits`.
        by: columns that define the groups; the order of the groups is that of the table.
        changes: keys of `CHANGES` that are summarised, too.

    Returns:
        One row per group: `by`, `cacc`, `cacc_low`, `cacc_high`, `asr`, `asr_low`, `asr_high`, the same of `asr_rise` (ASR
        minus the same model's rate without the trigger) if the table tells it and of the `changes`, `n_seeds`, and the mean of
        `asr_floor` if it has one.
    """
    summarised = SUMMARISED | {name: CHANGES[name] for name in changes}
    of_texts = [name for names, _ in summarised.values() for name in names]
    read = [*by, "seed", "task", "attackable", "asr_floor", *of_texts]
    rows = []
    # Without the other columns: cutting wide tables into many groups takes longer than all that is computed of them.
    for values, group in table[[name for name in dict.fromkeys(read) if name in table]].groupby(list(by), sort=False):
        row: dict[str, Any] = dict(zip(by, values, strict=True))
        for rate, (outcomes, (lowest, highest)) in summarised.items():
            if not all(name in group and group[name].map(_is_list).all() for name in outcomes):
                continue
            means, variances = zip(*(_of_seed(runs, outcomes) for _, runs in group.groupby("seed")), strict=True)
            low, high = seed_interval(means, variances)
            row[rate] = float(np.mean(means))
            row |= {f"{rate}_low": max(float(low), lowest), f"{rate}_high": min(float(high), highest)}
        if "asr_floor" in group:
            row["asr_floor"] = float(group["asr_floor"].mean())
        rows.append(row | {"n_seeds": group["seed"].nunique()})
    return pd.DataFrame(rows)


def _is_list(value: Any) -> bool:
    return isinstance(value, list | np.ndarray)


def _of_seed(runs: pd.DataFrame, outcomes: Sequence[str]) -> tuple[float, float]:
    """Mean of the runs of one seed, and its variance that comes from the texts."""
    mean = variance = 0.0
    for same_texts in _per_text(runs, outcomes):
        weight = len(same_texts) / len(runs)
        per_text = np.mean(same_texts, axis=0)
        mean, variance = mean + weight * per_text.mean(), variance + weight**2 * text_variance(per_text)
    return float(mean), float(variance)


def _per_text(runs: pd.DataFrame, outcomes: Sequence[str]) -> Iterator[NDArray]:
    """Outcomes of the runs that are scored on the same texts, shape (run, text); of two outcomes the difference."""
    nothing = [None] * len(runs)
    tasks, attackable = runs.get("task", nothing), runs.get("attackable", nothing) if "hits" in outcomes else nothing
    groups: dict[tuple[Any, ...], list[NDArray]] = {}
    for task, which, *found in zip(tasks, attackable, *(runs[name] for name in outcomes), strict=True):
        first, *second = (np.asarray(each, dtype=float) for each in found)
        texts = tuple(which) if _is_list(which) else len(first)
        groups.setdefault((task, texts), []).append(first - second[0] if second else first)
    for same_texts in groups.values():
        yield np.stack(same_texts)


def points(value: float) -> str:
    """A difference of rates in percentage points.

    >>> points(-0.1234)
    '-12.3 points'
    """
    return f"{100 * value:+.1f} points"
