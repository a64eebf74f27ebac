"""What all figures share: colours, names, the reference line, dots with intervals, titles.

Figures are pure functions: a tidy table in, a matplotlib figure out. Every figure reads without its notebook: what was
attacked, rates in per cent, intervals, and the floor (the ASR of a clean model on the same triggered texts) drawn beside every
ASR. The palette is seaborn's colour-blind-safe one.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np
import pandas as pd
import seaborn as sns
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.ticker import PercentFormatter

from lib.metrics.columns import title_of

PALETTE = sns.color_palette("colorblind")
RATE_COLOURS = {"asr": PALETTE[3], "cacc": PALETTE[0]}
RATE_NAMES = {rate: title_of(rate) for rate in ("asr", "cacc", "asr_rise")}
ATTACK_NAMES = {"badnet": "BadNet", "insertsent": "InsertSent", "syntactic": "Syntactic", "lws": "LWS", "bite": "BITE"}
TASK_NAMES = {"sst2": "SST-2", "olid": "OLID", "agnews": "AG News", "qnli": "QNLI"}
FLOOR_STYLE: dict[str, Any] = {"color": "0.35", "linestyle": ":", "linewidth": 1.4}


def attack_title(name: str) -> str:
    """An attack's name as the literature writes it."""
    return ATTACK_NAMES.get(name, name)


def task_title(name: str, is_synthetic: bool = False) -> str:
    """A task's name as the literature writes it; of Pocket English with the word that says what it is.

    >>> task_title("sst2"), task_title("sst2", is_synthetic=True)
    ('SST-2', 'SST-2-like')
    """
    return TASK_NAMES.get(name, name) + ("-like" if is_synthetic else "")


def rate_points(axis: Axes, rows: pd.DataFrame, rate: str, places: np.ndarray, is_clean: bool, label: str) -> None:
    """Marks with intervals: full ones of the models that a figure is about, grey bars of clean models."""
    values = rows[rate].to_numpy() * 100
    spread = np.abs(np.stack([values - rows[f"{rate}_low"] * 100, rows[f"{rate}_high"] * 100 - values]))
    look: dict[str, Any] = {"fmt": "o" if rate == "asr" else "s", "color": RATE_COLOURS[rate], "markersize": 6, "capsize": 2}
    if is_clean:
        look = {"fmt": "_", "color": "0.55", "markersize": 14, "markeredgewidth": 2.5, "elinewidth": 1, "zorder": 1}
    axis.errorbar(places, values, spread, label=label, **look)


def numbered_point(
    axis: Axes, number: int, place: tuple[float, float], interval: tuple[float, float], colour: tuple[float, ...]
) -> None:
    """A dot with a number in it, and the interval of its first coordinate; all in per cent or points."""
    x, y = place
    spread = [[max(0.0, x - interval[0])], [max(0.0, interval[1] - x)]]
    axis.errorbar(x, y, xerr=spread, color=colour, alpha=0.35, linewidth=1)
    axis.plot(x, y, "o", color=colour, markersize=11, markeredgecolor="white")
    axis.annotate(str(number), (x, y), ha="center", va="center", color="white", fontsize=6.5)


def finish(
    figure: Figure,
    axes: Sequence[Sequence[Axes]] | np.ndarray,
    title: str,
    table: pd.DataFrame,
    has_intervals: bool = True,
    has_means: bool = True,
) -> Figure:
    """Title, subtitle with task, seeds and kind of interval, per-cent axes, no chart junk.

    Args:
        figure: finished in place.
        axes: its panels.
        title: of the figure.
        table: what it shows, with `seed` and perhaps `task`.
        has_intervals: whether it shows those of `lib.metrics.summary.summarise`.
        has_means: whether it shows means over seeds, and not one line per seed.
    """
    for axis in np.ravel(np.asarray(axes, dtype=object)):
        if "%" in axis.get_ylabel() or any("%" in other.get_ylabel() for other in axis._shared_axes["y"].get_siblings(axis)):
            axis.set_ylim(-3, 103)
            axis.yaxis.set_major_formatter(PercentFormatter(decimals=0, symbol=""))
        sns.despine(ax=axis)
        axis.grid(axis="y", color="0.92", zorder=0)
        axis.set_axisbelow(True)
    n_seeds = table["seed"].nunique()
    tasks = ", ".join(dict.fromkeys(table["task"])) if "task" in table else ""
    seeds = f"{'mean of ' if has_means else ''}{n_seeds} seeds" if n_seeds > 1 else "one seed"
    interval = ("95 % t-intervals over seeds" if n_seeds > 1 else "95 % intervals over texts") if has_intervals else ""
    height = figure.get_figheight()
    figure.suptitle(title, fontsize=11.5, y=1 - 0.06 / height, va="top")
    subtitle = " | ".join(part for part in (tasks, seeds, interval) if part)
    figure.text(0.5, 1 - 0.3 / height, subtitle, ha="center", va="top", fontsize=8.5, color="0.35")
    figure.tight_layout(rect=(0, 0.02, 1, 1 - 0.22 / height))  # it makes room for the title itself, not for the line below it
    return figure
