"""Merges of models in memory, and the distance between two models."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import torch
from torch import Tensor

from lib.merging.engine import Merge
from lib.merging.sources import ModelSource, StateDict, StateDictSource, as_sources


def merge_state_dicts(
    state_dicts: Sequence[Mapping[str, Tensor]],
    method: str = "weight_average",
    names: Sequence[str] | None = None,
    *,
    pretrained: Mapping[str, Tensor] | None = None,
    statistics: Mapping[str, Sequence[Mapping[str, Tensor]]] | None = None,
    **settings: Any,
) -> StateDict:
    """Merge models in memory; integer and boolean tensors are copied, tied tensors are merged once and stay tied.

    Args:
        state_dicts: one per model; not modified.
        method: a key of `MERGE_METHODS`.
        names: the models' names, for error messages.
        pretrained: the common starting point, for methods with task vectors.
        statistics: "fishers" or "grams" of each model, for methods that need them.
        settings: `weights`, and the other arguments of `lib.merging.engine.Merge` and of the method.

    Returns:
        A new state dict in the first model's order of tensors.

    Raises:
        ValueError: if the models do not fit together, or a value is not finite; names model and tensor.
    """
    start = StateDictSource(pretrained, "the pretrained model") if pretrained is not None else None
    known = {kind: as_sources(values) for kind, values in (statistics or {}).items()}
    tied = tied_tensors(state_dicts[0]) if state_dicts else {}
    return merge_sources(as_sources(state_dicts, names), method, pretrained=start, statistics=known, tied=tied, **settings)


def merge_sources(models: Sequence[ModelSource], method: str = "weight_average", **settings: Any) -> StateDict:
    """Merge models, in memory or in files, into a state dict; only the result is held whole.

    Args:
        models: at least one.
        method: a key of `MERGE_METHODS`.
        settings: see `lib.merging.engine.Merge`.
    """
    merge = Merge(models, method, **settings)
    merged = {name: torch.empty(info.shape, dtype=info.dtype) for name, info in merge.tensors.items()}
    for part in merge.parts():
        rows = merged[part.name].view(-1, merge.tensors[part.name].width)
        rows[part.start : part.start + len(part.tensors[0])] = part.tensors[0]
    return {name: merged[merge.tied.get(name, name)] for name in models[0].tensors}


def tied_tensors(state_dict: Mapping[str, Tensor]) -> dict[str, str]:
    """Names of tensors that share all of one storage with an earlier one, to the earlier one's name.

    >>> weight = torch.zeros(2, 2)
    >>> tied_tensors({"embeddings.weight": weight, "other": torch.zeros(2, 2), "decoder.weight": weight})
    {'decoder.weight': 'embeddings.weight'}
    """
    first: dict[tuple[Any, ...], str] = {}
    tied = {}
    for name, tensor in state_dict.items():
        place = (tensor.data_ptr(), tuple(tensor.shape), tensor.stride(), tensor.dtype)
        if tensor.numel() and place in first:
            tied[name] = first[place]
        first.setdefault(place, name)
    return tied


def distance(state_dict: Mapping[str, Tensor], other: Mapping[str, Tensor]) -> float:
    """Euclidean distance between two models over their common floating-point tensors, in float64.

    >>> distance({"w": torch.tensor([3.0, 0.0])}, {"w": torch.tensor([0.0, 4.0])})
    5.0
    """
    squares = [
        (tensor.double() - other[key].double()).square().sum().item()
        for key, tensor in state_dict.items()
        if key in other and tensor.is_floating_point()
    ]
    return float(sum(squares) ** 0.5)
