"""Figure of notebook 01: accuracy from domain to domain."""

from __future__ import annotations

import matplotlib.pyplot as plt
import pandas as pd
import seaborn as sns
from matplotlib.figure import Figure

from lib.plots.style import UNKNOWN, Subject, finish


def plot_transfer(table: pd.DataFrame, subject: Subject = UNKNOWN) -> Figure:
    """Table `01_transfer`: accuracy of each domain's model on each domain's test set; rows say how far a domain is."""
    names, distances = list(dict.fromkeys(table["trained_on"])), table.groupby("trained_on")["domain_distance"].first()
    grid = table.pivot(index="trained_on", columns="tested_on", values="cacc").loc[names, names] * 100
    figure, axis = plt.subplots(figsize=(1.9 + 0.85 * len(names), 1.2 + 0.62 * len(names)))
    lowest = min(50, 10 * int(grid.min().min() // 10))  # below one half a model reads the other domain the wrong way round
    bar = {"label": "accuracy (%)"}
    sns.heatmap(grid, annot=True, fmt=".0f", cmap="cividis", vmin=lowest, vmax=100, cbar_kws=bar, ax=axis)
    axis.set(xlabel="tested on", ylabel="fine-tuned on")
    axis.set_xticklabels([subject.task(name) for name in names], rotation=30, ha="right")
    axis.set_yticklabels([f"{subject.task(name)} ({distances[name]})" for name in names], rotation=0)
    return finish(figure, [[axis]], "Accuracy from domain to domain", table, subject, has_intervals=False)
