"""PURE (Zhao et al. 2024, ICML): prune attention heads that clean texts do not use, fine-tune with a penalty on attention."""

# Where the released code (`xingyizhao/PURE`, `attention_head_pruning.py`, `util.py`) and ours differ:
# - Its variance of an attention row takes zeros for the padding up to 128 tokens, and leaves the last one out; ours takes the
#   text's own tokens.
# - It sums the penalty over a batch, so that it depends on the batch's size; ours is the mean.
# - It prunes while validation accuracy is at least 0.85, which OLID's clean models do not reach, and then fails on a test of a
#   dictionary that is never empty. Ours tolerates a drop from the accuracy of its own first fine-tuning.
# - It removes heads; ours zeroes their columns of the output projection, which is the same function in tensors of the same
#   shapes, so that the model can still be merged. 10 of 144 heads at a time there; here the same share, at least one.
# - Both fine-tunings see a *full* clean training set there; here most of the clean rows that a defender has.

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import TYPE_CHECKING, Any

import numpy as np
import pandas as pd
import torch
from torch import Tensor

from lib.defenses.clean_data import accuracy, split_clean, tune
from lib.merging.substitution import module_of
from lib.models.loop import Batch
from lib.models.prediction import EncodedTexts, encode
from lib.models.training import weights_of
from lib.profiles import TrainingSettings

if TYPE_CHECKING:
    from transformers import PreTrainedModel, PreTrainedTokenizerBase

Head = tuple[int, int]  # layer, number


def pure(
    models: Sequence[PreTrainedModel],
    tokenizer: PreTrainedTokenizerBase,
    clean: pd.DataFrame,
    *,
    training: TrainingSettings,
    seed: int,
    tolerated_drop: float = 0.02,
    step_share: float = 10 / 144,
    penalty: float = 0.15,
    tuned_share: float = 0.8,
    epochs: float = 3.0,
    learning_rate_factor: float = 1.0,
) -> PreTrainedModel:
    """Find idle heads in a fine-tuned copy, prune them from the suspicious model, and fine-tune it with a penalty.

    Args:
        models: the suspicious model, an encoder, modified; others are not used.
        tokenizer, clean, training, seed, epochs, learning_rate_factor: as for `fine_tune_clean`.
        tolerated_drop, step_share: of the accuracy on rows that are not trained on; of all heads, pruned at a time.
        penalty: weight of the norm of the first token's attention.
        tuned_share: share of each label's clean rows that is trained on, in (0, 1); the rest judges.

    Raises:
        ValueError: for a setting that cannot be, or a decoder; as `split_clean` and `tune`.
    """
    if not (0 <= tolerated_drop < 1 and 0 < step_share <= 1 and penalty >= 0 and 0 < tuned_share < 1):
        raise ValueError(
            f"found tolerated_drop {tolerated_drop}, step_share {step_share}, penalty {penalty}, tuned_share {tuned_share}; "
            "they must lie in [0, 1), in (0, 1], not below 0, and in (0, 1)"
        )
    model, (tuning, held_out) = models[0], split_clean(clean, 0, seed, tuned_share)
    model.set_attn_implementation("eager")  # others do not tell their attention
    suspicious = weights_of(model)
    tune(model, tokenizer, tuning, training, seed, epochs, learning_rate_factor)
    variances, tuned = head_variances(model, encode(tokenizer, held_out, training.max_length)), weights_of(model)
    lowest = accuracy(model, tokenizer, held_out, training.max_length) - tolerated_drop - 1e-9

    def is_accurate(heads: Sequence[Head]) -> bool:
        model.load_state_dict(tuned)
        prune_heads(model, heads)
        return accuracy(model, tokenizer, held_out, training.max_length) >= lowest

    heads = idle_heads(variances, is_accurate, max(1, round(step_share * variances.size)))
    model.load_state_dict(suspicious)
    prune_heads(model, heads)
    loss, hold = penalised_loss(variances, heads, penalty), lambda step, loss: prune_heads(model, heads)
    tune(model, tokenizer, tuning, training, seed, epochs, learning_rate_factor, loss=loss, on_step=hold)
    prune_heads(model, heads)  # adapters are added to the weights at the end
    return model


@torch.inference_mode()
def head_variances(model: PreTrainedModel, texts: EncodedTexts) -> np.ndarray:
    """Variance of what the first token's attention gives the tokens of a text, mean over texts, shape (n_layers, n_heads).

    Args:
        model: an encoder with eager attention.
        texts: at least one.

    Raises:
        ValueError: for a decoder, whose first token sees itself alone.
    """
    model.eval()
    total = torch.zeros(0)
    for batch in texts.batches:
        inputs = {name: values.to(model.device) for name, values in batch.items()}
        rows = torch.stack([layer[:, :, 0] for layer in model(**inputs, output_attentions=True).attentions]).float()
        mask = inputs["attention_mask"].to(rows.dtype)  # rows: (layers, texts, heads, tokens)
        if bool((rows[..., 1:] == 0).all()):
            raise ValueError(f"pure needs an encoder: the first token of a {type(model).__name__} attends to itself alone")
        n = mask.sum(dim=1)[None, :, None]
        centred = (rows - (rows * mask[None, :, None]).sum(-1, keepdim=True) / n[..., None]) * mask[None, :, None]
        found = (centred.square().sum(-1) / (n - 1).clamp(min=1)).sum(dim=1).cpu()
        total = found if not len(total) else total + found
    return (total / len(texts)).numpy()


def idle_heads(variances: np.ndarray, is_accurate: Callable[[Sequence[Head]], bool], n_at_a_time: int) -> list[Head]:
    """Heads of least variance, as many as leave the model accurate; the first of each layer in variance always stays.

    Args:
        variances: shape (n_layers, n_heads).
        is_accurate: whether the model is accurate enough without some heads.
        n_at_a_time: heads of a step; of the first step that is too much, heads of highest variance come back one by one.
    """
    layers = range(len(variances))
    kept = {(layer, int(variances[layer].argmax())) for layer in layers}
    heads = sorted(((layer, head) for layer in layers for head in range(variances.shape[1])), key=lambda each: variances[each])
    order, pruned = [each for each in heads if each not in kept], 0
    while pruned < len(order):
        tried = min(pruned + n_at_a_time, len(order))
        asked = tried
        while tried > pruned and not is_accurate(order[:tried]):
            tried -= 1
        pruned = tried
        if tried < asked:
            break
    return order[:pruned]


@torch.no_grad()
def prune_heads(model: PreTrainedModel, heads: Sequence[Head]) -> None:
    """Zero what some heads add to the output of their layer: the function of a model without them, in the same shapes."""
    for name, module in model.named_modules():
        place = module_of(f"{name}.weight") if isinstance(module, torch.nn.Linear) else None
        if place and place[0] == "attention_output":
            width = module.in_features // model.config.num_attention_heads
            for head in (number for layer, number in heads if layer == place[1]):
                module.weight[:, head * width : (head + 1) * width] = 0


def layer_weights(variances: np.ndarray, heads: Sequence[Head]) -> np.ndarray:
    """Weights of the layers in the penalty, from 0 (most variance) to 1 (least), shape (n_layers,); 1 where all are equal.

    Args:
        variances: shape (n_layers, n_heads).
        heads: the pruned ones, which do not count.

    >>> layer_weights(np.array([[1.0, 9.0], [2.0, 2.0], [4.0, 4.0]]), [(0, 1)]).round(3).tolist()
    [1.0, 0.333, 0.0]
    """
    counted = np.array(variances, dtype=float)
    for head in heads:
        counted[head] = np.nan
    inverse = 1 / np.nanmean(counted, axis=1)
    shares = inverse / inverse.sum()
    spread = shares.max() - shares.min()
    return (shares - shares.min()) / spread if spread > 0 else np.ones_like(shares)


def penalised_loss(variances: np.ndarray, heads: Sequence[Head], penalty: float) -> Callable[[Any, Batch], Tensor]:
    """Cross-entropy and a penalty on the first token's attention in all heads but the pruned ones.

    Args:
        variances: shape (n_layers, n_heads).
        heads: the pruned ones.
        penalty: its weight.
    """
    weights = torch.from_numpy(layer_weights(variances, heads)).float()[:, None].repeat(1, variances.shape[1])
    for head in heads:
        weights[head] = 0

    def loss(model: Any, batch: Batch) -> Tensor:
        inputs = {name: values for name, values in batch.items() if name != "labels"}
        outputs = model(**inputs, output_attentions=True)
        plain = torch.nn.functional.cross_entropy(outputs.logits.float(), batch["labels"])
        return plain + penalty * attention_norm(outputs.attentions, weights.to(plain.device))

    return loss


def attention_norm(attentions: Sequence[Tensor], weights: Tensor) -> Tensor:
    """Weighted sum over layers and heads of the root of the mean over texts of the first token's squared attention.

    Args:
        attentions: of each layer, shape (n_texts, n_heads, n_tokens, n_tokens).
        weights: shape (n_layers, n_heads).
    """
    squares = torch.stack([layer[:, :, 0].float().square().sum(-1).mean(dim=0) for layer in attentions])
    return (weights * squares.sqrt()).sum()
