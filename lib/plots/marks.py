"""The marks of all figures, each with one meaning: hollow is before the merge, full after it, a grey bar a clean model.

*Before* is the backdoored model alone. In figures of lines the grey bar is as long as the panel. A square is a model of the
same task, a diamond a method that selects whole models, a cross an average without the backdoored model.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np
import pandas as pd
from matplotlib.artist import Artist
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.lines import Line2D
from numpy.typing import ArrayLike

from lib.plots.style import RATE_COLOURS, RATE_NAMES

CLEAN = "0.55"
NEUTRAL = "0.3"  # in legends: the mark has a meaning, its colour has none
BEFORE, AFTER, CLEAN_MODEL = "backdoored model alone", "average with clean models", "clean model"
CLEAN_ASR = "ASR of a clean model"
FULL: dict[str, Any] = {"marker": "o", "linestyle": ""}
HOLLOW: dict[str, Any] = {**FULL, "markerfacecolor": "white"}
BAR: dict[str, Any] = {"marker": "_", "linestyle": "", "color": CLEAN, "markersize": 15, "markeredgewidth": 3}
UPRIGHT_BAR: dict[str, Any] = {**BAR, "marker": "|", "markersize": 13}
CLEAN_LINE: dict[str, Any] = {"color": CLEAN, "linewidth": 2.5, "zorder": 1.5}


def entry(label: str, look: dict[str, Any], **changes: Any) -> Line2D:
    """A line of a legend; what has no colour of its own is neutral."""
    return Line2D([], [], label=label, **{"color": NEUTRAL, **look, **changes})


def rate_entries(rates: Sequence[str] = ("asr", "cacc")) -> list[Line2D]:
    """The lines of a legend that say which colour is which rate."""
    return [entry(RATE_NAMES[rate], {"color": RATE_COLOURS[rate], "linewidth": 2.5}) for rate in rates]


def legend_below(figure: Figure, entries: Sequence[Artist], n_columns: int = 3) -> None:
    """The one legend of all panels, below them."""
    place = {"loc": "upper center", "bbox_to_anchor": (0.5, 0.02)}
    figure.legend(handles=entries, ncols=n_columns, frameon=False, fontsize=8.5, **place)


def rate_line(
    axis: Axes, step: str, rows: pd.DataFrame, rate: str, colour: Any, is_before: ArrayLike = False, **look: Any
) -> None:
    """A line of a rate in per cent, or of a change in points, with the band of its interval.

    Args:
        axis: drawn into.
        step: the column on the x-axis.
        rows: in the order of `step`, with `rate` and its bounds.
        rate: a column of `lib.metrics.summary.summarise`.
        colour: of line and band.
        is_before: which rows are the backdoored model alone; their marks are hollow.
        look: of the line.
    """
    places, values = rows[step].to_numpy(), rows[rate].to_numpy() * 100
    marks = {"marker": "o", "markersize": 4.5, "color": colour}
    alone = np.broadcast_to(np.asarray(is_before, dtype=bool), values.shape)
    axis.plot(places, values, markevery=np.flatnonzero(~alone).tolist(), **{**marks, "linewidth": 1.4, **look})
    axis.fill_between(places, rows[f"{rate}_low"] * 100, rows[f"{rate}_high"] * 100, color=colour, alpha=0.15, lw=0)
    if alone.any():
        axis.plot(places[alone], values[alone], zorder=3, label="_before", **{**marks, **HOLLOW})


def spread(rows: pd.DataFrame, rate: str) -> np.ndarray:
    """How far the interval reaches below and above each value, in per cent or points, shape (2, n)."""
    bounds = rows[[f"{rate}_low", f"{rate}_high"]].to_numpy().T
    return np.abs(bounds - rows[rate].to_numpy()) * 100


def interval_marks(axis: Axes, places: ArrayLike, rows: pd.DataFrame, rate: str, look: dict[str, Any], label: str) -> None:
    """Marks with upright intervals, in per cent or points; those of a clean model are grey bars."""
    style = {"elinewidth": 1, "zorder": 1} if look is BAR else {"elinewidth": 1, "capsize": 2, "markersize": 6}
    axis.errorbar(places, rows[rate] * 100, spread(rows, rate), label=label, **{"color": RATE_COLOURS[rate], **style, **look})
