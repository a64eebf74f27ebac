"""How much of the ASR a defense removed: per cell of tasks x attacks, their macro averages, and intervals.

The literature's "75 % lower" leaves open whether points or per cent are meant, what a clean model would score, and whether
ratios are averaged or averages divided. So five numbers stand side by side: points (before - after); relative ((before -
after) / before) and the removed share ((before - after) / (before - floor)), each as the mean of the cells' ratios and as the
ratio of the cells' means. Cells count alike, whatever their number of test texts.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence

import numpy as np
import pandas as pd
from numpy.typing import NDArray

from lib.metrics.intervals import seed_interval
from lib.metrics.rates import is_enough
from lib.metrics.resampling import Runs, gradient
from lib.metrics.significance import mcnemar_p_value, sign_flip_p_value

RATES = ("backdoored_asr", "merged_asr", "asr_floor", "backdoored_cacc", "merged_cacc")
OWN_RATES = ("backdoored_flip_rate", "merged_flip_rate", "backdoored_asr_rise", "merged_asr_rise")
RATIOS = ("relative", "relative_of_means", "removed_share", "removed_share_of_means")
MEASURES = ("points", *RATIOS, "cacc_change", "cacc_change_vs_clean")
NAMES = (*RATES, *OWN_RATES, *MEASURES)
ALL = "all"
_RANGES = {
    **dict.fromkeys((*RATES, "backdoored_flip_rate", "merged_flip_rate"), (0.0, 1.0)),
    **dict.fromkeys(("backdoored_asr_rise", "merged_asr_rise", "points", "cacc_change", "cacc_change_vs_clean"), (-1.0, 1.0)),
    **dict.fromkeys(("relative", "relative_of_means"), (-np.inf, 1.0)),
}


def reduction_table(table: pd.DataFrame) -> pd.DataFrame:
    """Before and after a defense, per cell and on average.

    Intervals (`_low`, `_high`) are 95 % t-intervals over seeds, `lib.metrics.intervals.seed_interval`: each seed gives one
    value, the mean over its cells, so what cells of a seed share (test texts, partners, head) is counted once. They are
    clipped to what their measure can be. With one seed they are over texts only.

    Ratios of a cell are ratios of its means over seeds. A cell leaves the ratios, of its own row and of all means, if the
    attack adds less than 10 points (`lib.metrics.rates.MIN_REMOVABLE`) to the floor there, on average over seeds. The rule
    looks at the cell, never at a draw.

    Args:
        table: one row per task, attack and seed, with one 0/1 outcome per test text in `correct` and `backdoored_correct`, and
            per attackable one in `hits`, `backdoored_hits`, `floor_hits`; if known, `untriggered_hits` and
            `backdoored_untriggered_hits` (the same texts without the trigger), `attackable` (their rows in the test set), and
            `clean_correct` per test text.

    Returns:
        One row per (task, attack); then the means of each task, with attack "all"; of each attack, with task "all"; and of
        all cells. Columns: `RATES`, `OWN_RATES` (how each model does against its own rate without the trigger) and `MEASURES`,
        each with bounds; `n_seeds`; `n_cells`, and `n_ratio_cells`, those in the ratios; `mcnemar_p`, the largest of the seeds'
        exact McNemar tests of ASR before against after (cells only); `sign_flip_p`, the exact test of the points over seeds.

    Raises:
        ValueError: for an empty table, cells with different seeds, or two rows of one cell and seed.
    """
    runs = Runs(table)
    is_kept = _is_kept(runs.means.mean(axis=0))
    rows = []
    for (task, attack), chosen in _groups(runs.cells):
        points = runs.means[:, chosen, 0].mean(axis=1) - runs.means[:, chosen, 1].mean(axis=1)
        row = {"task": task, "attack": attack, "n_seeds": len(runs.seeds), "n_cells": len(chosen)}
        row |= {"n_ratio_cells": int(is_kept[chosen].sum()), **_described(runs, chosen, is_kept[chosen])}
        row["mcnemar_p"] = float("nan") if ALL in (task, attack) else _largest_p(runs.rows[chosen[0]])
        rows.append(row | {"sign_flip_p": sign_flip_p_value(points.tolist())})
    return pd.DataFrame(rows)


def interval_table(table: pd.DataFrame, seed: int = 0) -> pd.DataFrame:
    """Two kinds of intervals of the means over all cells: t-intervals over seeds, and a hierarchical bootstrap beside them.

    The bootstrap draws seeds, the same for all cells, then test texts, the same for all cells of a task and seed. With few
    seeds it is too short.

    Args:
        table: as for `reduction_table`.
        seed: of the bootstrap.

    Returns:
        One row per measure: `measure`, `mean`, `mean_low`, `mean_high`, `mean_bootstrap_low`, `mean_bootstrap_high`, `n_seeds`.
    """
    mean, runs = reduction_table(table).iloc[-1], Runs(table)
    samples = _measured(runs.drawn(seed), _is_kept(runs.means.mean(axis=0)))
    rows = []
    for name, sample in zip(NAMES, samples.T, strict=True):
        low, high = np.quantile(sample, (0.025, 0.975))
        row = {"measure": name, "mean": mean[name], "mean_low": mean[f"{name}_low"], "mean_high": mean[f"{name}_high"]}
        rows.append(row | {"mean_bootstrap_low": low, "mean_bootstrap_high": high, "n_seeds": len(runs.seeds)})
    return pd.DataFrame(rows)


def cells_of(reductions: pd.DataFrame) -> pd.DataFrame:
    """The rows of single cells of a `reduction_table`, without the means."""
    return reductions[(reductions["task"] != ALL) & (reductions["attack"] != ALL)]


def means_by(reductions: pd.DataFrame, column: str) -> pd.DataFrame:
    """The rows of the means of each task, or of each attack, of a `reduction_table`.

    Args:
        reductions: as from `reduction_table`.
        column: "task" or "attack".
    """
    other = {"task": "attack", "attack": "task"}[column]
    return reductions[(reductions[column] != ALL) & (reductions[other] == ALL)]


def most_models(table: pd.DataFrame, partners: str) -> pd.DataFrame:
    """The rows of table `04_merging` with the most partners of a kind, task by task: what `reduction_table` takes."""
    rows = table[table["partners"] == partners]
    return rows[rows["n_models"] == rows.groupby("task")["n_models"].transform("max")]


def _groups(cells: Sequence[tuple[str, str]]) -> Iterator[tuple[tuple[str, str], list[int]]]:
    """Which cells each row is about."""
    for number, cell in enumerate(cells):
        yield cell, [number]
    for place in (0, 1):
        for name in dict.fromkeys(cell[place] for cell in cells):
            chosen = [number for number, cell in enumerate(cells) if cell[place] == name]
            yield ((name, ALL) if place == 0 else (ALL, name)), chosen
    yield (ALL, ALL), list(range(len(cells)))


def _is_kept(means: NDArray) -> NDArray[np.bool_]:
    """Which cells are in the ratios, from their means over seeds, shape (cell, outcome)."""
    return is_enough(means[:, 0] - means[:, 2])


def _largest_p(runs: Sequence[pd.Series]) -> float:
    return max(mcnemar_p_value(run["backdoored_hits"], run["hits"]) for run in runs)


def _measured(means: NDArray, is_kept: NDArray[np.bool_]) -> NDArray:
    """`NAMES` along the last axis, from means of outcomes of some cells, shape (..., cell, outcome)."""
    outcomes = np.moveaxis(means, -1, 0)
    (before, after, floor), (cacc_before, cacc_after, cacc_clean) = outcomes[:3], outcomes[3:6]
    own_before, own_after, flips_before, flips_after = outcomes[6:]
    removed, removable = before - after, before - floor
    columns = [before, after, floor, cacc_before, cacc_after]
    with np.errstate(divide="ignore", invalid="ignore"):  # a model that sends all texts to the target has no flip rate
        columns += [flips_before / (1 - own_before), flips_after / (1 - own_after), before - own_before, after - own_after]
        columns.append(removed)
        linear = [column.mean(axis=-1) for column in columns]
        kept, parts = removed[..., is_kept], (before[..., is_kept], removable[..., is_kept])
        ratios = [form for part in parts for form in (_mean(kept / part), kept.sum(axis=-1) / part.sum(axis=-1))]
    changes = [(cacc_after - reference).mean(axis=-1) for reference in (cacc_before, cacc_clean)]
    return np.stack([*linear, *ratios, *changes], axis=-1)


def _mean(values: NDArray) -> NDArray:
    """The mean over cells, NaN where there are none."""
    return values.mean(axis=-1) if values.shape[-1] else np.full(values.shape[:-1], np.nan)


def _described(runs: Runs, chosen: Sequence[int], is_kept: NDArray[np.bool_]) -> dict[str, float]:
    """Measures of some cells with their bounds.

    The measures are functions of means of outcomes. A seed's value is the measure, moved along its gradient to the seed's own
    means: for rates and differences that is the seed's rate, and ratios cannot be blown up by one seed with little to remove.
    """
    per_seed = runs.means[:, chosen]
    centre = per_seed.mean(axis=0)
    found, slopes = _measured(centre, is_kept), gradient(lambda means: _measured(means, is_kept), centre)
    # An outcome that a table lacks is NaN in the measures that need it, and in no other.
    values = found + np.tensordot(np.nan_to_num(per_seed - centre), slopes, axes=([1, 2], [0, 1]))
    row: dict[str, float] = {}
    for name, value, low, high in zip(NAMES, found, *seed_interval(values, runs.text_variances(chosen, slopes)), strict=True):
        lowest, highest = _RANGES.get(name, (-np.inf, np.inf))
        row |= {name: float(value), f"{name}_low": float(max(low, lowest)), f"{name}_high": float(min(high, highest))}
    return row
