"""Figure of notebook 07: the weight of the backdoored model and the number of its partners, varied apart."""

from __future__ import annotations

import matplotlib.pyplot as plt
import pandas as pd
from matplotlib.figure import Figure

from lib.metrics.columns import title_of
from lib.metrics.summary import summarise
from lib.plots.marks import BEFORE, CLEAN_ASR, CLEAN_LINE, HOLLOW, entry, legend_below, rate_entries, rate_line
from lib.plots.steps import PARTNER_NAMES
from lib.plots.style import RATE_COLOURS, RATE_NAMES, UNKNOWN, WIDTH, Subject, attack_title, finish

LINES = ("-", "--", ":", "-.")  # of each number of partners, the smallest first


def plot_plane(table: pd.DataFrame, subject: Subject = UNKNOWN) -> Figure:
    """Table `07_plane`: ASR and CACC over the weight of the backdoored model, one line per number of partners.

    A row per task and attack, a column per kind of partners. Lines that lie on each other: only the weight matters.
    """
    summary = summarise(table, ["task", "attack", "partners", "n_partners", "weight"])
    cells = list(dict.fromkeys(zip(summary["task"], summary["attack"], strict=True)))
    kinds, numbers = list(dict.fromkeys(summary["partners"])), sorted(summary["n_partners"].unique())
    words = {number: f"{number} partner{'s' if number > 1 else ''}" for number in numbers}
    size = (min(WIDTH, 1.4 + 2.8 * len(kinds)), 1.5 + 2.1 * len(cells))
    figure, axes = plt.subplots(len(cells), len(kinds), figsize=size, sharex=True, sharey=True, squeeze=False)
    for (task, attack), line_of_axes in zip(cells, axes, strict=True):
        for kind, axis in zip(kinds, line_of_axes, strict=True):
            panel = summary[(summary["task"] == task) & (summary["attack"] == attack) & (summary["partners"] == kind)]
            for number, style in zip(numbers, LINES, strict=False):
                rows = panel[panel["n_partners"] == number].sort_values("weight")
                for rate, colour in RATE_COLOURS.items():
                    look = {"linestyle": style, "markersize": 4, "label": f"{RATE_NAMES[rate]}, {words[number]}"}
                    rate_line(axis, "weight", rows, rate, colour, rows["weight"] == 1, **look)
            axis.axhline(panel["asr_floor"].mean() * 100, label=CLEAN_ASR, **CLEAN_LINE)
            axis.set_title(f"{attack_title(attack)}, {subject.task(task)}\n{PARTNER_NAMES[kind]}", fontsize=8.5)
    for axis in axes[-1]:
        axis.set_xlabel(title_of("weight"), fontsize=8.5)
    for axis in axes[:, 0]:
        axis.set_ylabel("rate on the test set (%)", fontsize=8.5)
    lines = [entry(words[number], {"linestyle": style}) for number, style in zip(numbers, LINES, strict=False)]
    legend_below(figure, [*rate_entries(), *lines, entry(BEFORE, HOLLOW), entry(CLEAN_ASR, CLEAN_LINE)], n_columns=4)
    return finish(figure, axes, "Weight of the backdoored model, and number of its partners", table, subject)
