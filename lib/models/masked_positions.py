"""The scores of a masked language model at some positions only: nobody looks at the others."""

from __future__ import annotations

from collections.abc import Mapping
from typing import TYPE_CHECKING

import torch
from torch import Tensor

if TYPE_CHECKING:
    from transformers import PreTrainedModel


def logits_at(model: PreTrainedModel, batch: Mapping[str, Tensor], at: Tensor) -> Tensor:
    """Logits at chosen positions, row by row, shape (n chosen, vocabulary size).

    The head and, in encoders built like BERT, all that follows the last attention see the chosen positions only: they work
    position by position. Gradients pass.

    Args:
        model: with a masked-LM head.
        batch: `input_ids` and `attention_mask`, shape (rows, length).
        at: which positions, booleans of shape (rows, length).
    """
    head = getattr(model, "lm_head", None) or getattr(getattr(model, "cls", None), "predictions", None)
    if head is None:
        return model(**batch).logits[at]
    after_attention = _after_attention(model)
    if after_attention is None:
        return head(model.base_model(**batch).last_hidden_state[at])
    hook = after_attention.register_forward_pre_hook(lambda _, inputs: tuple(each[at] for each in inputs))
    try:
        return head(model.base_model(**batch).last_hidden_state)
    finally:
        hook.remove()


def _after_attention(model: PreTrainedModel) -> torch.nn.Module | None:
    """What follows the attention of the last layer of a BERT-like encoder; None for other encoders."""
    layers = getattr(getattr(model.base_model, "encoder", None), "layer", None)
    if not layers or not all(hasattr(layers[-1], name) for name in ("attention", "intermediate", "output")):
        return None
    return getattr(layers[-1].attention, "output", None)
