"""How much of the ASR a defense removed: three numbers per cell of tasks x attacks, their macro averages, and intervals.

The literature's "75 % lower" leaves open whether points or per cent are meant, and what a clean model would score. So three
numbers stand side by side: points (before - after), relative ((before - after) / before) and the removed share ((before -
after) / (before - floor)). Cells count alike, whatever their number of test texts; seeds are averaged last.
"""

from __future__ import annotations

import warnings
from collections.abc import Sequence
from typing import Any

import numpy as np
import pandas as pd
from numpy.typing import NDArray

from lib.metrics.rates import MIN_REMOVABLE
from lib.metrics.significance import mcnemar_p_value, sign_flip_p_value

N_DRAWS = 2000
MEASURES = ("points", "relative", "removed_share", "cacc_change")
RATES = ("backdoored_asr", "merged_asr", "asr_floor", "backdoored_cacc", "merged_cacc")
_ATTACKED = ("backdoored_hits", "hits", "floor_hits")
_CLEAN = ("backdoored_correct", "correct")


def reduction_table(table: pd.DataFrame, seed: int = 0) -> pd.DataFrame:
    """Before and after a defense, per cell and on average.

    Intervals are 95 % hierarchical bootstraps: seeds are drawn first, the same for all cells, because models of one seed share
    a head, partners and training rows; then the test texts of each cell, the same for the models compared.

    Args:
        table: one row per task, attack and seed, with one 0/1 outcome per test example in `hits`, `correct`, `backdoored_hits`,
            `backdoored_correct` and `floor_hits`.
        seed: of the bootstrap.

    Returns:
        One row per (task, attack), then one with task and attack "all", their mean: `RATES` and `MEASURES`, each with `_low`
        and `_high`; `n_seeds`; `mcnemar_p`, the largest of the seeds' exact McNemar tests of ASR before against after (cells
        only); `sign_flip_p`, the exact test of the points over seeds.

    Raises:
        ValueError: for an empty table, cells with different seeds, or two rows of one cell and seed.
    """
    cells, seeds = _cells(table)
    rng = np.random.default_rng(seed)
    picked = rng.integers(len(seeds), size=(N_DRAWS, len(seeds)))  # (draw, slot) -> seed
    runs = [[frame.loc[number] for number in seeds] for frame in cells.values()]
    observed = np.stack([[_means(run, _ATTACKED) + _means(run, _CLEAN) for run in cell] for cell in runs], axis=1)
    drawn = np.stack(
        [np.concatenate([_resampled(cell, columns, picked, rng) for columns in (_ATTACKED, _CLEAN)], axis=-1) for cell in runs],
        axis=2,
    )  # (draw, slot, cell, rate)
    values, samples = _measures(observed), _measures(drawn)
    rows = []
    for number, (task, attack) in enumerate(cells):
        one = [number]
        row = {"task": task, "attack": attack, "n_seeds": len(seeds), **_described(values[:, one], samples[:, :, one])}
        row["mcnemar_p"] = max(mcnemar_p_value(run["backdoored_hits"], run["hits"]) for run in runs[number])
        rows.append(row | {"sign_flip_p": sign_flip_p_value(values[:, number, len(RATES)].tolist())})
    average = {"task": "all", "attack": "all", "n_seeds": len(seeds), **_described(values, samples), "mcnemar_p": float("nan")}
    return pd.DataFrame([*rows, average | {"sign_flip_p": sign_flip_p_value(values[:, :, len(RATES)].mean(axis=1).tolist())}])


def most_models(table: pd.DataFrame, partners: str) -> pd.DataFrame:
    """The rows of table `04_merging` with the most partners of a kind, task by task: what `reduction_table` takes."""
    rows = table[table["partners"] == partners]
    return rows[rows["n_models"] == rows.groupby("task")["n_models"].transform("max")]


def _cells(table: pd.DataFrame) -> tuple[dict[tuple[str, str], pd.DataFrame], list[int]]:
    if table.empty:
        raise ValueError("there is no row to compare before and after")
    cells = {(str(task), str(attack)): rows for (task, attack), rows in table.groupby(["task", "attack"], sort=False)}
    seeds = sorted(set(table["seed"]))
    for cell, rows in cells.items():
        if sorted(rows["seed"]) != seeds:
            raise ValueError(f"{cell} has seeds {sorted(rows['seed'])}; every cell must have each of {seeds} once")
    return {cell: rows.set_index("seed") for cell, rows in cells.items()}, seeds


def _means(run: pd.Series, columns: Sequence[str]) -> list[float]:
    return [float(np.mean(run[column])) for column in columns]


def _resampled(runs: Sequence[pd.Series], columns: Sequence[str], picked: NDArray, rng: np.random.Generator) -> NDArray:
    """Means of resampled examples of the drawn seeds, shape (draw, slot, column).

    Outcomes of one example stay together. There are at most eight kinds of examples, so drawing how often each kind occurs is
    the same law as drawing examples, and faster.
    """
    per_seed = []
    for run in runs:
        kinds, counts = np.unique(np.stack([run[column] for column in columns], axis=1), axis=0, return_counts=True)
        drawn = rng.multinomial(counts.sum(), counts / counts.sum(), size=picked.shape)
        per_seed.append(drawn @ kinds / counts.sum())
    return np.take_along_axis(np.stack(per_seed), picked[None, :, :, None], axis=0)[0]


def _measures(rates: NDArray) -> NDArray:
    """`RATES` and, after them, `MEASURES`, along the last axis; a removed share that is not defined is NaN."""
    before, after, floor, cacc_before, cacc_after = np.moveaxis(rates, -1, 0)
    removable = np.where(before - floor < MIN_REMOVABLE, np.nan, before - floor)
    points = before - after
    relative = points / np.where(before > 0, before, np.nan)
    return np.concatenate([rates, np.stack([points, relative, points / removable, cacc_after - cacc_before], axis=-1)], axis=-1)


def _described(values: NDArray, samples: NDArray) -> dict[str, Any]:
    """Means over cells, then over seeds, with intervals.

    Args:
        values: shape (seed, cell, measure).
        samples: shape (draw, slot, cell, measure).
    """
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", RuntimeWarning)  # the mean of cells none of which has a removed share is NaN
        means = np.nanmean(np.nanmean(values, axis=1), axis=0)
        lows, highs = np.nanquantile(np.nanmean(np.nanmean(samples, axis=2), axis=1), (0.025, 0.975), axis=0)
    row: dict[str, Any] = {}
    for name, mean, low, high in zip((*RATES, *MEASURES), means, lows, highs, strict=True):
        row |= {name: float(mean), f"{name}_low": float(low), f"{name}_high": float(high)}
    return row
