"""Fisher merging: an average in which each model's entries weigh as much as its predictions depend on them."""

from __future__ import annotations

import math
from collections.abc import Iterable, Sequence

import torch
from torch import Tensor

from lib.merging.averaging import check_weights, widened

FISHER_FLOOR = 1e-6


def fisher(
    tensors: Sequence[Tensor],
    *,
    fishers: Sequence[Tensor],
    weights: Sequence[float] | None = None,
    fisher_floor: float = FISHER_FLOOR,
    norms: Sequence[float] | None = None,
) -> Tensor:
    """Average the models entry by entry, weighted by their diagonal Fisher information.

    Args:
        tensors: one tensor of each model; not modified.
        fishers: diagonal Fisher estimates of the same entries, at or above 0 (`lib.merging.statistics`).
        weights: of the models beside their Fishers, summing to 1; default 1/n each.
        fisher_floor: smallest Fisher of any entry, of every model: where no model cares, it is a plain average.
        norms: divides each model's Fisher, usually by its l2 norm over the whole model; default 1 each. Without it an
            overconfident model, whose Fisher is small everywhere, loses everywhere.

    Source: Matena and Raffel 2022, arXiv 2111.09832. Their script floors the first model only (`favor_target_model`), so that
    entries no model cares about keep the first model's value: with a backdoored first model, its trigger.
    """
    weights = check_weights(weights, len(tensors))
    norms = [1.0] * len(tensors) if norms is None else norms
    total = divisor = torch.zeros_like(widened(tensors[0]))
    for tensor, estimate, weight, norm in zip(tensors, fishers, weights, norms, strict=True):
        importance = estimate.to(total.dtype).clamp(min=fisher_floor) * (weight / norm)
        total = total + importance * tensor.to(total.dtype)
        divisor = divisor + importance
    return total / divisor


def fisher_norms(parts: Iterable[Sequence[Tensor]]) -> list[float]:
    """The l2 norm of each model's Fisher over all parts; 1 where it is 0."""
    total: Tensor | None = None
    for fishers in parts:
        squares = torch.stack([estimate.double().square().sum() for estimate in fishers])
        total = squares if total is None else total + squares
    if total is None:
        raise ValueError("no Fisher to measure")
    return [math.sqrt(value) or 1.0 for value in total.tolist()]
