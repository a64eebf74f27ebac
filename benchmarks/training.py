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
    found: dict[str, list[float]] = {name: [] for name in kinds}
    for _ in range(options.repeats):
        for name, (settings, n_jobs, n_threads) in kinds.items():
            found[name].append(texts_per_second(options.pretrained, rows, settings, n_jobs, n_threads, name == OURS))
    print(f"{len(rows)} sentences of SST-2, {n_cores} cores, {options.repeats} repeats; texts per second of all cores together")
    for name, (settings, n_jobs, n_threads) in kinds.items():
        how = f"{n_jobs} x {n_threads} threads, {settings.precision}, {settings.batch_size} x {settings.max_length} pieces"
        least, most = min(found[name]), max(found[name])
        print(f"{name:20s} {statistics.median(found[name]):6.1f} [{least:.1f}, {most:.1f}]  {how}")
    ratios = [one / other for one, other in zip(*found.values(), strict=True)]
    print(f"ours are {statistics.median(ratios):.2f} times as many [{min(ratios):.2f}, {max(ratios):.2f}]")


def texts_per_second(
    pretrained: str, rows: pd.DataFrame, settings: TrainingSettings, n_jobs: int, n_threads: int, is_ours: bool
) -> float:
    """Rows of all trainings side by side, over the time from the first start to the last end."""
    job = joblib.delayed(timed_training)
    times = joblib.Parallel(n_jobs=n_jobs)(job(pretrained, rows, settings, n_threads, seed, is_ours) for seed in range(n_jobs))
    began, ended = zip(*times, strict=True)
    return n_jobs * len(rows) / (max(ended) - min(began))


def timed_training(
    pretrained: str, rows: pd.DataFrame, settings: TrainingSettings, n_threads: int, seed: int, is_ours: bool
) -> tuple[float, float]:
    """When a training began and ended, in seconds of the clock that all processes share."""
    torch.set_num_threads(n_threads)
    tokenizer, began = load_tokenizer(pretrained), 0.0
    for part in (rows.head(WARM_UP), rows):
        model, began = new_classifier(pretrained, ("negative", "positive"), head_seed=seed), time.time()
        if is_ours:
            fine_tune(model, tokenizer, part, settings, seed)
        else:
            train_by_trainer(model, tokenizer, part, settings, seed, with_defaults=True, is_padded_to_full_length=True)
    return began, time.time()


if __name__ == "__main__":
    main()
