"""Figure of notebook 02: what each trigger does to the texts."""

from __future__ import annotations

from dataclasses import replace

import matplotlib.pyplot as plt
import pandas as pd
import seaborn as sns
from matplotlib.figure import Figure
from matplotlib.ticker import NullFormatter, StrMethodFormatter

from lib.metrics.columns import title_of
from lib.plots.marks import FULL, entry, legend_below
from lib.plots.style import REFERENCE, UNKNOWN, WIDTH, Subject, attack_title, colours_of, finish

MEASURES = ("perplexity_ratio", "similarity", "words_changed", "share_changed")


def plot_stealth(table: pd.DataFrame, subject: Subject = UNKNOWN) -> Figure:
    """Table `02_stealth`: one panel per measure, one point per attack and task. No model of the study has a part in it."""
    figure, axes = plt.subplots(1, len(MEASURES), figsize=(WIDTH, 3.8), sharey=True, squeeze=False)
    titled = table.assign(attack=table["attack"].map(attack_title), task=table["task"].map(subject.task))
    colours = colours_of(titled["task"])
    for axis, measure in zip(axes[0], MEASURES, strict=True):
        look = {"hue": "task", "palette": colours, "jitter": False, "dodge": True, "size": 6, "legend": False}
        sns.stripplot(titled, x=measure, y="attack", ax=axis, **look)
        axis.set(ylabel="")
        axis.set_xlabel(title_of(measure), fontsize=8.5)
        axis.grid(axis="x", alpha=0.3)
        if measure == "perplexity_ratio":
            axis.set_xscale("log")
            axis.xaxis.set_major_formatter(StrMethodFormatter("{x:g}"))
            axis.xaxis.set_minor_formatter(NullFormatter())
            axis.axvline(1, **REFERENCE)
        else:
            axis.set_xlim(0, 1.05 * max(1.0, table[measure].max()))
    legend_below(figure, [entry(task, FULL, color=colour) for task, colour in colours.items()], n_columns=4)
    return finish(figure, axes, "What each trigger does to the texts", table, replace(subject, model=""), has_intervals=False)
