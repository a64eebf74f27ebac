"""Figure of notebook 02: what each trigger does to the texts."""

from __future__ import annotations

import matplotlib.pyplot as plt
import pandas as pd
import seaborn as sns
from matplotlib.figure import Figure

from lib.metrics.columns import title_of
from lib.plots.style import FLOOR_STYLE, UNKNOWN, Subject, attack_title, finish

MEASURES = ("perplexity_ratio", "similarity", "words_changed", "share_changed")


def plot_stealth(table: pd.DataFrame, subject: Subject = UNKNOWN) -> Figure:
    """Table `02_stealth`: one panel per measure, one point per attack and task."""
    figure, axes = plt.subplots(1, len(MEASURES), figsize=(3.1 * len(MEASURES), 3.4), squeeze=False)
    titled = table.assign(attack=table["attack"].map(attack_title), task=table["task"].map(subject.task))
    for axis, measure in zip(axes[0], MEASURES, strict=True):
        sns.stripplot(
            titled, x=measure, y="attack", hue="task", palette="colorblind", jitter=False, dodge=True, size=6, ax=axis,
            legend=axis is axes[0][-1],
        )  # fmt: skip
        axis.set(xlabel=title_of(measure), ylabel="")
        axis.grid(axis="x", alpha=0.3)
        if measure == "perplexity_ratio":
            axis.set_xscale("log")
            axis.axvline(1, **FLOOR_STYLE)
        else:
            axis.set_xlim(0, 1.05 * max(1.0, table[measure].max()))
        if axis is not axes[0][0]:
            axis.set_yticklabels([])
    axes[0][-1].legend(loc="upper left", bbox_to_anchor=(1.02, 1), frameon=False, title=None)
    return finish(figure, axes, "What each trigger does to the texts", table, subject, has_intervals=False)
