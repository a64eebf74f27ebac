"""Figures of notebook 14: attacks against merge rules, longer vectors, what the statistics of a screen say, half weights."""

from __future__ import annotations

import itertools
import json

import matplotlib.pyplot as plt
import numpy as np
import pandas as pd
import seaborn as sns
from matplotlib.axes import Axes
from matplotlib.figure import Figure

from lib.metrics.dilution import is_counted, per_doubling, trigger_tokens
from lib.metrics.summary import summarise
from lib.plots.marks import BEFORE, CLEAN_ASR, CLEAN_LINE, HOLLOW, NEUTRAL, legend_below, rate_line
from lib.plots.style import OTHER_COLOURS, PALETTE, RATE_COLOURS, UNKNOWN, WIDTH, Subject, attack_title, finish

ALONE, FLOOR = "submitted", "clean model"
RULE_NAMES = {
    "none": ALONE, "weight_average": "average",
    "clipped_average": "clipped average", "row_clipped_average": "row-clipped average",
    "median": "median", "trimmed_mean": "trimmed mean", "krum": "Krum", "ties": "TIES", "breadcrumbs": "Breadcrumbs",
}  # fmt: skip
SETTING_NAMES = {
    "poisoning_rate": "{:.0%} poisoned", "words": "{} word", "row_scale": "row x{}", "scale": "x{}",
    "shadows": "{} shadow models", "uploads": "{} uploads", "n_backdoored": "{} models",
    "base": "others from the {} base",
    "density": "{:.0%} of the entries", "share": "{:.0%} of the entries", "radius": "{} norm",
}  # fmt: skip
FITTED = "as far as its accuracy allows"
SCALED_NAMES = {"task_vector": "task vector", "backdoor_vector": "backdoor vector", "trigger_row": "row of the trigger word"}


def attacker_title(attack: str, settings: str) -> str:
    """An attack and its settings, given as JSON, for people.

    >>> attacker_title("scaled", '{"scale": 5}'), attacker_title("scaled", '{"scale": "fit"}')
    ('scaled, x5', 'scaled, as far as its accuracy allows')
    """
    shown = [
        FITTED if value == "fit" else SETTING_NAMES.get(name, name + " {}").format(value)
        for name, value in json.loads(settings).items()
    ]
    return ", ".join([attack_title(attack).replace("_", " "), *shown])


def limits_matrix(table: pd.DataFrame, rate: str = "asr") -> pd.DataFrame:
    """Means over seeds of table `14_limits`, wide: one row per attacker, one column per rule, and the clean model's.

    Args:
        table: rows of one threat model.
        rate: "asr" or "cacc".

    Returns:
        Fractions, NaN where a rule cannot merge so few models.
    """
    named = table.assign(
        attacker=[attacker_title(*row) for row in zip(table["attack"], table["settings"], strict=True)],
        rule=table["merge_method"].map(lambda name: RULE_NAMES.get(name, name)),
    )
    rules = [name for name in RULE_NAMES.values() if name in set(named["rule"])]
    rules += [name for name in dict.fromkeys(named["rule"]) if name not in rules]
    attackers = list(dict.fromkeys(named["attacker"]))
    matrix = named.pivot_table(index="attacker", columns="rule", values=rate, sort=False).reindex(attackers)[rules]
    floor = "asr_floor" if rate == "asr" else "clean_model_cacc"
    return matrix.assign(**{FLOOR: named.groupby("attacker")[floor].mean().reindex(attackers)})


def plot_limits(table: pd.DataFrame, subject: Subject = UNKNOWN) -> Figure:
    """Table `14_limits`: ASR of every attacker after every merge rule, and the CACC beside it."""
    matrices = {"attack success rate (ASR)": limits_matrix(table), "clean accuracy (CACC)": limits_matrix(table, "cacc")}
    n_rows, n_columns = next(iter(matrices.values())).shape
    figure, axes = plt.subplots(1, 2, figsize=(WIDTH, 2.2 + 0.3 * n_rows), sharey=True, squeeze=False)
    for axis, (title, matrix) in zip(axes[0], matrices.items(), strict=True):
        shown = (100 * matrix).rename_axis(index=None, columns=None)
        sns.heatmap(shown, annot=True, fmt=".0f", cmap="cividis", vmin=0, vmax=100, cbar=False, ax=axis, annot_kws={"size": 8})
        for edge in (1, n_columns - 1):  # between the submitted model, the merges, and a clean model
            axis.axvline(edge, color="white", lw=3)
        axis.set_title(f"{title}, %", fontsize=9.5)
        axis.set(xlabel="", ylabel="")
        axis.tick_params(axis="y", rotation=0, labelsize=8)
        axis.set_xticks(axis.get_xticks(), axis.get_xticklabels(), rotation=50, ha="right", fontsize=8)
    return finish(figure, axes, "What is left of each attack after each merge rule", table, subject, has_intervals=False)


def plot_scaling(table: pd.DataFrame, subject: Subject = UNKNOWN) -> Figure:
    """Table `14_scaling`: ASR of the merges and CACC of the submitted model over the scale; the length of the vector below."""
    kinds, rules = (list(dict.fromkeys(table[column])) for column in ("scaled", "merge_method"))
    summary = summarise(table, ["scaled", "merge_method", "scale"])
    means = table.groupby(["scaled", "scale"], sort=False)[["submitted_cacc", "norm_ratio"]].mean().reset_index()
    ratios = {"height_ratios": [3, 1.4]}
    figure, axes = plt.subplots(
        2, len(kinds), figsize=(min(WIDTH, 1 + 3.3 * len(kinds)), 5.4), squeeze=False, sharey="row", gridspec_kw=ratios
    )
    for (top, below), kind in zip(axes.T, kinds, strict=True):
        for colour, rule in zip((RATE_COLOURS["asr"], *OTHER_COLOURS), rules, strict=False):
            rows = summary[(summary["scaled"] == kind) & (summary["merge_method"] == rule)].sort_values("scale")
            rate_line(top, "scale", rows, "asr", colour, label=f"ASR, {RULE_NAMES.get(rule, rule)}")
        alone = means[means["scaled"] == kind].sort_values("scale")
        style = {**HOLLOW, "linestyle": "--", "color": RATE_COLOURS["cacc"], "markersize": 4.5}
        top.plot(alone["scale"], 100 * alone["submitted_cacc"], label="CACC of the submitted model, before the merge", **style)
        floor = table.loc[table["scaled"] == kind, "asr_floor"].mean()
        top.axhline(100 * floor, label=CLEAN_ASR, **CLEAN_LINE)
        below.plot(alone["scale"], alone["norm_ratio"], "o-", markersize=4.5, color=NEUTRAL, markerfacecolor="white")
        below.set_yscale("log")
        for axis in (top, below):
            axis.set_xscale("log")
            axis.set_xticks(sorted(alone["scale"]), [f"{scale:g}" for scale in sorted(alone["scale"])])
            axis.minorticks_off()
        top.set_title(SCALED_NAMES.get(kind, kind), fontsize=9.5)
        below.set_xlabel("scale")
    axes[0][0].set_ylabel("rate on the test set (%)")
    axes[1][0].set_ylabel("length of the\nsubmitted vector\n(partners = 1)", fontsize=8.5)
    handles = {label: handle for axis in axes[0] for handle, label in zip(*axis.get_legend_handles_labels(), strict=True)}
    legend_below(figure, list(handles.values()))
    return finish(figure, axes, "A longer vector survives the merge, and can be seen", table, subject)


def plot_detection(table: pd.DataFrame, subject: Subject = UNKNOWN, statistic: str = "mean_cosine") -> Figure:
    """Table `14_detection`: a statistic of the backdoored model over the poisoning rate, its clean twin, the others."""
    rows = table[(table["statistic"] == statistic) & table["poisoning_rate"].notna()]
    attacks = [name for name in dict.fromkeys(rows["attack"]) if name != "clean"]
    twin = table[(table["statistic"] == statistic) & (table["attack"] == "clean")]
    figure, axes = plt.subplots(1, len(attacks), figsize=(1.4 + 3.1 * len(attacks), 3.7), squeeze=False, sharey=True)
    for axis, attack in zip(axes[0], attacks, strict=True):
        of_attack = rows[rows["attack"] == attack]
        means = of_attack.groupby("poisoning_rate")[["value", "others_low", "others_high"]].mean().sort_index()
        places = np.arange(len(means))
        axis.fill_between(
            places, means["others_low"], means["others_high"], color="0.9", lw=0, label="range of the other models"
        )
        axis.plot(places, means["value"], label=BEFORE, color=NEUTRAL, **{**HOLLOW, "linestyle": "-"})
        axis.axhline(twin["value"].mean(), label="its clean twin", **CLEAN_LINE)
        axis.set_xticks(places, [f"{100 * rate:g}" for rate in means.index])
        axis.set_xlabel("poisoned share of the rows, %")
        axis.set_title(attack_title(attack), fontsize=9.5)
    axes[0][0].set_ylabel(statistic.replace("_", " "))
    legend_below(figure, axes[0][0].get_legend_handles_labels()[0])
    return finish(figure, axes, "Does a backdoored model point elsewhere?", table, subject, has_intervals=False)


def plot_composition(table: pd.DataFrame, subject: Subject = UNKNOWN) -> Figure:
    """Table `14_composition`: the half weight over the tokens of the trigger; high is easy to dilute.

    The line is the least-squares one through triggers of words any of which may do. Rewritten texts have no tokens to count:
    they stand in a panel of their own, over the share of the words that changed.
    """
    known = table.assign(tokens=trigger_tokens(table))
    known["changed"] = (100 * known["words_changed"]).where(known["tokens"].isna())
    panels = {"tokens": "trigger tokens in a text", "changed": "edits per 100 words of a text"}
    figure, axes = plt.subplots(1, 2, figsize=(8.6, 4.2), sharey=True, squeeze=False, gridspec_kw={"width_ratios": [3, 1.4]})
    colours = dict(zip(dict.fromkeys(table["trigger"]), itertools.cycle(PALETTE), strict=False))
    for axis, (place, label) in zip(axes[0], panels.items(), strict=True):
        rows = known[known[place].notna()].groupby("trigger", sort=False)
        means = rows.agg(
            x=(place, "mean"), mean=("half_weight", "mean"), low=("half_weight", "min"), high=("half_weight", "max")
        )
        for number, (name, row) in enumerate(means[means["mean"].notna()].iterrows()):
            spread = [[100 * (row["mean"] - row["low"])], [100 * (row["high"] - row["mean"])]]
            x = row["x"] * 2 ** (0.08 * (number % 3 - 1)) if place == "tokens" else row["x"]
            mark = "o" if place == "tokens" else "D"
            axis.errorbar(x, 100 * row["mean"], spread, fmt=mark, capsize=2, color=colours[name], label=name)
        axis.set_xlabel(label)
    _draw_line(axes[0][0], known)
    axes[0][0].set_ylabel("half weight (%)")
    handles, labels = (
        found[0] + found[1] for found in zip(*(axis.get_legend_handles_labels() for axis in axes[0]), strict=True)
    )
    figure.legend(handles, labels, frameon=False, fontsize=8, loc="center left", bbox_to_anchor=(1, 0.5))
    return finish(figure, axes, "How much weight a backdoor needs: low is hard to dilute", table, subject, has_intervals=False)


def _draw_line(axis: Axes, known: pd.DataFrame) -> None:
    """Tokens on an axis of doublings, with the line of `per_doubling` where two numbers of tokens are known."""
    counts = sorted(known["tokens"].dropna().unique())
    axis.set_xscale("log", base=2)
    axis.set_xticks(counts, [f"{count:g}" for count in counts])
    axis.minorticks_off()
    rows = known[is_counted(known)]
    if rows["tokens"].nunique() > 1:
        start, slope = per_doubling(rows["tokens"], rows["half_weight"])
        ends = np.array([rows["tokens"].min(), rows["tokens"].max()])
        axis.plot(ends, 100 * (start + slope * np.log2(ends)), color="0.6", lw=1.2, zorder=1, label="least squares")
