"""Rates before and after a merge, one line per model: the shape of the figures of notebooks 11 and 90."""

from __future__ import annotations

from collections.abc import Sequence

import matplotlib.pyplot as plt
import pandas as pd
from matplotlib.axes import Axes
from matplotlib.figure import Figure

from lib.metrics.summary import summarise
from lib.plots.marks import AFTER, BEFORE, CLEAN_MODEL, FULL, HOLLOW, UPRIGHT_BAR, entry, legend_below, spread
from lib.plots.style import RATE_COLOURS, RATE_NAMES, REFERENCE, WIDTH, Subject, finish

COLOURS = RATE_COLOURS | {"asr_rise": RATE_COLOURS["asr"], "cacc_change": RATE_COLOURS["cacc"]}


def plot_before_after(
    table: pd.DataFrame, line: str, title: str, subject: Subject, rates: Sequence[str] = ("asr", "cacc")
) -> Figure:
    """Rates of the backdoored model alone (hollow) and of the largest average (full), one line per value of the column `line`.

    The grey bar is a clean model. Intervals are 95 % t-intervals over seeds.

    Args:
        table: rows with `n_models`, `seed`, rates and outcomes.
        line: the column that tells the lines apart.
        title: of the figure.
        subject: whose numbers they are.
        rates: one panel each, of "asr", "asr_rise" (ASR above the same model's rate without the trigger), "cacc" and
            "cacc_change" (against the backdoored model alone, which lies at 0).
    """
    most = table.groupby(line)["n_models"].transform("max")
    stages = {BEFORE: table[table["n_models"] == 1], AFTER: table[table["n_models"] == most]}
    names = list(dict.fromkeys(table[line]))
    summaries = {stage: summarise(rows, [line], ["cacc_change"]).set_index(line).loc[names] for stage, rows in stages.items()}
    floors = _of_clean_models(stages[BEFORE]).groupby(stages[BEFORE][line].to_numpy()).mean().loc[names] * 100
    size = (min(WIDTH, 2.4 + 4.0 * len(rates)), 1.6 + 0.3 * max(len(names), 3))
    figure, axes = plt.subplots(1, len(rates), figsize=size, sharey=True, squeeze=False)
    for axis, rate in zip(axes[0], rates, strict=True):
        if rate in floors:
            axis.plot(floors[rate], range(len(names)), label=CLEAN_MODEL, zorder=1, **UPRIGHT_BAR)
        for look, (stage, summary) in zip((HOLLOW, FULL), summaries.items(), strict=True):
            is_zero = rate == "cacc_change" and stage == BEFORE  # compared with itself: no interval
            bounds = None if is_zero else spread(summary, rate)
            style = {"color": COLOURS[rate], "markersize": 6, "capsize": 2, "elinewidth": 1, **look}
            axis.errorbar(summary[rate] * 100, range(len(names)), xerr=bounds, label=stage, **style)
        is_difference = rate in ("asr_rise", "cacc_change")
        axis.set_xlabel(f"{RATE_NAMES[rate]}, {'points' if is_difference else '%'}", fontsize=8.5)
        _limit(axis, rate)
        if is_difference:
            axis.axvline(0, **{**REFERENCE, "zorder": 1})
    axes[0][0].set_yticks(range(len(names)), names)
    axes[0][0].set_ylim(len(names) - 0.5, -0.5)
    legend_below(figure, [entry(BEFORE, HOLLOW), entry(AFTER, FULL), entry(CLEAN_MODEL, UPRIGHT_BAR)])
    return finish(figure, axes, title, table, subject)


def _of_clean_models(rows: pd.DataFrame) -> pd.DataFrame:
    """What a clean model has instead of each rate."""
    return pd.DataFrame(
        {
            "asr": rows["asr_floor"],
            "cacc": rows["clean_model_cacc"],
            "cacc_change": rows["clean_model_cacc"] - rows["backdoored_cacc"],
        }
    )


def _limit(axis: Axes, rate: str) -> None:
    """The range of a panel, wide enough that noise of a tenth of a point does not look like a cost."""
    low, high = axis.get_xlim()
    limits = {
        "asr": (-3, 103), "asr_rise": (min(-3, low), 103),
        "cacc": (min(75, low), 101), "cacc_change": (min(-3, low), max(3, high)),
    }  # fmt: skip
    axis.set_xlim(*limits[rate])
