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
    weights = check_weights(weights, len(tensors), extrapolate)
    total = torch.zeros_like(tensors[0], dtype=torch.promote_types(tensors[0].dtype, torch.float32))
    for tensor, weight in zip(tensors, weights, strict=True):
        total.add_(tensor.to(total.dtype), alpha=weight)
    return total.to(tensors[0].dtype)


def check_weights(weights: Sequence[float] | None, n_models: int, extrapolate: bool = False) -> list[float]:
    """Averaging weights as a list of one finite number per model that sum to 1; nothing is renormalised silently."""
    if n_models == 0:
        raise ValueError("no model to merge; give at least one")
    if weights is None:
        return [1 / n_models] * n_models
    weights = [float(weight) for weight in weights]
    if len(weights) != n_models:
        raise ValueError(f"{len(weights)} weights for {n_models} models; give one per model")
    if not all(math.isfinite(weight) for weight in weights):
        raise ValueError(f"weights are {weights}; every weight must be finite")
    if abs(sum(weights) - 1) > SUM_TOLERANCE:
        raise ValueError(f"weights {weights} sum to {sum(weights):.6g}; they must sum to 1")
    if not extrapolate and not all(0 <= weight <= 1 for weight in weights):
        raise ValueError(f"weights are {weights}; outside [0, 1] only with extrapolate=True")
    return weights
