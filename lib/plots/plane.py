"""Figure of notebook 07: the weight of the victim and the number of its partners, varied apart."""

from __future__ import annotations

import matplotlib.pyplot as plt
import pandas as pd
from matplotlib.figure import Figure

from lib.metrics.columns import title_of
from lib.metrics.summary import summarise
from lib.plots.steps import PARTNER_NAMES
from lib.plots.style import FLOOR_STYLE, RATE_COLOURS, RATE_NAMES, UNKNOWN, Subject, attack_title, finish

LINES = (("-", "o"), ("--", "s"), (":", "D"), ("-.", "v"))  # of each number of partners, the smallest first


def plot_plane(table: pd.DataFrame, subject: Subject = UNKNOWN) -> Figure:
    """Table `07_plane`: ASR and CACC over the weight of the victim, one line per number of partners.

    A row per task and attack, a column per kind of partners. Lines that lie on each other: only the weight matters.
    """
    summary = summarise(table, ["task", "attack", "partners", "n_partners", "weight"])
    cells = list(dict.fromkeys(zip(summary["task"], summary["attack"], strict=True)))
    kinds, numbers = list(dict.fromkeys(summary["partners"])), sorted(summary["n_partners"].unique())
    size = (1.8 + 2.9 * len(kinds), 1.4 + 2.6 * len(cells))
    figure, axes = plt.subplots(len(cells), len(kinds), figsize=size, sharex=True, sharey=True, squeeze=False)
    for (task, attack), line_of_axes in zip(cells, axes, strict=True):
        for kind, axis in zip(kinds, line_of_axes, strict=True):
            panel = summary[(summary["task"] == task) & (summary["attack"] == attack) & (summary["partners"] == kind)]
            for number, (style, marker) in zip(numbers, LINES, strict=False):
                rows = panel[panel["n_partners"] == number].sort_values("weight")
                for rate, colour in RATE_COLOURS.items():
                    name = f"{RATE_NAMES[rate]}, {number} partner{'s' if number > 1 else ''}"
                    look = {"color": colour, "linestyle": style, "marker": marker, "markersize": 3.5, "label": name}
                    axis.plot(rows["weight"], rows[rate] * 100, **look)
                    axis.fill_between(
                        rows["weight"], rows[f"{rate}_low"] * 100, rows[f"{rate}_high"] * 100, color=colour, alpha=0.1, lw=0
                    )
            axis.axhline(panel["asr_floor"].mean() * 100, label="floor: ASR of a clean model", **FLOOR_STYLE)
            axis.set_title(f"{attack_title(attack)}, {subject.task(task)}\n{PARTNER_NAMES[kind]}", fontsize=8.5)
    for axis in axes[-1]:
        axis.set_xlabel(title_of("weight"), fontsize=8)
    for axis in axes[:, 0]:
        axis.set_ylabel("rate on the test set (%)", fontsize=9)
    labelled = {label: handle for axis in axes.flat for handle, label in zip(*axis.get_legend_handles_labels(), strict=True)}
    figure.legend(
        list(labelled.values()),
        list(labelled),
        loc="upper center",
        ncols=2,
        frameon=False,
        bbox_to_anchor=(0.5, 0.02),
        fontsize=8,
    )
    return finish(figure, axes, "Weight of the victim, and number of its partners", table, subject)
