"""The dry run in words: what would be trained, how long a GPU would take, and how much disk it needs."""

from __future__ import annotations

import math
from pathlib import Path
from typing import Any

import pandas as pd

from lib.dry_run.estimates import BYTES_PER_WEIGHT, GPU_FLOPS, UTILISATION
from lib.dry_run.offline import offline_planner
from lib.dry_run.plans import DryRun, dry_run
from lib.exploring import default_parameters

LEAST = 0.01  # hours that are shown
_GROUP = ["notebook", "pretrained", "dataset", "attack", "settings"]


def report(profile: str, notebooks: dict[Path, dict[str, Any]]) -> str:
    """List what notebooks would train, and what it would cost.

    Args:
        profile: a key of `lib.profiles.PROFILES`.
        notebooks: what `run_notebooks` would inject into each notebook: its parameters, `profile` and `overrides`.

    Raises:
        ValueError: for a dataset whose size is not known without a data folder.
        ConnectionError: for a model whose size is not known without a network.
    """
    overrides: dict[str, Any] = next((given["overrides"] for given in notebooks.values() if given.get("overrides")), {})
    planner = offline_planner(profile, **overrides)
    return describe(dry_run(planner, {path.stem[:2]: default_parameters(path) | given for path, given in notebooks.items()}))


def describe(run: DryRun) -> str:
    """A line per kind of model with its seeds, totals per pretrained model, and what the estimates rest on."""
    if run.models.empty:
        return "these notebooks train nothing"
    lines = [
        f"{'NN':4}{'pretrained':34}{'dataset':18}{'attack':12}{'rows':>9}{'h here':>9}{'A100 h':>9}{'GB':>8}  seeds, settings"
    ]
    for (number, pretrained, dataset, attack, settings), rows in run.models.groupby(_GROUP, sort=False):
        seeds = ", ".join(str(seed) for seed in rows["seed"]) + (f"; {settings}" if settings else "")
        stored = f" ({int(rows['in_store'].sum())} in the store)" if rows["in_store"].any() else ""
        name = pretrained if len(pretrained) <= 32 else f"...{pretrained[-29:]}"
        cost = f"{rows['n_rows'].max():>9,}{_hours(rows['hours_here']):>9}{_hours(rows['gpu_hours']):>9}"
        cost += f"{rows['gigabytes'].sum():>8.2f}"
        lines.append(f"{number:4}{name:34}{dataset:18}{attack:12}{cost}  {seeds}{stored}")
    lines += ["", *_totals(run)]
    return "\n".join(lines)


def _totals(run: DryRun) -> list[str]:
    missing = run.models[~run.models["in_store"]]
    lines = [
        f"{_total(f'{pretrained}:', rows)}, {rows['memory_gigabytes'].max():.1f} GB of memory in a training"
        for pretrained, rows in missing.groupby("pretrained", sort=False)
    ]
    lines.append(_total("to train:", missing))
    if run.n_derived:
        lines.append(f"to derive: {run.n_derived:,} models, edited, pruned or distilled")
    scoring = _both(pd.Series([run.scoring_hours_here]), pd.Series([run.scoring_gpu_hours]))
    lines.append(f"to score: {run.n_scores:,} merged and single models, about {scoring}")
    if stored := len(run.models) - len(missing):
        lines.append(f"in the store already: {stored} models")
    return [
        *lines,
        "Hours here are those of one core of this machine (of its GPU, if it has one), by a trial of a few steps with random",
        "weights; '-' stands for a model of the Hub, or one too large for a trial. Trainings run side by side, one per core.",
        f"A100 hours are those of this GPU at {UTILISATION:.0%} of {GPU_FLOPS / 1e12:.0f} TFLOP/s.",
        f"Disk: {BYTES_PER_WEIGHT} bytes per weight; LoRA leaves adapters. Memory: weights, gradients, moments; activations on",
        "top. An average holds its result and, if they are small, the models that it is made of.",
        "Not counted: LWS, BITE and ONION, which ask a language model, what a defense does beside its training, and downloads.",
    ]


def _total(name: str, rows: pd.DataFrame) -> str:
    hours = _both(rows["hours_here"], rows["gpu_hours"])
    return f"{name} {len(rows)} models, {hours}, {rows['gigabytes'].sum():,.1f} GB on disk"


def _both(here: pd.Series, gpu: pd.Series) -> str:
    return f"{_hours(here)} hours here, {_hours(gpu)} A100 hours"


def _hours(hours: pd.Series) -> str:
    """Their sum; "-" if one is not known."""
    total = hours.sum(skipna=False)
    if math.isnan(total):
        return "-"
    return "<0.01" if 0 < total < LEAST else f"{total:,.0f}" if total >= 100 else f"{total:.2f}"
