"""Merge methods by name: pure functions on tensors, `MERGE_METHODS[name](tensors, ...) -> tensor`."""

from __future__ import annotations

from collections.abc import Callable

from torch import Tensor

from lib.merging.averaging import check_weights, weight_average
from lib.merging.state_dicts import StateDict, check_mergeable, distance, merge_state_dicts

MERGE_METHODS: dict[str, Callable[..., Tensor]] = {"weight_average": weight_average}

__all__ = [
    "MERGE_METHODS",
    "StateDict",
    "check_mergeable",
    "check_weights",
    "distance",
    "get_merge_method",
    "merge_state_dicts",
    "weight_average",
]


def get_merge_method(name: str) -> Callable[..., Tensor]:
    """The merge method of a name, or a `ValueError` that lists the known ones."""
    if name not in MERGE_METHODS:
        raise ValueError(f"unknown merge method {name!r}; choose from {sorted(MERGE_METHODS)}")
    return MERGE_METHODS[name]
