"""Where a merge reads its models from: anything that lists its tensors and hands out rows of them."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from math import prod
from typing import Protocol

import torch
from torch import Tensor

StateDict = dict[str, Tensor]


@dataclass(frozen=True)
class TensorInfo:
    """Type and shape of a tensor, known before it is read."""

    dtype: torch.dtype
    shape: tuple[int, ...]

    @property
    def width(self) -> int:
        """Length of the last axis; a vector is one row, a scalar a row of one."""
        return self.shape[-1] if self.shape else 1

    @property
    def n_entries(self) -> int:
        """Number of entries."""
        return prod(self.shape)

    @property
    def n_rows(self) -> int:
        """Number of rows of length `width`."""
        return prod(self.shape[:-1])

    @property
    def n_bytes(self) -> int:
        """Bytes of the entries."""
        return self.n_entries * self.dtype.itemsize


class ModelSource(Protocol):
    """A model whose tensors can be read row by row."""

    @property
    def name(self) -> str:
        """For messages."""

    @property
    def tensors(self) -> Mapping[str, TensorInfo]:
        """All tensors in order."""

    def rows(self, key: str, start: int, stop: int, as_stored: bool = False) -> Tensor:
        """Rows `start` to `stop`, shape (rows, width), perhaps in a wider type unless `as_stored`.

        Valid until the next call but one, and not to be modified.
        """


class StateDictSource:
    """A model in memory."""

    def __init__(self, state_dict: Mapping[str, Tensor], name: str) -> None:
        self.name, self._state_dict = name, state_dict
        self.tensors = {key: TensorInfo(tensor.dtype, tuple(tensor.shape)) for key, tensor in state_dict.items()}

    def rows(self, key: str, start: int, stop: int, as_stored: bool = False) -> Tensor:
        """Rows `start` to `stop` of a tensor, shape (rows, width)."""
        return self._state_dict[key].reshape(-1, self.tensors[key].width)[start:stop]


class RenamedSource:
    """Another source, whose tensors are asked for under a longer name: `bert.embeddings...` for `embeddings...`."""

    def __init__(self, source: ModelSource, prefix: str) -> None:
        self.name, self._source, self._prefix = source.name, source, prefix
        self.tensors = {prefix + key: info for key, info in source.tensors.items()}

    def rows(self, key: str, start: int, stop: int, as_stored: bool = False) -> Tensor:
        """Rows `start` to `stop` of a tensor, shape (rows, width)."""
        return self._source.rows(key.removeprefix(self._prefix), start, stop, as_stored)


def as_sources(models: Sequence[Mapping[str, Tensor]], names: Sequence[str] | None = None) -> list[ModelSource]:
    """State dicts as sources; without names they are "model 1", "model 2", ..."""
    names = list(names or [f"model {i + 1}" for i in range(len(models))])
    return [StateDictSource(model, name) for model, name in zip(models, names, strict=True)]
