"""NAD, neural attention distillation (Li et al. 2021, arXiv 2101.05930): the model learns from its own fine-tuned copy."""

# As in the released code (bboylyg/NAD): cross-entropy, and maps with p = 2, on a few clean labelled rows. There the teacher is
# fine-tuned for 10 epochs and the student for 20, on images, with weights of 500 to 1,000 on three blocks; here both train as
# the other repairs of this study do, and every layer has one weight.

from __future__ import annotations

import copy
from collections.abc import Sequence
from functools import partial
from typing import TYPE_CHECKING, Any

import pandas as pd
import torch
from torch import Tensor

from lib.defenses.clean_data import split_clean, tune
from lib.models import loop
from lib.models.distillation import attention_loss, attention_maps
from lib.profiles import TrainingSettings

if TYPE_CHECKING:
    from transformers import PreTrainedModel, PreTrainedTokenizerBase


def nad(
    models: Sequence[PreTrainedModel],
    tokenizer: PreTrainedTokenizerBase,
    clean: pd.DataFrame,
    *,
    training: TrainingSettings,
    seed: int,
    n_per_class: int = 64,
    epochs: float = 3.0,
    learning_rate_factor: float = 1.0,
    attention_weight: float = 1000.0,
    power: float = 2.0,
) -> PreTrainedModel:
    """Fine-tune a copy of the suspicious model on clean rows, then the model itself with the copy's maps of attention.

    Args:
        models: the suspicious model, modified; others are not used.
        tokenizer, clean, training, seed, n_per_class, epochs, learning_rate_factor: as for `fine_tune_clean`, of the copy and
            of the model.
        attention_weight: of the maps beside the cross-entropy, 0 or more.
        power: p of `attention_maps`, above 0.

    Raises:
        ValueError: for a weight or power outside its range; as `split_clean` and `tune`.
    """
    if attention_weight < 0 or power <= 0:
        raise ValueError(f"attention_weight is {attention_weight} and power {power}; give 0 or more, and above 0")
    model, teacher, rows = models[0], copy.deepcopy(models[0]), split_clean(clean, n_per_class, seed)[0]
    tune(teacher, tokenizer, rows, training, seed, epochs, learning_rate_factor)
    loss = partial(_loss, teacher=teacher.eval(), weight=attention_weight, power=power)
    tune(model, tokenizer, rows, training, seed, epochs, learning_rate_factor, loss=loss)
    return model


def _loss(model: Any, batch: loop.Batch, teacher: Any, weight: float, power: float) -> Tensor:
    """Cross-entropy of a batch, and the distance between the maps of model and teacher."""
    inputs = {name: values for name, values in batch.items() if name != "labels"}
    with torch.no_grad():
        wanted = _maps(teacher(**inputs, output_hidden_states=True), inputs["attention_mask"], power)
    said = model(**inputs, output_hidden_states=True)
    loss = torch.nn.functional.cross_entropy(said.logits.float(), batch["labels"])
    return loss + weight * attention_loss(_maps(said, inputs["attention_mask"], power), wanted, inputs["attention_mask"])


def _maps(said: Any, mask: Tensor, power: float) -> Tensor:
    """Of every layer; the embeddings before the first are none."""
    return attention_maps(said.hidden_states[1:], mask, power)
