"""What the tables of the first chapters say, in sentences: tasks, attacks, merge methods, coefficients, partners."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import pandas as pd

from lib.metrics.rates import pareto_front
from lib.metrics.summary import points
from lib.plots.style import attack_title
from lib.reports.reading import markdown_table, percent

SELECTS = "krum"  # the rule that does not mix models but returns some of them as they are
MIXES_SOME = ("slerp", "greedy_soup")  # methods that mix some of the models, so that each of these weighs more


def transfer(table: pd.DataFrame) -> Iterator[str]:
    """Table `01_transfer`: what models of other domains know of a task."""
    away = table[(table["tested_on"] == table["task"]) & (table["trained_on"] != table["task"])]
    yield markdown_table(
        [
            {
                "task": str(task),
                "domains": f"{distance}: {', '.join(rows['trained_on'])}",
                "CACC of their models on the task": ", ".join(percent(rate) for rate in rows["cacc"]),
                "over that of the task's own model": ", ".join(f"{rate:.2f}" for rate in rows["relative_cacc"]),
            }
            for (task, distance), rows in away.groupby(["task", "domain_distance"], sort=False)
        ]
    )


def attacks(table: pd.DataFrame) -> Iterator[str]:
    """Table `03_attacks`: the weakest attack, and what the attacks cost."""
    cells = table.groupby(["task", "attack"])[["asr", "asr_floor", "cacc", "clean_model_cacc", "share_changed"]].mean()
    change = cells["cacc"] - cells["clean_model_cacc"]
    weakest, costliest, unchanged = cells["asr"].idxmin(), change.idxmin(), cells["share_changed"].idxmin()
    yield (
        f"Mean ASR over {len(cells)} cells of tasks and attacks: {cells['asr'].mean():.1%}. The lowest is "
        f"{cells['asr'].min():.1%} ({_cell(weakest)}), where a clean model has {cells['asr_floor'][weakest]:.1%}."
    )
    yield (
        f"The CACC of the backdoored models is {points(change.mean())} from that of clean models on average, and "
        f"{points(change.min())} at most ({_cell(costliest)})."
    )
    if cells["share_changed"].min() == 1:
        yield "Every attack puts its trigger into every text."
    else:
        yield (
            f"Some texts cannot take a trigger and count as failed attacks: {_cell(unchanged)} changes the smallest share of "
            f"the texts, {cells['share_changed'].min():.1%}."
        )


def _cell(names: Any) -> str:
    return f"{attack_title(names[1])} on {names[0]}"


def methods(table: pd.DataFrame) -> Iterator[str]:
    """Table `05_means`: the merge methods from the lowest ASR to the highest."""
    merged = table[table["merge_method"] != "none"].sort_values("asr")
    mixed = merged[~merged["merge_method"].isin([SELECTS, *MIXES_SOME])]
    low, high = mixed.iloc[0], mixed.iloc[-1]
    yield (
        f"Of {len(mixed)} ways to mix all models, {low.variant} leaves the lowest mean ASR ({low.asr:.1%}, CACC "
        f"{low.cacc:.1%}), {high.variant} the highest ({high.asr:.1%}, CACC {high.cacc:.1%})."
    )
    for row in merged[merged["merge_method"].isin(MIXES_SOME)].itertuples():
        yield (
            f"{row.variant} leaves {row.asr:.1%} (CACC {row.cacc:.1%}), but it mixes fewer models, and so gives the "
            "backdoored model more weight: the rates cannot be compared."
        )
    for row in merged[merged["merge_method"] == SELECTS].itertuples():
        yield (
            f"{row.variant} leaves {row.asr:.1%} (CACC {row.cacc:.1%}), but it is no merge of all models: the rule takes the "
            "models that lie nearest to the others as they are. Where these are partners, the backdoored model was "
            "*replaced*, not repaired."
        )
    front = merged[pareto_front(merged["asr"], merged["cacc"])]
    yield f"Beaten by no other method in both rates: {', '.join(front['variant'])}."


def kept(table: pd.DataFrame) -> Iterator[str]:
    """Table `05_kept`: how far the share of the backdoor's direction that is kept explains the ASR."""
    mixed = table[table["kept"].abs() > 1e-3]
    correlation = mixed["kept"].corr(mixed["asr"], method="spearman")
    rows = mixed.set_index("variant")
    yield (
        f"The share of the backdoor's direction that a merge keeps and its ASR have a rank correlation of {correlation:.2f} "
        f"over {len(mixed)} methods (one attack, one seed)."
    )
    if "TIES" in rows.index:
        more = rows[(rows["kept"] > rows["kept"]["TIES"]) & (rows["asr"] < rows["asr"]["TIES"])]
        listed = ", ".join(f"{name} ({row.kept:.0%}, ASR {row.asr:.1%})" for name, row in more.iterrows())
        if listed:
            yield (
                f"It does not explain TIES alone: TIES keeps {rows['kept']['TIES']:.0%} and has ASR "
                f"{rows['asr']['TIES']:.1%}. More is kept at a lower ASR by: {listed}."
            )
    gone = table[table["kept"].abs() <= 1e-3]["variant"]
    if len(gone):
        yield f"Nothing of it is kept by {', '.join(gone)}: there the backdoored model was replaced."


def sweeps(table: pd.DataFrame) -> Iterator[str]:
    """Table `05_sweeps`: where along each sweep the ASR is lowest, and what happens at the smallest value."""
    rates = ["asr", "asr_untriggered", "cacc"]
    for (variant, setting), rows in table.groupby(["variant", "setting"], sort=False):
        means = rows.groupby("value")[rates].mean()
        best, least = means.loc[means["asr"].idxmin()], means.iloc[0]
        yield (
            f"{variant}, {setting.replace('_', ' ')}: lowest ASR {best.asr:.1%} at {best.name:g} (CACC {best.cacc:.1%}); "
            f"at the smallest value, {least.name:g}, ASR {least.asr:.1%} (without the trigger {least.asr_untriggered:.1%}; "
            f"CACC {least.cacc:.1%})."
        )


def chosen(table: pd.DataFrame) -> Iterator[str]:
    """Tables `06_chosen` and `06_chosen_task_arithmetic`: the coefficients that a defender would choose."""
    for partners, kind in table.groupby("partners", sort=False):
        rates = kind.groupby("choice", sort=False)[["coefficient", "asr", "cacc", "asr_floor"]].mean()
        yield markdown_table(
            [
                {
                    f"rule ({partners.replace('_', ' ')})": str(rule),
                    "mean coefficient": f"{row.coefficient:.2f}",
                    "ASR": percent(row.asr),
                    "ASR of a clean model": percent(row.asr_floor),
                    "CACC": percent(row.cacc),
                }
                for rule, row in rates.iterrows()
            ]
        )


def task_arithmetic(table: pd.DataFrame) -> Iterator[str]:
    """Table `06_task_arithmetic`: where CACC is highest, and what happens to both rates at the smallest coefficient."""
    means = table.groupby("coefficient")[["asr", "cacc"]].mean()
    best, least = means.loc[means["cacc"].idxmax()], means.iloc[0]
    yield (
        f"Sum of task vectors: CACC is highest ({best.cacc:.1%}) at coefficient {best.name:g}, where ASR is {best.asr:.1%}. A "
        f"small coefficient does not simply forget everything: at {least.name:g} CACC is {least.cacc:.1%} and ASR "
        f"{least.asr:.1%}."
    )


def rates_of_training(table: pd.DataFrame) -> Iterator[str]:
    """Table `06_barrier`: backdoored models of two learning rates on the same way to a clean model."""
    asr = table.groupby(["coefficient", "learning_rate"])["asr"].mean().unstack()
    low, high = min(asr.columns), max(asr.columns)
    gap = asr[high] - asr[low]
    where = gap.abs().idxmax()
    cacc = table[table["coefficient"] == 0].groupby("learning_rate")["cacc"].mean()
    yield (
        f"A backdoored model trained at {high:g} instead of {low:g} (CACC alone {cacc[high]:.1%} and {cacc[low]:.1%}): the "
        f"largest difference is at coefficient {where:g}, ASR {asr[high][where]:.1%} instead of {asr[low][where]:.1%}."
    )


def partner_kinds(table: pd.DataFrame) -> Iterator[str]:
    """Table `07_partner_kinds`: partners of several kinds at equal number and weight."""
    means = table.groupby(["n_partners", "partners"], sort=False)[["asr", "cacc"]].mean()
    yield markdown_table(
        [
            {"partners": f"{n} x {kind.replace('_', ' ')}", "ASR": percent(row.asr), "CACC": percent(row.cacc)}
            for (n, kind), row in means.iterrows()
        ]
    )
