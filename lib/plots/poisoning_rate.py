"""Figure of notebook 09: backdoored models of several poisoning rates."""

from __future__ import annotations

import pandas as pd
import seaborn as sns
from matplotlib.figure import Figure

from lib.plots.steps import plot_lines
from lib.plots.style import UNKNOWN, Subject


def plot_poisoning_rates(table: pd.DataFrame, subject: Subject = UNKNOWN) -> Figure:
    """Table `09_poisoning_rate`: one line per poisoning rate against the number of models in the average."""
    values = sorted(table["poisoning_rate"].unique())
    colours = dict(zip(values, sns.color_palette("viridis_r", len(values)), strict=True))
    names = {value: f"{value:.0%} poisoned" for value in values}
    return plot_lines(
        table, "n_models", "poisoning_rate", colours, names,
        "models in the average", "Backdoored models of several poisoning rates, averaged with other domains", subject,
    )  # fmt: skip
