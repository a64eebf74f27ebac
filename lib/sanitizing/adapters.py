"""LoRA adapters of one base model in PEFT's folders: checked, averaged exactly, written as one adapter."""

from __future__ import annotations

import json
import math
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from torch import Tensor

from lib.folders import copy_model_files, new_folder
from lib.merging import StateDict, check_weights, weight_average
from lib.merging.lora import Adapter, lora_average

CONFIG, WEIGHTS = "adapter_config.json", "adapter_model.safetensors"
# They must agree, or the adapters change other things than the same layers of the same model.
SHARED = ("base_model_name_or_path", "revision", "task_type", "target_modules", "fan_in_fan_out", "modules_to_save", "bias")
# Not averaged exactly by stacking factors.
REFUSED = {"use_dora": False, "rank_pattern": {}, "alpha_pattern": {}, "layer_replication": None, "bias": "none"}
A, B = ".lora_A.weight", ".lora_B.weight"


def is_adapter(name: str) -> bool:
    """Whether a folder holds a PEFT adapter."""
    return (Path(name) / CONFIG).is_file()


def merge_adapters(
    names: Sequence[str],
    output: Path,
    method: str = "weight_average",
    weights: Sequence[float] | None = None,
    dry_run: bool = False,
) -> str:
    """Average LoRA adapters of one base model: what they add, not their factors; the ranks add up.

    peft's own `add_weighted_adapter(combination_type="cat")` gives the same product, but needs the base model in memory, and
    its scales are wrong with `use_rslora`.

    Args:
        names: folders of adapters.
        output: folder of the merged adapter; must not exist.
        method: "weight_average".
        weights: summing to 1; default 1/n each.
        dry_run: check, write nothing.

    Returns:
        What was done, for a person.

    Raises:
        ValueError: for a folder that is no adapter, adapters that differ in what they change, or another method.
    """
    if method != "weight_average":
        raise ValueError(f"adapters are merged by weight_average only, found {method!r}; fold them into full models for others")
    if full := [name for name in names if not is_adapter(name)]:
        raise ValueError(f"{full} are no adapters, but others are; fold the adapters into full models first")
    folders = [Path(name) for name in names]
    checked = check_weights(weights, len(folders))
    configs = [json.loads((folder / CONFIG).read_text(encoding="utf-8")) for folder in folders]
    for name, config in zip(names, configs, strict=True):
        _check_config(name, config, names[0], configs[0])
    merged, rank = average_adapters(
        [_load(folder) for folder in folders], [scaling(config) for config in configs], checked, names
    )
    done = f"average of {len(names)} adapters of {configs[0]['base_model_name_or_path']}, weights {checked}, rank {rank}"
    if dry_run:
        return f"{done}\ndry run: every check passed, nothing was written"
    _write(merged, configs[0] | {"r": rank, "lora_alpha": rank, "use_rslora": False}, folders[0], output)
    return f"{done}\nwrote {output}"


def scaling(config: dict[str, Any]) -> float:
    """The factor on B A: alpha / r, or alpha / sqrt(r) where it is rank-stabilised."""
    return config["lora_alpha"] / (math.sqrt(config["r"]) if config.get("use_rslora") else config["r"])


def average_adapters(
    adapters: Sequence[StateDict], scalings: Sequence[float], weights: Sequence[float], names: Sequence[str]
) -> tuple[StateDict, int]:
    """The tensors of the averaged adapter, scaling 1, and its rank; other tensors (`modules_to_save`) are averaged plainly.

    Raises:
        ValueError: when tensors are missing, or are of another kind than LoRA's factors of linear layers.
    """
    for name, adapter in zip(names[1:], adapters[1:], strict=True):
        if different := sorted(adapter.keys() ^ adapters[0].keys()):
            raise ValueError(f"{name} and {names[0]} have different tensors: {different[:5]}")
    if unknown := [key for key in adapters[0] if "lora_" in key and not key.endswith((A, B))]:
        raise ValueError(f"only adapters of linear layers can be averaged; {names[0]} has {unknown[:5]}")
    merged: StateDict = {}
    rank = 0
    for key, tensor in adapters[0].items():
        if key.endswith(A):
            stem = key.removesuffix(A)
            factors = [Adapter(adapter[key], adapter[stem + B], s) for adapter, s in zip(adapters, scalings, strict=True)]
            average = lora_average(factors, weights=weights)
            merged[key], merged[stem + B] = average.a.to(tensor.dtype), average.b.to(tensor.dtype)
            rank = average.a.shape[0]
        elif not key.endswith(B):
            merged[key] = weight_average([adapter[key] for adapter in adapters], weights=weights)
    return merged, rank


def _check_config(name: str, config: dict[str, Any], first_name: str, first: dict[str, Any]) -> None:
    if config.get("peft_type") != "LORA":
        raise ValueError(f"{name} is a {config.get('peft_type')} adapter; only LORA can be averaged")
    for field, allowed in REFUSED.items():
        if config.get(field, allowed) != allowed:
            raise ValueError(f"{name} has {field} {config[field]}; adapters can be averaged with {field} {allowed} only")
    for field in SHARED:
        one, other = (sorted(v) if isinstance(v, list) else v for v in (first.get(field), config.get(field)))
        if one != other:
            raise ValueError(f"{name} has {field} {other}, but {first_name} has {one}; adapters must change the same layers")


def _load(folder: Path) -> dict[str, Tensor]:
    from safetensors import SafetensorError
    from safetensors.torch import load_file

    if not (folder / WEIGHTS).is_file():
        raise ValueError(f"adapter folder {folder} has no {WEIGHTS}; found {sorted(path.name for path in folder.iterdir())}")
    try:
        return load_file(folder / WEIGHTS)
    except SafetensorError as error:
        raise ValueError(f"{folder / WEIGHTS} is damaged: {error}") from error


def _write(merged: StateDict, config: dict[str, Any], first: Path, output: Path) -> None:
    from safetensors.torch import save_file

    with new_folder(output) as folder:
        copy_model_files(first, folder)
        (folder / CONFIG).write_text(json.dumps(config, indent=2), encoding="utf-8")
        save_file({key: tensor.contiguous() for key, tensor in merged.items()}, folder / WEIGHTS, metadata={"format": "pt"})
