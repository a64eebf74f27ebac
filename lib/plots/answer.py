"""The picture of the README: the story of one backdoor, and the result on real data, side by side."""

from __future__ import annotations

import matplotlib.pyplot as plt
import pandas as pd
import seaborn as sns
from matplotlib.axes import Axes
from matplotlib.figure import Figure

from lib.plots.style import RATE_COLOURS, Subject, attack_title

COLUMNS = ["before", "after", "clean"]
SHORT = {"asr": "ASR", "cacc": "CACC"}
SYNTHETIC, REAL = Subject(is_synthetic=True), Subject()


def plot_answer(
    story: pd.DataFrame | None, real: pd.DataFrame | None, subjects: tuple[Subject, Subject] = (SYNTHETIC, REAL)
) -> Figure:
    """Rates of the backdoored model (hollow), of the average (full) and of a clean model (grey bar), in two panels.

    Args:
        story: table `00_story`: one attack on one task.
        real: table `90_headline` of a run on real data: means over its attacks, task by task.
        subjects: whose numbers the two are.

    A table that is not there leaves its panel empty, with a note.
    """
    figure, axes = plt.subplots(1, 2, figsize=(9.6, 4.2), sharey=True, width_ratios=(1, 2.2))
    panels = [
        ("One backdoor", subjects[0], None if story is None else _of_story(story, subjects[0])),
        ("Real data, mean over the attacks", subjects[1], None if real is None else _of_headline(real, subjects[1])),
    ]
    for axis, (title, subject, rates) in zip(axes, panels, strict=True):
        axis.set_title("\n".join(filter(None, [title, subject.line(())])), fontsize=10)
        sns.despine(ax=axis)
        axis.grid(axis="y", color="0.92", zorder=0)
        if rates is None:
            axis.annotate("not run", (0.5, 0.5), xycoords="axes fraction", ha="center", color="0.4")
            axis.set_xticks([])
        else:
            _draw(axis, rates)
    axes[0].set(ylabel="rate on the test set (%)", ylim=(-4, 108))
    marks = [
        plt.Line2D([], [], marker="o", linestyle="", color="0.3", markerfacecolor="white", label="backdoored model"),
        plt.Line2D([], [], marker="o", linestyle="", color="0.3", label="average with clean models of other domains"),
        plt.Line2D([], [], marker="_", linestyle="", color="0.55", markersize=16, markeredgewidth=3, label="clean model"),
    ]
    figure.legend(handles=marks, loc="lower center", ncols=3, frameon=False, bbox_to_anchor=(0.5, -0.01), fontsize=9)
    figure.suptitle("A backdoored model before and after it is averaged with clean ones", fontsize=12)
    figure.tight_layout(rect=(0, 0.06, 1, 1))
    return figure


def _of_story(story: pd.DataFrame, subject: Subject) -> pd.DataFrame:
    """One row per rate: before, after, clean."""
    models = story.set_index("model")
    what = f"{attack_title(story['attack'].iloc[0])} on {subject.task(story['task'].iloc[0])}"
    rows = [
        {"group": what, "rate": rate, **dict(zip(COLUMNS, models.loc[["backdoored", "merged", "clean"], rate], strict=True))}
        for rate in RATE_COLOURS
    ]
    return pd.DataFrame(rows)


def _of_headline(headline: pd.DataFrame, subject: Subject) -> pd.DataFrame:
    """One row per task and rate; where a table does not have the clean model's CACC, it is empty."""
    cells = headline[(headline["task"] != "all") & (headline["attack"] != "all")]
    if "cacc_change_vs_clean" in cells:
        cells = cells.assign(clean_cacc=cells["merged_cacc"] - cells["cacc_change_vs_clean"])
    names = {"asr": ("backdoored_asr", "merged_asr", "asr_floor"), "cacc": ("backdoored_cacc", "merged_cacc", "clean_cacc")}
    rows = []
    for task, group in cells.groupby("task", sort=False):
        for rate, columns in names.items():
            means = [group[name].mean() if name in group else float("nan") for name in columns]
            rows.append({"group": subject.task(str(task)), "rate": rate, **dict(zip(COLUMNS, means, strict=True))})
    return pd.DataFrame(rows)


def _draw(axis: Axes, rates: pd.DataFrame) -> None:
    """Each row as a hollow dot, an arrow, a full dot and a grey bar; a name below every group of rows."""
    ticks, labels = [], []
    for place, row in enumerate(rates.to_dict("records")):
        colour, before, after = RATE_COLOURS[row["rate"]], 100 * row["before"], 100 * row["after"]
        if abs(before - after) > 8:  # no room for an arrow between dots that touch
            arrow = {"arrowstyle": "->", "color": colour, "shrinkA": 6, "shrinkB": 6}
            axis.annotate("", (place, after), (place, before), arrowprops=arrow)
        axis.plot(place, 100 * row["clean"], marker="_", color="0.55", markersize=26, markeredgewidth=3, zorder=1)
        axis.plot(place, before, marker="o", color=colour, markerfacecolor="white", markersize=8, zorder=2)
        axis.plot(place, after, marker="o", color=colour, markersize=8, zorder=3)
        axis.annotate(f"{after:.0f}", (place, after), (11, -3), textcoords="offset points", color=colour, fontweight="bold")
        ticks.append(place)
        middle = place % 2 == 0  # ASR and CACC of one group stand beside each other
        labels.append(f"{SHORT[row['rate']]}\n{row['group'] if middle else ''}")
    axis.set_xticks(ticks, labels)
    axis.set_xlim(-0.6, len(ticks) - 0.2)
