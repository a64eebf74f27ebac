"""Figures of notebook 13: leads and thresholds, strength that is left, one curve for all methods, certificates."""

from __future__ import annotations

import matplotlib.pyplot as plt
import numpy as np
import pandas as pd
from matplotlib.figure import Figure

from lib.plots.marks import CLEAN_ASR, CLEAN_LINE, FULL, HOLLOW, entry, legend_below
from lib.plots.style import OTHER_COLOURS, RATE_COLOURS, REFERENCE, UNKNOWN, WIDTH, Subject, attack_title, colours_of, finish

PREDICTED = {
    "asr_counted": "counted from both ends",
    "asr_gaussian": "from their means and spreads",
    "asr_cantelli": "Cantelli bound",
}
PREDICTED_LINES = dict(zip(PREDICTED, ("-", "--", ":"), strict=True))


def plot_margins(table: pd.DataFrame, subject: Subject = UNKNOWN, partners: str = "other_domains") -> Figure:
    """Table `13_margins`: measured ASR, and what follows from the leads of both ends; below, the leads themselves."""
    rows = table[(table["split"] == "triggered") & (table["partners"] == _kind(table, partners))]
    attacks = list(dict.fromkeys(rows["attack"]))
    size = (min(WIDTH, 1.6 + 2.6 * len(attacks)), 5.2)
    figure, axes = plt.subplots(2, len(attacks), figsize=size, sharex=True, sharey="row", squeeze=False)
    for (top, below), attack in zip(axes.T, attacks, strict=True):
        of_attack = rows[rows["attack"] == attack]
        means = of_attack.groupby("coefficient").mean(numeric_only=True)
        for _, run in of_attack.groupby("seed"):
            top.plot(run["coefficient"], 100 * run["asr"], color=RATE_COLOURS["asr"], alpha=0.3, linewidth=0.8)
        top.plot(means.index, 100 * means["asr"], "o", color=RATE_COLOURS["asr"], markersize=4.5)
        for (name, line), colour in zip(PREDICTED_LINES.items(), OTHER_COLOURS, strict=False):
            top.plot(means.index, 100 * means[name], line, color=colour, linewidth=1.4)
        top.axhline(100 * means["asr_floor"].mean(), **CLEAN_LINE)
        top.set_title(attack_title(attack), fontsize=9.5)
        below.fill_between(
            means.index, means["lead_mean"] - means["lead_sd"], means["lead_mean"] + means["lead_sd"], color="0.88", lw=0
        )
        below.plot(means.index, means["lead_mean"], "o-", color="0.25", markersize=4)
        below.plot(means.index, means["lead_ensemble"], "--", color=OTHER_COLOURS[0], linewidth=1.4)
        below.axhline(0, **REFERENCE)
        below.set_xlabel("merge coefficient", fontsize=8.5)
    axes[0][0].set_ylabel("ASR, %", fontsize=8.5)
    axes[1][0].set_ylabel("lead (logits)", fontsize=8.5)
    lines = [
        entry(PREDICTED[n], {"linestyle": line}, color=c)
        for (n, line), c in zip(PREDICTED_LINES.items(), OTHER_COLOURS, strict=False)
    ]
    measured = entry("measured ASR (thin: one seed)", FULL, color=RATE_COLOURS["asr"])
    leads = [entry("lead of the average, with its spread over texts", {**FULL, "linestyle": "-"}, color="0.25")]
    leads.append(entry("lead of the ensemble", {"linestyle": "--"}, color=OTHER_COLOURS[0]))
    legend_below(figure, [measured, *lines, *leads, entry(CLEAN_ASR, CLEAN_LINE)], n_columns=4)
    return finish(figure, axes, "A threshold on the lead", rows, subject, has_intervals=False)


def plot_strength(table: pd.DataFrame, subject: Subject = UNKNOWN) -> Figure:
    """Table `13_margins`: share of the backdoor's strength that an average keeps, over the weight of the backdoored model."""
    rows = table[table["split"] == "triggered"]
    kinds = list(dict.fromkeys(rows["partners"]))
    colours = colours_of(rows["attack"])
    figure, axes = plt.subplots(1, len(kinds), figsize=(min(WIDTH, 1 + 3.9 * len(kinds)), 4.1), sharey=True, squeeze=False)
    weights = np.linspace(0, 1, 50)
    for axis, kind in zip(axes[0], kinds, strict=True):
        axis.plot(weights, 100 * weights, **REFERENCE)
        axis.plot(weights, 100 * weights**2, **{**REFERENCE, "linestyle": "-."})
        for attack, colour in colours.items():
            means = (
                rows[(rows["partners"] == kind) & (rows["attack"] == attack)].groupby("coefficient")["strength_share"].mean()
            )
            axis.plot(1 - means.index, 100 * means, "o-", color=colour, markersize=4, linewidth=1.2)
        axis.set_xlabel("weight of the backdoored model")
        axis.set_title(f"partners: {kind.replace('_', ' ')}", fontsize=9.5)
    axes[0][0].set_ylabel("strength that is left, %")
    lines = [
        entry("in proportion to the weight: the ensemble", REFERENCE),
        entry("its square", {**REFERENCE, "linestyle": "-."}),
    ]
    attacks = [entry(attack_title(name), {**FULL, "linestyle": "-"}, color=colour) for name, colour in colours.items()]
    legend_below(figure, [*attacks, *lines], n_columns=4)
    return finish(figure, axes, "How much of the backdoor's strength is left", rows, subject, has_intervals=False)


def plot_collapse(table: pd.DataFrame, subject: Subject = UNKNOWN) -> Figure:
    """Table `13_kept`: every merge method over the weight that it leaves to the backdoored model, and the plain average."""
    attacks = list(dict.fromkeys(table["attack"]))
    is_curve = table["variant"] == "average with another weight"
    columns = ["weight_left", "asr", "off_curve"]
    means = table[~is_curve].groupby(["attack", "variant"], sort=False)[columns].mean().reset_index()
    furthest = means.groupby("variant")["off_curve"].mean().abs().sort_values(ascending=False).index[: len(OTHER_COLOURS)]
    colours = colours_of(furthest)
    size = (min(WIDTH, 1.6 + 2.4 * len(attacks)), 3.7)
    figure, axes = plt.subplots(1, len(attacks), figsize=size, sharey=True, squeeze=False)
    for axis, attack in zip(axes[0], attacks, strict=True):
        curve = table[is_curve & (table["attack"] == attack)].groupby("weight_left")["asr"].mean()
        axis.plot(curve.index, 100 * curve, color="0.7", linewidth=2)
        for row in means[means["attack"] == attack].itertuples():
            axis.plot(row.weight_left, 100 * row.asr, color=colours.get(row.variant, "0.25"), markersize=5.5, **FULL)
        axis.set_title(attack_title(attack), fontsize=9.5)
        axis.set_xlabel("weight that is left", fontsize=8.5)
    axes[0][0].set_ylabel("ASR, %")
    named = [entry(name, FULL, color=colour) for name, colour in colours.items()]
    rest = entry("the other methods", FULL, color="0.25")
    legend_below(figure, [*named, rest, entry("plain average", {"linewidth": 2}, color="0.7")], n_columns=4)
    return finish(figure, axes, "One curve for many merge methods", table, subject, has_intervals=False)


def plot_certificates(table: pd.DataFrame, subject: Subject = UNKNOWN) -> Figure:
    """Table `13_certificates`: what is measured (hollow) and what is guaranteed against one or two bad models (full)."""
    rows = table[table["n_models"] == table["n_models"].max()]
    means = rows.groupby(["combination", "n_bad"], sort=False)[["cacc", "asr", "certified_cacc", "certified_safe"]].mean()
    names = list(dict.fromkeys(rows["combination"]))
    panels = {"certified_cacc": "clean texts answered rightly", "certified_safe": "triggered texts not sent to the target"}
    figure, axes = plt.subplots(1, 2, figsize=(WIDTH, 1.9 + 0.36 * len(names)), sharey=True, squeeze=False)
    for axis, (column, title) in zip(axes[0], panels.items(), strict=True):
        for place, name in enumerate(names):
            of_name = means.loc[name]
            found = of_name["cacc"].iloc[0] if column == "certified_cacc" else 1 - of_name["asr"].iloc[0]
            axis.plot(100 * found, place, color="0.25", markersize=7, **HOLLOW)
            for (n_bad, row), colour in zip(of_name.iterrows(), OTHER_COLOURS, strict=False):
                axis.plot(100 * row[column], place + 0.12 * (n_bad - 1), color=colour, markersize=6, **FULL)
        axis.set_title(title, fontsize=9.5)
        axis.set_xlabel("share of the texts, %")
        axis.set_xlim(-3, 103)
    axes[0][0].set_yticks(range(len(names)), names, fontsize=8.5)
    axes[0][0].invert_yaxis()
    marks = [entry("measured, no guarantee", HOLLOW, color="0.25")]
    marks += [
        entry(f"guaranteed, whatever {n} of {rows['n_models'].max()} models say", FULL, color=colour)
        for n, colour in zip(sorted(rows["n_bad"].unique()), OTHER_COLOURS, strict=False)
    ]
    legend_below(figure, marks)
    return finish(figure, axes, "What can be guaranteed", rows, subject, has_intervals=False)


def _kind(table: pd.DataFrame, wanted: str) -> str:
    kinds = list(dict.fromkeys(table["partners"]))
    return wanted if wanted in kinds else kinds[0]
