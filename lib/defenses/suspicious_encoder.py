"""A classifier trained on suspicious rows, and the vectors it has for texts: what CUBE, BKI and GMS look at."""

from __future__ import annotations

import math
from collections.abc import Callable
from dataclasses import replace
from typing import TYPE_CHECKING, Any

import numpy as np
import pandas as pd
import torch
from torch import Tensor

from lib.models.prediction import EncodedTexts
from lib.models.pretrained import load_tokenizer, new_classifier
from lib.models.training import optimise
from lib.profiles import TrainingSettings

if TYPE_CHECKING:
    from transformers import PreTrainedModel, PreTrainedTokenizerBase

VECTORS = ("pooled", "hidden")


def train_encoder(
    train: pd.DataFrame,
    pretrained: str,
    training: TrainingSettings,
    seed: int,
    epochs: float,
    on_epoch: Callable[[PreTrainedModel], None] | None = None,
) -> tuple[PreTrainedModel, PreTrainedTokenizerBase]:
    """Fine-tune the pretrained model on suspicious rows, poison and all.

    Args:
        train: the rows.
        pretrained: a folder or a Hub id.
        training: how models are fine-tuned in the study, but for the epochs.
        seed: of head, order and dropout.
        epochs: how often.
        on_epoch: called with the model after every epoch, and after the last steps.

    Raises:
        ValueError: for epochs that are not positive.
    """
    if epochs <= 0:
        raise ValueError(f"epochs is {epochs}; it must be above 0")
    model = new_classifier(pretrained, [str(label) for label in range(int(train["label"].max()) + 1)], seed)
    tokenizer = load_tokenizer(pretrained)
    per_epoch = math.ceil(len(train) / training.batch_size)
    n_steps = math.ceil(epochs * per_epoch)

    def on_step(step: int, loss: Tensor) -> None:
        if on_epoch and (step % per_epoch == 0 or step == n_steps):
            on_epoch(model)
            model.train()

    optimise(model, tokenizer, train, replace(training, epochs=epochs), seed, on_step=on_step)
    return model, tokenizer


@torch.inference_mode()
def text_vectors(model: PreTrainedModel, texts: EncodedTexts, kind: str) -> np.ndarray:
    """One vector per text, where the classifier reads it: at the first token of encoders, at the last one of decoders.

    Args:
        model: a classifier.
        texts: n texts.
        kind: "pooled", what the last linear layer reads (BERT's pooler, RoBERTa's tanh), or "hidden", the last layer below.

    Returns:
        float32, shape (n, width), in the order of the texts.

    Raises:
        ValueError: for another kind.
    """
    if kind not in VECTORS:
        raise ValueError(f"unknown kind of vectors {kind!r}; choose from {list(VECTORS)}")
    read: list[Tensor] = []
    head = [m for m in model.modules() if isinstance(m, torch.nn.Linear) and m.out_features == model.config.num_labels][-1]
    hook = head.register_forward_pre_hook(lambda _, inputs: read.append(inputs[0]))
    found = []
    try:
        model.eval()
        for batch in texts.batches:
            inputs = {name: values.to(model.device) for name, values in batch.items()}
            outputs = model(**inputs, output_hidden_states=kind == "hidden")
            found.append(_at_reading_position(read.pop(), inputs["attention_mask"], outputs, kind).float().cpu())
    finally:
        hook.remove()
    vectors = torch.cat(found).numpy()
    in_order = np.empty_like(vectors)
    in_order[texts.order] = vectors
    return in_order


def _at_reading_position(read: Tensor, mask: Tensor, outputs: Any, kind: str) -> Tensor:
    """The vectors of one batch, shape (rows, width), from what its head has read."""
    is_decoder = read.ndim == 3  # its head reads every token, (rows, tokens, width), and the last one's logits are taken
    if kind == "pooled" and not is_decoder:
        return read
    states = read if kind == "pooled" else outputs.hidden_states[-1]
    last = (mask * torch.arange(mask.shape[1], device=mask.device)).argmax(dim=1)  # on either side of the padding
    return states[torch.arange(len(states)), last if is_decoder else torch.zeros_like(last)]
