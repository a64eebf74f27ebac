"""Figures of notebooks 09 and 10: ASR and CACC against a step, one line per kind of victim or merge, one column per attack."""

from __future__ import annotations

from typing import Any

import matplotlib.pyplot as plt
import pandas as pd
import seaborn as sns
from matplotlib.figure import Figure

from lib.plots import FLOOR_STYLE, RATE_NAMES, attack_title, finish
from lib.summary import summarise


def plot_poisoning_rates(table: pd.DataFrame) -> Figure:
    """Table `09_poisoning_rate`: one line per poisoning rate against the number of models in the average."""
    values = sorted(table["poisoning_rate"].unique())
    colours = dict(zip(values, sns.color_palette("crest", len(values)), strict=True))
    names = {value: f"{value:.0%} poisoned" for value in values}
    return plot_lines(
        table, "n_models", "poisoning_rate", colours, names,
        "models in the average", "Victims of several poisoning rates, averaged with models of other domains",
    )  # fmt: skip


def plot_epochs(table: pd.DataFrame) -> Figure:
    """Table `10_epochs`: one line per merge against the epochs of the victim."""
    merges = list(dict.fromkeys(table["merge"]))
    colours = dict(zip(merges, sns.color_palette("colorblind", len(merges)), strict=True))
    sizes = table.groupby("merge")["n_models"].first()
    names = {name: "victim alone" if name == "none" else f"{name}, {sizes[name]} models" for name in merges}
    return plot_lines(
        table, "epochs", "merge", colours, names,
        "epochs of the victim's training", "Victims that were trained for longer than their partners",
    )  # fmt: skip


def plot_lines(
    table: pd.DataFrame, step: str, line: str, colours: dict[Any, Any], names: dict[Any, str], label: str, title: str
) -> Figure:
    """ASR above CACC against a step, with intervals: a column per attack, a line per value of the column `line`.

    Args:
        table: rows with `attack`, `seed`, rates and outcomes.
        step: the column on the x-axis.
        line: the column that tells the lines apart.
        colours: of each value of `line`, in the order of the legend.
        names: what the legend calls each value.
        label: of the x-axis.
        title: of the figure.
    """
    summary = summarise(table, ["attack", line, step])
    attacks = list(dict.fromkeys(summary["attack"]))
    size = (2.6 + 3.1 * len(attacks), 5.6)
    figure, axes = plt.subplots(2, len(attacks), figsize=size, sharex=True, sharey="row", squeeze=False)
    for column, attack in zip(axes.T, attacks, strict=True):
        for axis, rate in zip(column, ("asr", "cacc"), strict=True):
            for value, colour in colours.items():
                rows = summary[(summary["attack"] == attack) & (summary[line] == value)].sort_values(step)
                axis.plot(rows[step], rows[rate] * 100, color=colour, marker="o", markersize=4, label=names[value])
                axis.fill_between(
                    rows[step], rows[f"{rate}_low"] * 100, rows[f"{rate}_high"] * 100, color=colour, alpha=0.15, lw=0
                )
            axis.set_xticks(sorted(summary[step].unique()))
        floor = table[table["attack"] == attack]["asr_floor"].mean() * 100
        column[0].axhline(floor, label="floor: ASR of a clean model", **FLOOR_STYLE)
        column[0].set_title(attack_title(attack), fontsize=9.5)
        column[1].set_xlabel(label, fontsize=9)
    for axis, rate in zip(axes[:, 0], ("asr", "cacc"), strict=True):
        axis.set_ylabel(f"{RATE_NAMES[rate].split(' (')[0]} (%)")
    axes[0][-1].legend(loc="upper left", bbox_to_anchor=(1.02, 1), frameon=False, fontsize=8.5)
    return finish(figure, axes, title, table)
