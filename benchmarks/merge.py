"""Merging checkpoints against mergekit and against loading everything: whole process, peak memory, bandwidth.

Run by hand: `python benchmarks/merge.py`. Models of the shapes of BERT-base (109M, float32) and of a Llama (220M, bfloat16)
with random weights, four shards each, are written to a temporary folder; every tool merges the same files, in turn, in
processes of its own, mergekit in an environment of its own under the cache folder. `--large` merges models of more than 2 GB:
look at the peak. `--methods clipped` needs no mergekit: the clipped averages beside the plain one, within this process and in
processes of their own. Processor time is that of all threads; it counts less of what else the machine does.
"""

from __future__ import annotations

import argparse
import json
import os
import shutil
import statistics
import subprocess
import sys
import tempfile
import time
from collections.abc import Sequence
from pathlib import Path

import torch
from safetensors.torch import save_file

from lib import paths
from lib.merging import Merge
from lib.merging.files import open_weights
from lib.merging.streaming import save_merge

MERGEKIT = "mergekit==0.1.5"
N_SHARDS = 4
LOAD_ALL = """
import sys
from pathlib import Path
import torch
from safetensors.torch import load_file, save_file
*folders, output = map(Path, sys.argv[1:])
models = [{k: v for f in sorted(p.glob('*.safetensors')) for k, v in load_file(f).items()} for p in folders]
mean = {k: torch.stack([m[k].float() for m in models]).mean(dim=0) for k in models[0]}
output.mkdir()
save_file(mean, output / 'model.safetensors')
"""
MEASURE = """
import os, subprocess, sys, time
began = time.perf_counter()
process = subprocess.Popen(sys.argv[1:], stdout=subprocess.DEVNULL)
_, status, usage = os.wait4(process.pid, 0)
print(time.perf_counter() - began, usage.ru_maxrss)
sys.exit(1 if status else 0)
"""


def bert_shapes(layers: int = 12, width: int = 768) -> dict[str, tuple[int, ...]]:
    """Tensors of a BERT; with the defaults BERT-base, 109M entries."""
    tables = {"word": 30522, "position": 512, "token_type": 2}
    shapes: dict[str, tuple[int, ...]] = {f"bert.embeddings.{name}_embeddings.weight": (n, width) for name, n in tables.items()}
    norms = ["bert.embeddings.LayerNorm"]
    for layer in range(layers):
        start = f"bert.encoder.layer.{layer}"
        linear = {f"attention.self.{name}": (width, width) for name in ("query", "key", "value")}
        linear["attention.output.dense"] = (width, width)
        linear |= {"intermediate.dense": (4 * width, width), "output.dense": (width, 4 * width)}
        for name, shape in linear.items():
            shapes |= {f"{start}.{name}.weight": shape, f"{start}.{name}.bias": shape[:1]}
        norms += [f"{start}.attention.output.LayerNorm", f"{start}.output.LayerNorm"]
    return shapes | {f"{norm}.{kind}": (width,) for norm in norms for kind in ("weight", "bias")}


def llama_shapes(layers: int = 12, width: int = 1024, inner: int = 2816, vocabulary: int = 32000) -> dict[str, tuple[int, ...]]:
    """Tensors of a Llama; with the defaults about 220M entries."""
    shapes: dict[str, tuple[int, ...]] = {"model.embed_tokens.weight": (vocabulary, width)}
    for layer in range(layers):
        start = f"model.layers.{layer}"
        shapes |= {f"{start}.self_attn.{name}_proj.weight": (width, width) for name in "qkvo"}
        shapes |= {f"{start}.mlp.{name}_proj.weight": (inner, width) for name in ("gate", "up")}
        shapes |= {f"{start}.mlp.down_proj.weight": (width, inner)}
        shapes |= {f"{start}.{name}_layernorm.weight": (width,) for name in ("input", "post_attention")}
    return shapes | {"model.norm.weight": (width,), "lm_head.weight": (vocabulary, width)}


CLIPPED = ("weight_average", "clipped_average", "row_clipped_average")
CONFIGS = {
    "bert": {
        "model_type": "bert", "architectures": ["BertShaped"], "hidden_size": 768, "num_hidden_layers": 12,
        "num_attention_heads": 12, "intermediate_size": 3072, "vocab_size": 30522,
    },
    "small_bert": {
        "model_type": "bert", "architectures": ["BertShaped"], "hidden_size": 256, "num_hidden_layers": 4,
        "num_attention_heads": 4, "intermediate_size": 1024, "vocab_size": 30522,
    },
    "llama": {
        "model_type": "llama", "architectures": ["LlamaForCausalLM"], "hidden_size": 1024, "num_hidden_layers": 12,
        "num_attention_heads": 16, "intermediate_size": 2816, "vocab_size": 32000, "tie_word_embeddings": False,
    },
}  # fmt: skip


def write_model(folder: Path, shapes: dict[str, tuple[int, ...]], config: dict, dtype: torch.dtype, seed: int) -> None:
    """A model with random weights in `N_SHARDS` shards."""
    folder.mkdir(parents=True)
    generator, total = torch.Generator().manual_seed(seed), sum(torch.Size(shape).numel() for shape in shapes.values())
    shards: list[list[str]] = [[]]
    n = 0
    for name, shape in shapes.items():
        if n >= total * len(shards) / N_SHARDS:
            shards.append([])
        shards[-1].append(name)
        n += torch.Size(shape).numel()
    weight_map = {}
    for i, names in enumerate(shards):
        file = f"model-{i + 1:05d}-of-{len(shards):05d}.safetensors"
        tensors = {name: (torch.randn(shapes[name], generator=generator) * 0.05).to(dtype) for name in names}
        save_file(tensors, folder / file, metadata={"format": "pt"})
        weight_map |= dict.fromkeys(names, file)
    (folder / "model.safetensors.index.json").write_text(json.dumps({"metadata": {}, "weight_map": weight_map}))
    (folder / "config.json").write_text(json.dumps(config | {"dtype": str(dtype).removeprefix("torch.")}))
    (folder / "tokenizer.json").write_text("{}")


def mergekit_command() -> str:
    """The path of `mergekit-yaml`, installed if need be."""
    environment = paths.cache_dir() / "benchmarks" / "mergekit"
    command = environment / "bin" / "mergekit-yaml"
    if not command.exists():
        subprocess.run([sys.executable, "-m", "venv", str(environment)], check=True)
        install = [str(environment / "bin" / "pip"), "install", "--quiet", "torch==2.13.0", MERGEKIT]
        subprocess.run(install, check=True)
    return str(command)


def mergekit_config(method: str, models: Sequence[Path], start: Path | None, dtype: str) -> str:
    """What mergekit wants to be told, as YAML (JSON is YAML)."""
    entries = [
        {"model": str(model), "parameters": {"weight": 1.0, **({"density": 0.2} if method == "ties" else {})}}
        for model in models
    ]
    config: dict[str, object] = {"merge_method": method, "models": entries, "dtype": dtype}
    if method == "ties":
        config |= {"base_model": str(start), "parameters": {"normalize": True}}
    if method == "slerp":
        config = {
            "merge_method": "slerp",
            "base_model": str(models[0]),
            "models": [{"model": str(m)} for m in models],
            "dtype": dtype,
        }
        config["parameters"] = {"t": 0.5}
    return json.dumps(config)


def timed(command: Sequence[str], output: Path) -> tuple[float, float]:
    """Seconds and peak resident memory in MB of a process; its output folder is removed.

    A small process starts it: the peak of a child counts what its parent held when it was forked.
    """
    shutil.rmtree(output, ignore_errors=True)
    os.sync()  # what the last one wrote is not written back while this one runs
    done = subprocess.run([sys.executable, "-S", "-c", MEASURE, *command], capture_output=True, text=True, check=False)
    if done.returncode or not output.exists():
        raise RuntimeError(f"{command[:3]} failed: {done.stderr[-2000:]}")
    shutil.rmtree(output)
    seconds, peak = done.stdout.split()[-2:]
    return float(seconds), float(peak) / 1024


def bandwidth_limit(models: Sequence[Path], folder: Path) -> float:
    """Seconds to read all the files once into one buffer and to write one of the models, and nothing else."""
    buffer = bytearray(4 << 20)
    began = time.perf_counter()
    for model in models:
        for file in sorted(model.glob("*.safetensors")):
            with open(file, "rb", buffering=0) as opened:
                while opened.readinto(buffer):
                    pass
    left = sum(file.stat().st_size for file in models[0].glob("*.safetensors"))
    with open(folder / "written", "wb", buffering=0) as opened:
        while left > 0:
            left -= opened.write(memoryview(buffer)[: min(left, len(buffer))])
    seconds = time.perf_counter() - began
    (folder / "written").unlink()
    return seconds


def in_process(models: Sequence[Path], folder: Path, repeats: int) -> None:
    """An average without start-up and hashing, against what the disk cache allows."""
    torch.set_num_threads(max(1, (os.cpu_count() or 2) - 1))  # as the command does
    limits, merges = [], []
    for _ in range(repeats + 1):
        limits.append(bandwidth_limit(models, folder))
        output = folder / "streamed"
        output.mkdir()
        began = time.perf_counter()
        save_merge(Merge([open_weights(model, model.name) for model in models]), output)
        merges.append(time.perf_counter() - began)
        shutil.rmtree(output)
    moved = sum(file.stat().st_size for model in [*models, models[0]] for file in model.glob("*.safetensors"))
    limit, merge = statistics.median(limits[1:]), statistics.median(merges[1:])
    print(
        f"  average of {len(models)} in process {merge:.2f} s [{min(merges[1:]):.2f}, {max(merges[1:]):.2f}], "
        f"{moved / merge / 1e9:.1f} GB/s; reading and writing alone {limit:.2f} s: {merge / limit:.2f} x the limit"
    )


def clipped_in_process(models: Sequence[Path], start: Path, folder: Path, repeats: int) -> None:
    """The clipped averages without start-up and hashing, in turn with the plain average of the same models."""
    torch.set_num_threads(max(1, (os.cpu_count() or 2) - 1))  # as the command does
    found: dict[str, list[tuple[float, float]]] = {method: [] for method in CLIPPED}
    for _ in range(repeats + 1):
        for method, seconds in found.items():
            output = folder / "streamed"
            output.mkdir()
            began, used = time.perf_counter(), time.process_time()
            pretrained = None if method == "weight_average" else open_weights(start, start.name)
            save_merge(Merge([open_weights(model, model.name) for model in models], method, pretrained=pretrained), output)
            seconds.append((time.perf_counter() - began, time.process_time() - used))
            shutil.rmtree(output)
    plain = [statistics.median(kind) for kind in zip(*found["weight_average"][1:], strict=True)]
    for method, seconds in found.items():
        both = zip(("elapsed", "processor"), zip(*seconds[1:], strict=True), plain, strict=True)
        middles = [(kind, statistics.median(each), min(each), max(each), first) for kind, each, first in both]
        text = ", ".join(f"{kind} {m:.2f} s [{low:.2f}, {high:.2f}] {m / first:.2f} x" for kind, m, low, high, first in middles)
        print(f"  {method:20s} in process: {text}")


def compare(rows: dict[str, Sequence[str]], output: Path, repeats: int) -> None:
    """Time the commands in turn and print their medians beside those of the first."""
    found: dict[str, list[tuple[float, float]]] = {name: [] for name in rows}
    for repeat in range(repeats + 1):  # the first round fills the disk cache
        for name, command in rows.items():
            measured = timed(command, output)
            if repeat:
                found[name].append(measured)
    ours = [statistics.median(values) for values in zip(*next(iter(found.values())), strict=True)]
    for name, values in found.items():
        seconds, peak = (statistics.median(each) for each in zip(*values, strict=True))
        low, high = min(s for s, _ in values), max(s for s, _ in values)
        print(
            f"  {name:28s} {seconds:6.2f} s [{low:.2f}, {high:.2f}] {seconds / ours[0]:5.1f} x  "
            f"peak {peak:6.0f} MB {peak / ours[1]:5.1f} x"
        )


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--repeats", type=int, default=5)
    parser.add_argument("--families", nargs="+", default=["bert", "llama"], choices=sorted(CONFIGS))
    methods = ["linear", "slerp", "ties"]
    parser.add_argument("--methods", nargs="+", default=methods, choices=[*methods, "clipped"])
    parser.add_argument("--large", action="store_true", help="two Llama-shaped models of more than 2 GB instead")
    options = parser.parse_args()
    paths.cache_dir().mkdir(parents=True, exist_ok=True)
    with tempfile.TemporaryDirectory() as temporary:
        folder = Path(temporary)
        if options.large:
            large(folder, options.repeats)
            return
        for family in options.families:
            run_family(folder, family, options.methods, options.repeats)


def run_family(folder: Path, family: str, methods: Sequence[str], repeats: int) -> None:
    """All comparisons on models of one shape."""
    shapes = {"bert": bert_shapes, "small_bert": lambda: bert_shapes(4, 256), "llama": llama_shapes}[family]()
    dtype = torch.bfloat16 if family == "llama" else torch.float32
    models = [folder / f"{family}{i}" for i in range(4)]
    for seed, model in enumerate(models):
        write_model(model, shapes, CONFIGS[family], dtype, seed)
    size = sum(file.stat().st_size for file in models[0].glob("*.safetensors")) / 1e6
    print(f"{family}: 4 models of {size:.0f} MB in {N_SHARDS} shards, {dtype}, {repeats} repeats after a warm-up")
    in_process(models, folder, repeats)
    if "clipped" in methods:
        clipped(folder, models, family, shapes, dtype, repeats)
    start, *others = models
    output, python = folder / "out", [sys.executable, "-m", "lib.sanitize"]
    for method, ours, given, base in (
        ("linear", ["--method", "weight_average"], models, None),
        ("slerp", ["--method", "slerp"], models[:2], None),
        ("ties", ["--method", "ties", "--set", "trim_scope", "tensor", "--pretrained", str(start)], others, start),
    ):
        if method not in methods:
            continue
        config = folder / f"{method}.yml"
        config.write_text(mergekit_config(method, given, base, str(dtype).removeprefix("torch.")))
        rows = {
            f"ours, {method}": [*python, *map(str, given), "--output", str(output), *ours],
            f"mergekit, {method}": [mergekit_command(), str(config), str(output), "--no-copy-tokenizer"],
        }
        if method == "linear":
            rows["load all, stack, mean"] = [sys.executable, "-c", LOAD_ALL, *map(str, given), str(output)]
        compare(rows, output, repeats)
    for model in models:
        shutil.rmtree(model)


def clipped(
    folder: Path, models: Sequence[Path], family: str, shapes: dict[str, tuple[int, ...]], dtype: torch.dtype, repeats: int
) -> None:
    """The clipped averages of some models beside their plain average; their task vectors start from one more model."""
    start = folder / f"{family}-start"
    write_model(start, shapes, CONFIGS[family], dtype, len(models))
    clipped_in_process(models, start, folder, repeats)
    command = [sys.executable, "-m", "lib.sanitize", *map(str, models), "--output", str(folder / "out")]
    rows = {f"ours, {name}": [*command, "--method", name, "--pretrained", str(start)] for name in CLIPPED[1:]}
    compare({"ours, weight_average": [*command, "--method", "weight_average"]} | rows, folder / "out", repeats)
    shutil.rmtree(start)


def large(folder: Path, repeats: int) -> None:
    """Two models of more than 2 GB each: what matters is the peak."""
    shapes = llama_shapes(layers=22, width=2048, inner=5632)
    config = CONFIGS["llama"] | {"hidden_size": 2048, "num_hidden_layers": 22, "intermediate_size": 5632}
    models = [folder / f"large{i}" for i in range(2)]
    for seed, model in enumerate(models):
        write_model(model, shapes, config, torch.bfloat16, seed)
    size = sum(file.stat().st_size for file in models[0].glob("*.safetensors")) / 1e9
    print(f"2 Llama-shaped models of {size:.2f} GB in {N_SHARDS} shards, bfloat16, {repeats} repeats after a warm-up")
    output, python = folder / "out", [sys.executable, "-m", "lib.sanitize", *map(str, models), "--output", str(folder / "out")]
    compare({f"ours, {name}": [*python, "--method", name] for name in ("weight_average", "slerp")}, output, repeats)


if __name__ == "__main__":
    main()
