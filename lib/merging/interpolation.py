"""Interpolation with weights found from angles: SLERP between two models, Model Stock towards the pretrained one."""

from __future__ import annotations

import math
from collections.abc import Sequence

from torch import Tensor

from lib.merging.averaging import weighted_sum
from lib.merging.inner_products import cosines, inner_products
from lib.merging.task_arithmetic import add_task_vector, task_vector

ON = ("weights", "task_vectors")


def slerp(
    tensors: Sequence[Tensor],
    *,
    t: float = 0.5,
    dot_threshold: float = 0.9995,
    on: str = "weights",
    pretrained: Tensor | None = None,
    weights: Sequence[float] | None = None,
) -> Tensor:
    """Spherical linear interpolation from the first of two models (t = 0) to the second (t = 1).

    On weights, as it is commonly used, fine-tuned models have cosines near 1, so that it is linear to several digits.

    Args:
        tensors: one tensor of each of the two models; not modified.
        t: place on the way, in [0, 1].
        dot_threshold: vectors with a cosine beyond it, parallel or opposite, are interpolated linearly.
        on: "weights", or "task_vectors" where the angle is that of what fine-tuning added.
        pretrained: the same tensor before fine-tuning, for task vectors.
        weights: those found from the angle of a larger part of the model; default: from these tensors.

    Source: Shoemake 1985; thresholds as in mergekit.
    """
    vectors = tensors if pretrained is None or on == "weights" else [task_vector(tensor, pretrained) for tensor in tensors]
    total = weighted_sum(vectors, weights or slerp_weights(inner_products([vectors]), t, dot_threshold))
    return total if pretrained is None or on == "weights" else add_task_vector(pretrained, total, 1.0)


def model_stock(
    tensors: Sequence[Tensor], *, pretrained: Tensor, clip: bool = True, weights: Sequence[float] | None = None
) -> Tensor:
    """The point between the pretrained weights and the mean of the models that is nearest to where their spread centres.

    t times the mean plus 1 - t times the pretrained weights, t = n c / (1 + (n - 1) c) for n models whose task vectors have the
    mean cosine c. With c near 0, as for models of other data, t is near 0 and the merge returns to the pretrained weights.

    Args:
        tensors: one tensor of each fine-tuned model; not modified.
        pretrained: the same tensor before fine-tuning.
        clip: keep t in [0, 1]; obtuse angles make it negative, and it is singular at c = -1 / (n - 1).
        weights: those found from a larger part of the model; default: from these tensors.

    Source: Jang et al. 2024, arXiv 2403.19522, which assumes one common angle; cosines are averaged here, as in mergekit.
    """
    vectors = [task_vector(tensor, pretrained) for tensor in tensors]
    total = weighted_sum(vectors, weights or model_stock_weights(inner_products([vectors]), clip))
    return add_task_vector(pretrained, total, 1.0)


def slerp_weights(gram: Tensor, t: float = 0.5, dot_threshold: float = 0.9995) -> list[float]:
    """Weights of two models on the great circle between them, from their inner products; see `slerp`.

    >>> import torch
    >>> slerp_weights(torch.eye(2), t=0.5)
    [0.7071067811865475, 0.7071067811865475]
    """
    cosine = float(cosines(gram.double())[0, 1])
    if abs(cosine) > dot_threshold:
        return [1 - t, t]
    angle = math.acos(cosine)
    return [math.sin((1 - t) * angle) / math.sin(angle), math.sin(t * angle) / math.sin(angle)]


def model_stock_weights(gram: Tensor, clip: bool = True) -> list[float]:
    """Weights t / n of the task vectors, from their inner products; see `model_stock`."""
    n = len(gram)
    if n == 1:
        return [1.0]
    c = float((cosines(gram).sum() - cosines(gram).diagonal().sum()) / (n * (n - 1)))
    divisor = 1 + (n - 1) * c
    t = n * c / divisor if divisor else -math.inf
    return [(min(max(t, 0.0), 1.0) if clip else t) / n] * n


def check_slerp(n_models: int, has_pretrained: bool = False, t: float = 0.5, on: str = "weights") -> None:
    """Raise a `ValueError` unless there are two models, t lies in [0, 1], and task vectors come with `pretrained`."""
    if n_models != 2:
        raise ValueError(f"slerp takes 2 models, found {n_models}")
    if not 0 <= t <= 1:
        raise ValueError(f"t is {t}; it must lie in [0, 1]")
    if on not in ON:
        raise ValueError(f"unknown on {on!r}; choose from {list(ON)}")
    if on == "task_vectors" and not has_pretrained:
        raise ValueError("slerp on task_vectors needs the pretrained model")
