"""Inner products, cosines and distances between models, summed over their parts in one pass.

SLERP, Model Stock, Krum and the geometric median are weighted sums whose weights follow from this n x n matrix alone.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence

import torch
from torch import Tensor

from lib.merging.averaging import widened

SMALL_NORM = 1e-8  # below it a vector has no direction


def inner_products(parts: Iterable[Sequence[Tensor]], centred: bool = False) -> Tensor:
    """The matrix of inner products between models, shape (n, n), in float64.

    Args:
        parts: parts of the models, one tensor per model in each.
        centred: of the deviations from the models' mean: distances between models are small against their lengths, and
            their squares would be lost in the rounding of the raw products.
    """
    total: Tensor | None = None
    for tensors in parts:
        stacked = torch.stack([widened(tensor).reshape(-1) for tensor in tensors])
        if centred:
            stacked = stacked - stacked.mean(dim=0)
        stacked = stacked.double()
        products = stacked @ stacked.T
        total = products if total is None else total + products
    if total is None:
        raise ValueError("no tensor to measure")
    return total


def squared_distances(gram: Tensor) -> Tensor:
    """Squared distances between the models of a matrix of inner products, shape (n, n); rounding below 0 is cut."""
    lengths = gram.diagonal()
    return (lengths[:, None] + lengths[None, :] - 2 * gram).clamp_(min=0)


def cosines(gram: Tensor) -> Tensor:
    """Cosines between the vectors of a matrix of inner products, shape (n, n); 0 with a vector of no length."""
    norms = gram.diagonal().clamp(min=0).sqrt()
    units = torch.where(norms < SMALL_NORM, 1.0, norms)
    return gram / units[:, None] / units[None, :]
