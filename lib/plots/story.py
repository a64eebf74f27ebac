"""Figure of notebook 00: one backdoored model before and after a merge."""

from __future__ import annotations

import matplotlib.pyplot as plt
import numpy as np
import pandas as pd
from matplotlib.figure import Figure

from lib.metrics.summary import summarise
from lib.plots.style import FLOOR_STYLE, RATE_COLOURS, RATE_NAMES, UNKNOWN, Subject, attack_title, finish


def plot_story(table: pd.DataFrame, subject: Subject = UNKNOWN) -> Figure:
    """Table `00_story`: ASR and CACC of the backdoored and of the merged model, the clean model's ASR as floor."""
    rows = summarise(table, ["model"]).set_index("model").loc[["backdoored", "merged"]]
    figure, axis = plt.subplots(figsize=(5.6, 3.6))
    for offset, rate in ((-0.17, "asr"), (0.17, "cacc")):
        places, values = np.arange(len(rows)) + offset, rows[rate] * 100
        axis.bar(places, values, width=0.32, color=RATE_COLOURS[rate], label=RATE_NAMES[rate])
        spread = np.stack([values - rows[f"{rate}_low"] * 100, rows[f"{rate}_high"] * 100 - values]).clip(0)
        axis.errorbar(places, values, spread, fmt="none", ecolor="0.2", capsize=3, linewidth=1)
        for place, value in zip(places, values, strict=True):
            axis.annotate(f"{value:.0f}", (place, value), (0, 9), textcoords="offset points", ha="center", fontweight="bold")
    axis.axhline(table.set_index("model")["asr"]["clean"] * 100, label="floor: ASR of a clean model", **FLOOR_STYLE)
    axis.set_xticks(range(len(rows)), ["backdoored\nmodel", "average with models\nof other domains"])
    axis.set_ylabel("rate on the test set (%)")
    axis.legend(loc="upper left", bbox_to_anchor=(1.02, 1), frameon=False, fontsize=8.5)
    title = f"A {attack_title(table['attack'].iloc[0])} backdoor before and after the merge"
    return finish(figure, [[axis]], title, table, subject)
