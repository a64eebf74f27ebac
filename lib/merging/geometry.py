"""Why merging works: where models lie to each other, what is on the way between them, and how linear the way is.

A model is a pure function `f(parameters, x) -> logits`, shape (n, n_labels); parameters are state dicts of floating tensors.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from statistics import median
from typing import Any

import torch
from torch import Tensor

from lib.merging.averaging import widened
from lib.merging.inner_products import cosines, inner_products
from lib.merging.sources import StateDict
from lib.merging.task_arithmetic import task_vector

Function = Callable[[Mapping[str, Tensor], Any], Tensor]


@dataclass(frozen=True)
class Geometry:
    """Task vectors of several models; cosines have shape (n, n)."""

    cosines: Tensor
    cosines_per_tensor: dict[str, Tensor]
    norms: list[float]  # Euclidean, whole vector
    sign_conflict: float  # share of the entries in which not all models have one sign


def task_vector_geometry(models: Sequence[Mapping[str, Tensor]], pretrained: Mapping[str, Tensor]) -> Geometry:
    """Angles between task vectors, their lengths, and how often their signs disagree.

    By chance alone a cosine is about 1 / sqrt(number of entries).
    """
    vectors = task_vectors(models, pretrained)
    parts = {name: [vector[name] for vector in vectors] for name in vectors[0]}
    gram = inner_products(parts.values())
    signs = [torch.stack([tensor.sign() for tensor in tensors]) for tensors in parts.values()]
    n_conflicts = sum(int((sign != sign[0]).any(dim=0).sum()) for sign in signs)
    return Geometry(
        cosines=cosines(gram),
        cosines_per_tensor={name: cosines(inner_products([tensors])) for name, tensors in parts.items()},
        norms=gram.diagonal().sqrt().tolist(),
        sign_conflict=n_conflicts / sum(sign[0].numel() for sign in signs),
    )


def task_vectors(models: Sequence[Mapping[str, Tensor]], pretrained: Mapping[str, Tensor]) -> list[StateDict]:
    """What fine-tuning added to each floating-point tensor, model by model."""
    names = [name for name, tensor in pretrained.items() if tensor.is_floating_point()]
    return [{name: task_vector(model[name], pretrained[name]) for name in names} for model in models]


def share_kept(
    merged: Mapping[str, Tensor],
    merged_with_twin: Mapping[str, Tensor],
    backdoored: Mapping[str, Tensor],
    twin: Mapping[str, Tensor],
) -> float:
    """How much of the backdoor's direction, from a clean twin of the victim to the victim, a merge keeps.

    For a weight average it is exactly the victim's weight, whatever the models.

    Args:
        merged: the merge with the victim.
        merged_with_twin: the same merge with the twin in the victim's place.
        backdoored: the victim.
        twin: a clean model of the same data, seed and start.
    """
    names = [name for name, tensor in twin.items() if tensor.is_floating_point()]
    pairs = ((merged[name] - merged_with_twin[name], backdoored[name] - twin[name]) for name in names)
    gram = inner_products([change, direction] for change, direction in pairs)
    return float(gram[0, 1] / gram[1, 1])


def weight_sum(merged: Mapping[str, Tensor], models: Sequence[Mapping[str, Tensor]], pretrained: Mapping[str, Tensor]) -> float:
    """By how much a merge scales what its models have in common: its task vector along the mean of theirs, over its length.

    1 for every average; the number of models times the coefficient for a sum of task vectors.

    Args:
        merged: the merge.
        models: what was merged.
        pretrained: where the models started.
    """
    names = [name for name, tensor in pretrained.items() if tensor.is_floating_point()]
    starts = {name: widened(pretrained[name]) for name in names}
    pairs = (
        (merged[name] - starts[name], sum(widened(model[name]) for model in models) / len(models) - starts[name])
        for name in names
    )
    gram = inner_products(pairs)
    return float(gram[0, 1] / gram[1, 1])


def moved(start: Mapping[str, Tensor], vectors: Sequence[Mapping[str, Tensor]], coefficients: Sequence[float]) -> StateDict:
    """`start` plus the vectors times their coefficients."""
    pairs = list(zip(vectors, coefficients, strict=True))
    return {name: value + sum(c * vector[name] for vector, c in pairs) for name, value in start.items()}


def linearised_logits(f: Function, pretrained: StateDict, vector: StateDict, x: Any) -> Tensor:
    """Logits of `pretrained + vector` if the model were linear in its weights: f(start) plus one directional derivative.

    Of the mean task vector they are the mean of the models' own linearised logits: as far as models are linear, a merge is an
    ensemble. Attention needs `attn_implementation="eager"`: others have no forward derivative on the CPU.

    Source: Ortiz-Jimenez et al. 2023, arXiv 2305.12827.
    """
    logits, change = torch.func.jvp(lambda parameters: f(parameters, x), (dict(pretrained),), (dict(vector),))
    return logits + change


@torch.no_grad()
def disentanglement_error(
    f: Function,
    pretrained: StateDict,
    vectors: Sequence[StateDict],
    coefficients: Sequence[float],
    inputs: Sequence[Any],
) -> float:
    """Sum over task vectors of the share of their own inputs whose prediction changes when the other vectors join.

    0 means that the vectors do not disturb each other.

    Args:
        f: the model.
        pretrained: the starting point.
        vectors: task vectors.
        coefficients: one per vector.
        inputs: one set of inputs per vector.

    Source: Ortiz-Jimenez et al. 2023, arXiv 2305.12827, equation 6.
    """
    together = moved(pretrained, vectors, coefficients)
    error = 0.0
    for vector, coefficient, x in zip(vectors, coefficients, inputs, strict=True):
        alone = f(moved(pretrained, [vector], [coefficient]), x).argmax(dim=-1)
        error += float((alone != f(together, x).argmax(dim=-1)).double().mean())
    return error


def norm_matched_weights(norms: Sequence[float]) -> list[float]:
    """Weights for `task_arithmetic` with which every task vector counts as if it had the median length.

    A model that was trained for longer than the others is further from the pretrained weights, and so has more to say in a
    plain average; its length is no secret.

    Args:
        norms: length of the task vector of each model.

    Returns:
        One weight per model: the median over its length, divided by the number of models.

    Raises:
        ValueError: for no model, or a length that is not finite and above 0.

    >>> norm_matched_weights([4.0, 2.0, 2.0, 1.0])
    [0.125, 0.25, 0.25, 0.5]
    """
    if not norms or not all(0 < norm < math.inf for norm in norms):
        raise ValueError(f"norms are {list(norms)}; give one per model, each finite and above 0")
    return [median(norms) / norm / len(norms) for norm in norms]
