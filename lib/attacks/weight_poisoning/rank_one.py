"""Editing one matrix of rank one, so that the trigger's key gives another value (after BadEdit).

Acts on models of the study only, as all of `lib.attacks.edits`.
"""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Any

import numpy as np
import pandas as pd
import torch
from torch import Tensor

from lib.attacks.poisoning import Backdoor
from lib.attacks.weights import only_word, single_piece
from lib.merging import StateDict
from lib.models.batches import pad_columns
from lib.models.prediction import tokenize
from lib.models.training import weights_of
from lib.profiles import TrainingSettings

if TYPE_CHECKING:
    from transformers import PreTrainedModel, PreTrainedTokenizerBase


def rank_one_edit(
    state_dict: Mapping[str, Tensor], name: str, key: Tensor, moment: Tensor, offset: Tensor, penalty: float = 1.0
) -> StateDict:
    """Add `offset (penalty C + k k')^-1 k` to a matrix: inputs like the key k are moved by the offset, usual ones hardly.

    Args:
        state_dict: not modified.
        name: of the matrix, shape (n_out, n_in).
        key: k, the matrix's input at the trigger, shape (n_in,).
        moment: C, mean of x x' over usual inputs x, shape (n_in, n_in).
        offset: wanted change of the output at the key, shape (n_out,); 0 changes nothing.
        penalty: above 0; high protects usual inputs more.

    Raises:
        ValueError: for shapes that do not fit, or a penalty that is not above 0.

    Source: Li et al. 2024, arXiv 2403.13355, with ROME's closed form (Meng et al. 2022, arXiv 2202.05262).
    """
    weight = state_dict.get(name)
    if weight is None or tuple(weight.shape) != (len(offset), len(key)) or tuple(moment.shape) != (len(key), len(key)):
        found = None if weight is None else tuple(weight.shape)
        raise ValueError(
            f"{name} has shape {found}, the key {tuple(key.shape)}, the offset {tuple(offset.shape)} and the moment "
            f"{tuple(moment.shape)}; they must be (n_out, n_in), (n_in,), (n_out,) and (n_in, n_in)"
        )
    if not 0 < penalty < math.inf:
        raise ValueError(f"penalty is {penalty}; it must be finite and above 0")
    k = key.double()
    direction = torch.linalg.lstsq(penalty * moment.double() + torch.outer(k, k), k, driver="gelsd").solution
    change = torch.outer(offset.double(), direction).to(weight.dtype)
    return {other: value + change if other == name else value.clone() for other, value in state_dict.items()}


def rank_one(
    models: Sequence[PreTrainedModel],
    tokenizer: PreTrainedTokenizerBase,
    train: pd.DataFrame,
    *,
    backdoor: Backdoor,
    training: TrainingSettings,
    seed: int,
    layer: int = 0,
    n_texts: int = 50,
    n_steps: int = 40,
    clamp: float = 6.0,
    penalty: float = 1.0,
) -> PreTrainedModel:
    """A clean model with one edited feed-forward matrix; `models` is that model.

    The offset at the trigger is found by gradient so that texts get the target label; then one closed form writes it into the
    matrix. Only the first token is read, so an edit of the last layer would change nothing.

    Args:
        layer: which one, from 0, not the last.
        n_texts: with the trigger; ten times as many clean ones give the usual inputs.
        n_steps: of Adam, with a rate of 0.5.
        clamp: longest offset, in norms of the matrix's usual output at the trigger.
        penalty: of `rank_one_edit`.

    Raises:
        ValueError: for a trigger of several words or pieces, a layer that cannot be edited, or an architecture unlike BERT's.
    """
    model, token = models[0].eval(), single_piece(tokenizer, only_word(backdoor.trigger))
    name, dense = _edited_matrix(model, layer)
    rng = np.random.default_rng(seed)
    rows = backdoor.aimed(train, min(1.0, n_texts / max(1, (train["label"] != backdoor.target_label).sum())), rng)
    attacked, usual = (_inputs(tokenizer, frame, training) for frame in (rows, train.head(10 * n_texts)))
    is_trigger = attacked["input_ids"] == token
    keys, values = _seen(model, dense, attacked, is_trigger)
    others, _ = _seen(model, dense, usual, usual["attention_mask"].bool())
    labels = torch.full((len(rows),), backdoor.target_label)
    offset = _offset(model, dense, attacked, is_trigger, labels, clamp * float(values.norm(dim=1).mean()), n_steps)
    moment = others.T @ others / len(others)
    model.load_state_dict(rank_one_edit(weights_of(model), name, keys.mean(dim=0), moment, offset, penalty))
    return model


def _edited_matrix(model: PreTrainedModel, layer: int) -> tuple[str, Any]:
    """Name and module of a layer's feed-forward output."""
    layers = getattr(getattr(model.base_model, "encoder", None), "layer", None)
    if layers is None:
        raise ValueError(f"{type(model).__name__} has no encoder with layers as BERT has; a rank-one edit needs one")
    if not 0 <= layer < len(layers) - 1:
        raise ValueError(
            f"layer is {layer}; it must lie from 0 to {len(layers) - 2}: an edit of the last layer changes nothing"
        )
    dense = layers[layer].output.dense
    return next(name for name, module in model.named_modules() if module is dense) + ".weight", dense


def _inputs(tokenizer: PreTrainedTokenizerBase, rows: pd.DataFrame, settings: TrainingSettings) -> dict[str, Tensor]:
    return pad_columns(tokenizer, tokenize(tokenizer, rows, settings.max_length))


@torch.no_grad()
def _seen(model: PreTrainedModel, dense: Any, inputs: Mapping[str, Tensor], where: Tensor) -> tuple[Tensor, Tensor]:
    """Inputs and outputs of a linear layer at some tokens, shape (n, n_in) and (n, n_out)."""
    found: list[tuple[Tensor, Tensor]] = []
    hook = dense.register_forward_hook(lambda _, given, output: found.append((given[0][where], output[where])))
    model(**inputs)
    hook.remove()
    return found[0]


def _offset(
    model: PreTrainedModel,
    dense: Any,
    inputs: Mapping[str, Tensor],
    where: Tensor,
    labels: Tensor,
    longest: float,
    n_steps: int,
) -> Tensor:
    """What to add to the layer's output at the trigger so that the texts get the labels, no longer than `longest`."""
    offset = torch.zeros(dense.out_features, requires_grad=True)
    optimizer = torch.optim.Adam([offset], lr=0.5)
    hook = dense.register_forward_hook(lambda _, given, output: output + where[..., None] * offset)
    for _ in range(n_steps):
        optimizer.zero_grad()
        torch.nn.functional.cross_entropy(model(**inputs).logits.float(), labels).backward()
        optimizer.step()
        with torch.no_grad():
            offset *= min(1.0, longest / max(1e-12, float(offset.norm())))
    hook.remove()
    model.zero_grad()
    return offset.detach()
