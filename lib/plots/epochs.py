"""Figure of notebook 10: victims that were trained for longer."""

from __future__ import annotations

import pandas as pd
import seaborn as sns
from matplotlib.figure import Figure

from lib.plots.steps import plot_lines
from lib.plots.style import UNKNOWN, Subject


def plot_epochs(table: pd.DataFrame, subject: Subject = UNKNOWN) -> Figure:
    """Table `10_epochs`: one line per merge against the epochs of the victim."""
    merges = list(dict.fromkeys(table["merge"]))
    colours = dict(zip(merges, sns.color_palette("colorblind", len(merges)), strict=True))
    sizes = table.groupby("merge")["n_models"].first()
    names = {name: "victim alone" if name == "none" else f"{name}, {sizes[name]} models" for name in merges}
    return plot_lines(
        table, "epochs", "merge", colours, names,
        "epochs of the victim's training", "Victims that were trained for longer than their partners", subject,
    )  # fmt: skip
