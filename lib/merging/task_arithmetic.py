"""Task vectors, what fine-tuning added to the pretrained weights, and their sum."""

from __future__ import annotations

from collections.abc import Sequence

from torch import Tensor

from lib.merging.averaging import check_free_weights, weighted_sum, widened


def task_vector(finetuned: Tensor, pretrained: Tensor) -> Tensor:
    """What fine-tuning added, in float32 or wider: bfloat16 steps are as large as typical changes of a weight."""
    return widened(finetuned) - pretrained.to(widened(finetuned).dtype)


def task_arithmetic(
    tensors: Sequence[Tensor],
    *,
    pretrained: Tensor,
    weights: Sequence[float] | None = None,
    merge_coefficient: float = 1.0,
) -> Tensor:
    """Pretrained weights plus `merge_coefficient` times the weighted *sum* of the task vectors.

    The paper sums plainly, so several models want a coefficient near 0.3; 1/n gives the weight average. A negative
    coefficient of one model takes its task away.

    Args:
        tensors: one tensor of each fine-tuned model; not modified.
        pretrained: the same tensor before fine-tuning.
        weights: of the task vectors, used as they are; default 1 each.
        merge_coefficient: scale of the sum.

    Source: Ilharco et al. 2023, arXiv 2212.04089.

    >>> import torch
    >>> task_arithmetic([torch.tensor([3.0]), torch.tensor([2.0])], pretrained=torch.tensor([1.0]), merge_coefficient=0.5)
    tensor([2.5000])
    """
    vectors = [task_vector(tensor, pretrained) for tensor in tensors]
    total = weighted_sum(vectors, check_free_weights(weights, len(tensors)))
    return add_task_vector(pretrained, total, merge_coefficient)


def add_task_vector(pretrained: Tensor, vector: Tensor, merge_coefficient: float) -> Tensor:
    """`pretrained + merge_coefficient * vector` in the vector's dtype."""
    return pretrained.to(vector.dtype).add(vector, alpha=merge_coefficient)
