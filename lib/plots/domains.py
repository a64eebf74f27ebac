"""Figures of notebook 07: ASR and CACC against number and choice of other domains."""

from __future__ import annotations

import matplotlib.pyplot as plt
import numpy as np
import pandas as pd
from matplotlib.figure import Figure

from lib.metrics.summary import summarise
from lib.plots.marks import BAR, CLEAN_ASR, FULL, entry, interval_marks, legend_below, rate_entries
from lib.plots.steps import PARTNER_NAMES, PARTNER_STYLES, plot_panels
from lib.plots.style import RATE_COLOURS, UNKNOWN, WIDTH, Subject, attack_title, finish


def plot_domains(table: pd.DataFrame, subject: Subject = UNKNOWN) -> Figure:
    """Table `07_domains`: ASR and CACC against the number of other domains, averaged over all subsets of that size."""
    single = table.assign(partners="other_domains")
    title = "Uniform averages with every subset of the other domains"
    return plot_panels(single, "n_domains", "other domains in the average", title, subject, before=0, has_dots=True)


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
    size = (max(4.6, min(WIDTH, 1.0 + 3.9 * len(attacks))), 1.5 + 2.4 * len(numbers))
    figure, axes = plt.subplots(len(numbers), len(attacks), figsize=size, sharex=True, sharey=True, squeeze=False)
    shifts = np.linspace(-0.24, 0.24, len(kinds)) if len(kinds) > 1 else np.zeros(1)
    for number, line_of_axes in zip(numbers, axes, strict=True):
        for attack, axis in zip(attacks, line_of_axes, strict=True):
            rows = summary[(summary["n_partners"] == number) & (summary["attack"] == attack)]
            for shift, kind in zip(shifts, kinds, strict=True):
                chosen = rows[rows["partners"] == kind]
                places = np.array([tasks.index(task) + shift for task in chosen["task"]])
                for rate, colour in RATE_COLOURS.items():
                    look = {**FULL, "marker": PARTNER_STYLES[kind]["marker"], "color": colour}
                    interval_marks(axis, places, chosen, rate, look, f"{rate.upper()}, {PARTNER_NAMES[kind]}")
            floors = rows.groupby("task")["asr_floor"].mean().reindex(tasks) * 100
            axis.plot(range(len(tasks)), floors, zorder=1, label=CLEAN_ASR, **{**BAR, "markersize": 36})
            axis.set_xticks(range(len(tasks)), [subject.task(task) for task in tasks], fontsize=8.5)
            axis.set_title(f"{attack_title(attack)}, {number} partner{'s' if number > 1 else ''}", fontsize=9.5)
    for axis in axes[:, 0]:
        axis.set_ylabel("rate on the test set (%)")
    marks = [entry(f"with {PARTNER_NAMES[kind]}", FULL, marker=PARTNER_STYLES[kind]["marker"]) for kind in kinds]
    legend_below(figure, [*rate_entries(), *marks, entry(CLEAN_ASR, BAR)])
    return finish(figure, axes, "Kinds of partners at equal number and weight", table, subject)
