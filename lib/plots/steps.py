"""ASR and CACC against a step (number of models, coefficient, epochs): the shapes of the figures of notebooks 04 to 11."""

from __future__ import annotations

from typing import Any

import matplotlib.pyplot as plt
import pandas as pd
from matplotlib.axes import Axes
from matplotlib.figure import Figure

from lib.metrics.summary import summarise
from lib.plots.marks import BEFORE, CLEAN_ASR, CLEAN_LINE, HOLLOW, entry, legend_below, rate_line
from lib.plots.style import FLOOR_STYLE, RATE_COLOURS, RATE_NAMES, REFERENCE, WIDTH, Subject, attack_title, finish

PARTNER_NAMES = {
    "same_task": "clean models of the same task",
    "other_domains": "clean models of other domains",
    "near": "clean models of near domains",
    "far": "clean models of far domains",
}
PARTNER_STYLES: dict[str, dict[str, str]] = {
    "other_domains": {"linestyle": "-", "marker": "o"},
    "same_task": {"linestyle": "--", "marker": "s"},
    "near": {"linestyle": "-.", "marker": "^"},
    "far": {"linestyle": ":", "marker": "v"},
}


def plot_panels(
    table: pd.DataFrame, row: str, step: str, label: str, title: str, subject: Subject, has_dots: bool = False
) -> Figure:
    """One panel per value of `row` and attack: rates with intervals against a step, a line style per kind of partners."""
    summary = summarise(table, list(dict.fromkeys([row, "attack", "partners", step])))
    names, attacks = list(dict.fromkeys(table[row])), list(dict.fromkeys(table["attack"]))
    size = (1.6 + 3.0 * len(attacks), 1.2 + 2.5 * len(names))
    figure, axes = plt.subplots(len(names), len(attacks), figsize=size, sharex="row", sharey=True, squeeze=False)
    for name, line_of_axes in zip(names, axes, strict=True):
        for attack, axis in zip(attacks, line_of_axes, strict=True):
            rows = summary[(summary[row] == name) & (summary["attack"] == attack)]
            if rows.empty:  # an attack that was left out for this task
                axis.set_visible(False)
                continue
            _lines(axis, rows, step)
            if has_dots:  # each subset on its own
                runs = table[(table[row] == name) & (table["attack"] == attack)]
                axis.scatter(runs[step], runs["asr"] * 100, s=5, color=RATE_COLOURS["asr"], alpha=0.25, linewidths=0)
            axis.axhline(rows["asr_floor"].mean() * 100, label="floor: ASR of a clean model", **FLOOR_STYLE)
            axis.set_title(f"{attack_title(attack)}, {subject.task(name)}", fontsize=9)
            if table[step].dtype.kind in "iu":
                axis.set_xticks(sorted(rows[step].unique()))
    for axis in axes[-1]:
        axis.set_xlabel(label, fontsize=8)
    for axis in axes[:, 0]:
        axis.set_ylabel("rate on the test set (%)", fontsize=9)
    first = next(axis for axis in axes.flat if axis.get_visible())
    handles, labels = first.get_legend_handles_labels()
    n_columns = 3 if len(labels) <= 3 or len(attacks) > 2 else 2
    figure.legend(handles, labels, loc="upper center", ncols=n_columns, frameon=False, bbox_to_anchor=(0.5, 0.02))
    return finish(figure, axes, title, table, subject)


def _lines(axis: plt.Axes, summary: pd.DataFrame, step: str) -> None:
    kinds = list(dict.fromkeys(summary["partners"]))
    for kind in kinds:
        rows = summary[summary["partners"] == kind].sort_values(step)
        style = PARTNER_STYLES[kind] if len(kinds) > 1 else PARTNER_STYLES["other_domains"]
        for rate, colour in RATE_COLOURS.items():
            label = RATE_NAMES[rate] + (f", {PARTNER_NAMES[kind]}" if len(kinds) > 1 else "")
            axis.plot(rows[step], rows[rate] * 100, color=colour, markersize=3.5, label=label, **style)
            axis.fill_between(rows[step], rows[f"{rate}_low"] * 100, rows[f"{rate}_high"] * 100, color=colour, alpha=0.2, lw=0)


def plot_lines(
    table: pd.DataFrame,
    step: str,
    line: str,
    colours: dict[Any, Any],
    names: dict[Any, str],
    label: str,
    title: str,
    subject: Subject,
) -> Figure:
    """ASR above the change of the CACC against a step, with intervals: a column per attack, a line per value of `line`.

    The change is to the backdoored model alone, which has none; its axis is its own, so that small costs can be seen.

    Args:
        table: rows with `attack`, `n_models`, `seed`, rates and outcomes.
        step: the column on the x-axis.
        line: the column that tells the lines apart.
        colours: of each value of `line`, in the order of the legend.
        names: what the legend calls each value.
        label: of the x-axis.
        title: of the figure.
        subject: whose numbers they are.
    """
    summary = summarise(table, list(dict.fromkeys(["attack", line, step, "n_models"])), ["cacc_change"])
    alone = summary["n_models"] == 1
    summary.loc[alone, ["cacc_change_low", "cacc_change_high"]] = 0.0  # it is compared with itself
    attacks = list(dict.fromkeys(summary["attack"]))
    size = (min(WIDTH, 2.4 + 3.1 * len(attacks)), 5.4)
    figure, axes = plt.subplots(2, len(attacks), figsize=size, sharex=True, sharey="row", squeeze=False)
    for column, attack in zip(axes.T, attacks, strict=True):
        for axis, rate in zip(column, ("asr", "cacc_change"), strict=True):
            for value, colour in colours.items():
                rows = summary[(summary["attack"] == attack) & (summary[line] == value)].sort_values(step)
                rate_line(axis, step, rows, rate, colour, rows["n_models"] == 1, label=names[value])
            axis.set_xticks(sorted(summary[step].unique()))
        floor = table[table["attack"] == attack]["asr_floor"].mean() * 100
        column[0].axhline(floor, label=CLEAN_ASR, **CLEAN_LINE)
        column[1].axhline(0, **{**REFERENCE, "zorder": 1})
        column[0].set_title(attack_title(attack), fontsize=9.5)
        column[1].set_xlabel(label, fontsize=8.5)
    for axis, name in zip(axes[:, 0], (f"{RATE_NAMES['asr']}, %", f"{RATE_NAMES['cacc_change']}, points"), strict=True):
        axis.set_ylabel(name.replace(" (ASR)", ""), fontsize=8.5)
    shown = {names[value]: colour for value, colour in colours.items() if names[value] != BEFORE}
    lines = [entry(name, {"color": colour, "marker": "o"}) for name, colour in shown.items()]
    legend_below(figure, [*lines, entry(BEFORE, HOLLOW), entry(CLEAN_ASR, CLEAN_LINE)], n_columns=4 if len(attacks) > 1 else 2)
    _make_room(axes[1][0])
    return finish(figure, axes, title, table, subject)


def _make_room(axis: Axes, least: float = 3.0) -> None:
    """At least so many points on both sides of 0: noise of a tenth of a point is not to look like a cost."""
    low, high = axis.get_ylim()
    axis.set_ylim(min(low, -least), max(high, least))
