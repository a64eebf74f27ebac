"""Disk and memory of five LoRA models of the shape of `bert-base-uncased`: as adapters, and as whole models.

Run by hand: `python benchmarks/adapters.py`. The weights are random, for sizes do not depend on them. Each average is computed
in a process of its own; both give the same tensors.
"""

from __future__ import annotations

import resource
import tempfile
import time
from collections.abc import Callable
from concurrent.futures import ProcessPoolExecutor
from functools import partial
from multiprocessing import get_context
from pathlib import Path
from typing import Any

import torch

from lib.merging import merge_state_dicts
from lib.models.adapters import read_weights, save_adapter
from lib.models.checkpoints import Checkpoint
from lib.models.pretrained import load_tokenizer, new_classifier
from lib.models.saving import save_config, save_tokenizer
from lib.models.training import with_adapters
from lib.study.merged import merge

N_MODELS, RANK = 5, 8
LABELS = ("negative", "positive")


def main() -> None:
    with tempfile.TemporaryDirectory() as work:
        base, folders = alone(make_models, Path(work))
        sizes = [sum(path.stat().st_size for path in folder.glob("*.safetensors")) / 1e6 for folder in (folders[0], base)]
        print(f"on disk: {sizes[0]:.1f} MB as an adapter, {sizes[1]:.0f} MB whole")
        for how in ("row by row", "whole"):
            memory, seconds, checksum = alone(average, folders, how)
            print(f"average of {N_MODELS}, {how}: {memory:.2f} GB of memory, {seconds:.1f} s, sum of entries {checksum:.6f}")


def alone(function: Callable[..., Any], *arguments: Any) -> Any:
    """Call a function in a new process, for a process remembers the most memory that it ever had."""
    with ProcessPoolExecutor(1, mp_context=get_context("spawn")) as pool:
        return pool.submit(function, *arguments).result()


def make_models(work: Path) -> tuple[Path, list[Path]]:
    base = make_base(work / "base")
    return base, [make_adapter(base, work / f"adapter {i}", seed=i) for i in range(N_MODELS)]


def make_base(folder: Path) -> Path:
    from transformers import BertConfig, BertForMaskedLM

    tokenizer = load_tokenizer("pocket-bert")
    BertForMaskedLM(BertConfig()).save_pretrained(folder)  # the vocabulary has the size of bert-base-uncased's
    save_tokenizer(tokenizer, folder)
    return folder


def make_adapter(base: Path, folder: Path, seed: int) -> Path:
    folder.mkdir()
    network = new_classifier(str(base), LABELS, head_seed=0)
    adapted = with_adapters(network, RANK, seed)
    for name, weight in adapted.named_parameters():
        if ".lora_B" in name:  # 0 before a training
            torch.nn.init.normal_(weight, std=0.02)
    save_adapter(adapted, folder, str(base))
    save_config(network, folder)
    save_tokenizer(load_tokenizer(str(base)), folder)
    return folder


def average(folders: list[Path], how: str) -> tuple[float, float, float]:
    """Gigabytes that the process needs at most for the average, its seconds, and the sum of all entries."""
    peak = partial(resource.getrusage, resource.RUSAGE_SELF)
    before, began = peak().ru_maxrss, time.perf_counter()
    if how == "whole":
        merged = merge_state_dicts([read_weights(folder) for folder in folders], "weight_average")
    else:
        merged = merge([Checkpoint(folder, str(folder), folder.name) for folder in folders]).state_dict()
    seconds = time.perf_counter() - began
    checksum = sum(float(tensor.double().sum()) for tensor in merged.values())
    return (peak().ru_maxrss - before) / 1e6, seconds, checksum


if __name__ == "__main__":
    main()
