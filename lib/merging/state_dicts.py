"""State dicts: what must agree before a merge, and a merge of whole models tensor by tensor."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from typing import Any

import torch
from torch import Tensor

StateDict = dict[str, Tensor]
N_NAMES_SHOWN = 5


def merge_state_dicts(
    state_dicts: Sequence[Mapping[str, Tensor]],
    method: Callable[..., Tensor],
    names: Sequence[str] | None = None,
    **settings: Any,
) -> StateDict:
    """Apply a merge method to every floating-point tensor; integer and boolean ones are copied from the first model.

    Args:
        state_dicts: one per model; not modified.
        method: a merge method on tensors, `method(tensors, **settings) -> tensor`.
        names: the models' names, for error messages.
        settings: passed on to the method, e.g. `weights`.

    Returns:
        A new state dict in the first model's order of tensors.

    Raises:
        ValueError: if the models do not fit (see `check_mergeable`), or a value is not finite; names model and tensor.
    """
    names = list(names or [f"model {i + 1}" for i in range(len(state_dicts))])
    check_mergeable(state_dicts, names)
    merged: StateDict = {}
    for key, first in state_dicts[0].items():
        tensors = [state_dict[key] for state_dict in state_dicts]
        merged[key] = method(tensors, **settings) if first.is_floating_point() else first.clone()
        # One test of the result is cheap; the culprit is looked for only when it fails.
        if first.is_floating_point() and not bool(torch.isfinite(merged[key]).all()):
            culprit = next((n for n, t in zip(names, tensors, strict=True) if not torch.isfinite(t).all()), "the merge")
            raise ValueError(f"{culprit}: tensor {key!r} has values that are not finite")
    return merged


def check_mergeable(state_dicts: Sequence[Mapping[str, Tensor]], names: Sequence[str]) -> None:
    """Raise unless all models have the same tensors: keys, shapes, floating or not, equal integer entries.

    Raises:
        ValueError: naming the model, the tensor, the value found and the value allowed.
    """
    if not state_dicts:
        raise ValueError("no model to merge; give at least one")
    first = state_dicts[0]
    for name, state_dict in zip(names[1:], state_dicts[1:], strict=True):
        missing = [key for key in first if key not in state_dict]
        extra = [key for key in state_dict if key not in first]
        if missing or extra:
            raise ValueError(
                f"{name} and {names[0]} have different tensors: {len(missing)} missing {missing[:N_NAMES_SHOWN]}, "
                f"{len(extra)} extra {extra[:N_NAMES_SHOWN]}; only models of one architecture can be merged"
            )
        for key, tensor in state_dict.items():
            _check_tensor(key, first[key], tensor, names[0], name)


def _check_tensor(key: str, first: Tensor, other: Tensor, first_name: str, other_name: str) -> None:
    if first.shape != other.shape:
        raise ValueError(f"{other_name}: tensor {key!r} has shape {list(other.shape)}, but {list(first.shape)} in {first_name}")
    if first.is_floating_point() != other.is_floating_point():
        raise ValueError(f"{other_name}: tensor {key!r} is {other.dtype}, but {first.dtype} in {first_name}")
    # float8, int8 and packed 4-bit weights stand for other numbers than they hold: their mean means nothing.
    if first.is_floating_point() and min(first.element_size(), other.element_size()) < 2:
        raise ValueError(f"{other_name}: tensor {key!r} is quantised ({other.dtype}); dequantise the model first")
    if not first.is_floating_point() and not torch.equal(first, other):
        raise ValueError(f"{other_name}: integer tensor {key!r} differs from {first_name}; it cannot be averaged")


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
