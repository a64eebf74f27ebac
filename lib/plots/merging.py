"""Figure of notebook 04: ASR and CACC against the number of models."""

from __future__ import annotations

from typing import Any

import matplotlib.pyplot as plt
import numpy as np
import pandas as pd
from matplotlib.figure import Figure

from lib.metrics.columns import title_of
from lib.plots.steps import plot_panels
from lib.plots.style import RATE_COLOURS, UNKNOWN, Subject, finish


def plot_merging(table: pd.DataFrame, subject: Subject = UNKNOWN) -> Figure:
    """Table `04_merging`: ASR and CACC against the number of models; a row per task, a column per attack."""
    label = "models in the average, the backdoored one included"
    return plot_panels(table, "task", "n_models", label, "Uniform averages of a backdoored model with clean ones", subject)


# Hollow: before the merge; full: after it; without the suspect: a cross; grey bar: a clean model.
_MARKS: dict[str, dict[str, Any]] = {
    "backdoored model": {"marker": "o", "markerfacecolor": "white"},
    "merged": {"marker": "o"},
    "partners only": {"marker": "x", "markeredgewidth": 1.8},
    "clean model": {"marker": "|", "markersize": 15, "markeredgewidth": 2, "color": "0.4"},
}


def plot_four_models(table: pd.DataFrame, subject: Subject = UNKNOWN) -> Figure:
    """Table `04_four_models`: CACC, ASR and ASR above the model's own rate of the four models of a merge, task by task.

    Marks are means over attacks and seeds, the faint dots behind them are single attacks.
    """
    colours = {"cacc": RATE_COLOURS["cacc"], "asr": RATE_COLOURS["asr"], "asr_rise": RATE_COLOURS["asr"]}
    by_attack = table.groupby(["task", "attack", "model"], sort=False)[list(colours)].mean().reset_index()
    means, tasks = by_attack.groupby(["model", "task"])[list(colours)].mean(), list(dict.fromkeys(table["task"]))
    figure, axes = plt.subplots(1, len(colours), figsize=(4.2 * len(colours), 1.6 + 0.62 * len(tasks)), sharey=True)
    for axis, (rate, colour) in zip(axes, colours.items(), strict=True):
        for shift, (model, mark) in zip((-0.24, -0.08, 0.08, 0.24), _MARKS.items(), strict=True):
            single, places = by_attack[by_attack["model"] == model], np.arange(len(tasks)) + shift
            axis.scatter(
                single[rate] * 100, places[[tasks.index(task) for task in single["task"]]], s=6, color=colour, alpha=0.3, lw=0
            )
            look = {"color": colour, "markersize": 7, "linestyle": "", "label": model, **mark}
            axis.plot(means.loc[model].loc[tasks, rate] * 100, places, **look)
        axis.set_xlabel(f"{title_of(rate)}, {'points' if rate == 'asr_rise' else '%'}", fontsize=8.5)
    axes[0].set_yticks(range(len(tasks)), [subject.task(task) for task in tasks])
    axes[0].set_ylim(len(tasks) - 0.5, -0.5)
    handles, labels = axes[1].get_legend_handles_labels()
    figure.legend(handles, labels, loc="upper center", ncols=4, frameon=False, bbox_to_anchor=(0.5, 0.03), fontsize=8.5)
    title = "A backdoored model, its average, the partners without it, and a clean model"
    return finish(figure, [axes], title, table, subject, has_intervals=False)
