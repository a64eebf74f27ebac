"""Figure of notebook 12: what every defense leaves of an attack, and what it costs in clean accuracy."""

from __future__ import annotations

import math
from itertools import zip_longest

import matplotlib.pyplot as plt
import pandas as pd
from matplotlib.axes import Axes
from matplotlib.figure import Figure

from lib.metrics.columns import title_of
from lib.plots.dot_rows import plot_dot_rows
from lib.plots.marks import BEFORE, CLEAN_LINE, CLEAN_MODEL, FULL, HOLLOW, NEUTRAL, entry, legend_below
from lib.plots.names import name_marks
from lib.plots.style import OTHER_COLOURS, REFERENCE, UNKNOWN, WIDTH, Subject, attack_title, finish, over_attacks

NAMED = ("average", "abl", "onion", "gms", "pure", "strip", "cube")  # in the figure of many panels
NONE = "none"  # the backdoored model without a defense
DEFENSE_NAMES = {
    NONE: "no defense", "abl": "ABL", "bki": "BKI", "cube": "CUBE", "dan": "DAN", "gms": "GMS", "onion": "ONION",
    "onion_masked": "ONION, masked LM", "pure": "PURE", "rap": "RAP", "strip": "STRIP", "z_def": "Z-Def",
}  # fmt: skip
# What a defense needs, the hardest to get first: the first that it has gives its colour.
GROUPS = {
    "training data": ("the training data", OTHER_COLOURS[2]),
    "clean labelled data": ("clean labelled texts", OTHER_COLOURS[3]),
    "clean texts": ("clean texts", OTHER_COLOURS[1]),
    "other models": ("other models alone", OTHER_COLOURS[0]),
    "language model": ("a language model alone", OTHER_COLOURS[4]),
    "nothing": ("nothing", NEUTRAL),
}


def defense_title(name: str) -> str:
    """A defense's name as the literature writes it.

    >>> defense_title("z_def"), defense_title("small_weight")
    ('Z-Def', 'small weight')
    """
    return DEFENSE_NAMES.get(name, name.replace("_", " "))


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
    """Table `12_defenses`: the defenses from the one that leaves least to the one that leaves most, with what each costs.

    The colour says what a defense needs. The backdoored model without a defense is hollow.
    """
    shown = table[table["defense"] != "clean_model"]
    needs = {name: GROUPS[needs_group(text)] for name, text in zip(shown["defense"], shown["needs"], strict=True)}
    looks = {
        name: {**(HOLLOW if name == NONE else FULL), "color": colour, "label": defense_title(name)}
        for name, (_, colour) in needs.items()
    }
    used = [group for name, group in GROUPS.items() if name != "nothing" and group in needs.values()]
    legend = [entry(f"needs {what}", FULL, color=colour) for what, colour in used]
    legend += [entry(BEFORE, HOLLOW)] if NONE in needs else []
    return plot_dot_rows(shown, "defense", looks, legend, f"Defenses: {over_attacks(table['attack'])}", subject, before=NONE)


def plot_defenses_by_attack(table: pd.DataFrame, subject: Subject = UNKNOWN) -> Figure:
    """Table `12_defenses`, one panel per attack: what each defense leaves against what it costs; low and to the right is good.

    Each mark is a mean over tasks and seeds. Some have their names: one of each kind, where there is room for it.
    """
    shown = table[table["defense"] != "clean_model"]
    attacks = list(dict.fromkeys(shown["attack"]))
    n_columns = min(3, len(attacks))
    n_rows = math.ceil(len(attacks) / n_columns)
    size = (max(4.8, min(WIDTH, 3.2 * n_columns)), 1.4 + 2.7 * n_rows)
    figure, axes = plt.subplots(n_rows, n_columns, figsize=size, sharex=True, sharey=True, squeeze=False)
    places: dict[Axes, dict[str, tuple[float, float]]] = {}
    for axis, attack in zip_longest(axes.flat, attacks):
        if attack is None:
            axis.set_visible(False)
            continue
        rows = shown[shown["attack"] == attack]
        means = rows.groupby("defense", sort=False)[["excess_asr", "cacc_change"]].mean() * 100
        places[axis] = {str(name): (point["cacc_change"], point["excess_asr"]) for name, point in means.iterrows()}
        needs = rows.drop_duplicates("defense").set_index("defense")["needs"]
        for name, point in means.iterrows():
            look = {**(HOLLOW if name == NONE else FULL), "color": GROUPS[needs_group(needs[name])][1], "markersize": 5.5}
            axis.plot(point["cacc_change"], point["excess_asr"], zorder=4 if name == NONE else 3, **look)
        axis.axhline(0, **CLEAN_LINE)
        axis.axvline(0, **{**REFERENCE, "zorder": 1})
        axis.set_title(attack_title(attack), fontsize=9.5)
    for axis in axes[:, 0]:
        axis.set_ylabel("ASR above a clean\nmodel's, points", fontsize=8.5)
    for place, axis in enumerate(axes.flat):
        if place + n_columns >= len(attacks):
            axis.set_xlabel(f"{title_of('cacc_change')}, points", fontsize=8.5)
            axis.xaxis.set_tick_params(labelbottom=True)
    used = {needs_group(text) for text in shown["needs"]} - {"nothing"}
    legend = [entry(f"needs {what}", FULL, color=colour) for name, (what, colour) in GROUPS.items() if name in used]
    legend += [entry(BEFORE, HOLLOW)] if NONE in set(shown["defense"]) else []
    legend_below(figure, [*legend, entry(CLEAN_MODEL, CLEAN_LINE)])
    finish(figure, axes, "What each defense leaves, and what it costs", shown, subject, has_intervals=False)
    for axis, marks in places.items():
        name_marks(axis, {defense_title(name): marks[name] for name in NAMED if name in marks}, list(marks.values()))
    return figure
