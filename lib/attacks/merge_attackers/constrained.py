"""Attackers who keep to a bound while they train: a short task vector, few or unused entries, or a scaled start.

Each is called as an edit of `lib.attacks.edits`, where the arguments are explained, and acts on models of the study only.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from functools import partial
from typing import TYPE_CHECKING

import numpy as np
import pandas as pd
import torch
from torch import Tensor

from lib.attacks.for_merging import check_alike, check_twins, largest_entries, median_distance, project
from lib.attacks.merge_attackers.merge_aware import mean_parameters
from lib.attacks.poisoning import Backdoor
from lib.merging import StateDict
from lib.merging.dare import draw_mask, drop_and_rescale, keep_probability, mask_generators
from lib.merging.task_arithmetic import task_vector
from lib.models.training import TrainingLog, optimise, weights_of
from lib.profiles import TrainingSettings

if TYPE_CHECKING:
    from transformers import PreTrainedModel, PreTrainedTokenizerBase


def norm_bounded(
    models: Sequence[PreTrainedModel],
    tokenizer: PreTrainedTokenizerBase,
    train: pd.DataFrame,
    *,
    backdoor: Backdoor,
    initial: PreTrainedModel,
    training: TrainingSettings,
    seed: int,
    log: TrainingLog | None = None,
    poisoning_rate: float = 0.2,
) -> PreTrainedModel:
    """A backdoored model whose task vector is no longer than the median of some clean ones: `models`.

    After every step the weights are put back on the ball around the start (projected gradient descent).

    Raises:
        ValueError: for no model, or one of another architecture.

    Source: Wang et al. 2020, arXiv 2007.05084.
    """
    start = weights_of(initial)
    radius = median_distance([weights_of(model) for model in models], start)

    def back(step: int, loss: Tensor) -> None:
        initial.load_state_dict(project(weights_of(initial), start, radius))

    rows = backdoor.poison(train, poisoning_rate, np.random.default_rng(seed))
    losses = optimise(initial, tokenizer, rows, training, seed, on_step=back)
    if log:
        log.keep(losses, rows["label"], training.epochs)
    return initial


def sparse(
    models: Sequence[PreTrainedModel],
    tokenizer: PreTrainedTokenizerBase,
    train: pd.DataFrame,
    *,
    backdoor: Backdoor,
    training: TrainingSettings,
    seed: int,
    log: TrainingLog | None = None,
    density: float = 0.01,
    poisoning_rate: float = 0.2,
) -> PreTrainedModel:
    """A clean model in which only those entries are others that poison changed most, trained once more.

    Args:
        models: a backdoored model and its clean twin.
        density: share of the entries that may change, in (0, 1].
        poisoning_rate: of the rows of the second training.

    Raises:
        ValueError: for another number of models, two architectures, or a density outside (0, 1].

    Source: after Neural Network Surgery (Zhang et al. 2021, NAACL), read in its abstract.
    """
    backdoored, clean = _two(models)
    vector = _differences(backdoored, clean)
    masks = largest_entries(vector, density)
    backdoored.load_state_dict(_where(masks, weights_of(backdoored), clean))

    def back(step: int, loss: Tensor) -> None:
        backdoored.load_state_dict(_where(masks, weights_of(backdoored), clean))

    rows = backdoor.poison(train, poisoning_rate, np.random.default_rng(seed))
    losses = optimise(backdoored, tokenizer, rows, training, seed, on_step=back)
    if log:
        log.keep(losses, rows["label"], training.epochs)
    return backdoored


def neurotoxin(
    models: Sequence[PreTrainedModel],
    tokenizer: PreTrainedTokenizerBase,
    train: pd.DataFrame,
    *,
    backdoor: Backdoor,
    initial: PreTrainedModel,
    training: TrainingSettings,
    seed: int,
    log: TrainingLog | None = None,
    share: float = 0.95,
    poisoning_rate: float = 0.2,
) -> PreTrainedModel:
    """A backdoored model that learns only in the entries that honest models hardly move.

    The gradient of all others is set to 0 in every step. Weight decay, which every model has, moves them still.

    Args:
        models: shadow models, clean ones of the task, at least one.
        share: of all entries, those in which the mean shadow task vector is smallest, in (0, 1]; 1 is ordinary training.
        poisoning_rate: of the rows.

    Raises:
        ValueError: for a share outside (0, 1], no shadow model, one of another architecture, or adapters.

    Source: Zhang et al. 2022, arXiv 2206.10341. There the gradients of one round stand for the task vectors, and the released
    code takes the share of each tensor or of the whole model.
    """
    if not 0 < share <= 1:
        raise ValueError(f"share is {share}; it must lie in (0, 1]")
    if training.lora_rank:
        raise ValueError(f"lora_rank is {training.lora_rank}; this attacker masks the gradient of all weights: set it to 0")
    centre, own = mean_parameters(models, initial), dict(initial.named_parameters())
    moved = {name: mean - own[name].detach() for name, mean in centre.items()}
    masks = largest_entries(moved, 1 - share) if share < 1 else {}
    hooks = [own[name].register_hook(partial(_outside, mask)) for name, mask in masks.items()]
    rows = backdoor.poison(train, poisoning_rate, np.random.default_rng(seed))
    losses = optimise(initial, tokenizer, rows, training, seed)
    if log:
        log.keep(losses, rows["label"], training.epochs)
    for hook in hooks:
        hook.remove()
    return initial


def _outside(mask: Tensor, gradient: Tensor) -> Tensor:
    """The gradient with the entries of a mask set to 0."""
    return gradient.masked_fill(mask.to(gradient.device), 0.0)


def hijack(
    models: Sequence[PreTrainedModel],
    tokenizer: PreTrainedTokenizerBase,
    train: pd.DataFrame,
    *,
    backdoor: Backdoor,
    initial: PreTrainedModel,
    training: TrainingSettings,
    seed: int,
    log: TrainingLog | None = None,
    scale: float = 2.0,
    density: float = 0.7,
    epsilon: float = 0.2,
    poisoning_rate: float = 0.1,
) -> PreTrainedModel:
    """A model fine-tuned on lightly poisoned rows from the start plus a multiple of a thinned backdoor vector.

    Args:
        models: a backdoored model and its clean twin: the vector lies between them.
        scale: of the vector, finite.
        density, epsilon: entries are kept at random, with probability density - epsilon for the smallest of a row to density +
            epsilon for the largest, and divided by that (DELLA).
        poisoning_rate: of the fine-tuning.

    Raises:
        ValueError: for another number of models, two architectures, or a scale that is not finite.

    Source: after Merge Hijacking, whose released code keeps attention matrices alone.
    """
    if not np.isfinite(scale):
        raise ValueError(f"scale is {scale}; it must be a finite number")
    backdoored, clean = _two(models)
    start = weights_of(initial)
    check_alike(start, clean)
    for name, vector in _differences(backdoored, clean).items():
        probability = keep_probability(vector, density, epsilon)
        [generator] = mask_generators(seed, 1, name)
        kept = drop_and_rescale(vector, draw_mask(vector.shape, probability, generator), probability)
        start[name] = start[name] + scale * kept
    initial.load_state_dict(start)
    rows = backdoor.poison(train, poisoning_rate, np.random.default_rng(seed))
    losses = optimise(initial, tokenizer, rows, training, seed)
    if log:
        log.keep(losses, rows["label"], training.epochs)
    return initial


def _two(models: Sequence[PreTrainedModel]) -> tuple[PreTrainedModel, StateDict]:
    """The backdoored model, and the weights of its clean twin."""
    check_twins(len(models))
    clean = weights_of(models[1])
    check_alike(weights_of(models[0]), clean)
    return models[0], clean


def _differences(model: PreTrainedModel, other: Mapping[str, Tensor]) -> dict[str, Tensor]:
    """What separates a model from other weights, floating-point tensors only."""
    return {name: task_vector(value, other[name]) for name, value in weights_of(model).items() if value.is_floating_point()}


def _where(masks: Mapping[str, Tensor], inside: Mapping[str, Tensor], outside: Mapping[str, Tensor]) -> StateDict:
    """Entries of one model where the mask is true, of the other elsewhere."""
    return {name: torch.where(masks[name], inside[name], value) if name in masks else value for name, value in outside.items()}
