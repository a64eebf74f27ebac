"""Logits of a classifier on texts: tokenised once, batched by length, returned in the order of the texts."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace
from functools import lru_cache
from pathlib import Path
from typing import TYPE_CHECKING, Any, Protocol

import numpy as np
import pandas as pd
import torch
from torch import Tensor

from lib.models.batches import pad_columns
from lib.models.last_layer import first_token_alone
from lib.models.pretrained import load_tokenizer

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

    def as_given(self, found: Sequence[Tensor]) -> np.ndarray:
        """What was found batch by batch, float32, shape (n, ...), row i for the i-th text before it was sorted."""
        stacked = torch.cat(list(found)).float().cpu().numpy()
        in_order = np.empty_like(stacked)
        in_order[self.order] = stacked
        return in_order


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
        batches.append(pad_columns(tokenizer, {name: [values[row] for row in rows] for name, values in encoded.items()}))
    return EncodedTexts(tuple(batches), order)


@torch.inference_mode()
def predict_logits(model: PreTrainedModel, texts: EncodedTexts) -> np.ndarray:
    """Logits in float32, shape (n, n_labels), row i for the i-th text of the frame that was encoded."""
    model.eval()
    with first_token_alone(model):
        found = [model(**{name: values.to(model.device) for name, values in batch.items()}).logits for batch in texts.batches]
    return texts.as_given(found)


def probabilities(logits: np.ndarray) -> np.ndarray:
    """Softmax of logits along the labels, shape (n, n_labels)."""
    return torch.from_numpy(logits).softmax(dim=-1).numpy()


# --- models in folders ------------------------------------------------------------------------------------------------


class FolderModel(Protocol):
    """A model whose configuration and tokenizer lie in a folder: a checkpoint, or a merge of checkpoints."""

    @property
    def folder(self) -> Path: ...

    @property
    def key(self) -> str: ...

    def state_dict(self) -> Mapping[str, Tensor]: ...


@dataclass(frozen=True)
class Texts:
    """Texts that several models read: tokenised once for each tokenizer, whatever the number of models."""

    frame: pd.DataFrame  # `text`, perhaps `text_pair`
    max_length: int  # tokens; longer texts are cut
    _encoded: dict[str, EncodedTexts] = field(default_factory=dict, repr=False, compare=False)

    def encoded(self, folder: Path) -> EncodedTexts:
        """The texts as the tokenizer of a model's folder writes them."""
        key = hashlib.sha256((folder / "tokenizer.json").read_bytes()).hexdigest() if _is_fast(folder) else str(folder)
        if key not in self._encoded:
            self._encoded[key] = encode(load_tokenizer(str(folder)), self.frame, self.max_length)
        return self._encoded[key]

    def replaced(self, frame: pd.DataFrame) -> Texts:
        """Other texts, cut at the same length."""
        return replace(self, frame=frame, _encoded={})


def _is_fast(folder: Path) -> bool:
    return (folder / "tokenizer.json").is_file()


@dataclass
class _Network:
    """An architecture in memory, and the key of the model whose weights it holds."""

    module: Any
    holds: str = ""


def logits_of(model: FolderModel, texts: Texts) -> np.ndarray:
    """Logits of a model with a folder, float32, shape (n, n_labels); its weights are asked for unless they are loaded."""
    return predict_logits(network_of(model), texts.encoded(model.folder))


def mean_states_of(model: FolderModel, texts: Texts) -> np.ndarray:
    """What each layer makes of the texts: the mean over a text's tokens, float32, shape (n, n_layers, width).

    Padding has no part in it; the embeddings, which stand before the first layer, are left out.
    """
    network, encoded = network_of(model), texts.encoded(model.folder)
    means = []
    for batch in encoded.batches:
        inputs = {name: values.to(network.device) for name, values in batch.items()}
        with torch.inference_mode():  # not round `network_of`: its tensors must take other weights later
            states = torch.stack(network(**inputs, output_hidden_states=True).hidden_states[1:], dim=1)
        mask = inputs["attention_mask"][:, None, :, None]
        means.append((states * mask).sum(2) / mask.sum(2))
    return encoded.as_given(means)


def network_of(model: FolderModel) -> PreTrainedModel:
    """The network of a model with a folder, in evaluation mode. Do not modify it; the next model's weights take its place."""
    network = _network((model.folder / "config.json").read_text(encoding="utf-8"))
    if network.holds != model.key:  # a model is often asked on clean and on triggered texts in a row
        network.holds = ""
        network.module.load_state_dict(model.state_dict())
        network.holds = model.key
    return network.module


@lru_cache(maxsize=1)  # a second one of seven billion weights would not fit
def _network(config_text: str) -> _Network:
    """A network without trained weights: one in memory takes those of many models in turn."""
    from transformers import CONFIG_MAPPING, AutoModelForSequenceClassification

    fields = json.loads(config_text)
    config = CONFIG_MAPPING[fields["model_type"]].from_dict(fields)
    network = AutoModelForSequenceClassification.from_config(config, dtype=torch.float32)
    return _Network(network.to("cuda" if torch.cuda.is_available() else "cpu").eval())
