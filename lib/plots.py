"""Figures of the study: pure functions, a tidy table in, a matplotlib figure out.

Every figure reads without its notebook: what was attacked, rates in per cent, intervals, and the floor (the ASR of a clean
model on the same triggered texts) drawn beside every ASR. The palette is seaborn's colour-blind-safe one.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import matplotlib.pyplot as plt
import numpy as np
import pandas as pd
import seaborn as sns
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.ticker import PercentFormatter

from lib.summary import summarise

PALETTE = sns.color_palette("colorblind")
RATE_COLOURS = {"asr": PALETTE[3], "cacc": PALETTE[0]}
RATE_NAMES = {"asr": "attack success rate (ASR)", "cacc": "clean accuracy (CACC)"}
ATTACK_NAMES = {"badnet": "BadNet", "insertsent": "InsertSent", "syntactic": "Syntactic", "lws": "LWS", "bite": "BITE"}
STEALTH_NAMES = {
    "perplexity_ratio": "perplexity after / before",
    "similarity": "cosine of sentence vectors",
    "words_changed": "edits per word",
    "share_changed": "share of texts changed",
}
FLOOR_STYLE: dict[str, Any] = {"color": "0.35", "linestyle": ":", "linewidth": 1.4}


def attack_title(name: str) -> str:
    """An attack's name as the literature writes it."""
    return ATTACK_NAMES.get(name, name)


def plot_story(table: pd.DataFrame) -> Figure:
    """Table `00_story`: ASR and CACC of the backdoored and of the merged model, the clean model's ASR as floor."""
    rows = summarise(table, ["model"]).set_index("model").loc[["backdoored", "merged"]]
    figure, axis = plt.subplots(figsize=(5.6, 3.6))
    for offset, rate in ((-0.17, "asr"), (0.17, "cacc")):
        places, values = np.arange(len(rows)) + offset, rows[rate] * 100
        axis.bar(places, values, width=0.32, color=RATE_COLOURS[rate], label=RATE_NAMES[rate])
        spread = np.stack([values - rows[f"{rate}_low"] * 100, rows[f"{rate}_high"] * 100 - values]).clip(0)
        axis.errorbar(places, values, spread, fmt="none", ecolor="0.2", capsize=3, linewidth=1)
        for place, value in zip(places, values, strict=True):
            axis.annotate(f"{value:.0f}", (place, value), (0, 9), textcoords="offset points", ha="center", fontweight="bold")
    axis.axhline(table.set_index("model")["asr"]["clean"] * 100, label="floor: ASR of a clean model", **FLOOR_STYLE)
    axis.set_xticks(range(len(rows)), ["backdoored\nmodel", "average with models\nof other domains"])
    axis.set_ylabel("rate on the test set (%)")
    axis.legend(loc="upper left", bbox_to_anchor=(1.02, 1), frameon=False, fontsize=8.5)
    title = f"A {attack_title(table['attack'].iloc[0])} backdoor before and after the merge"
    return finish(figure, [[axis]], title, table)


def plot_attacks(table: pd.DataFrame) -> Figure:
    """Table `03_attacks`: ASR and CACC of backdoored models, with the floor and the clean model's CACC beside them."""
    summary = summarise(table, ["task", "attack"])
    floors = table.assign(asr=table["asr_floor"], hits=table["floor_hits"], cacc=table["clean_model_cacc"])
    floor = summarise(floors.assign(correct=table["clean_correct"]), ["task", "attack"])
    attacks = list(dict.fromkeys(summary["attack"]))
    figure, axes = plt.subplots(1, len(attacks), figsize=(1.6 + 2.7 * len(attacks), 3.8), sharey=True, squeeze=False)
    for axis, attack in zip(axes[0], attacks, strict=True):
        for model, frame, fill in (("backdoored", summary, True), ("clean", floor, False)):
            rows = frame[frame["attack"] == attack]
            for offset, rate in ((-0.1, "asr"), (0.1, "cacc")):
                rate_points(axis, rows, rate, np.arange(len(rows)) + offset, fill, f"{rate.upper()} of the {model} model")
        axis.set_xticks(range(len(rows)), rows["task"])
        axis.set_xlim(-0.5, len(rows) - 0.5)
        axis.set_title(attack_title(attack))
    axes[0][0].set_ylabel("rate on the test set (%)")
    axes[0][-1].legend(loc="upper left", bbox_to_anchor=(1.02, 1), frameon=False)
    return finish(figure, axes, "Backdoored models beside clean ones", table)


def plot_stealth(table: pd.DataFrame) -> Figure:
    """Table `02_stealth`: one panel per measure, one point per attack and task."""
    figure, axes = plt.subplots(1, len(STEALTH_NAMES), figsize=(3.1 * len(STEALTH_NAMES), 3.4), squeeze=False)
    titled = table.assign(attack=table["attack"].map(attack_title))
    for axis, (measure, name) in zip(axes[0], STEALTH_NAMES.items(), strict=True):
        sns.stripplot(
            titled, x=measure, y="attack", hue="task", palette="colorblind", jitter=False, dodge=True, size=6, ax=axis,
            legend=axis is axes[0][-1],
        )  # fmt: skip
        axis.set(xlabel=name, ylabel="")
        axis.grid(axis="x", alpha=0.3)
        if measure == "perplexity_ratio":
            axis.set_xscale("log")
            axis.axvline(1, **FLOOR_STYLE)
        else:
            axis.set_xlim(0, 1.05 * max(1.0, table[measure].max()))
        if axis is not axes[0][0]:
            axis.set_yticklabels([])
    axes[0][-1].legend(loc="upper left", bbox_to_anchor=(1.02, 1), frameon=False, title=None)
    return finish(figure, axes, "What each trigger does to the texts", table, has_intervals=False)


def plot_loss_curves(curves: pd.DataFrame) -> Figure:
    """Table `03_loss_curves`: training loss of each model against its steps, with the loss of guessing by label shares."""
    figure, axis = plt.subplots(figsize=(7.2, 3.6))
    names = curves["dataset"] + " (" + curves["attack"].map(attack_title) + ")"
    smoothed = curves.assign(
        loss=curves.groupby(names)["loss"].transform(lambda loss: loss.rolling(5, center=True, min_periods=1).mean()),
        model=names,
    )
    sns.lineplot(smoothed, x="step", y="loss", hue="model", palette="colorblind", ax=axis, linewidth=1.4)
    axis.axhline(curves["chance_loss"].max(), **FLOOR_STYLE)
    axis.annotate("chance", (0.995, curves["chance_loss"].max()), xycoords=("axes fraction", "data"), ha="right", va="bottom")
    axis.set(xlabel="optimiser step", ylabel="training loss (nats)", ylim=(0, None))
    axis.legend(loc="upper left", bbox_to_anchor=(1.02, 1), frameon=False, title=None)
    return finish(figure, [[axis]], "Training losses of the models to be merged", curves, has_intervals=False)


def plot_transfer(table: pd.DataFrame) -> Figure:
    """Table `01_transfer`: accuracy of each domain's model on each domain's test set."""
    names = list(dict.fromkeys(table["trained_on"]))
    grid = table.pivot(index="trained_on", columns="tested_on", values="cacc").loc[names, names] * 100
    figure, axis = plt.subplots(figsize=(1.9 + 0.85 * len(names), 1.2 + 0.62 * len(names)))
    sns.heatmap(grid, annot=True, fmt=".0f", cmap="cividis", vmin=50, vmax=100, cbar_kws={"label": "accuracy (%)"}, ax=axis)
    axis.set(xlabel="tested on", ylabel="fine-tuned on")
    axis.tick_params(axis="y", rotation=0)
    return finish(figure, [[axis]], "Accuracy from domain to domain", table, has_intervals=False)


def plot_before_after(table: pd.DataFrame, line: str, title: str) -> Figure:
    """ASR and CACC of the victim alone (hollow) and of the largest average (full), one line per value of the column `line`.

    The grey bar is the floor: the ASR of a clean model beside ASR, its CACC beside CACC.
    """
    most = table.groupby(line)["n_models"].transform("max")
    stages = {"victim alone": table[table["n_models"] == 1], "average of all models": table[table["n_models"] == most]}
    names = list(dict.fromkeys(table[line]))
    height = 0.36 * max(len(names), 3)  # one line alone leaves no room for the legend
    figure, axes = plt.subplots(1, 2, figsize=(11, 1.5 + height), sharey=True)
    for axis, rate, floor in zip(axes, ("asr", "cacc"), ("asr_floor", "clean_model_cacc"), strict=True):
        floors = stages["victim alone"].groupby(line)[floor].mean().loc[names] * 100
        label = f"{'ASR' if rate == 'asr' else 'CACC'} of a clean model"
        axis.scatter(floors, range(len(names)), marker="|", s=260, color="0.4", linewidths=2, label=label)
        for stage, rows in stages.items():
            summary = summarise(rows, [line]).set_index(line).loc[names]
            values = summary[rate].to_numpy() * 100
            spread = abs(summary[[f"{rate}_low", f"{rate}_high"]].to_numpy().T * 100 - values)
            face = "white" if stage == "victim alone" else RATE_COLOURS[rate]
            style = {"color": RATE_COLOURS[rate], "markerfacecolor": face, "markersize": 6, "capsize": 2}
            axis.errorbar(values, range(len(names)), xerr=spread, fmt="o" if rate == "asr" else "s", label=stage, **style)
        axis.set_xlabel(f"{RATE_NAMES[rate]}, %")
        axis.set_xlim(-3, 103) if rate == "asr" else axis.set_xlim(min(75, axis.get_xlim()[0]), 101)
        axis.legend(loc="upper center", bbox_to_anchor=(0.5, -0.5 / (0.4 + height)), ncols=3, frameon=False, fontsize=8)
    axes[0].set_yticks(range(len(names)), names)
    axes[0].set_ylim(len(names) - 0.5, -0.5)
    return finish(figure, [axes], title, table)


def rate_points(axis: Axes, rows: pd.DataFrame, rate: str, places: np.ndarray, fill: bool, label: str) -> None:
    """Dots with intervals, full or hollow."""
    values = rows[rate].to_numpy() * 100
    spread = np.abs(np.stack([values - rows[f"{rate}_low"] * 100, rows[f"{rate}_high"] * 100 - values]))
    colour = RATE_COLOURS[rate]
    face: dict[str, Any] = {"markerfacecolor": colour if fill else "white", "markersize": 6, "capsize": 2}
    axis.errorbar(places, values, spread, fmt="o" if rate == "asr" else "s", color=colour, label=label, **face)


def finish(
    figure: Figure, axes: Sequence[Sequence[Axes]] | np.ndarray, title: str, table: pd.DataFrame, has_intervals: bool = True
) -> Figure:
    """Title, subtitle with task and seeds, per-cent axes, no chart junk."""
    for axis in np.ravel(np.asarray(axes, dtype=object)):
        if "%" in axis.get_ylabel() or any("%" in other.get_ylabel() for other in axis._shared_axes["y"].get_siblings(axis)):
            axis.set_ylim(-3, 103)
            axis.yaxis.set_major_formatter(PercentFormatter(decimals=0, symbol=""))
        sns.despine(ax=axis)
        axis.grid(axis="y", color="0.92", zorder=0)
        axis.set_axisbelow(True)
    n_seeds = table["seed"].nunique()
    tasks = ", ".join(dict.fromkeys(table["task"])) if "task" in table else ""
    seeds = f"mean of {n_seeds} seeds" if n_seeds > 1 else "one seed"
    interval = f"95 % intervals over {'seeds and ' if n_seeds > 1 else ''}texts" if has_intervals else ""
    height = figure.get_figheight()
    figure.suptitle(title, fontsize=11.5, y=1 - 0.06 / height, va="top")
    subtitle = " | ".join(part for part in (tasks, seeds, interval) if part)
    figure.text(0.5, 1 - 0.3 / height, subtitle, ha="center", va="top", fontsize=8.5, color="0.35")
    figure.tight_layout(rect=(0, 0.02, 1, 1 - 0.22 / height))  # it makes room for the title itself, not for the line below it
    return figure
