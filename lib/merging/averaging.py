"""Averages of weights: one tensor of each model in, one tensor out."""

from __future__ import annotations

import math
from collections.abc import Sequence

import torch
from torch import Tensor

SUM_TOLERANCE = 1e-6


def weight_average(
    tensors: Sequence[Tensor],
    *,
    weights: Sequence[float] | None = None,
    extrapolate: bool = False,
) -> Tensor:
    """Weighted mean of the models' values of one tensor (WAG; model soups, Wortsman et al. 2022, arXiv 2203.05482).

    Accumulates in float32 (float64 stays float64) in the order given, and rounds once to the first tensor's dtype.

    Args:
        tensors: the same tensor of each model, equal shapes; not modified.
        weights: averaging weights, one per model, summing to 1; default 1/n each.
        extrapolate: allow weights outside [0, 1].

    Raises:
        ValueError: for no tensor, or weights of another number, not finite, outside [0, 1], or not summing to 1.

    Source: Arora et al. 2024; their `wag.py` is uniform only and returns float32 whatever the input.

    >>> weight_average([torch.tensor([0.0, 2.0]), torch.tensor([4.0, 4.0])], weights=[0.75, 0.25])
    tensor([1.0000, 2.5000])
    """
    return weighted_sum(tensors, check_weights(weights, len(tensors), extrapolate)).to(tensors[0].dtype)


def weighted_sum(tensors: Sequence[Tensor], weights: Sequence[float]) -> Tensor:
    """Sum of the tensors times their weights, in float32 or wider, in the order given."""
    total = widened(tensors[0]) * weights[0]
    for tensor, weight in zip(tensors[1:], weights[1:], strict=True):
        total.add_(tensor.to(total.dtype), alpha=weight)
    return total


def widened(tensor: Tensor) -> Tensor:
    """The tensor in float32, or in float64 if it is: half precision is too coarse for sums and differences of weights."""
    return tensor.to(torch.promote_types(tensor.dtype, torch.float32))


def check_weights(weights: Sequence[float] | None, n_models: int, extrapolate: bool = False) -> list[float]:
    """Averaging weights as a list of one finite number per model that sum to 1; nothing is renormalised silently."""
    if weights is None and n_models:
        return [1 / n_models] * n_models
    checked = check_free_weights(weights, n_models)
    if abs(sum(checked) - 1) > SUM_TOLERANCE:
        raise ValueError(f"weights {checked} sum to {sum(checked):.6g}; they must sum to 1")
    if not extrapolate and not all(0 <= weight <= 1 for weight in checked):
        raise ValueError(f"weights are {checked}; outside [0, 1] only with extrapolate=True")
    return checked


def check_free_weights(weights: Sequence[float] | None, n_models: int) -> list[float]:
    """Weights of task vectors: one finite number per model, used as they are; default 1 each, a plain sum."""
    if n_models == 0:
        raise ValueError("no model to merge; give at least one")
    checked = [1.0] * n_models if weights is None else [float(weight) for weight in weights]
    if len(checked) != n_models:
        raise ValueError(f"{len(checked)} weights for {n_models} models; give one per model")
    if not all(math.isfinite(weight) for weight in checked):
        raise ValueError(f"weights are {checked}; every weight must be finite")
    return checked
