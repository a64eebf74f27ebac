"""Figures of notebook 04: ASR and CACC against the number of models, and the four models of a merge."""

from __future__ import annotations

from typing import Any

import matplotlib.pyplot as plt
import numpy as np
import pandas as pd
from matplotlib.figure import Figure

from lib.metrics.columns import title_of
from lib.metrics.summary import summarise
from lib.plots.marks import FULL, HOLLOW, UPRIGHT_BAR, entry, legend_below
from lib.plots.steps import draw_rates, plot_panels, rates_legend
from lib.plots.style import RATE_COLOURS, UNKNOWN, WIDTH, Subject, finish, over_attacks

STEP = "models in the average"
# A cross: the average without the backdoored model.
MARKS: dict[str, dict[str, Any]] = {
    "backdoored model": HOLLOW,
    "merged": FULL,
    "partners only": {"marker": "x", "linestyle": "", "markeredgewidth": 1.8},
    "clean model": UPRIGHT_BAR,
}


def plot_merging(table: pd.DataFrame, subject: Subject = UNKNOWN) -> Figure:
    """Table `04_merging`: ASR and CACC against the number of models, mean over the attacks; a panel per task."""
    summary, tasks = summarise(table, ["task", "partners", "n_models"]), list(dict.fromkeys(table["task"]))
    size = (max(4.6, min(WIDTH, 1.0 + 2.6 * len(tasks))), 3.9)
    figure, axes = plt.subplots(1, len(tasks), figsize=size, sharey=True, squeeze=False)
    for axis, task in zip(axes[0], tasks, strict=True):
        rows = summary[summary["task"] == task]
        draw_rates(axis, rows, "n_models", 1)
        axis.set_title(subject.task(task), fontsize=9.5)
        axis.set_xticks(sorted(rows["n_models"].unique()))
        axis.set_xlabel(STEP, fontsize=8.5)
    axes[0][0].set_ylabel("rate on the test set (%)", fontsize=8.5)
    legend_below(figure, rates_legend(table, has_before=True), n_columns=3 if len(tasks) > 1 else 2)
    title = f"Uniform averages of a backdoored model with clean ones: {over_attacks(table['attack'], table['task'])}"
    return finish(figure, axes, title, table, subject)


def plot_merging_by_attack(table: pd.DataFrame, subject: Subject = UNKNOWN) -> Figure:
    """Table `04_merging`: the same, attack by attack; a row per task, a column per attack."""
    title = "Uniform averages of a backdoored model with clean ones, attack by attack"
    return plot_panels(table, "n_models", STEP, title, subject, before=1)


def plot_four_models(table: pd.DataFrame, subject: Subject = UNKNOWN) -> Figure:
    """Table `04_four_models`: CACC, ASR and ASR above the model's own rate of the four models of a merge, task by task.

    Marks are means over attacks and seeds, the faint dots behind them are single attacks.
    """
    colours = {"cacc": RATE_COLOURS["cacc"], "asr": RATE_COLOURS["asr"], "asr_rise": RATE_COLOURS["asr"]}
    by_attack = table.groupby(["task", "attack", "model"], sort=False)[list(colours)].mean().reset_index()
    means, tasks = by_attack.groupby(["model", "task"])[list(colours)].mean(), list(dict.fromkeys(table["task"]))
    figure, axes = plt.subplots(1, len(colours), figsize=(WIDTH, 1.9 + 0.62 * len(tasks)), sharey=True)
    for axis, (rate, colour) in zip(axes, colours.items(), strict=True):
        for shift, (model, mark) in zip((-0.27, -0.09, 0.09, 0.27), MARKS.items(), strict=True):
            single, places = by_attack[by_attack["model"] == model], np.arange(len(tasks)) + shift
            axis.scatter(
                single[rate] * 100, places[[tasks.index(task) for task in single["task"]]], s=7, color=colour, alpha=0.3, lw=0
            )
            look = {"color": colour, "markersize": 7, "label": model, **mark}
            axis.plot(means.loc[model].loc[tasks, rate] * 100, places, **look)
        axis.set_xlabel(f"{title_of(rate)}, {'points' if rate == 'asr_rise' else '%'}", fontsize=8.5)
    axes[0].set_yticks(range(len(tasks)), [subject.task(task) for task in tasks])
    axes[0].set_ylim(len(tasks) - 0.5, -0.5)
    legend_below(figure, [entry(model, mark) for model, mark in MARKS.items()], n_columns=4)
    title = "A backdoored model, its average, the partners without it, and a clean model"
    return finish(figure, [axes], title, table, subject, has_intervals=False)
