"""Shapley values: a fair way to share a sum among parts that act together."""

from __future__ import annotations

from math import comb

import numpy as np
from numpy.typing import ArrayLike, NDArray

MAX_PARTS = 8  # 2^8 = 256 models


def all_subsets(n_parts: int) -> NDArray[np.bool_]:
    """Every subset of some parts, shape (2^n_parts, n_parts); row i has the parts whose bits are set in i.

    Raises:
        ValueError: for no part, or more than `MAX_PARTS`.

    >>> all_subsets(2).astype(int).tolist()
    [[0, 0], [1, 0], [0, 1], [1, 1]]
    """
    if not 1 <= n_parts <= MAX_PARTS:
        raise ValueError(f"{n_parts} parts; exact Shapley values need 1 to {MAX_PARTS}")
    return (np.arange(2**n_parts)[:, None] >> np.arange(n_parts)) & 1 == 1


def shapley_values(values: ArrayLike) -> NDArray[np.float64]:
    """What each part adds, averaged over all orders in which the parts can join; the sum is values[-1] - values[0].

    Args:
        values: of every subset in the order of `all_subsets`, shape (2^n_parts,).

    Returns:
        Shape (n_parts,).

    Source: Shapley 1953, "A value for n-person games".

    >>> shapley_values([0.0, 1.0, 2.0, 3.0]).tolist()
    [1.0, 2.0]
    """
    known = np.asarray(values, dtype=float)
    n_parts = len(known).bit_length() - 1
    if known.ndim != 1 or len(known) != 2**n_parts or n_parts < 1:
        raise ValueError(f"values have shape {known.shape}; one for each of the 2^n subsets of n parts is wanted")
    subsets = all_subsets(n_parts)
    sizes, numbers = subsets.sum(axis=1), np.arange(len(known))
    found = np.zeros(n_parts)
    for part in range(n_parts):
        without = numbers[~subsets[:, part]]
        weights = np.array([1 / (n_parts * comb(n_parts - 1, size)) for size in sizes[without]])
        found[part] = weights @ (known[without | (1 << part)] - known[without])
    return found
