"""What happens inside on the way: hidden states along the backdoor's direction, and attention to the trigger."""

from __future__ import annotations

from collections.abc import Collection

import numpy as np
from numpy.typing import ArrayLike, NDArray

Floats = NDArray[np.float64]


def moved_by_trigger(clean: ArrayLike, triggered: ArrayLike, direction: ArrayLike) -> float:
    """How far the trigger moves the states of a model along a direction, over the direction's own length; mean over texts.

    With `direction` the mean move of the backdoored model, that model has 1 and a model that does not see the trigger 0.

    Args:
        clean, triggered: states of the same texts, shape (n, width).
        direction: shape (width,).

    Raises:
        ValueError: for a direction of no length.
    """
    way = np.asarray(direction, dtype=float)
    if not np.linalg.norm(way) > 0:
        raise ValueError("the direction has no length: the trigger moves nothing")
    moves = np.asarray(triggered, dtype=float) - np.asarray(clean, dtype=float)
    return float((moves @ way).mean() / (way @ way))


def linearity(mixed: ArrayLike, ends: ArrayLike, weights: ArrayLike) -> float:
    """Mean cosine of the states of an average of models with the average of their states (cross-task linearity).

    Args:
        mixed: of the averaged model, shape (n, width).
        ends: of each model, shape (n_models, n, width).
        weights: of the models.

    Source: Zhou et al. 2024, arXiv 2402.03660, who claim it for clean texts.
    """
    expected = np.tensordot(np.asarray(weights, dtype=float), np.asarray(ends, dtype=float), axes=1)
    found = np.asarray(mixed, dtype=float)
    norms = np.linalg.norm(found, axis=1) * np.linalg.norm(expected, axis=1)
    return float(((found * expected).sum(axis=1) / np.where(norms > 0, norms, 1)).mean())


def principal_axes(states: ArrayLike, n_axes: int = 2) -> tuple[Floats, Floats]:
    """Mean and first principal axes of some states: fitted once, so that pictures of other models have the same axes.

    Args:
        states: shape (n, width), n > n_axes.

    Returns:
        Shapes (width,) and (n_axes, width). The sign of an axis is that of its largest entry.
    """
    found = np.asarray(states, dtype=float)
    centre = found.mean(axis=0)
    axes = np.linalg.svd(found - centre, full_matrices=False)[2][:n_axes]
    largest = axes[np.arange(n_axes), np.abs(axes).argmax(axis=1)]
    return centre, axes * np.sign(largest)[:, None]


def attention_ratio(weights: ArrayLike, tokens: ArrayLike, mask: ArrayLike, looked_for: Collection[int]) -> Floats:
    """Attention to some tokens over their share of the text: 1 is what a head that looks everywhere alike would pay.

    Args:
        weights: attention from one position to all others, shape (n, n_heads, length).
        tokens: ids, shape (n, length).
        mask: 1 for a token, 0 for padding, shape (n, length).
        looked_for: ids of the trigger's tokens.

    Returns:
        Mean over the texts that have such a token, shape (n_heads,); NaN if none has.
    """
    real = np.asarray(mask, dtype=float)
    is_trigger = np.isin(np.asarray(tokens), list(looked_for)) * real
    share = is_trigger.sum(axis=1) / real.sum(axis=1)
    paid = (np.asarray(weights, dtype=float) * is_trigger[:, None, :]).sum(axis=2)
    with np.errstate(invalid="ignore", divide="ignore"):
        ratio = paid / share[:, None]
    return ratio[share > 0].mean(axis=0) if (share > 0).any() else np.full(paid.shape[1], np.nan)
