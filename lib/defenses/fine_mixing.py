"""Fine-mixing (Zhang et al. 2022, arXiv 2210.09545): mix the suspicious weights with the pretrained ones, then fine-tune."""

# Written from the abstract and from descriptions of the method: the released code could not be read. Each coordinate keeps the
# suspicious value with probability rho, without rescaling, so it is DARE's mask and no task vector is divided. Where the paper
# chooses rho by validation accuracy, a later study fixes 0.5: `rho=0.5`. E-PUR's word frequencies are those of the clean rows
# at hand.

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Any

import numpy as np
import pandas as pd
import torch
from torch import Tensor

from lib.defenses.clean_data import accuracy, split_clean, tune
from lib.merging import StateDict
from lib.merging.dare import draw_mask, mask_generators
from lib.models.prediction import tokenize
from lib.models.pretrained import from_hub, resolve_pretrained
from lib.models.training import weights_of
from lib.profiles import TrainingSettings

if TYPE_CHECKING:
    from transformers import PreTrainedModel, PreTrainedTokenizerBase

RHOS = (0.1, 0.2, 0.3, 0.4, 0.5, 0.6, 0.7, 0.8, 0.9)
RARE = 20  # E-PUR counts a rarer word as if it stood so often


def fine_mixing(
    models: Sequence[PreTrainedModel],
    tokenizer: PreTrainedTokenizerBase,
    clean: pd.DataFrame,
    *,
    training: TrainingSettings,
    seed: int,
    pretrained: str,
    rho: float | None = None,
    tolerated_drop: float = 0.02,
    n_purified: int = 200,
    n_per_class: int = 64,
    epochs: float = 3.0,
    learning_rate_factor: float = 1.0,
) -> PreTrainedModel:
    """Keep a random share of the suspicious weights, take the pretrained ones elsewhere, then fine-tune on clean rows.

    What the pretrained model lacks, the classification head above all, stays the suspicious model's.

    Args:
        models: the suspicious model, modified; others are not used.
        tokenizer, clean, training, seed, n_per_class, epochs, learning_rate_factor: as for `fine_tune_clean`; the masks are
            the seed's, too.
        pretrained: the model from which it was fine-tuned, a folder or a Hub id.
        rho, tolerated_drop: share of the suspicious weights that is kept, in [0, 1]; default the smallest of `RHOS` with which
            accuracy on clean rows that are not trained on falls by at most the drop; where none has that, the most accurate.
        n_purified: words whose embeddings become the pretrained ones whole, those that moved far for how often they stand in
            the clean rows (E-PUR of the same paper); where there are fewer, all.

    Raises:
        ValueError: for a share outside [0, 1], a negative number, or a pretrained model of other shapes; as `tune`.
    """
    if not (rho is None or 0 <= rho <= 1) or n_purified < 0:
        raise ValueError(f"rho is {rho} and n_purified {n_purified}; rho must lie in [0, 1], the number not be negative")
    model, (tuning, held_out) = models[0], split_clean(clean, n_per_class, seed)
    suspicious, start = weights_of(model), pretrained_weights(pretrained, model)
    counts = token_counts(tokenizer, clean, training.max_length, model.config.vocab_size)
    name, far = far_embeddings(model, start, counts, n_purified)
    lowest, tried = accuracy(model, tokenizer, held_out, training.max_length) - tolerated_drop - 1e-9, []
    for share in RHOS if rho is None else (rho,):
        mixture = mixed(suspicious, start, share, seed)
        mixture[name][far] = start[name][far]
        model.load_state_dict(mixture)
        tune(model, tokenizer, tuning, training, seed, epochs, learning_rate_factor)
        tried.append((accuracy(model, tokenizer, held_out, training.max_length), weights_of(model)))
        if tried[-1][0] >= lowest:
            break
    else:
        model.load_state_dict(max(tried, key=lambda each: each[0])[1])
    return model


def pretrained_weights(pretrained: str, model: PreTrainedModel) -> StateDict:
    """The weights that the pretrained model has of a classifier's, under the classifier's names.

    Args:
        pretrained: a folder or a Hub id.
        model: a classifier that was fine-tuned from it.

    Raises:
        ValueError: for weights of other shapes.
    """
    settings: dict[str, Any] = {"num_labels": model.config.num_labels, "dtype": torch.float32, "output_loading_info": True}
    network, found = from_hub("AutoModelForSequenceClassification", resolve_pretrained(pretrained), **settings)
    lacking, shapes = set(found["missing_keys"]), {name: tensor.shape for name, tensor in model.state_dict().items()}
    weights = {name: tensor for name, tensor in network.state_dict().items() if name not in lacking}
    if wrong := sorted(name for name, tensor in weights.items() if shapes.get(name) != tensor.shape):
        raise ValueError(f"{pretrained} does not fit the suspicious model: {wrong[:3]} have other shapes, or are not in it")
    return weights


def mixed(suspicious: Mapping[str, Tensor], pretrained: Mapping[str, Tensor], rho: float, seed: int) -> StateDict:
    """Each coordinate of the suspicious model with probability rho, else of the pretrained one; tensors of one alone are kept.

    Args:
        suspicious, pretrained: state dicts; the second may lack tensors. Not modified.
        rho: in [0, 1].
        seed: of the masks, one per tensor.
    """
    mixture = {}
    for name, tensor in suspicious.items():
        if name not in pretrained or not tensor.is_floating_point():
            mixture[name] = tensor.clone()
            continue
        [generator] = mask_generators(seed, 1, name)
        mixture[name] = torch.where(draw_mask(tensor.shape, rho, generator), tensor, pretrained[name])
    return mixture


def far_embeddings(
    model: PreTrainedModel, pretrained: Mapping[str, Tensor], counts: np.ndarray, n: int
) -> tuple[str, list[int]]:
    """The name of the word embeddings, and the n words that moved furthest for how often they stand in clean texts (E-PUR).

    Args:
        model: the suspicious one.
        pretrained: a state dict.
        counts: of each word in the clean texts, shape (n_words,).
        n: how many; where there are fewer, all.
    """
    name = next(name for name, module in model.named_modules() if module is model.get_input_embeddings()) + ".weight"
    moved = (model.state_dict()[name].cpu() - pretrained[name]).norm(dim=1).numpy() / np.log(np.maximum(counts, RARE))
    return name, sorted(int(word) for word in np.argsort(-moved, kind="stable")[:n])


def token_counts(tokenizer: PreTrainedTokenizerBase, texts: pd.DataFrame, max_length: int, n_words: int) -> np.ndarray:
    """How often each token id stands in some texts, shape (n_words,)."""
    rows = tokenize(tokenizer, texts, max_length)["input_ids"]
    return np.bincount(np.concatenate([np.asarray(row) for row in rows]), minlength=n_words)
