"""Figures of notebook 07: ASR and CACC against number and choice of other domains."""

from __future__ import annotations

import matplotlib.pyplot as plt
import numpy as np
import pandas as pd
from matplotlib.figure import Figure

from lib.metrics.summary import summarise
from lib.plots.steps import PARTNER_NAMES, PARTNER_STYLES, plot_panels
from lib.plots.style import RATE_COLOURS, UNKNOWN, Subject, attack_title, finish


def plot_domains(table: pd.DataFrame, subject: Subject = UNKNOWN) -> Figure:
    """Table `07_domains`: ASR and CACC against the number of other domains, averaged over all subsets of that size."""
    single = table.assign(partners="other_domains")
    title = "Uniform averages with every subset of the other domains"
    return plot_panels(single, "task", "n_domains", "other domains in the average", title, subject, has_dots=True)


def plot_partner_kinds(table: pd.DataFrame, subject: Subject = UNKNOWN) -> Figure:
    """Table `07_partner_kinds`: kinds of partners at equal number and weight; one row per number of them.

    Near and far domains stand in for the other domains where their distance is known.
    """
    has_distances = table["partners"].isin(("near", "far")).any()
    kinds = ["same_task", *(["near", "far"] if has_distances else ["other_domains"])]
    summary = summarise(table[table["partners"].isin(kinds)], ["task", "attack", "n_partners", "partners"])
    kinds = [kind for kind in kinds if kind in set(summary["partners"])]
    numbers, attacks = sorted(summary["n_partners"].unique()), list(dict.fromkeys(summary["attack"]))
    tasks = list(dict.fromkeys(summary["task"]))
    size = (2.4 + 3.0 * len(attacks), 1.0 + 2.5 * len(numbers))
    figure, axes = plt.subplots(len(numbers), len(attacks), figsize=size, sharex=True, sharey=True, squeeze=False)
    shifts = np.linspace(-0.24, 0.24, len(kinds)) if len(kinds) > 1 else np.zeros(1)
    for number, line_of_axes in zip(numbers, axes, strict=True):
        for attack, axis in zip(attacks, line_of_axes, strict=True):
            rows = summary[(summary["n_partners"] == number) & (summary["attack"] == attack)]
            for shift, kind in zip(shifts, kinds, strict=True):
                chosen = rows[rows["partners"] == kind]
                places = np.array([tasks.index(task) + shift for task in chosen["task"]])
                for rate, colour in RATE_COLOURS.items():
                    values = chosen[rate].to_numpy() * 100
                    spread = np.abs(chosen[[f"{rate}_low", f"{rate}_high"]].to_numpy().T * 100 - values)
                    look = {"fmt": PARTNER_STYLES[kind]["marker"], "color": colour, "markersize": 5.5, "capsize": 2}
                    axis.errorbar(places, values, spread, label=f"{rate.upper()}, {PARTNER_NAMES[kind]}", **look)
            floors = rows.groupby("task")["asr_floor"].mean().reindex(tasks) * 100
            bar = {"marker": "_", "s": 400, "color": "0.35", "linewidths": 1.2, "label": "floor: ASR of a clean model"}
            axis.scatter(range(len(tasks)), floors, **bar)
            axis.set_xticks(range(len(tasks)), [subject.task(task) for task in tasks])
            axis.set_title(f"{attack_title(attack)}, {number} partner{'s' if number > 1 else ''}", fontsize=9.5)
    for axis in axes[:, 0]:
        axis.set_ylabel("rate on the test set (%)")
    handles, labels = axes[0][0].get_legend_handles_labels()
    axes[0][-1].legend(handles, labels, loc="upper left", bbox_to_anchor=(1.02, 1), frameon=False, fontsize=8.5)
    return finish(figure, axes, "Kinds of partners at equal number and weight", table, subject)
