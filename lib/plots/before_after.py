"""Rates before and after a merge, one line per model: the shape of the figures of notebooks 11 and 90."""

from __future__ import annotations

from collections.abc import Sequence

import matplotlib.pyplot as plt
import pandas as pd
from matplotlib.axes import Axes
from matplotlib.figure import Figure

from lib.metrics.summary import summarise
from lib.plots.style import PALETTE, RATE_COLOURS, RATE_NAMES, Subject, finish

FLOORS = {"asr": ("asr_floor", "ASR of a clean model"), "cacc": ("clean_model_cacc", "CACC of a clean model")}
COLOURS = RATE_COLOURS | {"asr_rise": PALETTE[1]}
MARKS = {"asr": "o", "asr_rise": "^", "cacc": "s"}


def plot_before_after(
    table: pd.DataFrame, line: str, title: str, subject: Subject, rates: Sequence[str] = ("asr", "cacc")
) -> Figure:
    """Rates of the victim alone (hollow) and of the largest average (full), one line per value of the column `line`.

    The grey bar is the floor: the ASR of a clean model beside ASR, its CACC beside CACC. Bars are 95 % t-intervals over seeds.

    Args:
        table: rows with `n_models`, `seed`, rates and outcomes.
        line: the column that tells the lines apart.
        title: of the figure.
        subject: whose numbers they are.
        rates: one panel each, of "asr", "asr_rise" (ASR above the same model's rate without the trigger) and "cacc".
    """
    most = table.groupby(line)["n_models"].transform("max")
    stages = {"victim alone": table[table["n_models"] == 1], "average of all models": table[table["n_models"] == most]}
    names = list(dict.fromkeys(table[line]))
    summaries = {stage: summarise(rows, [line]).set_index(line).loc[names] for stage, rows in stages.items()}
    height = 0.36 * max(len(names), 3)  # one line alone leaves no room for the legend
    figure, axes = plt.subplots(1, len(rates), figsize=(2.4 + 4.3 * len(rates), 1.5 + height), sharey=True, squeeze=False)
    for axis, rate in zip(axes[0], rates, strict=True):
        if rate in FLOORS:
            column, label = FLOORS[rate]
            floors = stages["victim alone"].groupby(line)[column].mean().loc[names] * 100
            axis.scatter(floors, range(len(names)), marker="|", s=260, color="0.4", linewidths=2, label=label)
        for stage, summary in summaries.items():
            values = summary[rate].to_numpy() * 100
            spread = abs(summary[[f"{rate}_low", f"{rate}_high"]].to_numpy().T * 100 - values)
            face = "white" if stage == "victim alone" else COLOURS[rate]
            style = {"color": COLOURS[rate], "markerfacecolor": face, "markersize": 6, "capsize": 2}
            axis.errorbar(values, range(len(names)), xerr=spread, fmt=MARKS[rate], label=stage, **style)
        axis.set_xlabel(f"{RATE_NAMES[rate]}, {'points' if rate == 'asr_rise' else '%'}")
        _limit(axis, rate)
        axis.legend(loc="upper center", bbox_to_anchor=(0.5, -0.5 / (0.4 + height)), ncols=3, frameon=False, fontsize=8)
    axes[0][0].set_yticks(range(len(names)), names)
    axes[0][0].set_ylim(len(names) - 0.5, -0.5)
    return finish(figure, axes, title, table, subject)


def _limit(axis: Axes, rate: str) -> None:
    """The range of a panel; a rise may be negative, and none of CACC lies far below the others."""
    lowest = axis.get_xlim()[0]
    if rate == "asr_rise":
        axis.axvline(0, color="0.4", linewidth=1)
    axis.set_xlim({"asr": -3, "asr_rise": min(-3, lowest), "cacc": min(75, lowest)}[rate], 101 if rate == "cacc" else 103)
