"""Figure of notebook 12: what every defense leaves of an attack, and what it costs in clean accuracy."""

from __future__ import annotations

import pandas as pd
from matplotlib.figure import Figure

from lib.plots.dot_rows import plot_dot_rows
from lib.plots.marks import BEFORE, FULL, HOLLOW, NEUTRAL, entry
from lib.plots.style import OTHER_COLOURS, UNKNOWN, Subject, over_attacks

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
