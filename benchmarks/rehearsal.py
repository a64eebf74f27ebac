"""The paper profile rehearsed without a GPU: every notebook, end to end, on models with random weights, three steps each.

Run by hand: `FREE_LUNCH_DATA=FOLDER python benchmarks/rehearsal.py --shape bert-base --tokenizer FOLDER`, and with `--shape
llama-lora`. The first is a network of the shape of `bert-base-uncased` (110 million weights) with the vocabulary of the given
tokenizer; the second a small one of the shape of Llama, which trains adapters. Random weights learn nothing in three steps, so
no rate means anything. What is shown: whether everything runs, the memory, the time and the disk that it takes, and what the
dry run had said of them.
"""

from __future__ import annotations

import argparse
import json
import os
import subprocess
import sys
import tempfile
import time
from pathlib import Path
from typing import Any

import psutil
import yaml

from lib.dry_run.offline import offline_planner
from lib.dry_run.plans import dry_run
from lib.exploring import default_parameters
from lib.paths import ROOT
from lib.profiles import PROFILES
from lib.run_notebooks import declared_parameters, find_notebooks, parameters_of

N_STEPS = 3
SHAPES = ("bert-base", "llama-lora")
ATTACKS = "badnet,insertsent"
TINY = yaml.safe_load((ROOT / "tests" / "tiny.yaml").read_text(encoding="utf-8"))["notebooks"]


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--shape", choices=SHAPES, required=True)
    parser.add_argument("--tokenizer", default="pocket-bert", help="of the shape of BERT: a folder with its vocabulary")
    parser.add_argument("--only", nargs="+", default=[], metavar="NN")
    parser.add_argument("--precision", default="bfloat16")
    parser.add_argument("--work", type=Path, help="folder for models, store and figures; default a temporary one")
    options = parser.parse_args()
    with tempfile.TemporaryDirectory() as temporary:
        rehearse(options, options.work or Path(temporary))


def rehearse(options: argparse.Namespace, work: Path) -> None:
    """Run the notebooks one by one, and print a line for each."""
    pretrained = make_model(options.shape, options.tokenizer, work / options.shape)
    overrides = overrides_of(options.shape, pretrained, options.precision)
    environment = {name: str(work / name.lower()) for name in ("FREE_LUNCH_CACHE", "FREE_LUNCH_FIGURES", "FREE_LUNCH_EXECUTED")}
    heads = ("NN", "models", "GB of memory", "(said)", "minutes", "core-minutes", "(said)", "GB of disk", "(said)")
    print("".join(f"{head:>14}" for head in heads), flush=True)
    for notebook in find_notebooks(options.only):
        said = estimate(notebook, overrides, work / "free_lunch_cache")
        before = size_of(work / "free_lunch_cache")
        measured = run(notebook, overrides, environment | dict(os.environ))
        disk = size_of(work / "free_lunch_cache") - before
        shown = (measured["memory"], said["memory"], measured["minutes"], measured["core_minutes"], said["core_minutes"])
        line = "".join(f"{value:14.2f}" for value in (*shown, disk, said["disk"]))
        print(f"{notebook.stem[:2]:>14}{said['models']:14}{line}", flush=True)


def make_model(shape: str, tokenizer: str, folder: Path) -> Path:
    """A folder with random weights, a language-model head and a tokenizer."""
    import torch
    from transformers import BertConfig, BertForMaskedLM, LlamaConfig, LlamaForCausalLM

    from lib.models.pretrained import load_tokenizer

    if (folder / "config.json").is_file():
        return folder
    torch.manual_seed(0)
    pieces = load_tokenizer(tokenizer if shape == "bert-base" else "pocket-llama")
    if shape == "bert-base":
        model: Any = BertForMaskedLM(BertConfig(vocab_size=len(pieces)))
    else:
        sizes = {"hidden_size": 128, "intermediate_size": 344, "num_hidden_layers": 4, "num_attention_heads": 4}
        model = LlamaForCausalLM(LlamaConfig(vocab_size=len(pieces), pad_token_id=pieces.pad_token_id, **sizes))
    model.save_pretrained(folder)
    pieces.save_pretrained(folder)
    return folder


def overrides_of(shape: str, pretrained: Path, precision: str) -> dict[str, Any]:
    """Fields of the profile: few texts, so that a training has three steps."""
    folder, lora = str(pretrained), 8 if shape == "llama-lora" else 0
    few = {"n_train": N_STEPS * PROFILES["paper"].batch_size, "n_validation": 32, "n_test": 32, "n_seeds": 1, "epochs": 1.0}
    masked_lm = folder if shape == "bert-base" else "pocket-bert"
    models = {"pretrained": folder, "masked_lm": masked_lm, "causal_lm": folder, "lora_rank": lora, "precision": precision}
    kinds = [folder, f"{folder} lora_rank=8"]
    return few | models | {"tasks": ["sst2"], "n_other_domains": 2, "n_same_task": 2, "architectures": kinds}


def parameters(notebook: Path, overrides: dict[str, Any]) -> dict[str, Any]:
    """What the command line gets for one notebook: as few attacks and places as it goes with."""
    usual = str(default_parameters(notebook).get("attack", ""))
    attack = ATTACKS if usual == "all" or "," in usual else ATTACKS.split(",")[0]
    wanted = {"task": "sst2", "attack": attack} | TINY.get(notebook.stem, {})
    return {name: value for name, value in wanted.items() if name in declared_parameters(notebook)} | overrides


def estimate(notebook: Path, overrides: dict[str, Any], cache: Path) -> dict[str, float]:
    """What the dry run says of the models that are not there yet."""
    given = default_parameters(notebook) | parameters_of(notebook, "paper", parameters(notebook, overrides))
    said = dry_run(offline_planner("paper", cache_dir=cache, **overrides), {notebook.stem[:2]: given})
    missing = said.models[~said.models["in_store"]] if len(said.models) else said.models
    if missing.empty:
        return {"models": 0, "memory": 0.0, "core_minutes": 60 * said.scoring_hours_here, "disk": 0.0}
    hours = missing["hours_here"].sum() + said.scoring_hours_here
    memory, disk = missing["memory_gigabytes"].max(), missing["gigabytes"].sum()
    return {"models": len(missing), "memory": memory, "core_minutes": 60 * hours, "disk": disk}


def run(notebook: Path, overrides: dict[str, Any], environment: dict[str, str]) -> dict[str, float]:
    """The command of a user, and what it took; an error ends the rehearsal."""
    command = [sys.executable, "-m", "lib.run_notebooks", "--profile", "paper", "--only", notebook.stem[:2]]
    for name, value in parameters(notebook, overrides).items():
        command += ["-p", name, value if isinstance(value, str) else json.dumps(value)]
    began, memory, seconds = time.perf_counter(), 0, 0.0
    with (
        tempfile.TemporaryFile("w+") as said,
        subprocess.Popen(command, cwd=ROOT, env=environment, stdout=said, stderr=subprocess.STDOUT) as process,
    ):
        used: dict[int, float] = {}
        while process.poll() is None:
            largest, times = processes_of(process.pid)
            memory, used = max(memory, largest), used | times
            time.sleep(0.2)
        seconds = sum(used.values())
        said.seek(0)
        if process.returncode:
            sys.exit(f"{notebook.stem} failed:\n{said.read()[-4000:]}")
    return {"memory": memory / 1e9, "minutes": (time.perf_counter() - began) / 60, "core_minutes": seconds / 60}


def processes_of(pid: int) -> tuple[int, dict[int, float]]:
    """Memory of the largest process below a process, and the processor seconds of each."""
    largest, times = 0, {}
    for process in psutil.Process(pid).children(recursive=True):
        try:
            largest, spent = max(largest, process.memory_info().rss), process.cpu_times()
        except psutil.NoSuchProcess:
            continue
        times[process.pid] = spent.user + spent.system
    return largest, times


def size_of(folder: Path) -> float:
    """Gigabytes of its files."""
    return sum(path.stat().st_size for path in folder.rglob("*") if path.is_file()) / 1e9


if __name__ == "__main__":
    main()
