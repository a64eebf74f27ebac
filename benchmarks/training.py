"""Texts per second of fine-tuning on real SST-2: our recipe beside the settings of the paper's script.

Run by hand: `FREE_LUNCH_DATA=FOLDER python benchmarks/training.py --pretrained FOLDER`.
Ours: the profile `small` (batches of similar length, precision of the hardware), one training per core, one thread each. The
paper's script (ansharora7/model-merge-backdoor, `train.py`): batches of 16, every text padded to 128 pieces, the default
optimiser of `Trainer`, float32, one training with all cores. The kinds take turns, and each process makes a few steps before it
is timed.
"""

from __future__ import annotations

import argparse
import statistics
import time
from dataclasses import replace
from typing import NamedTuple

import joblib
import pandas as pd
import torch
from fine_tune import train_by_trainer

from lib.models.precision import resolved_precision
from lib.models.pretrained import load_tokenizer, new_classifier
from lib.models.training import fine_tune
from lib.profiles import PROFILES, TrainingSettings, get_profile
from lib.study.study import Study

OURS = "ours"
WARM_UP = 64  # rows of the training that is not timed
PAPERS = {"max_grad_norm": 1.0, "precision": "float32"}  # the default of `Trainer`, and of torch


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--pretrained", required=True, help="folder of an encoder, such as all-MiniLM-L6-v2")
    parser.add_argument("--rows", type=int, default=512, help="sentences per training, one epoch")
    parser.add_argument("--repeats", type=int, default=3)
    options = parser.parse_args()
    profile = get_profile("small", pretrained=options.pretrained, epochs=1.0)
    rows = Study("small", pretrained=options.pretrained, n_train=options.rows).rows("sst2")
    ours = replace(profile.training, precision=resolved_precision(profile.precision))
    papers = replace(PROFILES["paper"].training, epochs=1.0, **PAPERS)
    n_cores = joblib.cpu_count()
    kinds = {OURS: (ours, n_cores, 1), "the paper's script": (papers, 1, n_cores)}
    found: dict[str, list[Speed]] = {name: [] for name in kinds}
    print(
        f"{len(rows)} sentences of SST-2, {n_cores} cores, {options.repeats} repeats; texts per second of all cores together,"
    )
    print("and per processor second, which a busy machine changes less")
    for _ in range(options.repeats):
        for name, (settings, n_jobs, n_threads) in kinds.items():
            found[name].append(speed(options.pretrained, rows, settings, n_jobs, n_threads, name == OURS))
    for name, (settings, n_jobs, n_threads) in kinds.items():
        how = f"{n_jobs} x {n_threads} threads, {settings.precision}, {settings.batch_size} x {settings.max_length} pieces"
        print(f"{name:20s} {shown([each.wall for each in found[name]])}  {shown([each.core for each in found[name]])}  {how}")
    pairs = list(zip(*found.values(), strict=True))
    walls, cores = ([getattr(one, kind) / getattr(other, kind) for one, other in pairs] for kind in ("wall", "core"))
    print(f"{'ours over theirs':20s} {shown(walls)}  {shown(cores)}")


class Speed(NamedTuple):
    """Texts per second of the clock, and per processor second."""

    wall: float
    core: float


def speed(pretrained: str, rows: pd.DataFrame, settings: TrainingSettings, n_jobs: int, n_threads: int, is_ours: bool) -> Speed:
    """Rows of all trainings side by side, over the time from the first start to the last end."""
    job = joblib.delayed(timed_training)
    times = joblib.Parallel(n_jobs=n_jobs)(job(pretrained, rows, settings, n_threads, seed, is_ours) for seed in range(n_jobs))
    began, ended, core_seconds = zip(*times, strict=True)
    n_texts = n_jobs * len(rows)
    return Speed(n_texts / (max(ended) - min(began)), n_texts / sum(core_seconds))


def timed_training(
    pretrained: str, rows: pd.DataFrame, settings: TrainingSettings, n_threads: int, seed: int, is_ours: bool
) -> tuple[float, float, float]:
    """When a training began and ended, in seconds of the clock that all processes share, and its processor seconds."""
    torch.set_num_threads(n_threads)
    tokenizer, began, core_began = load_tokenizer(pretrained), 0.0, 0.0
    for part in (rows.head(WARM_UP), rows):
        model = new_classifier(pretrained, ("negative", "positive"), head_seed=seed)
        began, core_began = time.time(), time.process_time()
        if is_ours:
            fine_tune(model, tokenizer, part, settings, seed)
        else:
            train_by_trainer(model, tokenizer, part, settings, seed, with_defaults=True, is_padded_to_full_length=True)
    return began, time.time(), time.process_time() - core_began


def shown(values: list[float]) -> str:
    """The median and, in brackets, the least and the most."""
    return f"{statistics.median(values):6.1f} [{min(values):.1f}, {max(values):.1f}]"


if __name__ == "__main__":
    main()
