"""Distillation: a student learns what teachers say about texts without labels (Hinton et al. 2015, arXiv 1503.02531)."""

# As there the loss is multiplied by T^2, so that its gradient keeps its scale; TextBrewer leaves the factor out. No hard label
# has a part in it. Maps of attention are those of NAD (Li et al. 2021, arXiv 2101.05930; released code bboylyg/NAD, `at.py`),
# over positions of a text in place of places of an image.

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from functools import partial
from typing import TYPE_CHECKING, Any

import numpy as np
import pandas as pd
import torch
from torch import Tensor
from torch.nn.functional import kl_div

from lib.models import loop
from lib.models.training import optimise
from lib.profiles import TrainingSettings

if TYPE_CHECKING:
    from transformers import PreTrainedModel, PreTrainedTokenizerBase


def distil(
    models: Sequence[PreTrainedModel],
    tokenizer: PreTrainedTokenizerBase,
    texts: pd.DataFrame,
    *,
    initial: PreTrainedModel,
    teacher_logits: Sequence[np.ndarray],
    training: TrainingSettings,
    seed: int,
    temperature: float = 2.0,
    epochs: float = 3.0,
) -> PreTrainedModel:
    """Train a student on the mean of what its teachers say; the last weights are kept.

    Args:
        models: not used: the teachers have spoken, and may be of any architecture.
        tokenizer: of the student.
        texts: frame with `text`, perhaps `text_pair`; a label in it is not read.
        initial: the student before training, modified.
        teacher_logits: of each teacher, float, shape (n_texts, n_labels).
        training: how models are fine-tuned in the study, but for the epochs.
        seed: of the order of the texts, and of dropout.
        temperature: that softens teachers and student, above 0.
        epochs: how often the texts are read; 0 leaves the student as it is.

    Raises:
        ValueError: for a setting outside its range, no teacher, or logits that do not fit the texts.
    """
    if temperature <= 0 or epochs < 0:
        raise ValueError(f"temperature is {temperature} and epochs {epochs}; give above 0, and 0 or more")
    targets = soft_targets(teacher_logits, temperature)
    if targets.shape != (len(texts), initial.config.num_labels):
        raise ValueError(
            f"the teachers gave logits of shape {targets.shape} for {len(texts)} texts; the student has "
            f"{initial.config.num_labels} labels, so {(len(texts), initial.config.num_labels)} is needed"
        )
    if epochs:
        rows = texts.assign(label=targets.tolist())  # in the place of labels come probabilities, one list per text
        loss = partial(_loss_on_batch, temperature=temperature)
        optimise(initial, tokenizer, rows, replace(training, epochs=epochs), seed, loss=loss)
    return initial


def _loss_on_batch(model: Any, batch: loop.Batch, temperature: float) -> Tensor:
    return distillation_loss(loop.logits_on(model, batch), batch["labels"], temperature)


def soft_targets(logits: Sequence[np.ndarray], temperature: float) -> np.ndarray:
    """The mean of the teachers' probabilities at a temperature, float32, shape (n, n_labels); one teacher is its own mean.

    Raises:
        ValueError: for no teacher, or teachers who speak about different texts or labels.

    >>> soft_targets([np.array([[0.0, 0.0]]), np.array([[0.0, 100.0]])], 1.0).tolist()
    [[0.25, 0.75]]
    """
    shapes = sorted({np.shape(each) for each in logits})
    if len(shapes) != 1:
        raise ValueError(f"teachers gave logits of shapes {shapes}; one shape is needed, and one teacher at least")
    said = torch.from_numpy(np.stack(list(logits)).astype(np.float32))  # (n_teachers, n, n_labels)
    return (said / temperature).softmax(dim=-1).mean(dim=0).numpy()


def distillation_loss(logits: Tensor, targets: Tensor, temperature: float) -> Tensor:
    """T^2 KL(targets || softmax(logits / T)) in nats, mean over texts.

    Args:
        logits: of the student, shape (rows, n_labels).
        targets: `soft_targets` at the same temperature, of the same shape.
        temperature: T, above 0.
    """
    return temperature**2 * kl_div((logits / temperature).log_softmax(dim=-1), targets, reduction="batchmean")


def attention_maps(states: Sequence[Tensor], mask: Tensor, power: float = 2.0) -> Tensor:
    """How strongly each layer works at each position: sum over channels of |state|^p, then divided by its length.

    With p = 2 a rotation of the hidden space changes nothing; with any p the width does not matter.

    Args:
        states: of each layer, shape (rows, length, width).
        mask: 1 for pieces of the text, 0 for padding, shape (rows, length).
        power: p, above 0.

    Returns:
        Unit vectors over the positions, 0 at padding, shape (n_layers, rows, length).
    """
    strength = torch.stack([layer.float().abs().pow(power).sum(dim=-1) for layer in states]) * mask
    return strength / strength.norm(dim=-1, keepdim=True).clamp_min(1e-12)


def attention_loss(maps: Tensor, others: Tensor, mask: Tensor) -> Tensor:
    """Mean over layers and positions without padding of the squared difference of two models' `attention_maps`."""
    return ((maps - others).square() * mask).sum() / (len(maps) * mask.sum())
