"""Fine-pruning (Liu et al. 2018, arXiv 1805.12185): prune what clean texts leave idle, then fine-tune on clean texts."""

# The paper prunes channels of the last convolution of image networks. In transformers nothing is fixed; here it is the inner
# neurons of the feed-forward blocks, the same share of each layer, in steps of 5 % of it.

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np
import pandas as pd
import torch
from torch import Tensor

from lib.defenses.clean_data import accuracy, split_clean, tune
from lib.merging.substitution import module_of
from lib.models.prediction import EncodedTexts, encode
from lib.models.training import weights_of
from lib.profiles import TrainingSettings

if TYPE_CHECKING:
    from transformers import PreTrainedModel, PreTrainedTokenizerBase

STEP = 0.05  # of the units of a layer


def fine_prune(
    models: Sequence[PreTrainedModel],
    tokenizer: PreTrainedTokenizerBase,
    clean: pd.DataFrame,
    *,
    training: TrainingSettings,
    seed: int,
    tolerated_drop: float = 0.02,
    density: float | None = None,
    n_per_class: int = 64,
    epochs: float = 3.0,
    learning_rate_factor: float = 1.0,
) -> PreTrainedModel:
    """Zero the units of the feed-forward blocks that clean texts use least, then fine-tune; they stay at zero.

    Args:
        models: the suspicious model, modified; others are not used.
        tokenizer, clean, training, seed, n_per_class, epochs, learning_rate_factor: as for `fine_tune_clean`.
        tolerated_drop: pruning stops before the accuracy on clean rows that are not trained on falls by more than this.
        density: share of units kept, in (0, 1], instead; 1 is plain fine-tuning.

    Raises:
        ValueError: for a drop or density that cannot be, or a model without feed-forward blocks in numbered layers; as
            `split_clean` and `tune`.
    """
    if not 0 <= tolerated_drop < 1 or not (density is None or 0 < density <= 1):
        raise ValueError(f"tolerated_drop is {tolerated_drop} and density {density}; they must lie in [0, 1) and in (0, 1]")
    model, (tuning, held_out) = models[0], split_clean(clean, n_per_class, seed)
    blocks = feed_forward_blocks(model)
    orders = [
        np.argsort(used, kind="stable") for used in activity(model, blocks, encode(tokenizer, clean, training.max_length))
    ]
    if density is None:
        # One text more or fewer is less than the last digit of a float: what is tolerated is tolerated exactly.
        lowest, start = accuracy(model, tokenizer, held_out, training.max_length) - tolerated_drop - 1e-9, weights_of(model)
        share = 0.0
        for n_steps in range(1, round(1 / STEP)):
            prune(blocks, orders, n_steps * STEP)
            if accuracy(model, tokenizer, held_out, training.max_length) < lowest:
                break
            share = n_steps * STEP
        model.load_state_dict(start)
    else:
        share = 1 - density
    prune(blocks, orders, share)
    # A unit without weights on either side has no gradient and stays at zero; adapters are added to the weights at the end.
    tune(model, tokenizer, tuning, training, seed, epochs, learning_rate_factor)
    prune(blocks, orders, share)
    return model


@dataclass(frozen=True)
class FeedForward:
    """The linear layers of one feed-forward block."""

    inputs: tuple[torch.nn.Linear, ...]  # one, or two in gated blocks; a row is a unit
    output: torch.nn.Linear  # a column is a unit


def feed_forward_blocks(model: PreTrainedModel) -> list[FeedForward]:
    """The feed-forward blocks of an encoder or decoder, layer by layer.

    Raises:
        ValueError: for a model that has none in numbered layers.
    """
    found: dict[int, dict[str, list[Any]]] = {}
    for name, module in model.named_modules():
        if isinstance(module, torch.nn.Linear) and (place := module_of(f"{name}.weight")):
            found.setdefault(place[1], {}).setdefault(place[0], []).append(module)
    blocks = [found[layer] for layer in sorted(found) if {"feed_forward", "projection"} <= set(found[layer])]
    if not blocks:
        raise ValueError(f"a {type(model).__name__} has no feed-forward blocks in numbered layers that are known here")
    return [FeedForward(tuple(block["feed_forward"]), block["projection"][0]) for block in blocks]


@torch.inference_mode()
def activity(model: PreTrainedModel, blocks: Sequence[FeedForward], texts: EncodedTexts) -> list[np.ndarray]:
    """Mean absolute activation of the units of each block over all tokens of some texts, shape (n_units,); padding is none."""
    sums, n_tokens, mask = [torch.zeros(block.output.in_features) for block in blocks], 0, torch.zeros(0)

    def add(number: int, inputs: tuple[Tensor, ...]) -> None:
        sums[number] += (inputs[0].abs() * mask[:, :, None]).sum(dim=(0, 1)).cpu()  # (rows, tokens, units) to (units,)

    hooks = [
        block.output.register_forward_pre_hook(lambda _, inputs, number=number: add(number, inputs))
        for number, block in enumerate(blocks)
    ]
    try:
        model.eval()
        for batch in texts.batches:
            mask = batch["attention_mask"].to(model.device)
            model(**{name: values.to(model.device) for name, values in batch.items()})
            n_tokens += int(mask.sum())
    finally:
        for hook in hooks:
            hook.remove()
    return [(total / n_tokens).numpy() for total in sums]


@torch.no_grad()
def prune(blocks: Sequence[FeedForward], orders: Sequence[np.ndarray], share: float) -> None:
    """Zero the first `round(share * n_units)` units of each block.

    Args:
        blocks: modified.
        orders: of the units of each block, the first to be pruned first, shape (n_units,).
        share: in [0, 1].
    """
    for block, order in zip(blocks, orders, strict=True):
        units = torch.from_numpy(order[: round(share * len(order))].copy()).to(block.output.weight.device)
        block.output.weight[:, units] = 0
        for layer in block.inputs:
            layer.weight[units] = 0
            if layer.bias is not None:
                layer.bias[units] = 0
