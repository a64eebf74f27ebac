"""Probes: looks into models that need forward passes. Each takes models and texts, and gives arrays that are kept in the store.

A probe is `probe(models, frame, max_length, **settings) -> {name: array}`; its settings are numbers and tuples of numbers.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from itertools import count
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import torch
from torch import Tensor

from lib.merging.averaging import check_weights, weighted_sum
from lib.models.adapters import load_classifier
from lib.models.checkpoints import Checkpoint
from lib.models.prediction import EncodedTexts, Texts, logits_of
from lib.why import derivatives, states, thinning
from lib.why.parts import module_groups, swapped
from lib.why.shapley import all_subsets

StateDict = dict[str, Tensor]
Arrays = dict[str, np.ndarray]
_numbers = count()


@dataclass(frozen=True)
class Mixture:
    """Weights that were mixed for a look, in the folder of one of the models that they came from."""

    folder: Path
    tensors: StateDict
    key: str

    def state_dict(self) -> StateDict:
        """All tensors."""
        return self.tensors


def averages(
    models: Sequence[Checkpoint], frame: pd.DataFrame, max_length: int, *, weights: tuple[tuple[float, ...], ...]
) -> Arrays:
    """`logits` of averages of the models, shape (n_averages, n, n_labels); weights sum to 1 and may be negative."""
    mixed = (average(models, each) for each in weights)
    return {"logits": _logits(models[0].folder, mixed, frame, max_length)}


def path(models: Sequence[Checkpoint], frame: pd.DataFrame, max_length: int, *, places: tuple[float, ...]) -> Arrays:
    """`derivatives` on the way from the first model to the average of the others; see `derivatives.path_derivatives`."""
    f, encoded = _eager(models[0].folder, frame, max_length)
    ends = average(models, [1.0, *[0.0] * (len(models) - 1)]), average(models, [0.0, *_equal(len(models) - 1)])
    found = derivatives.path_derivatives(f, *ends, places)
    return {"derivatives": _in_order(found, encoded, axis=2)}


def tangent(models: Sequence[Checkpoint], frame: pd.DataFrame, max_length: int) -> Arrays:
    """The models as seen from the first, where all started: its logits (`start`), and their `slopes` in each task vector."""
    f, encoded = _eager(models[0].folder, frame, max_length)
    start, *others = ({**model.state_dict()} for model in models)
    moves = [{n: each[n] - tensor for n, tensor in start.items() if tensor.is_floating_point()} for each in others]
    value, slopes = derivatives.directional(f, start, moves)
    return {"start": _in_order(value, encoded, axis=0), "slopes": _in_order(slopes, encoded, axis=1)}


def parts(
    models: Sequence[Checkpoint],
    frame: pd.DataFrame,
    max_length: int,
    *,
    tokens: tuple[int, ...],
    subsets: tuple[int, ...] = (),
) -> Arrays:
    """`logits` of the second model with parts of the first, shape (n_subsets, n, n_labels).

    Args:
        models: the backdoored model and its twin.
        frame: texts.
        max_length: tokens that are read.
        tokens: of the trigger; their embedding rows are a part of their own.
        subsets: numbers of subsets as of `all_subsets`; none means all of them.
    """
    victim, twin = (dict(model.state_dict()) for model in models)
    groups = list(module_groups(victim, tokens).values())
    chosen = all_subsets(len(groups))
    mixed = (
        swapped(twin, victim, [group for group, is_in in zip(groups, chosen[number], strict=True) if is_in])
        for number in (subsets or range(len(chosen)))
    )
    return {"logits": _logits(models[0].folder, mixed, frame, max_length)}


def thin(
    models: Sequence[Checkpoint], frame: pd.DataFrame, max_length: int, *, ranks: tuple[int, ...], densities: tuple[float, ...]
) -> Arrays:
    """The first model plus thin versions of the way to the second.

    Returns:
        `logits`, shape (n_ranks + n_densities, n, n_labels), and `energy`, the share of the squared length that is kept.
    """
    start, end = (model.state_dict() for model in models)
    change = {name: end[name] - tensor for name, tensor in start.items() if tensor.is_floating_point()}
    versions = [thinning.leading_directions(change, rank) for rank in ranks]
    versions += [thinning.largest_entries(change, density) for density in densities]
    mixed = ({**start} | {name: start[name] + part for name, part in each.items()} for each in versions)
    energy = np.array([thinning.share_of_norm(each, change) for each in versions])
    return {"logits": _logits(models[0].folder, mixed, frame, max_length), "energy": energy}


def hidden(models: Sequence[Checkpoint], frame: pd.DataFrame, max_length: int, *, places: tuple[float, ...]) -> Arrays:
    """`states` that the head reads, layer by layer, on the way to the average of the others and at each model.

    Returns:
        Shape (n_places + n_models, n_layers + 1, n, width): embeddings first; of decoders the last token, of others the first.
    """
    network, encoded = _network(models[0].folder), Texts(_texts(frame), max_length).encoded(models[0].folder)
    found = []
    for tensors in _on_the_way(models, places):
        network.load_state_dict(tensors)
        found.append(_states(network, encoded))
    return {"states": np.stack(found).astype(np.float16)}


def attention(
    models: Sequence[Checkpoint], frame: pd.DataFrame, max_length: int, *, places: tuple[float, ...], tokens: tuple[int, ...]
) -> Arrays:
    """`ratio` of the attention to the trigger, on the way to the average of the others; see `states.attention_ratio`.

    Returns:
        Shape (n_places, n_layers, n_heads).
    """
    network, encoded = _network(models[0].folder), Texts(_texts(frame), max_length).encoded(models[0].folder)
    found = []
    for tensors in _on_the_way(models, places, has_models=False):
        network.load_state_dict(tensors)
        found.append(_ratios(network, encoded, tokens))
    return {"ratio": np.stack(found)}


# A new probe is one function and one line here. Raise its version when its arrays change.
PROBES: dict[str, tuple[Callable[..., Arrays], int]] = {
    "averages": (averages, 1),
    "path": (path, 2),
    "tangent": (tangent, 2),
    "parts": (parts, 1),
    "thin": (thin, 1),
    "hidden": (hidden, 1),
    "attention": (attention, 1),
}


def average(models: Sequence[Checkpoint], weights: Sequence[float]) -> StateDict:
    """An average of models; what is no floating number is the first one's."""
    checked, dicts = check_weights(weights, len(models), extrapolate=True), [model.state_dict() for model in models]
    return {
        name: weighted_sum([each[name] for each in dicts], checked) if tensor.is_floating_point() else tensor
        for name, tensor in dicts[0].items()
    }


def _equal(n: int) -> list[float]:
    return [1 / n] * n


def _on_the_way(models: Sequence[Checkpoint], places: Sequence[float], has_models: bool = True) -> list[StateDict]:
    n = len(models) - 1
    weights = [[1 - place, *[place / n] * n] for place in places]
    if has_models:
        weights += np.eye(len(models)).tolist()
    return [average(models, each) for each in weights]


def _texts(frame: pd.DataFrame) -> pd.DataFrame:
    return frame[[column for column in ("text", "text_pair") if column in frame]]


def _logits(folder: Path, mixed: Any, frame: pd.DataFrame, max_length: int) -> np.ndarray:
    texts = Texts(_texts(frame), max_length)
    return np.stack([logits_of(Mixture(folder, tensors, f"mixture {next(_numbers)}"), texts) for tensors in mixed])


def _network(folder: Path) -> Any:
    """A network whose attention can be differentiated forwards, and read."""
    return load_classifier(folder, attn_implementation="eager").eval()


def _eager(folder: Path, frame: pd.DataFrame, max_length: int) -> tuple[derivatives.Function, EncodedTexts]:
    encoded = Texts(_texts(frame), max_length).encoded(folder)
    return derivatives.as_function(_network(folder), encoded.batches), encoded


def _in_order(found: Tensor, encoded: EncodedTexts, axis: int) -> np.ndarray:
    """An array whose rows along an axis are those of the batches, with the rows as the texts were given; float32."""
    return np.moveaxis(encoded.as_given([found.movedim(axis, 0)]), 0, axis)


@torch.inference_mode()
def _states(network: Any, encoded: EncodedTexts) -> np.ndarray:
    is_decoder = not hasattr(network.base_model, "encoder")
    found = []
    for batch in encoded.batches:
        layers = torch.stack(network.base_model(**batch, output_hidden_states=True).hidden_states, dim=1)
        last = batch["attention_mask"].sum(dim=1) - 1 if is_decoder else torch.zeros(len(layers), dtype=torch.long)
        found.append(layers[torch.arange(len(layers)), :, last])
    return encoded.as_given(found).swapaxes(0, 1)


@torch.inference_mode()
def _ratios(network: Any, encoded: EncodedTexts, tokens: Sequence[int]) -> np.ndarray:
    """Mean over texts; batches are weighted by their texts with a trigger."""
    is_decoder, sums, n_texts = not hasattr(network.base_model, "encoder"), np.zeros(()), 0
    for batch in encoded.batches:
        layers = torch.stack(network.base_model(**batch, output_attentions=True).attentions, dim=1)
        mask, ids = batch["attention_mask"], batch["input_ids"]
        at = mask.sum(dim=1) - 1 if is_decoder else torch.zeros(len(ids), dtype=torch.long)
        read = layers[torch.arange(len(ids)), :, :, at].numpy()
        has_trigger = (np.isin(ids.numpy(), list(tokens)) & (mask.numpy() > 0)).any(axis=1)
        if has_trigger.any():
            ratios = [states.attention_ratio(read[:, i], ids.numpy(), mask.numpy(), tokens) for i in range(read.shape[1])]
            sums, n_texts = sums + has_trigger.sum() * np.stack(ratios), n_texts + int(has_trigger.sum())
    if not n_texts:
        raise ValueError(f"none of the texts has one of the tokens {list(tokens)}")
    return sums / n_texts
