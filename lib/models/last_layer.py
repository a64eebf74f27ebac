"""The last layer of encoders built like BERT, computed at the positions that somebody looks at.

What follows the last attention works position by position. A classifier reads the first token and a masked language model its
masks: at all other positions these steps would be thrown away. What is left out changes no output.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from typing import Any

import torch
from torch import Tensor

# Types whose classification heads read the first token and nothing else: of others it is not known.
FIRST_TOKEN_CLASSIFIERS = frozenset({"bert", "roberta", "xlm-roberta"})


def after_last_attention(encoder: Any) -> torch.nn.Module | None:
    """The module behind the attention of the last layer of a BERT-like encoder; None for other networks."""
    layers = getattr(getattr(encoder, "encoder", None), "layer", None)
    if not layers or not all(hasattr(layers[-1], name) for name in ("attention", "intermediate", "output")):
        return None
    return getattr(layers[-1].attention, "output", None)


@contextmanager
def last_layer_at(encoder: Any, chosen: Callable[[Tensor], Tensor]) -> Iterator[bool]:
    """Context in which a BERT-like encoder ends with some positions only.

    Args:
        encoder: the network below the head.
        chosen: from the states of all positions, shape (batch, length, width), to those that are needed.

    Yields:
        Whether the encoder is one of which that is known; of another nothing is left out.
    """
    module = after_last_attention(encoder)
    if module is None:
        yield False
        return
    hook = module.register_forward_pre_hook(lambda _, inputs: tuple(chosen(each) for each in inputs))
    try:
        yield True
    finally:
        hook.remove()


def logits_at(model: Any, batch: Mapping[str, Tensor], at: Tensor) -> Tensor:
    """Logits of a masked language model at chosen positions, row by row, shape (n chosen, vocabulary size).

    The head, too, sees the chosen positions only. Gradients pass.

    Args:
        model: with a masked-LM head.
        batch: `input_ids` and `attention_mask`, shape (rows, length).
        at: which positions, booleans of shape (rows, length).
    """
    head = getattr(model, "lm_head", None) or getattr(getattr(model, "cls", None), "predictions", None)
    if head is None:
        return model(**batch).logits[at]
    with last_layer_at(model.base_model, lambda states: states[at]) as is_cut:
        states = model.base_model(**batch).last_hidden_state
    return head(states if is_cut else states[at])


@contextmanager
def first_token_alone(classifier: Any) -> Iterator[None]:
    """Context in which a classifier that reads the first token ends with that one: its logits and gradients are the same.

    Args:
        classifier: of any architecture, wrapped or not; for those that are not known nothing is left out. Nor is it where
            dropout is at work: it draws a mask for every position, and with fewer of them all later masks would be others.
    """
    is_known = getattr(getattr(classifier, "config", None), "model_type", "") in FIRST_TOKEN_CLASSIFIERS
    encoder: Any = getattr(classifier, "base_model", None) if is_known else None
    if after_last_attention(encoder) is not None and any(_draws(each) for each in encoder.encoder.layer[-1].modules()):
        encoder = None
    with last_layer_at(encoder, lambda states: states[:, :1]):
        yield


def _draws(module: torch.nn.Module) -> bool:
    return isinstance(module, torch.nn.Dropout) and module.training and module.p > 0
