"""What is left and what it costs, one line per defense: the shape of the figures of notebooks 05 and 12."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import matplotlib.pyplot as plt
import pandas as pd
from matplotlib.figure import Figure
from matplotlib.lines import Line2D

from lib.metrics.columns import title_of
from lib.metrics.summary import summarise
from lib.plots.marks import CLEAN_LINE, CLEAN_MODEL, entry, legend_below, spread
from lib.plots.style import REFERENCE, WIDTH, Subject, finish

MEASURES = ("excess_asr", "cacc_change")


def plot_dot_rows(
    table: pd.DataFrame,
    line: str,
    looks: Mapping[str, dict[str, Any]],
    legend: Sequence[Line2D],
    title: str,
    subject: Subject,
    before: str = "",
) -> Figure:
    """The ASR above a clean model's, and beside it the change of the CACC; the line on top leaves least of the attacks.

    Large marks are means over attacks, tasks and seeds with 95 % t-intervals over seeds, the faint dots single attacks. The
    grey line is a clean model: at 0 on the left by definition, on the right by its CACC.

    Args:
        table: rows with `attack`, `seed`, rates and outcomes.
        line: the column that tells the lines apart.
        looks: colour, mark and perhaps another label of each value of `line`.
        legend: what they mean.
        title: of the figure.
        subject: whose numbers they are.
        before: the line of the backdoored model alone, if it has one: its CACC is compared with itself.
    """
    summary = summarise(table, [line], MEASURES).set_index(line).sort_values("excess_asr", kind="stable")
    summary.loc[summary.index == before, ["cacc_change_low", "cacc_change_high"]] = 0.0
    single = table.groupby([line, "attack"], sort=False)[list(MEASURES)].mean().reset_index()
    clean = {"excess_asr": 0.0, "cacc_change": 100 * (table["clean_model_cacc"] - table["backdoored_cacc"]).mean()}
    figure, axes = plt.subplots(1, 2, figsize=(WIDTH, 1.7 + 0.26 * max(len(summary), 3)), sharey=True)
    for axis, measure in zip(axes, MEASURES, strict=True):
        for place, (name, rows) in enumerate(summary.groupby(level=0, sort=False)):
            look = looks[str(name)]
            dots = single[single[line] == name][measure] * 100
            axis.scatter(dots, [place] * len(dots), s=8, color=look["color"], alpha=0.35, linewidths=0)
            style = {"markersize": 6, "capsize": 2, "elinewidth": 1, **look}
            axis.errorbar(rows[measure] * 100, [place], xerr=spread(rows, measure), **style)
        axis.axvline(clean[measure], **CLEAN_LINE)
        if measure == "cacc_change":
            axis.axvline(0, **{**REFERENCE, "zorder": 1})
        else:  # intervals of three seeds reach farther than any mean
            low, high = axis.get_xlim()
            axis.set_xlim(max(low, -30), min(high, 105))
        axis.set_xlabel(f"{title_of(measure)}, points", fontsize=8.5)
    axes[0].set_yticks(range(len(summary)), [looks[str(name)].get("label", name) for name in summary.index], fontsize=8.5)
    axes[0].set_ylim(len(summary) - 0.5, -0.5)
    legend_below(figure, [*legend, entry(CLEAN_MODEL, CLEAN_LINE)], n_columns=5 if len(legend) < 5 else 3)
    return finish(figure, [axes], title, table, subject)
