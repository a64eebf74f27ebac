"""DARE and DELLA: drop entries of the task vectors at random and rescale the rest, so that the expectation stays."""

from __future__ import annotations

import hashlib
from collections.abc import Sequence

import torch
from torch import Tensor

from lib.merging.averaging import check_free_weights, weighted_sum
from lib.merging.task_arithmetic import add_task_vector, task_vector
from lib.merging.ties import merge_agreeing

COMBINE = ("linear", "ties")


def dare(
    tensors: Sequence[Tensor],
    *,
    pretrained: Tensor,
    weights: Sequence[float] | None = None,
    density: float = 0.5,
    merge_coefficient: float = 1.0,
    combine: str = "linear",
    generators: Sequence[torch.Generator] | None = None,
    keep_masks: Sequence[Tensor] | None = None,
) -> Tensor:
    """Keep each entry of a task vector with probability `density`, divide it by `density`, then combine the models.

    The expectation of the result is that of the undropped vectors; the variance of an entry is
    (1 - density) / density times its square.

    Args:
        tensors: one tensor, or the next part of it, of each fine-tuned model; not modified.
        pretrained: the same tensor before fine-tuning.
        weights: of the task vectors, used as they are; default 1 each.
        density: share of entries kept, in (0, 1]; the paper's p is the drop rate, 1 - density.
        merge_coefficient: scale of the merged task vector.
        combine: "linear", the weighted sum; or "ties", elect signs and average what agrees, without trimming.
        generators: sources of the masks, one per model; default: those of seed 0 for an unnamed tensor.
        keep_masks: the masks themselves, instead of drawn ones.

    Source: Yu et al. 2024, arXiv 2311.03099. mergekit rescales so that each tensor keeps its l1 norm instead.
    """
    if keep_masks is None:
        generators = generators or mask_generators(0, len(tensors), "")
        keep_masks = [
            draw_mask(tensor.shape, density, generator) for tensor, generator in zip(tensors, generators, strict=True)
        ]
    vectors = [
        drop_and_rescale(task_vector(tensor, pretrained), mask, density)
        for tensor, mask in zip(tensors, keep_masks, strict=True)
    ]
    return add_task_vector(pretrained, combined(vectors, weights, combine), merge_coefficient)


def della(
    tensors: Sequence[Tensor],
    *,
    pretrained: Tensor,
    weights: Sequence[float] | None = None,
    density: float = 0.7,
    epsilon: float = 0.07,
    merge_coefficient: float = 1.1,
    combine: str = "ties",
    generators: Sequence[torch.Generator] | None = None,
    keep_masks: Sequence[Tensor] | None = None,
) -> Tensor:
    """DARE with a keep probability that grows with the rank of the magnitude in its row; then elect signs and average.

    Args:
        tensors: one tensor, or some rows of it, of each fine-tuned model; not modified.
        pretrained: the same tensor before fine-tuning.
        weights: of the task vectors, used as they are; default 1 each.
        density: mean share of entries kept.
        epsilon: the smallest entry of a row is kept with `density - epsilon`, the largest with `density + epsilon`.
        merge_coefficient: scale of the merged task vector.
        combine: "ties" or "linear".
        generators, keep_masks: as for `dare`.

    Source: Deep et al. 2024, arXiv 2406.11617. Kept entries are divided by their own probability, as in the paper; mergekit
    rescales by the l1 norm of the tensor.
    """
    generators = generators or mask_generators(0, len(tensors), "")
    vectors = []
    for i, (tensor, generator) in enumerate(zip(tensors, generators, strict=True)):
        vector = task_vector(tensor, pretrained)
        probability = keep_probability(vector, density, epsilon)
        mask = keep_masks[i] if keep_masks is not None else draw_mask(vector.shape, probability, generator)
        vectors.append(drop_and_rescale(vector, mask, probability))
    return add_task_vector(pretrained, combined(vectors, weights, combine), merge_coefficient)


def drop_and_rescale(vector: Tensor, keep: Tensor, probability: Tensor | float) -> Tensor:
    """The kept entries divided by the probability of being kept, 0 elsewhere."""
    return vector * keep.to(vector.dtype) / probability


def keep_probability(vector: Tensor, density: float, epsilon: float) -> Tensor:
    """DELLA's probabilities: linear in the rank of |entry| within its row (last axis); `density` in rows of one entry.

    >>> keep_probability(torch.tensor([0.1, -3.0, 2.0]), density=0.5, epsilon=0.1)
    tensor([0.4000, 0.6000, 0.5000])
    """
    n = vector.shape[-1] if vector.ndim else 1
    if n == 1:
        return torch.full_like(vector, density)
    ranks = vector.abs().argsort(dim=-1, stable=True).argsort(dim=-1, stable=True).to(vector.dtype)
    return density - epsilon + 2 * epsilon * ranks / (n - 1)


def combined(vectors: Sequence[Tensor], weights: Sequence[float] | None, combine: str) -> Tensor:
    """The weighted sum of task vectors, or the average of what agrees with the elected signs."""
    if combine == "linear":
        return weighted_sum(vectors, check_free_weights(weights, len(vectors)))
    return merge_agreeing(vectors, weights)


def draw_mask(shape: Sequence[int], probability: Tensor | float, generator: torch.Generator) -> Tensor:
    """A random boolean mask. Drawn part by part it is the same as drawn at once, so files and memory give one result."""
    return torch.rand(tuple(shape), generator=generator) < probability


def mask_generators(seed: int, n_models: int, name: str) -> list[torch.Generator]:
    """One generator per model for the tensor `name`, which depends neither on other tensors nor on other models."""
    digests = [hashlib.sha256(f"{seed}:{i}:{name}".encode()).digest() for i in range(n_models)]
    return [torch.Generator().manual_seed(int.from_bytes(digest[:8], "little") >> 1) for digest in digests]


def check_dropping(density: float = 0.5, epsilon: float = 0.0, combine: str = "linear") -> None:
    """Raise a `ValueError` for a density outside (0, 1], a probability outside (0, 1), or an unknown way to combine."""
    check_density(density)
    if epsilon and not 0 < density - epsilon <= density + epsilon < 1:
        raise ValueError(f"density {density} with epsilon {epsilon} leaves (0, 1): probabilities must lie inside")
    if combine not in COMBINE:
        raise ValueError(f"unknown combine {combine!r}; choose from {list(COMBINE)}")


def check_density(density: float = 0.5) -> None:
    """Raise a `ValueError` unless the density lies in (0, 1]."""
    if not 0 < density <= 1:
        raise ValueError(f"density is {density}; it must lie in (0, 1]")
