"""Figure of notebook 04: ASR and CACC against the number of models."""

from __future__ import annotations

import pandas as pd
from matplotlib.figure import Figure

from lib.plots.steps import plot_panels


def plot_merging(table: pd.DataFrame) -> Figure:
    """Table `04_merging`: ASR and CACC against the number of models; a row per task, a column per attack."""
    label = "models in the average, the backdoored one included"
    return plot_panels(table, "task", "n_models", label, "Uniform averages of a backdoored model with clean ones")
