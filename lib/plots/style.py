"""What all figures share: colours, names, the line below the title that says whose numbers they are.

Figures are pure functions: a tidy table in, a matplotlib figure out. Every figure reads without its notebook: data and model,
what was attacked, rates in per cent, intervals, and a clean model beside every ASR. The palette is seaborn's
colour-blind-safe one. Orange is the ASR and blue the CACC in every figure; `lib.plots.marks` has the meaning of the marks.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from itertools import cycle
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
# Of whatever else has to be told apart: without the two of the rates, and without grey, which is the clean model's.
OTHER_COLOURS = [PALETTE[number] for number in (2, 4, 5, 9, 8)]
RATE_NAMES = {rate: title_of(rate) for rate in ("asr", "cacc", "asr_rise", "cacc_change")}
ATTACK_NAMES = {"badnet": "BadNet", "insertsent": "InsertSent", "syntactic": "Syntactic", "lws": "LWS", "bite": "BITE"}
TASK_NAMES = {"sst2": "SST-2", "olid": "OLID", "agnews": "AG News", "qnli": "QNLI"}
REFERENCE: dict[str, Any] = {"color": "0.35", "linestyle": ":", "linewidth": 1.2}  # chance, no change: no model
WIDTH = 9.6  # inches; a page of a notebook or a browser shrinks what is wider, and its text with it


@dataclass(frozen=True)
class Subject:
    """Whose numbers a figure shows: what its table does not say."""

    is_synthetic: bool = False  # whether the texts are Pocket English
    model: str = ""  # name of the pretrained model; "" where the figure itself names several

    def task(self, name: str) -> str:
        """How the figure calls a task."""
        return task_title(name, self.is_synthetic)

    def line(self, tasks: Iterable[str]) -> str:
        """Data and model in one line.

        >>> Subject(True, "pocket-bert").line(["sst2", "olid"]), Subject(False, "bert-base-uncased").line(["sst2", "olid"])
        ('Pocket English, pocket-bert: SST-2-like, OLID-like', 'SST-2, OLID, bert-base-uncased')
        """
        names = [self.task(name) for name in tasks]
        if not self.is_synthetic:
            return ", ".join(filter(None, [*names, self.model]))
        source = ", ".join(filter(None, ["Pocket English", self.model]))
        return f"{source}: {', '.join(names)}" if names else source


UNKNOWN = Subject()  # of a table that somebody draws without saying where it comes from


def attack_title(name: str) -> str:
    """An attack's name as the literature writes it."""
    return ATTACK_NAMES.get(name, name)


def colours_of(values: Iterable[Any]) -> dict[Any, tuple[float, float, float]]:
    """A colour for each different value, none of them a rate's or the clean model's; they repeat after five."""
    return dict(zip(dict.fromkeys(values), cycle(OTHER_COLOURS), strict=False))


def over_attacks(attacks: Iterable[str], tasks: Iterable[str] | None = None) -> str:
    """The one attack of a figure, or of how many its marks are means; no number where a task has fewer than another.

    >>> over_attacks(["lws", "lws"]), over_attacks(["badnet", "lws"])
    ('LWS', 'mean of 2 attacks')
    >>> over_attacks(["badnet", "lws", "lws"], ["sst2", "sst2", "olid"])
    'mean over attacks'
    """
    attacks = list(attacks)
    different = sorted(set(attacks))
    if tasks is not None:
        cells = set(zip(tasks, attacks, strict=True))
        if len(cells) < len(different) * len({task for task, _ in cells}):
            return "mean over attacks"
    return attack_title(different[0]) if len(different) == 1 else f"mean of {counted(different, 'attack')}"


def task_title(name: str, is_synthetic: bool = False) -> str:
    """A task's name as the literature writes it; of Pocket English with the word that says what it is.

    Other domains and a user's own tasks keep their names: nothing of the literature is called so.

    >>> task_title("sst2"), task_title("sst2", is_synthetic=True), task_title("books", is_synthetic=True)
    ('SST-2', 'SST-2-like', 'books')
    """
    if name not in TASK_NAMES:
        return name
    return TASK_NAMES[name] + ("-like" if is_synthetic else "")


def counted(names: Iterable[Any], word: str) -> str:
    """How many different ones there are, in words.

    >>> counted(["badnet", "lws", "lws"], "attack"), counted([1], "seed")
    ('2 attacks', 'one seed')
    """
    n = len(set(names))
    return f"{n} {word}s" if n > 1 else f"one {word}"


def finish(
    figure: Figure,
    axes: Sequence[Sequence[Axes]] | np.ndarray,
    title: str,
    table: pd.DataFrame,
    subject: Subject,
    has_intervals: bool = True,
    has_means: bool = True,
) -> Figure:
    """Title, two lines with data, model, tasks, seeds and kind of interval, per-cent axes, no chart junk.

    Args:
        figure: finished in place.
        axes: its panels.
        title: of the figure.
        table: what it shows, with `seed` and perhaps `task`.
        subject: whose numbers they are.
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
    seeds = f"{'mean of ' if has_means and n_seeds > 1 else ''}{counted(table['seed'], 'seed')}"
    interval = ("95 % t-intervals over seeds" if n_seeds > 1 else "95 % intervals over texts") if has_intervals else ""
    whose = subject.line(dict.fromkeys(table["task"]) if "task" in table else ())
    height = figure.get_figheight()
    figure.suptitle(title, fontsize=11.5, y=1 - 0.06 / height, va="top")
    lines = [whose, " | ".join(part for part in (seeds, interval) if part)]
    below: dict[str, Any] = {"ha": "center", "va": "top", "fontsize": 8.5, "color": "0.35", "linespacing": 1.4}
    figure.text(0.5, 1 - 0.31 / height, "\n".join(line for line in lines if line), **below)
    figure.tight_layout(rect=(0, 0.02, 1, 1 - 0.38 / height))  # it makes room for the title itself, not for the lines below it
    return figure
