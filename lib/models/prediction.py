"""Logits of a classifier on texts: tokenised once, batched by length, returned in the order of the texts."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np
import pandas as pd
import torch
from torch import Tensor

if TYPE_CHECKING:
    from transformers import PreTrainedModel, PreTrainedTokenizerBase

BATCH_SIZE = 64  # larger ones leave the cache of a core


@dataclass(frozen=True)
class EncodedTexts:
    """Padded batches of token ids, longest texts last, and where each row stood before."""

    batches: tuple[dict[str, Tensor], ...]
    order: np.ndarray  # (n,): the row of `order[i]` is the i-th of the batches

    def __len__(self) -> int:
        return len(self.order)


def tokenize(tokenizer: PreTrainedTokenizerBase, frame: pd.DataFrame, max_length: int) -> dict[str, list[list[int]]]:
    """Token ids of `text`, paired with `text_pair` where the frame has it, cut to `max_length` tokens, not padded."""
    pairs = frame["text_pair"].tolist() if "text_pair" in frame else None
    return dict(tokenizer(frame["text"].tolist(), pairs, truncation=True, max_length=max_length))


def encode(
    tokenizer: PreTrainedTokenizerBase, frame: pd.DataFrame, max_length: int, batch_size: int = BATCH_SIZE
) -> EncodedTexts:
    """Tokenise a frame and pad it in batches of similar length, so that little is spent on padding."""
    encoded = tokenize(tokenizer, frame, max_length)
    order = np.argsort([len(ids) for ids in encoded["input_ids"]], kind="stable")
    batches = []
    for start in range(0, len(order), batch_size):
        rows = order[start : start + batch_size]
        batch = tokenizer.pad({name: [values[row] for row in rows] for name, values in encoded.items()}, return_tensors="pt")
        batches.append(dict(batch))
    return EncodedTexts(tuple(batches), order)


@torch.inference_mode()
def predict_logits(model: PreTrainedModel, texts: EncodedTexts) -> np.ndarray:
    """Logits in float32, shape (n, n_labels), row i for the i-th text of the frame that was encoded."""
    model.eval()
    logits = [model(**{name: values.to(model.device) for name, values in batch.items()}).logits for batch in texts.batches]
    stacked = torch.cat(logits).float().cpu().numpy()
    in_order = np.empty_like(stacked)
    in_order[texts.order] = stacked
    return in_order


def probabilities(logits: np.ndarray) -> np.ndarray:
    """Softmax of logits along the labels, shape (n, n_labels)."""
    return torch.from_numpy(logits).softmax(dim=-1).numpy()
