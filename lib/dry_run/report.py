"""The dry run in words: what would be trained, how long a GPU would take, and how much disk it needs."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pandas as pd

from lib.dry_run.estimates import BYTES_PER_WEIGHT, GPU_FLOPS, UTILISATION
from lib.dry_run.plans import DryRun, dry_run, offline_planner
from lib.exploring import default_parameters

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
    lines = [f"{'NN':4}{'pretrained':34}{'dataset':18}{'attack':12}{'rows':>9}{'GPU h':>9}{'GB':>8}  seeds, settings"]
    for (number, pretrained, dataset, attack, settings), rows in run.models.groupby(_GROUP, sort=False):
        seeds = ", ".join(str(seed) for seed in rows["seed"]) + (f"; {settings}" if settings else "")
        stored = f" ({int(rows['in_store'].sum())} in the store)" if rows["in_store"].any() else ""
        name = pretrained if len(pretrained) <= 32 else f"...{pretrained[-29:]}"
        cost = f"{rows['n_rows'].max():>9,}{rows['gpu_hours'].sum():>9.2f}{rows['gigabytes'].sum():>8.2f}"
        lines.append(f"{number:4}{name:34}{dataset:18}{attack:12}{cost}  {seeds}{stored}")
    lines += ["", *_totals(run)]
    return "\n".join(lines)


def _totals(run: DryRun) -> list[str]:
    missing = run.models[~run.models["in_store"]]
    lines = [_total(f"{pretrained}:", rows) for pretrained, rows in missing.groupby("pretrained", sort=False)]
    lines.append(_total("to train:", missing))
    if run.n_derived:
        lines.append(f"to derive: {run.n_derived:,} models, edited, pruned or distilled")
    lines.append(f"to score: {run.n_scores:,} merged and single models, about {run.scoring_gpu_hours:,.1f} GPU hours")
    if stored := len(run.models) - len(missing):
        lines.append(f"in the store already: {stored} models")
    return [
        *lines,
        f"GPU hours are those of an NVIDIA A100 at {UTILISATION:.0%} of {GPU_FLOPS / 1e12:.0f} TFLOP/s, every text at full",
        f"length. Disk: {BYTES_PER_WEIGHT} bytes per weight; an average holds all its models in memory.",
        "Not counted: LWS, BITE and ONION, which ask a language model, what a defense does beside its training, and downloads.",
    ]


def _total(name: str, rows: pd.DataFrame) -> str:
    return f"{name} {len(rows)} models, {rows['gpu_hours'].sum():,.1f} GPU hours, {rows['gigabytes'].sum():,.1f} GB on disk"
