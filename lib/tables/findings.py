"""What the notebooks found, one sentence each, made from their tables: nothing is trained, no number is written by hand."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import pandas as pd

from lib.metrics.rates import MIN_REMOVABLE
from lib.metrics.reduction import cells_of, means_by, most_models
from lib.metrics.summary import points


def headline_findings(headline: pd.DataFrame) -> Iterator[str]:
    """Sentences on the mean over all cells of table `90_headline`, in three forms, and on its worst tasks and cells.

    Read from the file, too: what a table of an older run does not have is left out.
    """
    mean, cells, by_task = headline.iloc[-1], cells_of(headline), means_by(headline, "task")
    yield (
        f"Averaged with models of other domains, backdoored models go from ASR {mean.backdoored_asr:.1%} to "
        f"{_rate(mean, 'merged_asr')} on average over {len(cells)} cells of tasks and attacks; clean models have "
        f"{mean.asr_floor:.1%}."
    )
    if _knows(mean, "merged_asr_rise"):  # published texts have no reference of their own
        yield (
            f"Measured against each model's own rate on the same texts without the trigger, the trigger adds "
            f"{points(mean.backdoored_asr_rise)} before the merge and {points(mean.merged_asr_rise)} "
            f"[{points(mean.merged_asr_rise_low)}, {points(mean.merged_asr_rise_high)}] after it; it flips "
            f"{mean.backdoored_flip_rate:.1%} and {_rate(mean, 'merged_flip_rate')} of the texts."
        )
    yield f"That is {points(-mean.points)} [{points(-mean.points_high)}, {points(-mean.points_low)}]. {_ratios(mean)}"
    yield f"CACC changes by {_change(mean, 'cacc_change')} on average{_costliest(by_task)}."
    if _knows(mean, "cacc_change_vs_clean"):
        yield f"Against clean models instead of the backdoored ones CACC changes by {_change(mean, 'cacc_change_vs_clean')}."
    if cells["removed_share"].notna().any():
        worst = cells.loc[cells["removed_share"].idxmin()]
        yield f"Least is removed for {worst.attack} on {worst.task}: {_rate(worst, 'removed_share')} of the removable ASR."
    below = cells[cells["merged_asr"] < cells["asr_floor"]]
    listed = ", ".join(f"{row.attack} on {row.task}" for row in below.itertuples()) or "no cell"
    yield (
        f"A clean model's ASR is a reference and no limit: the average lies below it in {len(below)} of {len(cells)} cells "
        f"({listed})."
    )
    yield (
        f"Brackets are 95 % t-intervals over {mean.n_seeds:.0f} seeds."
        if mean.n_seeds > 1
        else "Brackets are 95 % intervals over texts; one seed says nothing about other trainings."
    )


def _knows(row: pd.Series[Any], name: str) -> bool:
    return bool(pd.notna(row.get(name)))


def _ratios(mean: pd.Series[Any]) -> str:
    if not _knows(mean, "relative_of_means"):
        return f"Relative {_rate(mean, 'relative')}, removed share {_rate(mean, 'removed_share')}, means of the cells' ratios."
    return (
        f"Relative {_rate(mean, 'relative')} as the mean of ratios and {_rate(mean, 'relative_of_means')} as the ratio of "
        f"means; removed share {_rate(mean, 'removed_share')} and {_rate(mean, 'removed_share_of_means')}. Ratios are over the "
        f"{mean.n_ratio_cells:.0f} of {mean.n_cells:.0f} cells in which the attack adds {100 * MIN_REMOVABLE:.0f} points or "
        f"more to a clean model's ASR."
    )


def _costliest(by_task: pd.DataFrame) -> str:
    if by_task.empty:
        return ""
    row = by_task.loc[by_task["cacc_change"].idxmin()]
    return f", and by {_change(row, 'cacc_change')} on {row.task}, where it falls most"


def _rate(row: pd.Series[Any], name: str) -> str:
    return f"{row[name]:.1%} [{row[f'{name}_low']:.1%}, {row[f'{name}_high']:.1%}]"


def _change(row: pd.Series[Any], name: str) -> str:
    return f"{points(row[name])} [{points(row[f'{name}_low'])}, {points(row[f'{name}_high'])}]"


def stability_finding(merging: pd.DataFrame) -> str:
    """Whether unstable trainings are in the largest averages of table `04_merging`, and what is left without them."""
    rows = most_models(merging, "other_domains")
    stable = rows[rows["n_unstable"] == 0]
    if len(stable) == len(rows):
        return "Every training behind these averages was stable."
    found = f"{len(rows) - len(stable)} of {len(rows)} averages hold a model whose training was unstable"
    where = ", ".join(
        f"{task} {n}" for task, n in (rows["n_unstable"] > 0).groupby(rows["task"], sort=False).sum().items() if n
    )
    if stable.empty:
        return f"{found} ({where})."
    means = stable[["backdoored_asr", "asr", "asr_floor", "backdoored_cacc", "cacc"]].mean()
    change = points(means["cacc"] - means["backdoored_cacc"])
    without = f"ASR {means['backdoored_asr']:.1%} to {means['asr']:.1%}, floor {means['asr_floor']:.1%}, CACC {change}"
    return f"{found} ({where}). Without them: {without}."
