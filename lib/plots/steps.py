"""ASR and CACC against a step (number of models, coefficient, epochs): the shapes of the figures of notebooks 04 to 11."""

from __future__ import annotations

from typing import Any

import matplotlib.pyplot as plt
import pandas as pd
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.lines import Line2D

from lib.metrics.summary import summarise
from lib.plots.marks import BEFORE, CLEAN_ASR, CLEAN_LINE, HOLLOW, entry, legend_below, rate_entries, rate_line
from lib.plots.style import RATE_COLOURS, RATE_NAMES, REFERENCE, WIDTH, Subject, attack_title, finish

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
    table: pd.DataFrame,
    step: str,
    label: str,
    title: str,
    subject: Subject,
    before: float | None = None,
    has_dots: bool = False,
) -> Figure:
    """One panel per task and attack: rates with intervals against a step, a line style per kind of partners.

    Args:
        table: rows with `task`, `attack`, `partners`, `seed`, rates and outcomes.
        step: the column on the x-axis.
        label: of the x-axis.
        title: of the figure.
        subject: whose numbers they are.
        before: the step that is the backdoored model alone, if there is one.
        has_dots: whether every run has a faint dot.
    """
    summary = summarise(table, ["task", "attack", "partners", step])
    tasks, attacks = list(dict.fromkeys(table["task"])), list(dict.fromkeys(table["attack"]))
    height = 1.75 if len(attacks) > 3 and len(tasks) > 1 else 2.3  # a large grid has to fit on a page
    size = (min(WIDTH, 1.0 + 3.2 * len(attacks)), 1.4 + height * len(tasks))
    figure, axes = plt.subplots(len(tasks), len(attacks), figsize=size, sharex="row", sharey=True, squeeze=False)
    for task, line_of_axes in zip(tasks, axes, strict=True):
        for attack, axis in zip(attacks, line_of_axes, strict=True):
            rows = summary[(summary["task"] == task) & (summary["attack"] == attack)]
            if rows.empty:  # an attack that was left out for this task
                axis.set_visible(False)
                continue
            draw_rates(axis, rows, step, before)
            if has_dots:  # each subset on its own
                runs = table[(table["task"] == task) & (table["attack"] == attack)]
                axis.scatter(runs[step], runs["asr"] * 100, s=5, color=RATE_COLOURS["asr"], alpha=0.25, linewidths=0)
            axis.set_title(f"{attack_title(attack)}\n{subject.task(task)}", fontsize=8.5)
            if table[step].dtype.kind in "iu":
                axis.set_xticks(sorted(rows[step].unique()))
    for column in axes.T:
        [axis for axis in column if axis.get_visible()][-1].set_xlabel(label, fontsize=8.5)
    for line_of_axes in axes:
        next(axis for axis in line_of_axes if axis.get_visible()).set_ylabel("rate on the test set (%)", fontsize=8.5)
    legend_below(figure, rates_legend(table, before is not None))
    return finish(figure, axes, title, table, subject)


def draw_rates(axis: Axes, summary: pd.DataFrame, step: str, before: float | None) -> None:
    """ASR and CACC of each kind of partners in one panel, and the ASR of a clean model."""
    kinds = list(dict.fromkeys(summary["partners"]))
    for kind in kinds:
        rows = summary[summary["partners"] == kind].sort_values(step)
        is_before = False if before is None else rows[step] == before
        for rate, colour in RATE_COLOURS.items():
            label = RATE_NAMES[rate] + (f", {PARTNER_NAMES[kind]}" if len(kinds) > 1 else "")
            rate_line(axis, step, rows, rate, colour, is_before, label=label, **PARTNER_STYLES[kind])
    axis.axhline(summary["asr_floor"].mean() * 100, label=CLEAN_ASR, **CLEAN_LINE)


def rates_legend(table: pd.DataFrame, has_before: bool) -> list[Line2D]:
    """What colours, lines and marks of `draw_rates` mean."""
    kinds = list(dict.fromkeys(table["partners"]))
    partners = [entry(f"with {PARTNER_NAMES[kind]}", dict(PARTNER_STYLES[kind])) for kind in kinds] if len(kinds) > 1 else []
    alone = [entry(BEFORE, HOLLOW)] if has_before else []
    return [*rate_entries(), *partners, *alone, entry(CLEAN_ASR, CLEAN_LINE)]


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
