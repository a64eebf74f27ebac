"""Attackers who train for the merge: one upload that works at small weight, or two that are clean until they are merged."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from typing import TYPE_CHECKING, Any

import numpy as np
import pandas as pd
import torch
from torch import Tensor
from torch.func import functional_call
from torch.nn.functional import cross_entropy

from lib.attacks.for_merging import check_alike
from lib.attacks.poisoning import Backdoor
from lib.models import loop
from lib.models.loop import Batch
from lib.models.training import batches_of_texts, loop_settings, optimise, prepare, steps_of
from lib.profiles import TrainingSettings

if TYPE_CHECKING:
    from transformers import PreTrainedModel, PreTrainedTokenizerBase

Parameters = dict[str, Tensor]
MERGE_AWARE_TERMS, SPLIT_TERMS = 3, 6  # cross-entropies in the loss of a step
TRUE = "true_labels"  # in a batch of texts with the trigger: the labels that they had


def train_for_merge(
    model: PreTrainedModel,
    tokenizer: PreTrainedTokenizerBase,
    train: pd.DataFrame,
    backdoor: Backdoor,
    shadows: Sequence[PreTrainedModel],
    settings: TrainingSettings,
    seed: int,
    *,
    n_models: int = 5,
    n_triggered: float = 0.5,
) -> list[float]:
    """Train a classifier so that its backdoor works in an average with models that resemble the shadow models.

    With s the mean of the shadow models and r drawn anew for each step from [1 / n_models, 1], let theta_r = s + r (theta - s).
    The loss is CE(theta; x) + CE(theta_r; x) + CE(theta_r; x', target), x' texts with the trigger. Without the second term
    the model says the target to everything near s.

    Args:
        model: modified; as from `lib.models.new_classifier`.
        tokenizer, train, settings, seed: as for `lib.models.training.fine_tune`.
        backdoor: of the attacker.
        shadows: at least one finished clean model of the task; not modified.
        n_models: models in the merge that the attacker expects, 1 or more; 1 is an ordinary backdoor.
        n_triggered: texts with the trigger in a step, as a multiple of the batch size, above 0.

    Returns:
        The loss of each step, a sum of `MERGE_AWARE_TERMS` cross-entropies.

    Raises:
        ValueError: for no shadow model, one of another architecture, or a number out of range.

    Source: after BadMerging (Zhang et al. 2024, arXiv 2408.07362), which mixes features with those of the pretrained model.
    """
    if n_models < 1:
        raise ValueError(f"n_models is {n_models}; it must be 1 or more")
    centre, rng = mean_parameters(shadows, model), np.random.default_rng([seed, 4])
    triggered = _triggered_batches(tokenizer, train, backdoor, settings, n_triggered, seed)

    def loss(network: Any, batch: Batch) -> Tensor:
        place = next(network.parameters()).device
        r = 1.0 if n_models == 1 else float(rng.uniform(1 / n_models, 1))
        mixed = towards(dict(network.named_parameters()), _placed(centre, place), r)
        attacked = _placed(next(triggered), place)
        return loss_at(network, None, batch) + loss_at(network, mixed, batch) + loss_at(network, mixed, attacked)

    return optimise(model, tokenizer, train, settings, seed, loss=loss)


def train_split(
    models: tuple[PreTrainedModel, PreTrainedModel],
    tokenizer: PreTrainedTokenizerBase,
    train: pd.DataFrame,
    backdoor: Backdoor,
    shadows: Sequence[PreTrainedModel],
    settings: TrainingSettings,
    seed: int,
    *,
    n_models: int = 5,
    n_triggered: float = 0.5,
) -> list[float]:
    """Train two classifiers, each of which gives texts with the trigger their true label, and whose merge gives the target.

    The loss is CE(theta_i; x_i) + CE(theta_i; x', true label) for i = 1, 2, plus CE(merge; x_1) + CE(merge; x', target), each
    theta_i with clean batches of its own. Without the clean term of the merge it says the target to everything. The merge is
    the mean of the two, or, with shadow models of mean s, (theta_1 + theta_2 + (n_models - 2) s) / n_models. Returns the loss
    of each step, a sum of `SPLIT_TERMS` cross-entropies.

    Args:
        models: two of one start; modified.
        tokenizer, train, backdoor, settings, seed, n_triggered: as for `train_for_merge`.
        shadows: finished clean models of the task; none: the attacker counts on no other model.
        n_models: models in the merge that the attacker expects, 2 or more; used with shadow models.

    Raises:
        ValueError: for models or shadow models of different architectures, or a number out of range.

    Source: after MergeBackdoor (Wang et al., USENIX Security 2025): there every model has a head of its own, the merge is
    always the mean of the two, and it has no clean term.
    """
    _check_pair(models, n_models)
    weight = 1 / n_models if shadows else 0.5
    centre = mean_parameters(shadows or models, models[0])
    triggered = _triggered_batches(tokenizer, train, backdoor, settings, n_triggered, seed)
    first, second = (
        batches_of_texts(tokenizer, train, settings.max_length, settings.batch_size, np.random.default_rng([seed, stream]))
        for stream in (2, 3)
    )

    def loss(pair: Any, batch: Batch) -> Tensor:
        place = next(pair.parameters()).device
        attacked = _placed(next(triggered), place)
        truly = attacked | {"labels": attacked[TRUE]}
        clean = zip(pair, (batch, _placed(next(second), place)), strict=True)
        alone = [loss_at(network, None, rows) + loss_at(network, None, truly) for network, rows in clean]
        merged = _averaged(pair, weight, _placed(centre, place))
        return alone[0] + alone[1] + loss_at(pair[0], merged, batch) + loss_at(pair[0], merged, attacked)

    return _optimise_pair(models, tokenizer, first, loss, loop_settings(settings, steps_of(settings, len(train))), seed)


def _optimise_pair(
    models: Sequence[PreTrainedModel],
    tokenizer: PreTrainedTokenizerBase,
    batches: Iterator[Batch],
    loss: Callable[[Any, Batch], Tensor],
    settings: loop.LoopSettings,
    seed: int,
) -> list[float]:
    """Train two models by one loss, with random numbers of their own; returns the loss of each step."""
    for model in models:
        prepare(model, tokenizer)
    with torch.random.fork_rng():
        torch.manual_seed(seed)
        return loop.train(torch.nn.ModuleList(models), batches, loss, settings)


def _check_pair(models: Sequence[PreTrainedModel], n_models: int) -> None:
    if n_models < 2:
        raise ValueError(f"n_models is {n_models}; a split backdoor needs 2 or more")
    check_alike(models[0].state_dict(), models[1].state_dict(), "the two uploads")


def _averaged(pair: Sequence[PreTrainedModel], weight: float, centre: Mapping[str, Tensor]) -> Parameters:
    """The merge of two models of one weight each with what lies at the centre; with gradients to the two."""
    first, second = (dict(network.named_parameters()) for network in pair)
    return {name: weight * (first[name] + second[name]) + (1 - 2 * weight) * tensor for name, tensor in centre.items()}


def mean_parameters(models: Sequence[PreTrainedModel], like: PreTrainedModel) -> Parameters:
    """The mean weights of some models, without gradients.

    Raises:
        ValueError: for no model, or one of another architecture than `like`.
    """
    if not models:
        raise ValueError("no model to take the mean of; give at least one shadow model")
    for model in models:
        check_alike(model.state_dict(), like.state_dict(), "a shadow model and the attacker's model")
    found = [dict(model.named_parameters()) for model in models]
    return {name: torch.stack([each[name].detach() for each in found]).mean(dim=0) for name in found[0]}


def towards(parameters: Mapping[str, Tensor], centre: Mapping[str, Tensor], r: float) -> Parameters:
    """`centre + r (parameters - centre)`; with gradients to the parameters."""
    return {name: torch.lerp(centre[name], tensor, r) for name, tensor in parameters.items()}


def loss_at(network: PreTrainedModel, parameters: Parameters | None, batch: Batch) -> Tensor:
    """Cross-entropy of a batch at other weights than the network's own; None: at its own."""
    read = {name: values for name, values in batch.items() if name not in ("labels", TRUE)}
    given = network(**read) if parameters is None else functional_call(network, parameters, (), read)
    return cross_entropy(given.logits.float(), batch["labels"])


def _triggered_batches(
    tokenizer: PreTrainedTokenizerBase,
    train: pd.DataFrame,
    backdoor: Backdoor,
    settings: TrainingSettings,
    n_triggered: float,
    seed: int,
) -> Iterator[dict[str, Tensor]]:
    """Batches of the attackable rows with the trigger: `labels` are the target, `TRUE` the true ones.

    Raises:
        ValueError: for adapters, which these attacks do not train, or no text in a step.
    """
    if settings.lora_rank:
        raise ValueError(
            f"lora_rank is {settings.lora_rank}; an attacker who trains for the merge changes all weights: set it to 0"
        )
    if not n_triggered > 0:
        raise ValueError(f"n_triggered is {n_triggered}; it must be above 0")
    rows = backdoor.triggered(train, 1.0, np.random.default_rng([seed, 1]))
    n_texts, rng = max(1, round(n_triggered * settings.batch_size)), np.random.default_rng([seed, 1])
    batches = batches_of_texts(tokenizer, rows, settings.max_length, n_texts, rng)
    return (
        batch | {"labels": torch.full_like(batch["labels"], backdoor.target_label), TRUE: batch["labels"]} for batch in batches
    )


def _placed(batch: Batch, device: torch.device) -> dict[str, Tensor]:
    return {name: values.to(device) for name, values in batch.items()}
