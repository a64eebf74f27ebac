"""Figure of notebook 10: backdoored models that were trained for longer."""

from __future__ import annotations

import pandas as pd
from matplotlib.figure import Figure

from lib.plots.marks import BEFORE, NEUTRAL
from lib.plots.steps import plot_lines
from lib.plots.style import UNKNOWN, Subject, colours_of


def plot_epochs(table: pd.DataFrame, subject: Subject = UNKNOWN) -> Figure:
    """Table `10_epochs`: one line per merge against the epochs of the backdoored model."""
    sizes = table.groupby("merge", sort=False)["n_models"].first()
    colours = {"none": NEUTRAL} | colours_of(name for name in sizes.index if name != "none")
    names = {name: BEFORE if name == "none" else f"{name}, {size} models" for name, size in sizes.items()}
    label, title = "epochs of the backdoored model", "Backdoored models that were trained for longer than their partners"
    return plot_lines(table, "epochs", "merge", {name: colours[name] for name in names}, names, label, title, subject)
