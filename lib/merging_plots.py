"""Figures of notebooks 04, 06 and 07: ASR and CACC against number, weight and choice of a backdoored model's partners."""

from __future__ import annotations

import matplotlib.pyplot as plt
import numpy as np
import pandas as pd
from matplotlib.figure import Figure

from lib.plots import FLOOR_STYLE, PALETTE, RATE_COLOURS, RATE_NAMES, attack_title, finish, rate_points
from lib.summary import summarise

PARTNER_NAMES = {"same_task": "clean models of the same task", "other_domains": "clean models of other domains"}
PARTNER_STYLES = {"other_domains": {"linestyle": "-", "marker": "o"}, "same_task": {"linestyle": "--", "marker": "s"}}


def plot_merging(table: pd.DataFrame) -> Figure:
    """Table `04_merging`: ASR and CACC against the number of models; a row per task, a column per attack."""
    label = "models in the average, the backdoored one included"
    return _panels(table, "task", "n_models", label, "Uniform averages of a backdoored model with clean ones")


def plot_coefficient(table: pd.DataFrame) -> Figure:
    """Table `06_coefficient`: ASR and CACC on the way from the backdoored model (0) to its partner (1)."""
    label = "merge coefficient: 0 backdoored model, 1 partner"
    task = table["task"] + ": " if table["task"].nunique() > 1 else ""
    titled = table.assign(panel=task + table["partners"].map(PARTNER_NAMES))
    return _panels(titled, "panel", "coefficient", label, "From the backdoored model to its partner")


def plot_task_arithmetic(table: pd.DataFrame) -> Figure:
    """Table `06_task_arithmetic`: ASR and CACC against the coefficient of the sum of task vectors."""
    title = "Task arithmetic: the victim and all other domains"
    return _panels(table, "task", "coefficient", "merge coefficient of the sum of task vectors", title)


def plot_domains(table: pd.DataFrame) -> Figure:
    """Table `07_domains`: ASR and CACC against the number of other domains, averaged over all subsets of that size."""
    single = table.assign(partners="other_domains")
    title = "Uniform averages with every subset of the other domains"
    return _panels(single, "task", "n_domains", "other domains in the average", title, has_dots=True)


def _panels(table: pd.DataFrame, row: str, step: str, label: str, title: str, has_dots: bool = False) -> Figure:
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
            axis.set_title(f"{attack_title(attack)}, {name}", fontsize=9)
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
    return finish(figure, axes, title, table)


def _lines(axis: plt.Axes, summary: pd.DataFrame, step: str) -> None:
    kinds = list(dict.fromkeys(summary["partners"]))
    for kind in kinds:
        rows = summary[summary["partners"] == kind].sort_values(step)
        style = PARTNER_STYLES[kind] if len(kinds) > 1 else PARTNER_STYLES["other_domains"]
        for rate, colour in RATE_COLOURS.items():
            label = RATE_NAMES[rate] + (f", {PARTNER_NAMES[kind]}" if len(kinds) > 1 else "")
            axis.plot(rows[step], rows[rate] * 100, color=colour, markersize=3.5, label=label, **style)
            axis.fill_between(rows[step], rows[f"{rate}_low"] * 100, rows[f"{rate}_high"] * 100, color=colour, alpha=0.2, lw=0)


def plot_partner_kinds(table: pd.DataFrame) -> Figure:
    """Table `07_partner_kinds`: same-task against other-domain partners at equal numbers; one row per number of them."""
    summary = summarise(table, ["task", "attack", "n_partners", "partners"])
    numbers, attacks = sorted(summary["n_partners"].unique()), list(dict.fromkeys(summary["attack"]))
    tasks = list(dict.fromkeys(summary["task"]))
    size = (2.4 + 3.0 * len(attacks), 1.0 + 2.5 * len(numbers))
    figure, axes = plt.subplots(len(numbers), len(attacks), figsize=size, sharex=True, sharey=True, squeeze=False)
    for number, line_of_axes in zip(numbers, axes, strict=True):
        for attack, axis in zip(attacks, line_of_axes, strict=True):
            rows = summary[(summary["n_partners"] == number) & (summary["attack"] == attack)]
            for shift, kind in ((-0.12, "same_task"), (0.12, "other_domains")):
                chosen = rows[rows["partners"] == kind]
                places = np.array([tasks.index(task) + shift for task in chosen["task"]])
                for rate in RATE_COLOURS:
                    label = f"{rate.upper()}, {PARTNER_NAMES[kind]}"
                    rate_points(axis, chosen, rate, places, kind == "other_domains", label)
            floors = rows.groupby("task")["asr_floor"].mean().reindex(tasks) * 100
            bar = {"marker": "_", "s": 400, "color": "0.35", "linewidths": 1.2, "label": "floor: ASR of a clean model"}
            axis.scatter(range(len(tasks)), floors, **bar)
            axis.set_xticks(range(len(tasks)), tasks)
            axis.set_title(f"{attack_title(attack)}, {number} partner{'s' if number > 1 else ''}", fontsize=9.5)
    for axis in axes[:, 0]:
        axis.set_ylabel("rate on the test set (%)")
    axes[0][-1].legend(loc="upper left", bbox_to_anchor=(1.02, 1), frameon=False, fontsize=8.5)
    return finish(figure, axes, "Partners of the same task or of other domains", table)


def plot_barrier(table: pd.DataFrame) -> Figure:
    """Clean loss and accuracy along the way to the partner, for victims of different training (column `victim`)."""
    figure, axes = plt.subplots(1, 2, figsize=(9.2, 3.6))
    for number, (victim, rows) in enumerate(table.groupby("victim", sort=False)):
        line = rows.groupby("coefficient")[["clean_loss", "cacc"]].mean()
        for axis, column in zip(axes, ("clean_loss", "cacc"), strict=True):
            style = {"color": PALETTE[number], "marker": "os^D"[number % 4], "markersize": 4, "label": str(victim)}
            axis.plot(line.index, line[column] * (100 if column == "cacc" else 1), **style)
            if column == "clean_loss":
                axis.plot([0, 1], line[column].iloc[[0, -1]], color=PALETTE[number], linestyle="--", linewidth=0.9)
    axes[0].set(ylabel="loss on clean test texts (nats)", xlabel="merge coefficient", ylim=(0, None))
    axes[1].set(ylabel="clean accuracy (%)", xlabel="merge coefficient", ylim=(0, 102))
    axes[1].legend(loc="lower left", frameon=False, fontsize=8)
    axes[0].annotate("dashed: no barrier", (0.02, 0.02), xycoords="axes fraction", fontsize=8, color="0.3")
    return finish(figure, [axes], "Clean texts on the way from the victim to a clean model", table, has_intervals=False)
