"""Figure of notebook 00: one backdoored model before and after a merge."""

from __future__ import annotations

from typing import Any

import matplotlib.pyplot as plt
import pandas as pd
from matplotlib.axes import Axes
from matplotlib.figure import Figure

from lib.metrics.summary import summarise
from lib.plots.marks import AFTER, BAR, BEFORE, CLEAN_MODEL, FULL, HOLLOW, entry, interval_marks, legend_below
from lib.plots.style import RATE_COLOURS, RATE_NAMES, UNKNOWN, Subject, attack_title, finish

SHIFT = 0.12  # of a mark to the left before the merge, and to the right after it


def plot_story(table: pd.DataFrame, subject: Subject = UNKNOWN) -> Figure:
    """Table `00_story`: ASR and CACC of the backdoored model, of the merged one, and of a clean one."""
    rows = summarise(table, ["model"]).set_index("model")
    figure, axis = plt.subplots(figsize=(5.6, 3.9))
    for place, rate in enumerate(RATE_COLOURS):
        for model, shift, look in (("clean", 0, BAR), ("backdoored", -SHIFT, HOLLOW), ("merged", SHIFT, FULL)):
            interval_marks(axis, [place + shift], rows.loc[[model]], rate, look, f"{rate}, {model}")
        draw_change(axis, place, 100 * rows[rate]["backdoored"], 100 * rows[rate]["merged"], RATE_COLOURS[rate])
    axis.set_xticks(range(len(RATE_COLOURS)), [RATE_NAMES[rate] for rate in RATE_COLOURS])
    axis.set_xlim(-0.5, len(RATE_COLOURS) - 0.4)
    axis.set_ylabel("rate on the test set (%)")
    legend_below(figure, [entry(BEFORE, HOLLOW), entry(AFTER, FULL), entry(CLEAN_MODEL, BAR)])
    title = f"A {attack_title(table['attack'].iloc[0])} backdoor before and after the merge"
    return finish(figure, [[axis]], title, table, subject)


def draw_change(axis: Axes, place: float, before: float, after: float, colour: tuple[float, ...]) -> None:
    """An arrow from a rate before the merge to the one after it, in per cent, and the second as a number."""
    if abs(before - after) > 8:  # no room for an arrow between dots that touch
        arrow = {"arrowstyle": "->", "color": colour, "shrinkA": 6, "shrinkB": 6}
        axis.annotate("", (place + SHIFT, after), (place - SHIFT, before), arrowprops=arrow)
    beside: dict[str, Any] = {"textcoords": "offset points", "color": colour, "fontweight": "bold"}
    axis.annotate(f"{after:.0f}", (place + SHIFT, after), (11, -4), **beside)
