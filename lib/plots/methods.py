"""Figures of notebook 05: merge methods as defenses, what they leave beside what they cost, and sweeps of their settings."""

from __future__ import annotations

import matplotlib.pyplot as plt
import pandas as pd
from matplotlib.figure import Figure

from lib.metrics.intervals import seed_interval
from lib.metrics.summary import summarise
from lib.plots.style import FLOOR_STYLE, PALETTE, RATE_COLOURS, RATE_NAMES, UNKNOWN, Subject, attack_title, finish

FAMILIES = {
    "averages": ("weight_average", "fisher", "regmean", "greedy_soup", "slerp"),
    "task vectors": ("task_arithmetic", "ties", "dare", "della", "breadcrumbs", "model_stock"),
    "robust averages": ("median", "trimmed_mean", "geometric_median", "krum"),
}
SELECTING = ("krum",)  # some models are taken as they are, the others not at all
FAMILY_COLOURS = dict(zip(FAMILIES, (PALETTE[0], PALETTE[1], PALETTE[2]), strict=True))
SETTING_NAMES = {"density": "density: share of entries kept", "merge_coefficient": "merge coefficient"}


def plot_methods(table: pd.DataFrame, subject: Subject = UNKNOWN) -> Figure:
    """Table `05_methods`: the merge methods from the best defense to the worst, with what each costs beside it.

    Left the ASR above that of a clean model, right the change of the CACC; both are means over the attacks, with 95 %
    t-intervals over seeds. A square marks a method that selects whole models instead of mixing all. The backdoored
    model itself lies far outside and is left out; the title has its value.
    """
    merged = table[table["merge_method"] != "none"]
    measures = {"excess_asr": "ASR above that of a clean model, points", "cacc_change": "change of the CACC, points"}
    by_seed = merged.groupby(["variant", "seed"], sort=False)[list(measures)].mean() * 100
    order = by_seed["excess_asr"].groupby("variant").mean().sort_values().index
    methods = merged.drop_duplicates("variant").set_index("variant")["merge_method"]
    figure, axes = plt.subplots(1, 2, figsize=(9.6, 1.5 + 0.27 * max(len(order), 3)), sharey=True)
    for axis, (measure, label) in zip(axes, measures.items(), strict=True):
        for place, variant in enumerate(order):
            values = by_seed.loc[variant][measure]
            bounds = seed_interval(values.tolist()) if len(values) > 1 else (values.mean(), values.mean())
            spread = [[values.mean() - float(bounds[0])], [float(bounds[1]) - values.mean()]]
            look = {"fmt": "s" if methods[variant] in SELECTING else "o", "markersize": 6, "capsize": 2, "linewidth": 1}
            axis.errorbar(values.mean(), place, xerr=spread, color=_colour(methods[variant]), **look)
        axis.axvline(0, color="0.4", linewidth=1)
        axis.set_xlabel(label)
    axes[0].set_yticks(range(len(order)), order)
    axes[0].set_ylim(len(order) - 0.5, -0.5)
    _legend(figure, set(methods))
    before = table[table["merge_method"] == "none"]
    alone = f"{100 * before['excess_asr'].mean():+.0f}" if len(before) else "unknown"
    return finish(figure, [axes], f"Merge methods as defenses (the backdoored model alone: {alone} points)", table, subject)


def _legend(figure: Figure, methods: set[str]) -> None:
    """The colours of the families that the methods are of, and the mark of those that select."""
    families = [family for family, members in FAMILIES.items() if methods & set(members)]
    handles = [plt.Line2D([], [], marker="o", linestyle="", color=FAMILY_COLOURS[name], label=name) for name in families]
    if methods & set(SELECTING):
        handles.append(plt.Line2D([], [], marker="s", linestyle="", color="0.4", label="selects whole models"))
    figure.legend(handles=handles, loc="upper center", ncols=4, frameon=False, bbox_to_anchor=(0.5, 0.03), fontsize=8.5)


def _colour(method: str) -> tuple[float, ...]:
    return next(FAMILY_COLOURS[family] for family, methods in FAMILIES.items() if method in methods)


def plot_sweeps(table: pd.DataFrame, subject: Subject = UNKNOWN) -> Figure:
    """Table `05_sweeps`: ASR and CACC against density and merge coefficient, one column per method, one row per attack."""
    summary = summarise(table, ["attack", "variant", "setting", "value"])
    sweeps = list(dict.fromkeys(zip(summary["variant"], summary["setting"], strict=True)))
    attacks = list(dict.fromkeys(summary["attack"]))
    size = (1.2 + 3 * len(sweeps), 0.9 + 2.7 * len(attacks))
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
            axis.plot(rows["value"], rows[rate] * 100, color=colour, marker="o", markersize=4, label=RATE_NAMES[rate])
            axis.fill_between(
                rows["value"], rows[f"{rate}_low"] * 100, rows[f"{rate}_high"] * 100, color=colour, alpha=0.2, lw=0
            )
        axis.axhline(rows["asr_floor"].mean() * 100, label="floor: ASR of a clean model", **FLOOR_STYLE)
        axis.set_title(f"{variant}, {attack_title(attack)}", fontsize=9.5)
    for axis, (_, setting) in zip(axes[-1], sweeps, strict=True):
        axis.set_xlabel(SETTING_NAMES[setting], fontsize=9)
    for axis in axes[:, 0]:
        axis.set_ylabel("rate on the test set (%)")
    handles, labels = axes[0][0].get_legend_handles_labels()
    figure.legend(handles, labels, loc="upper center", ncols=3, frameon=False, bbox_to_anchor=(0.5, 0.02))
    return finish(figure, axes, "What density and merge coefficient do", table, subject)
