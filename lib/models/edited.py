"""A model with another embedding of one token, the weights of the model itself left as they are."""

from __future__ import annotations

import hashlib
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from torch import Tensor

from lib.models.prediction import FolderModel, Texts, logits_of


@dataclass(frozen=True)
class EditedModel:
    """A model with another embedding of one token; `key` identifies it."""

    model: FolderModel
    tensor: str  # name of the embeddings
    token: int
    row: Tensor

    @property
    def folder(self) -> Path:
        """The model's own: configuration and tokenizer are the same."""
        return self.model.folder

    @property
    def key(self) -> str:
        """The model's, and a hash of the row."""
        return f"{self.model.key}-{self.token}-{hashlib.sha256(self.row.numpy().tobytes()).hexdigest()[:16]}"

    def state_dict(self) -> Mapping[str, Tensor]:
        """The model's tensors; the embeddings are a copy."""
        tensors = dict(self.model.state_dict())
        edited = tensors[self.tensor].clone()
        edited[self.token] = self.row.to(edited.dtype)
        return tensors | {self.tensor: edited}

    def logits(self, texts: Texts) -> np.ndarray:
        """As those of any model."""
        return logits_of(self, texts)
