"""The picture of the README: the story of one backdoor, and the result on real data, side by side."""

from __future__ import annotations

import matplotlib.pyplot as plt
import pandas as pd
import seaborn as sns
from matplotlib.axes import Axes
from matplotlib.figure import Figure

from lib.plots.marks import AFTER, BAR, BEFORE, CLEAN_MODEL, FULL, HOLLOW, entry, legend_below
from lib.plots.story import SHIFT, draw_change
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
        subjects: of the two.

    A table that is not there leaves its panel empty, with a note.
    """
    figure, axes = plt.subplots(1, 2, figsize=(9.6, 4.1), sharey=True, width_ratios=(1, 2.2))
    panels = [
        ("One backdoor", subjects[0], None if story is None else _of_story(story, subjects[0])),
        ("Real data, mean over the attacks", subjects[1], None if real is None else _of_headline(real, subjects[1])),
    ]
    for axis, (title, subject, rates) in zip(axes, panels, strict=True):
        axis.set_title("\n".join(filter(None, [title, subject.line(())])), fontsize=10)
        sns.despine(ax=axis)
        axis.grid(axis="y", color="0.92", zorder=0)
        axis.set_axisbelow(True)
        if rates is None:
            axis.annotate("not run", (0.5, 0.5), xycoords="axes fraction", ha="center", color="0.4")
            axis.set_xticks([])
        else:
            _draw(axis, rates)
    axes[0].set(ylabel="rate on the test set (%)", ylim=(-4, 108))
    figure.suptitle("A backdoored model before and after it is averaged with clean ones", fontsize=12)
    figure.tight_layout(rect=(0, 0.02, 1, 1))
    legend_below(figure, [entry(BEFORE, HOLLOW), entry(f"{AFTER} of other domains", FULL), entry(CLEAN_MODEL, BAR)])
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
    labels = []
    for place, row in enumerate(rates.to_dict("records")):
        colour, before, after = RATE_COLOURS[row["rate"]], 100 * row["before"], 100 * row["after"]
        axis.plot(place, 100 * row["clean"], zorder=1, **{**BAR, "markersize": 26})
        axis.plot(place - SHIFT, before, color=colour, markersize=8, zorder=2, **HOLLOW)
        axis.plot(place + SHIFT, after, color=colour, markersize=8, zorder=3, **FULL)
        draw_change(axis, place, before, after, colour)
        is_first = place % 2 == 0  # ASR and CACC of one group stand beside each other
        labels.append(f"{SHORT[row['rate']]}\n{row['group'] if is_first else ''}")
    axis.set_xticks(range(len(labels)), labels)
    axis.set_xlim(-0.6, len(labels) - 0.2)
