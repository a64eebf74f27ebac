"""ASR and CACC before and after a merge, one line per model: the shape of the figures of notebooks 11 and 90."""

from __future__ import annotations

import matplotlib.pyplot as plt
import pandas as pd
from matplotlib.figure import Figure

from lib.metrics.summary import summarise
from lib.plots.style import RATE_COLOURS, RATE_NAMES, finish


def plot_before_after(table: pd.DataFrame, line: str, title: str) -> Figure:
    """ASR and CACC of the victim alone (hollow) and of the largest average (full), one line per value of the column `line`.

    The grey bar is the floor: the ASR of a clean model beside ASR, its CACC beside CACC.
    """
    most = table.groupby(line)["n_models"].transform("max")
    stages = {"victim alone": table[table["n_models"] == 1], "average of all models": table[table["n_models"] == most]}
    names = list(dict.fromkeys(table[line]))
    height = 0.36 * max(len(names), 3)  # one line alone leaves no room for the legend
    figure, axes = plt.subplots(1, 2, figsize=(11, 1.5 + height), sharey=True)
    for axis, rate, floor in zip(axes, ("asr", "cacc"), ("asr_floor", "clean_model_cacc"), strict=True):
        floors = stages["victim alone"].groupby(line)[floor].mean().loc[names] * 100
        label = f"{'ASR' if rate == 'asr' else 'CACC'} of a clean model"
        axis.scatter(floors, range(len(names)), marker="|", s=260, color="0.4", linewidths=2, label=label)
        for stage, rows in stages.items():
            summary = summarise(rows, [line]).set_index(line).loc[names]
            values = summary[rate].to_numpy() * 100
            spread = abs(summary[[f"{rate}_low", f"{rate}_high"]].to_numpy().T * 100 - values)
            face = "white" if stage == "victim alone" else RATE_COLOURS[rate]
            style = {"color": RATE_COLOURS[rate], "markerfacecolor": face, "markersize": 6, "capsize": 2}
            axis.errorbar(values, range(len(names)), xerr=spread, fmt="o" if rate == "asr" else "s", label=stage, **style)
        axis.set_xlabel(f"{RATE_NAMES[rate]}, %")
        axis.set_xlim(-3, 103) if rate == "asr" else axis.set_xlim(min(75, axis.get_xlim()[0]), 101)
        axis.legend(loc="upper center", bbox_to_anchor=(0.5, -0.5 / (0.4 + height)), ncols=3, frameon=False, fontsize=8)
    axes[0].set_yticks(range(len(names)), names)
    axes[0].set_ylim(len(names) - 0.5, -0.5)
    return finish(figure, [axes], title, table)
