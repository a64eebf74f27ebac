"""Figure of notebook 12: what every defense leaves of an attack, and what it costs in clean accuracy."""

from __future__ import annotations

import matplotlib.pyplot as plt
import pandas as pd
from matplotlib.figure import Figure

from lib.metrics.intervals import seed_interval
from lib.plots.style import FLOOR_STYLE, PALETTE, UNKNOWN, Subject, attack_title, finish, numbered_point

# What a defense needs, the hardest to get first: the first that it has gives its colour.
GROUPS = {
    "training data": ("the training data", PALETTE[3]),
    "clean labelled data": ("clean labelled texts", PALETTE[1]),
    "clean texts": ("clean texts", PALETTE[4]),
    "other models": ("other models alone", PALETTE[2]),
    "language model": ("a language model alone", PALETTE[8]),
    "nothing": ("nothing: no defense", (0.25, 0.25, 0.25)),
}


def needs_group(needs: str) -> str:
    """The hardest to get of what a defense needs.

    Raises:
        ValueError: for needs of which none is known.

    >>> needs_group("training data, other models"), needs_group("nothing")
    ('training data', 'nothing')
    """
    named = needs.split(", ")
    for group in GROUPS:
        if group in named:
            return group
    raise ValueError(f"unknown needs {needs!r}; one of {list(GROUPS)} must be among them")


def plot_defenses(table: pd.DataFrame, subject: Subject = UNKNOWN) -> Figure:
    """Table `12_defenses`: change of CACC against ASR above a clean model's, one panel per attack; defenses are numbered.

    Dots are means over tasks and seeds. The clean model lies at an excess of 0 by definition and is left out.
    """
    shown = table[table["defense"] != "clean_model"]
    names, attacks = list(dict.fromkeys(shown["defense"])), list(dict.fromkeys(shown["attack"]))
    colours = {name: GROUPS[needs_group(needs)][1] for name, needs in zip(shown["defense"], shown["needs"], strict=True)}
    n_columns = min(3, len(attacks))
    n_rows = -(-len(attacks) // n_columns)
    figure, axes = plt.subplots(n_rows, n_columns, figsize=(4.3 * n_columns, 4 * n_rows + 0.5), squeeze=False, sharey=True)
    for axis, attack in zip(axes.flat, attacks, strict=False):
        for name, rows in shown[shown["attack"] == attack].groupby("defense", sort=False):
            means = 100 * rows.groupby("seed")[["excess_asr", "cacc_change"]].mean()
            x, y = means.mean()
            low, high = map(float, seed_interval(means["excess_asr"])) if len(means) > 1 else (x, x)
            numbered_point(axis, names.index(name), (x, y), (low, high), colours[name])
        axis.axvline(0, **FLOOR_STYLE)
        axis.axhline(0, color="0.8", linewidth=0.9, zorder=0)
        axis.set_title(attack_title(attack), fontsize=10)
        axis.set_xlabel("ASR above a clean model's, in points", fontsize=9)
        axis.set_xlim(-25, 105)  # intervals of three seeds reach farther
    for axis in axes.flat[len(attacks) :]:
        axis.set_visible(False)
    for axis in axes[:, 0]:
        axis.set_ylabel("change of CACC in points")
    has_room = len(attacks) < axes.size  # in the place of the last panel
    _legend(figure, names, colours, (1 - 0.94 / n_columns, 0.27) if has_room else (1.0, 0.5))
    return finish(figure, axes, "Defenses: up and left is better", table, subject)


def _legend(figure: Figure, names: list[str], colours: dict[str, tuple[float, ...]], place: tuple[float, float]) -> None:
    """Numbers and names of the defenses in the colours of what they need, which stand in front."""
    handles = []
    for title, colour in GROUPS.values():
        members = [name for name in names if colours[name] == colour]
        if members:
            handles.append(plt.Line2D([], [], linestyle="", label=f"needs {title}"))
        dots = {"marker": "o", "linestyle": "", "color": colour}
        handles += [plt.Line2D([], [], label=f"{names.index(name):2d}  {name}", **dots) for name in members]
    handles.append(plt.Line2D([], [], label="ASR of a clean model", **FLOOR_STYLE))
    figure.legend(handles=handles, loc="center left", bbox_to_anchor=place, frameon=False, fontsize=7.5, ncols=2)
