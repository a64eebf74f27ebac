"""Figures of notebook 03: backdoored models beside clean ones, and their losses."""

from __future__ import annotations

import matplotlib.pyplot as plt
import numpy as np
import pandas as pd
import seaborn as sns
from matplotlib.figure import Figure

from lib.metrics.summary import summarise
from lib.plots.style import FLOOR_STYLE, UNKNOWN, Subject, attack_title, finish, rate_points


def plot_attacks(table: pd.DataFrame, subject: Subject = UNKNOWN) -> Figure:
    """Table `03_attacks`: ASR and CACC of backdoored models, with the floor and the clean model's CACC beside them."""
    summary = summarise(table, ["task", "attack"])
    floors = table.assign(asr=table["asr_floor"], hits=table["floor_hits"], cacc=table["clean_model_cacc"])
    floor = summarise(floors.assign(correct=table["clean_correct"]), ["task", "attack"])
    attacks = list(dict.fromkeys(summary["attack"]))
    figure, axes = plt.subplots(1, len(attacks), figsize=(1.6 + 2.7 * len(attacks), 3.8), sharey=True, squeeze=False)
    for axis, attack in zip(axes[0], attacks, strict=True):
        for model, frame, is_clean in (("backdoored", summary, False), ("clean", floor, True)):
            rows = frame[frame["attack"] == attack]
            for offset, rate in ((-0.1, "asr"), (0.1, "cacc")):
                rate_points(axis, rows, rate, np.arange(len(rows)) + offset, is_clean, f"{rate.upper()} of the {model} model")
        axis.set_xticks(range(len(rows)), [subject.task(task) for task in rows["task"]])
        axis.set_xlim(-0.5, len(rows) - 0.5)
        axis.set_title(attack_title(attack))
    axes[0][0].set_ylabel("rate on the test set (%)")
    axes[0][-1].legend(loc="upper left", bbox_to_anchor=(1.02, 1), frameon=False)
    return finish(figure, axes, "Backdoored models beside clean ones", table, subject)


def plot_loss_curves(curves: pd.DataFrame, subject: Subject = UNKNOWN) -> Figure:
    """Table `03_loss_curves`: training loss of each model against its steps, with the loss of guessing by label shares."""
    figure, axis = plt.subplots(figsize=(7.2, 3.6))
    names = curves["dataset"].map(subject.task) + " (" + curves["attack"].map(attack_title) + ")"
    smoothed = curves.assign(
        loss=curves.groupby(names)["loss"].transform(lambda loss: loss.rolling(5, center=True, min_periods=1).mean()),
        model=names,
    )
    sns.lineplot(smoothed, x="step", y="loss", hue="model", palette="colorblind", ax=axis, linewidth=1.4)
    axis.axhline(curves["chance_loss"].max(), **FLOOR_STYLE)
    axis.annotate("chance", (0.995, curves["chance_loss"].max()), xycoords=("axes fraction", "data"), ha="right", va="bottom")
    axis.set(xlabel="optimiser step", ylabel="training loss (nats)", ylim=(0, None))
    axis.legend(loc="upper left", bbox_to_anchor=(1.02, 1), frameon=False, title=None)
    return finish(figure, [[axis]], "Training losses of the models to be merged", curves, subject, has_intervals=False)
