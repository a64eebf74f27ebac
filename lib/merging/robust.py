"""Robust averages of federated learning: when several of the models may be backdoored.

They protect whatever the majority agrees on, a shared backdoor included. No `pretrained` is needed: weights and task vectors
give the same result.
"""

from __future__ import annotations

import math
from collections.abc import Sequence

import torch
from torch import Tensor

from lib.merging.averaging import weighted_sum, widened
from lib.merging.inner_products import inner_products, squared_distances


def median(tensors: Sequence[Tensor]) -> Tensor:
    """The middle value of each entry; of an even number of models the mean of the two middle ones.

    Source: Yin et al. 2018, arXiv 1803.01498. `torch.median` would return the lower of the two.

    >>> median([torch.tensor([1.0]), torch.tensor([9.0]), torch.tensor([2.0]), torch.tensor([4.0])])
    tensor([3.])
    """
    n = len(tensors)
    return _middle_mean(tensors, (n - 1) // 2)


def trimmed_mean(tensors: Sequence[Tensor], *, n_byzantine: int = 1) -> Tensor:
    """The mean of each entry without its `n_byzantine` largest and smallest values.

    Source: Yin et al. 2018, arXiv 1803.01498.

    >>> trimmed_mean([torch.tensor([1.0]), torch.tensor([9.0]), torch.tensor([2.0]), torch.tensor([4.0])])
    tensor([3.])
    """
    check_trimmed_mean(len(tensors), n_byzantine)
    return _middle_mean(tensors, n_byzantine)


def _middle_mean(tensors: Sequence[Tensor], n_dropped: int) -> Tensor:
    ordered = torch.stack([widened(tensor) for tensor in tensors]).sort(dim=0).values
    return ordered[n_dropped : len(tensors) - n_dropped].mean(dim=0)


def krum(
    tensors: Sequence[Tensor], *, n_byzantine: int = 1, n_selected: int = 1, weights: Sequence[float] | None = None
) -> Tensor:
    """Krum: the one model whose nearest others are nearest; with `n_selected` above 1 the mean of the best (Multi-Krum).

    Krum returns one input unchanged: if that is backdoored, nothing is sanitised.

    Args:
        tensors: one tensor of each model; not modified.
        n_byzantine: how many models may be hostile, f; there must be 2 f + 3 or more.
        n_selected: how many of the best models are averaged, at most n - f.
        weights: those found from the whole model, as the rule is meant; default: from these tensors.

    Source: Blanchard et al. 2017, arXiv 1703.02757.
    """
    found = weights or krum_weights(inner_products([tensors], centred=True), n_byzantine, n_selected)
    return weighted_sum(tensors, found)


def geometric_median(
    tensors: Sequence[Tensor],
    *,
    eps: float = 1e-6,
    max_iterations: int = 1000,
    weights: Sequence[float] | None = None,
) -> Tensor:
    """The point with the smallest sum of distances to all models, by Weiszfeld's algorithm from the mean.

    Args:
        tensors: one tensor of each model; not modified.
        eps: floor of the distances.
        max_iterations: steps at most.
        weights: those found from the whole model, as the rule is meant; default: from these tensors.

    Source: RFA, Pillutla et al. 2022, arXiv 1912.13445.
    """
    found = weights or geometric_median_weights(inner_products([tensors], centred=True), eps, max_iterations)
    return weighted_sum(tensors, found)


def krum_scores(gram: Tensor, n_byzantine: int = 1) -> list[float]:
    """Krum's scores: the sum of squared distances of each model to its n - n_byzantine - 2 nearest others."""
    distances = squared_distances(gram)
    n_nearest = len(gram) - n_byzantine - 2
    others = distances + torch.diag(torch.full((len(gram),), math.inf, dtype=distances.dtype))
    return others.sort(dim=1).values[:, :n_nearest].sum(dim=1).tolist()


def krum_weights(gram: Tensor, n_byzantine: int = 1, n_selected: int = 1) -> list[float]:
    """Equal weights for the models with the `n_selected` best Krum scores, lowest index first among equals; 0 for others."""
    scores = krum_scores(gram, n_byzantine)
    selected = sorted(range(len(scores)), key=lambda i: (scores[i], i))[:n_selected]
    return [1 / n_selected if i in selected else 0.0 for i in range(len(scores))]


def geometric_median_weights(
    gram: Tensor, eps: float = 1e-6, max_iterations: int = 1000, tolerance: float = 1e-12
) -> list[float]:
    """Weights of the geometric median, from the inner products of the centred weights; see `geometric_median`.

    It stops when no weight changes by more than `tolerance`: steps cost nothing here, so that is strict.
    """
    n = len(gram)
    weights = torch.full((n,), 1 / n, dtype=torch.float64)
    for _ in range(max_iterations):
        towards = torch.eye(n, dtype=torch.float64) - weights  # row i: from the current point to model i
        distances = torch.einsum("ij,jk,ik->i", towards, gram, towards).clamp(min=0).sqrt().clamp(min=eps)
        updated = (1 / distances) / (1 / distances).sum()
        change = float((updated - weights).abs().max())
        weights = updated
        if change <= tolerance:
            break
    return weights.tolist()


def check_median(n_models: int) -> None:
    """Raise a `ValueError` for fewer than 3 models, of which the median is no more than the mean."""
    if n_models < 3:
        raise ValueError(f"a median takes 3 models or more, found {n_models}")


def check_trimmed_mean(n_models: int, n_byzantine: int = 1) -> None:
    """Raise a `ValueError` unless values are left after trimming."""
    if n_byzantine < 0 or n_models <= 2 * n_byzantine:
        raise ValueError(
            f"a trimmed mean with n_byzantine {n_byzantine} takes more than {2 * n_byzantine} models, found {n_models}"
        )


def check_krum(n_models: int, n_byzantine: int = 1, n_selected: int = 1) -> None:
    """Raise a `ValueError` unless n >= 2 f + 3 and 1 <= n_selected <= n - f, as Blanchard et al. prove it for."""
    if n_byzantine < 0 or n_models < 2 * n_byzantine + 3:
        raise ValueError(f"krum with n_byzantine {n_byzantine} takes {2 * n_byzantine + 3} models or more, found {n_models}")
    if not 1 <= n_selected <= n_models - n_byzantine:
        raise ValueError(f"n_selected is {n_selected}; it must lie in [1, {n_models - n_byzantine}]")
