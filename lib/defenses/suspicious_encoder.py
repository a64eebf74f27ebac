"""The vectors that a classifier trained on suspicious rows has for texts: what CUBE and BKI look at."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import numpy as np
import torch
from torch import Tensor

from lib.models.adapters import load_classifier
from lib.models.prediction import EncodedTexts
from lib.models.pretrained import load_tokenizer

if TYPE_CHECKING:
    from transformers import PreTrainedModel, PreTrainedTokenizerBase

VECTORS = ("pooled", "hidden")


def load_encoder(folder: str) -> tuple[PreTrainedModel, PreTrainedTokenizerBase]:
    """A classifier and its tokenizer from a folder, on a GPU where there is one."""
    model = load_classifier(folder)
    return model.to("cuda" if torch.cuda.is_available() else "cpu"), load_tokenizer(folder)


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
    return texts.as_given(found)


def _at_reading_position(read: Tensor, mask: Tensor, outputs: Any, kind: str) -> Tensor:
    """The vectors of one batch, shape (rows, width), from what its head has read."""
    is_decoder = read.ndim == 3  # its head reads every token, (rows, tokens, width), and the last one's logits are taken
    if kind == "pooled" and not is_decoder:
        return read
    states = read if kind == "pooled" else outputs.hidden_states[-1]
    last = (mask * torch.arange(mask.shape[1], device=mask.device)).argmax(dim=1)  # on either side of the padding
    return states[torch.arange(len(states)), last if is_decoder else torch.zeros_like(last)]
