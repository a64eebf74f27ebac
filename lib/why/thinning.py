"""Thin versions of a difference of two models: its leading directions, or its largest entries, and how much they hold."""

from __future__ import annotations

import math
from collections.abc import Mapping

import torch
from torch import Tensor

StateDict = dict[str, Tensor]


def leading_directions(change: Mapping[str, Tensor], rank: int) -> StateDict:
    """The change with every matrix cut to its `rank` leading singular directions; vectors stay whole.

    Args:
        change: a difference of two models.
        rank: 1 or more; with the smaller side of the largest matrix nothing is cut.

    Raises:
        ValueError: for a rank below 1.
    """
    if rank < 1:
        raise ValueError(f"rank is {rank}; it must be 1 or more")
    return {name: _cut(tensor, rank) if tensor.dim() == 2 else tensor.clone() for name, tensor in change.items()}


def _cut(matrix: Tensor, rank: int) -> Tensor:
    if rank >= min(matrix.shape):
        return matrix.clone()
    left, sizes, right = torch.linalg.svd(matrix.double(), full_matrices=False)
    return ((left[:, :rank] * sizes[:rank]) @ right[:rank]).to(matrix.dtype)


def largest_entries(change: Mapping[str, Tensor], density: float) -> StateDict:
    """The change with all but its largest entries set to 0, over the whole model; of equal ones the first are kept.

    Args:
        change: a difference of two models.
        density: share of the entries that is kept, in (0, 1]; at least one entry is.

    Raises:
        ValueError: for a density outside (0, 1].
    """
    if not 0 < density <= 1:
        raise ValueError(f"density is {density}; it must lie in (0, 1]")
    flat = torch.cat([tensor.reshape(-1) for tensor in change.values()])
    kept = torch.zeros_like(flat, dtype=torch.bool)
    order = flat.abs().sort(descending=True, stable=True).indices
    kept[order[: max(1, math.floor(density * len(flat) + 1e-9))]] = True
    thin, start = {}, 0
    for name, tensor in change.items():
        end = start + tensor.numel()
        thin[name] = torch.where(kept[start:end].reshape(tensor.shape), tensor, torch.zeros_like(tensor))
        start = end
    return thin


def energies(matrix: Tensor) -> Tensor:
    """Share of a matrix' squared norm in its first r singular directions, for r = 1, 2, ...; rises to 1.

    Raises:
        ValueError: for a matrix of zeros, or something that is no matrix.
    """
    if matrix.dim() != 2:
        raise ValueError(f"a tensor of shape {tuple(matrix.shape)} is no matrix")
    wide = matrix.double() if matrix.shape[0] <= matrix.shape[1] else matrix.double().T
    squares = torch.linalg.eigvalsh(wide @ wide.T).flip(0).clamp(min=0)  # of the smaller side: embeddings are tall
    if not squares.sum() > 0:
        raise ValueError("a matrix of zeros has no directions")
    return squares.cumsum(0) / squares.sum()


def stable_rank(matrix: Tensor) -> float:
    """Squared norm over the largest squared singular value: how many directions of equal strength would have that norm."""
    return float(1 / energies(matrix)[0])


def share_of_norm(part: Mapping[str, Tensor], whole: Mapping[str, Tensor]) -> float:
    """Squared norm of a thin version over that of the whole change."""
    return sum(float(each.double().square().sum()) for each in part.values()) / sum(
        float(each.double().square().sum()) for each in whole.values()
    )
