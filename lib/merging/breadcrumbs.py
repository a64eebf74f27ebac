"""Breadcrumbs: drop the largest and the small entries of each task vector, add up the middle."""

from __future__ import annotations

from collections.abc import Sequence

from torch import Tensor

from lib.merging.averaging import check_free_weights, weighted_sum
from lib.merging.dare import check_density
from lib.merging.task_arithmetic import add_task_vector, task_vector
from lib.merging.trimming import Cutoff, find_cutoffs, n_kept, trim


def breadcrumbs(
    tensors: Sequence[Tensor],
    *,
    pretrained: Tensor,
    weights: Sequence[float] | None = None,
    density: float = 0.15,
    gamma: float = 0.01,
    merge_coefficient: float = 0.3,
    cutoffs: Sequence[tuple[Cutoff, Cutoff]] | None = None,
) -> Tensor:
    """Drop the `gamma` largest entries of each task vector, keep the next `density`, drop the rest; then task arithmetic.

    Args:
        tensors: one tensor, or the next part of it, of each fine-tuned model; not modified.
        pretrained: the same tensor before fine-tuning.
        weights: of the task vectors, used as they are; default 1 each.
        density: share of entries kept, in (0, 1].
        gamma: share of the largest entries dropped, in [0, 1); outliers, in the paper's words.
        merge_coefficient: scale of the sum.
        cutoffs: per model the cutoffs of the largest `gamma` and of the largest `gamma + density`; default: of these tensors.

    Source: Davari and Belilovsky 2023, arXiv 2312.06795: ranks within a layer; their code ranks within a row.
    """
    vectors = [task_vector(tensor, pretrained) for tensor in tensors]
    if cutoffs is None:
        counts = band_counts(density, gamma, pretrained.numel())
        found = [find_cutoffs(lambda: [vectors], [k] * len(vectors), vectors[0].dtype) for k in counts]
        cutoffs = list(zip(*found, strict=True))
    vectors = [keep_band(vector, *pair) for vector, pair in zip(vectors, cutoffs, strict=True)]
    return add_task_vector(pretrained, weighted_sum(vectors, check_free_weights(weights, len(vectors))), merge_coefficient)


def keep_band(vector: Tensor, largest: Cutoff, kept: Cutoff) -> Tensor:
    """The entries that `kept` keeps and `largest` does not; 0 elsewhere."""
    return trim(vector, kept).sub_(trim(vector, largest))


def band_counts(density: float, gamma: float, n: int) -> tuple[int, int]:
    """How many of `n` entries are the largest, and how many are those and the kept ones together.

    >>> band_counts(density=0.5, gamma=0.25, n=12)
    (3, 9)
    """
    n_largest = n_kept(gamma, n)
    return n_largest, min(n, n_largest + n_kept(density, n))


def check_band(density: float = 0.15, gamma: float = 0.01) -> None:
    """Raise a `ValueError` for a density outside (0, 1] or a gamma outside [0, 1)."""
    check_density(density)
    if not 0 <= gamma < 1:
        raise ValueError(f"gamma is {gamma}; it must lie in [0, 1)")
