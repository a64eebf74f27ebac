"""Figures of notebook 05: merge methods as defenses, CACC against ASR, and sweeps of their settings."""

from __future__ import annotations

import matplotlib.pyplot as plt
import pandas as pd
from matplotlib.figure import Figure

from lib.metrics.rates import pareto_front
from lib.metrics.summary import summarise
from lib.plots.style import FLOOR_STYLE, PALETTE, RATE_COLOURS, RATE_NAMES, attack_title, finish, numbered_point

FAMILIES = {
    "averages": ("weight_average", "fisher", "regmean", "greedy_soup", "slerp"),
    "task vectors": ("task_arithmetic", "ties", "dare", "della", "breadcrumbs", "model_stock"),
    "robust averages": ("median", "trimmed_mean", "geometric_median", "krum"),
}
FAMILY_COLOURS = dict(zip(FAMILIES, (PALETTE[0], PALETTE[1], PALETTE[2]), strict=True))
SETTING_NAMES = {"density": "density: share of entries kept", "merge_coefficient": "merge coefficient"}


def plot_methods(table: pd.DataFrame) -> Figure:
    """Table `05_methods`: CACC against ASR of every merge method, one panel per attack, with the Pareto front.

    Methods are numbered; the legend names them. The victim itself lies outside and is left out; its ASR is in the title.
    """
    summary = summarise(table, ["attack", "variant", "merge_method"])
    merged = summary[summary["merge_method"] != "none"]
    variants = list(dict.fromkeys(merged["variant"]))
    attacks = list(dict.fromkeys(merged["attack"]))
    n_columns = min(3, len(attacks))
    n_rows = -(-len(attacks) // n_columns)
    size = (3.9 * n_columns, 3.7 * n_rows + 0.5)
    figure, axes = plt.subplots(n_rows, n_columns, figsize=size, squeeze=False, sharey=True)
    for axis, attack in zip(axes.flat, attacks, strict=False):
        rows = merged[merged["attack"] == attack].sort_values("asr")
        for _, row in rows.iterrows():
            place = (row["asr"] * 100, row["cacc"] * 100)
            interval = (row["asr_low"] * 100, row["asr_high"] * 100)
            numbered_point(axis, variants.index(row["variant"]) + 1, place, interval, _colour(row["merge_method"]))
        front = rows[pareto_front(rows["asr"], rows["cacc"])]
        axis.step(front["asr"] * 100, front["cacc"] * 100, where="post", color="0.4", linewidth=0.9, zorder=0)
        axis.axvline(rows["asr_floor"].mean() * 100, **FLOOR_STYLE)
        before = summary[(summary["attack"] == attack) & (summary["merge_method"] == "none")].iloc[0]
        axis.set_title(f"{attack_title(attack)} (victim: ASR {before['asr']:.0%}, CACC {before['cacc']:.0%})", fontsize=9.5)
        axis.set_xlabel("attack success rate (ASR, %)", fontsize=9)
    for axis in axes.flat[len(attacks) :]:
        axis.set_visible(False)
    for axis in axes[:, 0]:
        axis.set_ylabel("clean accuracy (CACC) in per cent")
    has_room = len(attacks) < axes.size  # in the place of the last panel
    _legend(figure, variants, merged, (0.5 + 0.5 / n_columns, 0.27) if has_room else (1.0, 0.5))
    return finish(figure, axes, "Merge methods as defenses: up and left is better, the line is the Pareto front", table)


def _legend(figure: Figure, variants: list[str], merged: pd.DataFrame, place: tuple[float, float]) -> None:
    """Numbers and names of the methods in the colours of their families, left end at a place of the figure."""
    methods = merged.drop_duplicates("variant").set_index("variant")["merge_method"]
    names = [(f"{number:2d}  {variant}", _colour(methods[variant])) for number, variant in enumerate(variants, 1)]
    handles = [plt.Line2D([], [], marker="o", linestyle="", color=colour, label=name) for name, colour in names]
    handles.append(plt.Line2D([], [], label="floor: ASR of a clean model", **FLOOR_STYLE))
    figure.legend(handles=handles, loc="center left", bbox_to_anchor=place, frameon=False, fontsize=8)


def _colour(method: str) -> tuple[float, ...]:
    return next(FAMILY_COLOURS[family] for family, methods in FAMILIES.items() if method in methods)


def plot_sweeps(table: pd.DataFrame) -> Figure:
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
    return finish(figure, axes, "What density and merge coefficient do", table)
