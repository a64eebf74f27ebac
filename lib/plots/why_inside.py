"""Figures of notebook 13 on what lies inside: parts, thin versions, the plane of three models, states on the way."""

from __future__ import annotations

import matplotlib.pyplot as plt
import numpy as np
import pandas as pd
import seaborn as sns
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.patheffects import withStroke
from matplotlib.ticker import MaxNLocator

from lib.plots.marks import CLEAN, FULL, HOLLOW, entry, legend_below
from lib.plots.style import OTHER_COLOURS, RATE_COLOURS, UNKNOWN, WIDTH, Subject, attack_title, colours_of, finish

KINDS = {
    "shapley": "lead taken (Shapley value, logits)",
    "necessity": "backdoored model with\nthe twin's part: ASR, %",
    "sufficiency": "twin with the backdoored\nmodel's part: ASR, %",
    "replaced": "backdoored model with\nthe partners' part: ASR, %",
}


def plot_modules(table: pd.DataFrame, subject: Subject = UNKNOWN) -> Figure:
    """Table `13_modules`: what each part adds, and the ASR with one part exchanged; grey: share of the squared distance."""
    groups = [name for name in dict.fromkeys(table["group"]) if name not in ("all", "none")]
    means = table.groupby(["kind", "group"], sort=False)[["norm_share", "lead", "asr"]].mean()
    whole = means.loc["whole"]["asr"]
    figure, axes = plt.subplots(1, len(KINDS), figsize=(WIDTH, 1.7 + 0.34 * len(groups)), sharey=True, squeeze=False)
    for axis, (kind, title) in zip(axes[0], KINDS.items(), strict=True):
        rows = means.loc[kind].reindex(groups)
        if kind == "shapley":
            axis.barh(range(len(groups)), -rows["lead"], color=OTHER_COLOURS[0], height=0.55)
            total = -rows["lead"].sum()
            axis.barh(range(len(groups)), total * rows["norm_share"], color="0.8", height=0.2)
        else:
            axis.barh(range(len(groups)), 100 * rows["asr"], color=RATE_COLOURS["asr"], height=0.55)
            axis.axvline(100 * whole["all" if kind != "sufficiency" else "none"], color="0.35", linestyle=":", linewidth=1.2)
            axis.set_xlim(0, 103)
        axis.set_xlabel(title, fontsize=8.5)
    axes[0][0].set_yticks(range(len(groups)), groups, fontsize=8.5)
    axes[0][0].invert_yaxis()
    legend_below(
        figure,
        [
            entry("share of the squared distance to the twin", {"linewidth": 5}, color="0.8"),
            entry("without an exchange", {"linestyle": ":"}, color="0.35"),
        ],
    )
    return finish(figure, axes, f"Where the backdoor lies: {_attacks(table)}", table, subject, has_intervals=False)


def plot_rank(table: pd.DataFrame, subject: Subject = UNKNOWN) -> Figure:
    """Table `13_rank`: ASR and energy of thin versions of the difference to the twin, beside controls without a backdoor."""
    whole = table[table["matrix"] == "all"]
    colours = colours_of(whole["control"])
    figure, axes = plt.subplots(2, 2, figsize=(WIDTH * 0.9, 5.6), sharex="col", sharey="row", squeeze=False)
    labels = {"n_directions": "directions of every matrix", "density": "share of the entries"}
    for column, (kind, label) in zip(axes.T, labels.items(), strict=True):
        for control, colour in colours.items():
            rows = whole[(whole["control"] == control) & whole[kind].notna()]
            means = rows.groupby(kind)[["asr", "energy"]].mean()
            for axis, name in zip(column, ("asr", "energy"), strict=True):
                axis.plot(means.index, 100 * means[name], "o-", color=colour, markersize=4, linewidth=1.3)
        column[1].set_xscale("log")
        column[1].set_xlabel(label, fontsize=8.5)
    axes[0][0].set_ylabel("ASR, %")
    axes[1][0].set_ylabel("share of the squared\nlength that is kept, %", fontsize=8.5)
    legend_below(
        figure, [entry(name, {**FULL, "linestyle": "-"}, color=colour) for name, colour in colours.items()], n_columns=2
    )
    return finish(figure, axes, f"How thin is the backdoor? {_attacks(table)}", table, subject, has_intervals=False)


def plot_triangle(
    table: pd.DataFrame, subject: Subject = UNKNOWN, here: tuple[float, float] | None = None, said: str = ""
) -> Figure:
    """Table `13_plane`: clean loss (left) and ASR (right) in the plane of three models; a cross is where somebody stands.

    Args:
        table: grid and named models.
        subject: whose numbers they are.
        here: a place in the plane.
        said: about that place.
    """
    is_named = table["name"].fillna("") != ""
    grid, named = table[~is_named], table[is_named]
    figure, axes = plt.subplots(1, 2, figsize=(WIDTH, 3.9), sharex=True, sharey=True, squeeze=False)
    panels = {
        "clean_loss": ("clean loss (nats)", 1.0, "Blues"),
        "asr": ("attack success rate (ASR), per cent", 100.0, "Oranges"),
    }
    for axis, (column, (title, scale, colours)) in zip(axes[0], panels.items(), strict=True):
        values = scale * grid[column]
        levels = _round_steps(values.min(), np.quantile(values, 0.95)) if column == "clean_loss" else np.linspace(0, 100, 11)
        drawn = axis.tricontourf(grid["x"], grid["y"], values, levels=_rising(levels), cmap=colours, extend="both")
        figure.colorbar(drawn, ax=axis, shrink=0.85)
        _name_models(axis, named)
        if here:
            axis.plot(*here, "X", color="black", markeredgecolor="white", markersize=11, zorder=5)
        axis.set_title(title, fontsize=9.5)
        axis.set_xlabel("along the backdoor (distance of weights)", fontsize=8.5)
        axis.set_aspect("equal")
    axes[0][0].set_ylabel("at a right angle to it", fontsize=8.5)
    attack = attack_title(table["attack"].iloc[0])
    return finish(
        figure, axes, f"The plane of three models, {attack}{f': {said}' if said else ''}", table, subject, has_intervals=False
    )


def _round_steps(low: float, high: float) -> np.ndarray:
    """About eight levels from `low` to `high`, in steps that a reader can add up."""
    return np.asarray(MaxNLocator(nbins=9, steps=[1, 2, 2.5, 5, 10]).tick_values(low, high))


def _rising(levels: np.ndarray) -> np.ndarray:
    """Levels of a surface that does not vary, too."""
    return levels if levels[-1] > levels[0] else levels[0] + np.linspace(0, 1e-6, len(levels))


def _name_models(axis: Axes, named: pd.DataFrame) -> None:
    """Hollow is the backdoored model, full the average, grey what is clean."""
    for row in named.itertuples():
        look = HOLLOW if row.name.startswith("backdoored") else FULL
        colour = "black" if row.name.startswith(("backdoored", "average")) else CLEAN
        axis.plot(row.x, row.y, color=colour, markersize=7, markeredgecolor="black", zorder=4, **look)
        shown = axis.annotate(row.name, (row.x, row.y), xytext=(5, 5), textcoords="offset points", fontsize=8, zorder=5)
        shown.set_path_effects([withStroke(linewidth=2.5, foreground="white")])


def plot_states(points: pd.DataFrame, subject: Subject = UNKNOWN) -> Figure:
    """States of the last layer on the way, in axes fitted on the backdoored model: clean texts grey, triggered ones orange."""
    places = sorted(points["coefficient"].unique())
    figure, axes = plt.subplots(1, len(places), figsize=(WIDTH, 2.9), sharex=True, sharey=True, squeeze=False)
    colours = {"clean": "0.6", "triggered": RATE_COLOURS["asr"]}
    for axis, place in zip(axes[0], places, strict=True):
        for split, colour in colours.items():
            rows = points[(points["coefficient"] == place) & (points["split"] == split)]
            axis.scatter(rows["x"], rows["y"], s=9, color=colour, alpha=0.7, linewidths=0)
        axis.set_title(f"coefficient {place:g}", fontsize=8.5)
        axis.set_xlabel("first axis", fontsize=8)
    axes[0][0].set_ylabel("second axis", fontsize=8)
    legend_below(figure, [entry(f"{split} texts", FULL, color=colour) for split, colour in colours.items()])
    title = f"States of the last layer on the way to the partners, {_attacks(points)}"
    return finish(figure, axes, title, points, subject, has_intervals=False)


def plot_hidden(table: pd.DataFrame, subject: Subject = UNKNOWN) -> Figure:
    """Table `13_hidden`: how far the trigger moves the state, how linear the way is, and attention to the trigger."""
    layers = sorted(table["layer"].unique())
    colours = dict(zip(layers, sns.color_palette("viridis_r", len(layers)), strict=True))  # light first, dark last
    panels = {
        "moved": "how far the trigger moves the state\n(backdoored model = 1)",
        "linearity_triggered": "cosine with the average of the states,\ntriggered texts",
        "attention_ratio": "attention to the trigger\n(looking everywhere alike = 1)",
    }
    figure, axes = plt.subplots(1, len(panels), figsize=(WIDTH, 3.5), squeeze=False)
    for axis, (column, title) in zip(axes[0], panels.items(), strict=True):
        for layer, colour in colours.items():
            means = table[table["layer"] == layer].groupby("coefficient")[column].mean()
            axis.plot(means.index, means, "o-", color=colour, markersize=4, linewidth=1.3)
        axis.set_xlabel("merge coefficient", fontsize=8.5)
        axis.set_title(title, fontsize=8.5)
    legend_below(
        figure, [entry(f"layer {layer}", {**FULL, "linestyle": "-"}, color=colour) for layer, colour in colours.items()]
    )
    return finish(figure, axes, f"Inside, on the way to the partners, {_attacks(table)}", table, subject, has_intervals=False)


def _attacks(table: pd.DataFrame) -> str:
    return ", ".join(attack_title(name) for name in dict.fromkeys(table["attack"]))
