"""Figures of notebook 05: merge methods as defenses, what they leave beside what they cost, and sweeps of their settings."""

from __future__ import annotations

import matplotlib.pyplot as plt
import pandas as pd
from matplotlib.figure import Figure

from lib.metrics.summary import summarise
from lib.plots.dot_rows import plot_dot_rows
from lib.plots.marks import CLEAN_ASR, CLEAN_LINE, FULL, entry, legend_below, rate_entries, rate_line
from lib.plots.style import RATE_COLOURS, RATE_NAMES, UNKNOWN, WIDTH, Subject, attack_title, colours_of, finish, over_attacks

FAMILIES = {
    "averages": ("weight_average", "fisher", "regmean", "greedy_soup", "slerp"),
    "task vectors": ("task_arithmetic", "ties", "dare", "della", "breadcrumbs", "model_stock"),
    "robust averages": ("median", "trimmed_mean", "geometric_median", "krum"),
}
SELECTING = ("krum",)  # some models are taken as they are, the others not at all
FAMILY_COLOURS = colours_of(FAMILIES)
SETTING_NAMES = {"density": "density: share of entries kept", "merge_coefficient": "merge coefficient"}


def plot_methods(table: pd.DataFrame, subject: Subject = UNKNOWN) -> Figure:
    """Table `05_methods`: the merge methods from the best defense to the worst, with what each costs beside it.

    A diamond marks a method that selects whole models instead of mixing all. The backdoored model itself lies far outside and
    is left out; the title has its value.
    """
    merged, before = table[table["merge_method"] != "none"], table[table["merge_method"] == "none"]
    methods = merged.drop_duplicates("variant").set_index("variant")["merge_method"]
    looks = {variant: {**FULL, "marker": _marker(method), "color": _colour(method)} for variant, method in methods.items()}
    legend = [
        entry(family, FULL, color=FAMILY_COLOURS[family]) for family, members in FAMILIES.items() if set(methods) & set(members)
    ]
    if set(methods) & set(SELECTING):
        legend.append(entry("selects whole models", FULL, marker="D"))
    alone = f"{100 * before['excess_asr'].mean():+.0f}" if len(before) else "unknown"
    title = f"Merge methods as defenses: {over_attacks(table['attack'])} (the backdoored model alone: {alone} points)"
    return plot_dot_rows(merged, "variant", looks, legend, title, subject)


def _marker(method: str) -> str:
    return "D" if method in SELECTING else "o"


def _colour(method: str) -> tuple[float, ...]:
    return next(FAMILY_COLOURS[family] for family, methods in FAMILIES.items() if method in methods)


def plot_sweeps(table: pd.DataFrame, subject: Subject = UNKNOWN) -> Figure:
    """Table `05_sweeps`: ASR and CACC against density and merge coefficient, one column per method, one row per attack."""
    summary = summarise(table, ["attack", "variant", "setting", "value"])
    sweeps = list(dict.fromkeys(zip(summary["variant"], summary["setting"], strict=True)))
    attacks = list(dict.fromkeys(summary["attack"]))
    size = (min(WIDTH, 1.2 + 3 * len(sweeps)), 1.3 + 2.1 * len(attacks))
    figure, axes = plt.subplots(len(attacks), len(sweeps), figsize=size, squeeze=False, sharey=True, sharex="col")
    panels = [
        (axis, attack, *sweep)
        for line, attack in zip(axes, attacks, strict=True)
        for axis, sweep in zip(line, sweeps, strict=True)
    ]
    for axis, attack, variant, setting in panels:
        chosen = (summary["attack"] == attack) & (summary["variant"] == variant) & (summary["setting"] == setting)
        rows = summary[chosen].sort_values("value")
        for rate, colour in RATE_COLOURS.items():
            rate_line(axis, "value", rows, rate, colour, label=RATE_NAMES[rate])
        axis.axhline(rows["asr_floor"].mean() * 100, label=CLEAN_ASR, **CLEAN_LINE)
        axis.set_title(f"{variant}, {attack_title(attack)}", fontsize=9.5)
    for axis, (_, setting) in zip(axes[-1], sweeps, strict=True):
        axis.set_xlabel(SETTING_NAMES[setting], fontsize=8.5)
    for axis in axes[:, 0]:
        axis.set_ylabel("rate on the test set (%)", fontsize=8.5)
    legend_below(figure, [*rate_entries(), entry(CLEAN_ASR, CLEAN_LINE)])
    return finish(figure, axes, "What density and merge coefficient do", table, subject)
