"""LoRA adapters of one base model in PEFT's folders: checked, averaged exactly, written as one adapter."""

from __future__ import annotations

import json
import os
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from torch import Tensor

from lib.folders import copy_model_files, new_folder, read_json, without_code
from lib.merging import StateDict, check_weights, weight_average
from lib.merging.files import read_header
from lib.merging.lora import PEFT_CONFIG, PEFT_WEIGHTS, A, Adapter, B, lora_average, scaling_of
from lib.models.adapters import OWN_WEIGHTS

# They must agree, or the adapters change other things than the same layers of the same model.
SHARED = ("base_model_name_or_path", "revision", "task_type", "target_modules", "fan_in_fan_out", "modules_to_save", "bias")
# Not averaged exactly by stacking factors.
REFUSED = {"use_dora": False, "rank_pattern": {}, "alpha_pattern": {}, "layer_replication": None, "bias": "none"}
MAX_ALPHA = 1e6  # a larger scale than any in use would only break numbers


def is_adapter(name: str) -> bool:
    """Whether a folder holds a PEFT adapter."""
    return os.path.isfile(Path(name) / PEFT_CONFIG)  # unlike a path's method it says no where a name is too long


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
    configs = [read_json(folder / PEFT_CONFIG) for folder in folders]
    for name, config in zip(names, configs, strict=True):
        _check_config(name, config, names[0], configs[0])
    adapters = [_load(folder, config["r"]) for folder, config in zip(folders, configs, strict=True)]
    merged, rank = average_adapters(adapters, [scaling_of(config) for config in configs], checked, names)
    done = f"average of {len(names)} adapters of {configs[0]['base_model_name_or_path']}, weights {checked}, rank {rank}"
    if dry_run:
        return f"{done}\ndry run: every check passed, nothing was written"
    removed = _write(merged, configs[0] | {"r": rank, "lora_alpha": rank, "use_rslora": False}, folders[0], output)
    return "\n".join([done, *(f"removed a pointer to code: {name}" for name in removed), f"wrote {output}"])


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
    for name, adapter in zip(names[1:], adapters[1:], strict=True):
        for key, tensor in adapter.items():
            if not key.endswith((A, B)) and tensor.shape != adapters[0][key].shape:
                raise ValueError(
                    f"{name}: {key!r} has shape {list(tensor.shape)}, but {list(adapters[0][key].shape)} in {names[0]}"
                )
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
    file = Path(name) / PEFT_CONFIG
    if config.get("peft_type") != "LORA":
        raise ValueError(f"{name} is a {config.get('peft_type')!s:.80} adapter; only LORA can be averaged")
    fields: list[Any] = [config.get(field) for field in ("r", "lora_alpha", "base_model_name_or_path")]
    rank, alpha, base = fields
    if type(rank) is not int or rank < 1:
        raise ValueError(f"{file} has r {rank!r:.80}; it must be a whole number above 0")
    if type(alpha) not in (int, float) or not 0 < alpha < MAX_ALPHA:
        raise ValueError(f"{file} has lora_alpha {alpha!r:.80}; it must be a number between 0 and {MAX_ALPHA:.0e}")
    if not isinstance(base, str | None) or type(config.get("use_rslora", False)) is not bool:
        raise ValueError(f"{file} has base_model_name_or_path {base!r:.80} and use_rslora {config.get('use_rslora')!r:.80}")
    for field, allowed in REFUSED.items():
        if config.get(field, allowed) != allowed:
            raise ValueError(f"{name} has {field} {config[field]!s:.80}; adapters can be averaged with {field} {allowed} only")
    for field in SHARED:
        one, other = (sorted(v, key=str) if isinstance(v, list) else v for v in (first.get(field), config.get(field)))
        if one != other:
            raise ValueError(f"{name} has {field} {other}, but {first_name} has {one}; adapters must change the same layers")


def _load(folder: Path, rank: int) -> dict[str, Tensor]:
    """The tensors of an adapter: finite, its factors in pairs of its rank."""
    from safetensors import SafetensorError
    from safetensors.torch import load_file

    if (folder / OWN_WEIGHTS).is_file():
        raise ValueError(
            f"adapter folder {folder} has {OWN_WEIGHTS} beside the adapter, which peft does not know; write the whole model "
            "with `Study.merge([model]).save(folder)` first"
        )
    if not (folder / PEFT_WEIGHTS).is_file():
        raise ValueError(
            f"adapter folder {folder} has no {PEFT_WEIGHTS}; found {sorted(path.name for path in folder.iterdir())}"
        )
    read_header(folder / PEFT_WEIGHTS)
    try:
        tensors = load_file(folder / PEFT_WEIGHTS)
    except (SafetensorError, OSError) as error:
        raise ValueError(f"{folder / PEFT_WEIGHTS} is damaged: {error}") from error
    for key, tensor in tensors.items():
        if not tensor.is_floating_point() or not tensor.isfinite().all():
            raise ValueError(f"{folder / PEFT_WEIGHTS}: {key!r:.80} is {tensor.dtype}, or has values that are not finite")
    stems = {key.removesuffix(end) for key in tensors for end in (A, B) if key.endswith(end)}
    for stem in stems:
        shapes = [tuple(tensors[stem + end].shape) if stem + end in tensors else () for end in (A, B)]
        if [len(shape) for shape in shapes] != [2, 2] or shapes[0][0] != rank or shapes[1][1] != rank:
            raise ValueError(f"{folder / PEFT_WEIGHTS}: {stem!r:.80} has factors of shapes {shapes}; its rank is {rank}")
    if not stems:
        raise ValueError(f"{folder / PEFT_WEIGHTS} has no factors of LoRA")
    return tensors


def _write(merged: StateDict, config: dict[str, Any], first: Path, output: Path) -> list[str]:
    from safetensors.torch import save_file

    with new_folder(output) as folder:
        copied = copy_model_files(first, folder)
        cleaned, copied[PEFT_CONFIG] = without_code(config)
        (folder / PEFT_CONFIG).write_text(json.dumps(cleaned, indent=2), encoding="utf-8")
        save_file(
            {key: tensor.contiguous() for key, tensor in merged.items()}, folder / PEFT_WEIGHTS, metadata={"format": "pt"}
        )
    return [f"{field} of {name}" for name, fields in copied.items() for field in fields]
