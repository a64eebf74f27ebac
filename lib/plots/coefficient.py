"""Figures of notebook 06: ASR, CACC and loss against the weight of a backdoored model."""

from __future__ import annotations

import matplotlib.pyplot as plt
import pandas as pd
from matplotlib.figure import Figure

from lib.plots.steps import PARTNER_NAMES, plot_panels
from lib.plots.style import PALETTE, UNKNOWN, Subject, finish


def plot_coefficient(table: pd.DataFrame, subject: Subject = UNKNOWN) -> Figure:
    """Table `06_coefficient`: ASR and CACC on the way from the backdoored model (0) to its partner (1)."""
    label = "merge coefficient: 0 backdoored model, 1 partner"
    task = table["task"].map(subject.task) + ": " if table["task"].nunique() > 1 else ""
    titled = table.assign(panel=task + table["partners"].map(PARTNER_NAMES))
    return plot_panels(titled, "panel", "coefficient", label, "From the backdoored model to its partner", subject)


def plot_task_arithmetic(table: pd.DataFrame, subject: Subject = UNKNOWN) -> Figure:
    """Table `06_task_arithmetic`: ASR and CACC against the coefficient of the sum of task vectors."""
    title = "Task arithmetic: the victim and all other domains"
    return plot_panels(table, "task", "coefficient", "merge coefficient of the sum of task vectors", title, subject)


def plot_barrier(table: pd.DataFrame, subject: Subject = UNKNOWN) -> Figure:
    """Clean loss and accuracy along the way to the partner, a line per victim; one colour and mark per learning rate."""
    figure, axes = plt.subplots(1, 2, figsize=(9.2, 3.6))
    rates = list(dict.fromkeys(table["learning_rate"]))
    for victim, rows in table.groupby("victim", sort=False):
        number = rates.index(rows["learning_rate"].iloc[0])
        line = rows.groupby("coefficient")[["clean_loss", "cacc"]].mean()
        for axis, column in zip(axes, ("clean_loss", "cacc"), strict=True):
            style = {"color": PALETTE[number], "marker": "os^D"[number % 4], "markersize": 4, "linewidth": 1.1}
            axis.plot(line.index, line[column] * (100 if column == "cacc" else 1), label=str(victim), **style)
            if column == "clean_loss":
                axis.plot([0, 1], line[column].iloc[[0, -1]], color=PALETTE[number], linestyle="--", linewidth=0.9)
    axes[0].set(ylabel="loss on clean test texts (nats)", xlabel="merge coefficient", ylim=(0, None))
    axes[1].set(ylabel="clean accuracy (%)", xlabel="merge coefficient", ylim=(0, 102))
    axes[1].legend(loc="lower left", frameon=False, fontsize=8)
    axes[0].annotate("dashed: no barrier", (0.02, 0.02), xycoords="axes fraction", fontsize=8, color="0.3")
    title = "Clean texts on the way from the victim to its partner"
    return finish(figure, [axes], title, table, subject, has_intervals=False, has_means=False)
