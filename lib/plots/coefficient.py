"""Figures of notebook 06: ASR, CACC and loss against the weight of a backdoored model."""

from __future__ import annotations

import matplotlib.pyplot as plt
import pandas as pd
from matplotlib.figure import Figure

from lib.plots.marks import BEFORE, FULL, HOLLOW, entry, legend_below
from lib.plots.steps import plot_panels
from lib.plots.style import UNKNOWN, WIDTH, Subject, colours_of, finish


def plot_coefficient(table: pd.DataFrame, subject: Subject = UNKNOWN) -> Figure:
    """Table `06_coefficient`: ASR and CACC on the way from the backdoored model (0) to its partner (1)."""
    title = "From the backdoored model (0) to its partner (1)"
    return plot_panels(table, "coefficient", "merge coefficient", title, subject, before=0)


def plot_task_arithmetic(table: pd.DataFrame, subject: Subject = UNKNOWN) -> Figure:
    """Table `06_task_arithmetic`: ASR and CACC against the coefficient of the sum of task vectors."""
    title = "Task arithmetic: coefficient of the summed task vectors of the backdoored model and all other domains"
    return plot_panels(table, "coefficient", "merge coefficient", title, subject)


def plot_barrier(table: pd.DataFrame, subject: Subject = UNKNOWN) -> Figure:
    """Clean loss and accuracy along the way to the partner, a line per backdoored model, a colour per learning rate."""
    figure, axes = plt.subplots(1, 2, figsize=(WIDTH, 3.7))
    colours = colours_of(table["learning_rate"])
    for _, rows in table.groupby("victim", sort=False):
        colour = colours[rows["learning_rate"].iloc[0]]
        line = rows.groupby("coefficient")[["clean_loss", "cacc"]].mean() * [1, 100]
        for axis, column in zip(axes, line, strict=True):
            axis.plot(line.index, line[column], color=colour, linewidth=1.3, markersize=4.5, **{**FULL, "linestyle": "-"})
            axis.plot(line.index[:1], line[column].iloc[:1], color=colour, markersize=4.5, **HOLLOW)
        axes[0].plot([0, 1], line["clean_loss"].iloc[[0, -1]], color=colour, linestyle="--", linewidth=0.9)
    axes[0].set(ylabel="loss on clean test texts (nats)", xlabel="merge coefficient", ylim=(0, None))
    axes[1].set(ylabel="clean accuracy (%)", xlabel="merge coefficient")
    lines = [entry(f"learning rate {rate:g}", FULL, color=colour, linestyle="-") for rate, colour in colours.items()]
    without = entry("straight line: no barrier", {"linestyle": "--", "linewidth": 0.9})
    legend_below(figure, [*lines, entry(BEFORE, HOLLOW), without], n_columns=4)
    title = "Clean texts on the way from a backdoored model (0) to its partner (1)"
    return finish(figure, [axes], title, table, subject, has_intervals=False, has_means=False)
