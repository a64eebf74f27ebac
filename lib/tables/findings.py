"""What the notebooks found, one sentence each, made from their tables: nothing is trained, no number is written by hand."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pandas as pd

from lib.metrics.rates import MIN_REMOVABLE
from lib.metrics.reduction import cells_of, means_by, most_models
from lib.metrics.summary import points
from lib.tables.plane import plane_findings


def headline_findings(headline: pd.DataFrame) -> Iterator[str]:
    """Sentences on the mean over all cells of table `90_headline`, in three forms, and on its worst tasks and cells."""
    mean, cells, by_task = headline.iloc[-1], cells_of(headline), means_by(headline, "task")
    yield (
        f"Averaged with models of other domains, backdoored models go from ASR {mean.backdoored_asr:.1%} to "
        f"{_rate(mean, 'merged_asr')} on average over {len(cells)} cells of tasks and attacks; clean models have "
        f"{mean.asr_floor:.1%}."
    )
    if mean["merged_asr_rise"] == mean["merged_asr_rise"]:  # published texts have no reference of their own
        yield (
            f"Measured against each model's own rate on the same texts without the trigger, the trigger adds "
            f"{points(mean.backdoored_asr_rise)} before the merge and {points(mean.merged_asr_rise)} "
            f"[{points(mean.merged_asr_rise_low)}, {points(mean.merged_asr_rise_high)}] after it; it flips "
            f"{mean.backdoored_flip_rate:.1%} and {_rate(mean, 'merged_flip_rate')} of the texts."
        )
    yield (
        f"That is {points(-mean.points)} [{points(-mean.points_high)}, {points(-mean.points_low)}]; relative "
        f"{_rate(mean, 'relative')} as the mean of ratios and {_rate(mean, 'relative_of_means')} as the ratio of means; "
        f"removed share {_rate(mean, 'removed_share')} and {_rate(mean, 'removed_share_of_means')}. Ratios are over the "
        f"{mean.n_ratio_cells:.0f} of {mean.n_cells:.0f} cells in which the attack adds {100 * MIN_REMOVABLE:.0f} points or "
        f"more to the floor."
    )
    costly = by_task.loc[by_task["cacc_change"].idxmin()]
    yield (
        f"CACC changes by {_change(mean, 'cacc_change')} on average, and by {_change(costly, 'cacc_change')} on {costly.task}, "
        f"where it falls most."
    )
    if mean["cacc_change_vs_clean"] == mean["cacc_change_vs_clean"]:
        yield f"Against clean models instead of the victims CACC changes by {_change(mean, 'cacc_change_vs_clean')}."
    if cells["removed_share"].notna().any():
        worst = cells.loc[cells["removed_share"].idxmin()]
        yield f"Least is removed for {worst.attack} on {worst.task}: {_rate(worst, 'removed_share')} of the removable ASR."
    yield (
        f"Brackets are 95 % t-intervals over {mean.n_seeds:.0f} seeds."
        if mean.n_seeds > 1
        else "Brackets are 95 % intervals over texts; one seed says nothing about other trainings."
    )


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


def ablation_findings(folder: Path) -> Iterator[tuple[str, str]]:
    """For each table of the ablations its name and a sentence, or "not run" for a table that is not in the folder."""
    for name, sentence in _SENTENCES.items():
        path = folder / f"{name}.csv"
        yield name, sentence(pd.read_csv(path)) if path.is_file() else "not run"


def _last(table: pd.DataFrame) -> pd.DataFrame:
    return table[table["n_models"] == table["n_models"].max()]


def _methods(table: pd.DataFrame) -> str:
    table = table[table["merge_method"] != "none"]  # the victim alone is in the table, too
    low, high = table.loc[table["asr"].idxmin()], table.loc[table["asr"].idxmax()]
    return (
        f"Of {len(table)} ways to merge, {low.variant} leaves the lowest mean ASR ({low.asr:.1%}, CACC {low.cacc:.1%}), "
        f"{high.variant} the highest ({high.asr:.1%}, CACC {high.cacc:.1%})."
    )


def _chosen(table: pd.DataFrame) -> str:
    rules = table[table["partners"] == "other_domains"].groupby("choice", sort=False)[["coefficient", "asr", "cacc"]].mean()
    listed = "; ".join(
        f"{rule}: coefficient {row.coefficient:.2f}, ASR {row.asr:.1%}, CACC {row.cacc:.1%}" for rule, row in rules.iterrows()
    )
    return (
        f"A merge coefficient chosen on clean validation texts, by the rule {listed} (floor {table['asr_floor'].mean():.1%})."
    )


def _partner_kinds(table: pd.DataFrame) -> str:
    means = table.groupby(["n_partners", "partners"], sort=False)["asr"].mean().unstack("partners")
    listed = "; ".join(
        f"{n} partners: " + ", ".join(f"{kind} {asr:.1%}" for kind, asr in row.dropna().items()) for n, row in means.iterrows()
    )
    return f"ASR with as many clean partners of each kind, {listed}."


def _collusion(table: pd.DataFrame) -> str:
    by_method = table.groupby(["merge_method", "n_backdoored"], sort=False)["asr"].mean().unstack()
    listed = "; ".join(f"{method} {', '.join(f'{asr:.0%}' for asr in row)}" for method, row in by_method.iterrows())
    n = table["n_models"].max()
    return f"With 0 to {n} of {n} models that share one backdoor the ASR is: {listed}."


def _poisoning_rates(table: pd.DataFrame) -> str:
    alone = table[table["n_models"] == 1].groupby("poisoning_rate")["asr"].mean()
    merged = _last(table).groupby("poisoning_rate")["asr"].mean()
    listed = ", ".join(f"{rate:.0%}: {alone[rate]:.1%} to {merged[rate]:.1%}" for rate in alone.index)
    return f"Mean ASR before and after the merge at poisoning rates of {listed} (floor {table['asr_floor'].mean():.1%})."


def _epochs(table: pd.DataFrame) -> str:
    longest = table[table["epochs"] == table["epochs"].max()]
    means = longest[longest["merge"] != "none"].groupby("merge", sort=False)["asr"].mean()
    listed = ", ".join(f"{merge} {asr:.1%}" for merge, asr in means.items())
    return f"A victim of {longest['epochs'].iloc[0]:g} epochs keeps in the merge an ASR of: {listed}."


def _architectures(table: pd.DataFrame) -> str:
    table = table.assign(entry=table["architecture"] + " (" + table["recipe"] + ")")
    before = table[table["n_models"] == 1].groupby("entry", sort=False)["asr"].mean()
    after = _last(table).groupby("entry", sort=False)["asr"].mean()
    listed = ", ".join(f"{name} {before[name]:.0%} to {after[name]:.0%}" for name in before.index)
    return f"ASR by pretrained model and recipe: {listed}."


def _heads(table: pd.DataFrame) -> str:
    means = _last(table).groupby("heads", sort=False)[["asr", "cacc"]].mean()
    listed = ", ".join(f"{heads} heads ASR {row.asr:.1%}, CACC {row.cacc:.1%}" for heads, row in means.iterrows())
    return f"Partners that started from the victim's head or from their own: {listed}."


_SENTENCES: dict[str, Callable[[pd.DataFrame], str]] = {
    "05_means": _methods,
    "06_chosen": _chosen,
    "07_partner_kinds": _partner_kinds,
    "07_plane": lambda table: " ".join(plane_findings(table)),
    "08_collusion": _collusion,
    "09_poisoning_rate": _poisoning_rates,
    "10_epochs": _epochs,
    "11_architectures": _architectures,
    "11_heads": _heads,
}
