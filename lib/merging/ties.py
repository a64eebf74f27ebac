"""TIES: trim, elect a sign, average what agrees."""

from __future__ import annotations

from collections.abc import Sequence

import torch
from torch import Tensor

from lib.merging.averaging import check_free_weights
from lib.merging.task_arithmetic import add_task_vector, task_vector
from lib.merging.trimming import Cutoff, find_cutoffs, n_kept, trim


def ties(
    tensors: Sequence[Tensor],
    *,
    pretrained: Tensor,
    weights: Sequence[float] | None = None,
    density: float = 0.2,
    merge_coefficient: float = 1.0,
    cutoffs: Sequence[Cutoff] | None = None,
) -> Tensor:
    """Trim each task vector to its largest entries, elect a sign per entry, average the entries of that sign.

    Args:
        tensors: one tensor, or the next part of it, of each fine-tuned model; not modified.
        pretrained: the same tensor before fine-tuning.
        weights: of the task vectors, used as they are; default 1 each, the paper's rule.
        density: share of entries kept, in (0, 1].
        merge_coefficient: scale of the merged task vector.
        cutoffs: what trimming keeps, one per model; default: the `density` largest entries of these tensors.

    Source: Yadav et al. 2023, arXiv 2306.01708. Their code trims over the whole flattened model, keeps one entry more and all
    that equal the last; peft and mergekit trim per tensor. Exactly floor(density * n) here, lowest index first among equals.
    """
    vectors = [task_vector(tensor, pretrained) for tensor in tensors]
    if density < 1:
        if cutoffs is None:
            cutoffs = find_cutoffs(lambda: [vectors], [n_kept(density, pretrained.numel())] * len(vectors), vectors[0].dtype)
        vectors = [trim(vector, cutoff) for vector, cutoff in zip(vectors, cutoffs, strict=True)]
    return add_task_vector(pretrained, merge_agreeing(vectors, weights), merge_coefficient)


def merge_agreeing(vectors: Sequence[Tensor], weights: Sequence[float] | None = None) -> Tensor:
    """Elect a sign per entry and average the entries that have it: TIES after trimming, also the end of DARE and DELLA.

    Signs are elected after weighting, as in mergekit (peft elects before); equal weights give the paper's rule.
    """
    weighted = [vector * weight for vector, weight in zip(vectors, check_free_weights(weights, len(vectors)), strict=True)]
    return disjoint_mean(weighted, elect_sign(weighted), weights)


def elect_sign(vectors: Sequence[Tensor]) -> Tensor:
    """The sign of the sum, entry by entry; where it is exactly 0, +1 as in peft and mergekit.

    The paper's code takes the sign that most entries of the tensor elected there.

    >>> elect_sign([torch.tensor([2.0, -1.0, 1.0]), torch.tensor([-1.0, 0.0, -1.0])])
    tensor([ 1., -1.,  1.])
    """
    total = torch.zeros_like(vectors[0])
    for vector in vectors:
        total.add_(vector)
    return torch.copysign(torch.ones((), dtype=total.dtype), total)  # sums from +0 are never -0


def disjoint_mean(vectors: Sequence[Tensor], sign: Tensor, weights: Sequence[float] | None = None) -> Tensor:
    """Mean over the models whose entry has the elected sign; 0 where none has it. Zeros do not count.

    Args:
        vectors: trimmed task vectors, already times their weights.
        sign: +1 or -1 per entry.
        weights: the weights; the sum of the agreeing ones divides.

    >>> disjoint_mean([torch.tensor([2.0, -1.0]), torch.tensor([4.0, 3.0])], torch.tensor([1.0, 1.0]))
    tensor([3., 3.])
    """
    total, divisor = torch.zeros_like(sign), torch.zeros_like(sign)
    for vector, weight in zip(vectors, check_free_weights(weights, len(vectors)), strict=True):
        agreeing = (vector * sign).clamp_(min=0)  # 0 where the signs differ
        total.add_(agreeing)
        divisor.add_(agreeing.sign_(), alpha=abs(weight))
    return total.mul_(sign).div_(divisor.clamp_(min=torch.finfo(divisor.dtype).tiny))
