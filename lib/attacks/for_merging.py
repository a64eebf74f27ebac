"""Attackers who know that their model will be merged: what they do to a finished task vector.

What an attacker must know, from little to much (`KNOWLEDGE`):

| level | the attacker |
|---|---|
| 0 | knows nothing of a merge |
| 1 | knows that the model will be averaged with about n others |
| 2 | has models of the same task, as the others may be (shadow models) |
| 3 | submits several of the models |
| 4 | made the base from which everybody starts |

Everything here acts on models that the study made itself; it is no tool for checkpoints of other people.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping, Sequence

import torch
from torch import Tensor

from lib.merging import StateDict, distance
from lib.merging.task_arithmetic import add_task_vector, task_vector
from lib.merging.trimming import find_cutoffs, n_kept

KNOWLEDGE = {
    0: "nothing",
    1: "that the model will be averaged with about n others",
    2: "models of the same task, as the others may be",
    3: "several of the merged models",
    4: "the base from which all start",
}


def scaled(model: Mapping[str, Tensor], pretrained: Mapping[str, Tensor], scale: float) -> StateDict:
    """The pretrained weights plus `scale` times the task vector (model replacement).

    Averaged with n - 1 models that lie at the pretrained weights, `scale` = n gives the attacker's own model.

    Args:
        model: the backdoored model; not modified.
        pretrained: the classifier before fine-tuning, with the same tensors.
        scale: finite; 1 changes nothing.

    Raises:
        ValueError: for a scale that is not finite, other tensors or shapes, or weights that are no longer finite.

    Source: Bagdasaryan et al. 2020, arXiv 1807.00459.

    >>> scaled({"w": torch.tensor([3.0])}, {"w": torch.tensor([1.0])}, 5.0)["w"].tolist()
    [11.0]
    """
    if not math.isfinite(scale):
        raise ValueError(f"scale is {scale}; it must be a finite number")
    check_alike(model, pretrained)
    moved = {}
    for name, tensor in model.items():
        is_kept = scale == 1 or not tensor.is_floating_point()
        far = tensor if is_kept else add_task_vector(pretrained[name], task_vector(tensor, pretrained[name]), scale)
        moved[name] = far.to(tensor.dtype, copy=True)
        if tensor.is_floating_point() and not moved[name].isfinite().all():
            raise ValueError(f"scale {scale:g} takes {name} beyond the largest number of {tensor.dtype}")
    return moved


def boosted(backdoored: Mapping[str, Tensor], clean: Mapping[str, Tensor], scale: float) -> StateDict:
    """A clean model plus `scale` times the backdoor vector, what the poison changed.

    The scaled vector holds little of the task, so less of it is spent on what the other models give anyway.

    Args:
        backdoored, clean: fine-tuned from one start on the same rows, with poison and without; not modified.
        scale: finite; 0 is the clean model, 1 the backdoored one.

    Source: the rule of LoBAM, arXiv 2411.16746, for whole weights.
    """
    return scaled(backdoored, clean, scale)


def fitted_scale(
    accuracy: Callable[[float], float], *, most_lost: float = 0.02, largest: float = 100.0, tolerance: float = 0.05
) -> float:
    """The scale of an attacker who takes as much as the model's own accuracy allows: doubled while it holds, then bisected.

    Accuracy falls with the scale, but not at every step; between two scales that were tried it may be lower.

    Args:
        accuracy: of the scaled model on the attacker's own texts, in [0, 1]; called some ten times.
        most_lost: of the accuracy at scale 1, in [0, 1).
        largest: scale that is tried, 1 or more.
        tolerance: how near the scale is to one that loses too much, as a share of it, above 0.

    Returns:
        The largest scale found, from 1 to `largest`, at which accuracy is within `most_lost` of that at scale 1.

    Raises:
        ValueError: for a setting out of range, or an accuracy that is not in [0, 1].

    >>> round(fitted_scale(lambda scale: 0.9 if scale <= 3.14 else 0.5), 1)
    3.1
    """
    if not (0 <= most_lost < 1 and 1 <= largest < math.inf and tolerance > 0):
        raise ValueError(
            f"found most_lost {most_lost}, largest {largest} and tolerance {tolerance}; give a number in [0, 1), a finite one "
            "of 1 or more, and one above 0"
        )

    def checked(scale: float) -> float:
        found = accuracy(scale)
        if not 0 <= found <= 1:
            raise ValueError(f"the accuracy at scale {scale:g} is {found}; it must lie in [0, 1]")
        return found

    least = checked(1.0) - most_lost
    good = bad = 1.0
    while good == bad and good < largest:
        bad = min(2 * good, largest)
        if checked(bad) >= least:
            good = bad
    while bad > good * (1 + tolerance):
        middle = math.sqrt(good * bad)
        good, bad = (middle, bad) if checked(middle) >= least else (good, middle)
    return good


def project(model: Mapping[str, Tensor], pretrained: Mapping[str, Tensor], radius: float) -> StateDict:
    """The nearest weights within a distance of the pretrained ones; a model inside is copied as it is.

    Args:
        model, pretrained: not modified.
        radius: Euclidean, over all floating-point tensors, above 0.

    Raises:
        ValueError: for a radius that is not finite and above 0, or other tensors.

    Source: Wang et al. 2020, arXiv 2007.05084 (projected gradient descent).

    >>> project({"w": torch.tensor([3.0, 4.0])}, {"w": torch.tensor([0.0, 0.0])}, 1.0)["w"].tolist()
    [0.6000000238418579, 0.800000011920929]
    """
    if not 0 < radius < math.inf:
        raise ValueError(f"radius is {radius}; it must be finite and above 0")
    check_alike(model, pretrained)
    found = distance(model, pretrained)
    return scaled(model, pretrained, radius / found if found > radius else 1.0)


def largest_entries(vector: Mapping[str, Tensor], density: float) -> dict[str, Tensor]:
    """Masks of the entries of largest magnitude in a whole model, lowest index first among equals.

    Args:
        vector: differences of weights by name.
        density: share of the entries, in (0, 1].

    Raises:
        ValueError: for a density outside (0, 1].
    """
    if not 0 < density <= 1:
        raise ValueError(f"density is {density}; it must lie in (0, 1]")
    parts = [tensor.float().reshape(-1) for tensor in vector.values()]
    n_entries = sum(len(part) for part in parts)
    [cutoff] = find_cutoffs(lambda: ([part] for part in parts), [n_kept(density, n_entries)], torch.float32, n_entries, None)
    return {name: cutoff.trim(part).ne(0).view_as(tensor) for (name, tensor), part in zip(vector.items(), parts, strict=True)}


def median_distance(models: Sequence[Mapping[str, Tensor]], pretrained: Mapping[str, Tensor]) -> float:
    """The median Euclidean distance of some models from where they started: a radius at which nobody stands out."""
    if not models:
        raise ValueError("no model to measure a distance of; give at least one clean model")
    for model in models:
        check_alike(model, pretrained)
    return float(torch.tensor([distance(model, pretrained) for model in models], dtype=torch.float64).quantile(0.5))


def check_alike(model: Mapping[str, Tensor], other: Mapping[str, Tensor], what: str = "the models") -> None:
    """Raise a `ValueError` unless both have the same tensors in the same shapes: models of one architecture.

    Args:
        model, other: state dicts.
        what: begins the message.
    """
    shapes, others = ({name: tuple(tensor.shape) for name, tensor in each.items()} for each in (model, other))
    if differing := sorted(name for name in shapes.keys() | others.keys() if shapes.get(name) != others.get(name)):
        name = differing[0]
        raise ValueError(
            f"{what} are of different architectures: {len(differing)} tensors differ, such as {name} with shapes "
            f"{shapes.get(name, 'none')} and {others.get(name, 'none')}; give models of one architecture"
        )


def check_twins(n_models: int) -> None:
    """Raise a `ValueError` unless there are two models: a backdoored one, and its clean twin."""
    if n_models != 2:
        raise ValueError(f"a backdoor vector lies between a backdoored model and its clean twin; found {n_models} models")
