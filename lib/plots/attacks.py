"""Figures of notebook 03: backdoored models beside clean ones, and their losses."""

from __future__ import annotations

import matplotlib.pyplot as plt
import numpy as np
import pandas as pd
from matplotlib.figure import Figure

from lib.metrics.summary import summarise
from lib.plots.marks import BAR, CLEAN_MODEL, HOLLOW, NEUTRAL, entry, interval_marks, legend_below, rate_entries
from lib.plots.style import REFERENCE, UNKNOWN, WIDTH, Subject, attack_title, finish

N_COLUMNS = 5  # of the small panels of the losses
SMOOTHED = 5  # logged steps


def plot_attacks(table: pd.DataFrame, subject: Subject = UNKNOWN) -> Figure:
    """Table `03_attacks`: ASR and CACC of backdoored models, with those of a clean model beside them."""
    summary = summarise(table, ["task", "attack"])
    floors = table.assign(asr=table["asr_floor"], hits=table["floor_hits"], cacc=table["clean_model_cacc"])
    floor = summarise(floors.assign(correct=table["clean_correct"]), ["task", "attack"])
    attacks = list(dict.fromkeys(summary["attack"]))
    size = (max(4.6, min(WIDTH, 1.2 + 2.4 * len(attacks))), 4.1)
    figure, axes = plt.subplots(1, len(attacks), figsize=size, sharey=True, squeeze=False)
    for axis, attack in zip(axes[0], attacks, strict=True):
        for model, frame, look in (("clean", floor, BAR), ("backdoored", summary, HOLLOW)):
            rows = frame[frame["attack"] == attack]
            for offset, rate in ((-0.18, "asr"), (0.18, "cacc")):
                places = np.arange(len(rows)) + offset
                interval_marks(axis, places, rows, rate, look, f"{rate.upper()} of the {model} model")
        names = [subject.task(task) for task in rows["task"]]
        axis.set_xticks(range(len(rows)), names, rotation=35, ha="right", fontsize=8.5)
        axis.set_xlim(-0.6, len(rows) - 0.4)
        axis.set_title(attack_title(attack), fontsize=9.5)
    axes[0][0].set_ylabel("rate on the test set (%)")
    legend_below(
        figure,
        [*rate_entries(), entry("backdoored model", HOLLOW), entry(CLEAN_MODEL, BAR)],
        n_columns=4 if len(attacks) > 2 else 2,
    )
    return finish(figure, axes, "Backdoored models beside clean ones", table, subject)


def plot_loss_curves(curves: pd.DataFrame, subject: Subject = UNKNOWN) -> Figure:
    """Table `03_loss_curves`: training loss of each model against its steps, a panel each, the others faint behind it.

    The dotted line is the loss of guessing by label shares. The loss is smoothed: a mean of five logged steps.
    """
    loss = curves.groupby(["dataset", "attack"])["loss"]
    smoothed = curves.assign(loss=loss.transform(lambda each: each.rolling(SMOOTHED, center=True, min_periods=1).mean()))
    models = list(smoothed.groupby(["dataset", "attack"], sort=False))
    n_columns = min(N_COLUMNS, len(models))
    n_rows = -(-len(models) // n_columns)
    size = (max(4.6, min(WIDTH, 0.9 + 1.8 * n_columns)), 1.2 + 1.55 * n_rows)
    figure, axes = plt.subplots(n_rows, n_columns, figsize=size, sharex=True, sharey=True, squeeze=False)
    for axis, ((dataset, attack), rows) in zip(axes.flat, models, strict=False):
        for _, other in models:
            axis.plot(other["step"], other["loss"], color="0.85", linewidth=0.8)
        axis.plot(rows["step"], rows["loss"], color=NEUTRAL, linewidth=1.6)
        axis.axhline(rows["chance_loss"].iloc[0], **REFERENCE)
        axis.set_title(f"{subject.task(dataset)}\n{attack_title(attack)}", fontsize=8.5)
    axes[0][0].set_ylim(0, 1.15 * max(smoothed["loss"].max(), curves["chance_loss"].max()))
    for axis in axes.flat[len(models) :]:
        axis.set_visible(False)
    for axis in axes[-1]:
        axis.set_xlabel("optimiser step", fontsize=8.5)
    for axis in axes[:, 0]:
        axis.set_ylabel("loss (nats)", fontsize=8.5)
    thin = {"color": "0.85", "linewidth": 0.8}
    guessing = entry("guessing by label shares", REFERENCE)
    legend_below(figure, [entry("the model above the panel", {"linewidth": 1.6}), entry("the others", thin), guessing])
    return finish(figure, axes, "Training losses of the models to be merged", curves, subject, has_intervals=False)
