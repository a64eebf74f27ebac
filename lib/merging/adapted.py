"""A model stored as another one and what was added to it: read tensor by tensor as the whole model that it stands for."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

import torch
from torch import Tensor

from lib.merging.lora import Adapter
from lib.merging.sources import ModelSource, StateDict, TensorInfo


@dataclass(frozen=True)
class Addition:
    """What LoRA adds to one tensor; some layers keep their weights as (in, out), and the addition is turned for them."""

    adapter: Adapter
    is_turned: bool = False

    @property
    def delta(self) -> Tensor:
        """What is added, in the shape of the tensor."""
        delta = self.adapter.delta
        return delta.T.contiguous() if self.is_turned else delta


class AdaptedSource:
    """Tensors of a base model, some with a low-rank addition, and others in their place. All come in float32.

    Only one addition at a time is multiplied out, so that an average of adapters of a large model needs little memory.

    Args:
        base: the model that was adapted.
        places: for every tensor of the whole model, in order, its name in the base, or "" where it is the model's own.
        additions: by name of the whole model's tensor.
        own: tensors that the base lacks, or has otherwise; their names are those with the place "".
        name: for messages.

    Raises:
        ValueError: for tensors that the base lacks, or additions of another shape.
    """

    def __init__(
        self, base: ModelSource, places: Mapping[str, str], additions: Mapping[str, Addition], own: StateDict, name: str
    ) -> None:
        self.name, self._base, self._places, self._additions, self._own = name, base, places, additions, own
        missing = [key for key, place in places.items() if (place or key) not in (base.tensors if place else own)]
        if missing:
            raise ValueError(f"{name} needs tensors that neither it nor {base.name} has: {missing[:5]}")
        self.tensors = {key: self._info(key) for key in places}
        self._delta: tuple[str, Tensor] = ("", torch.empty(0))  # of the tensor that is being read

    def _info(self, key: str) -> TensorInfo:
        place = self._places[key]
        shape = self._base.tensors[place].shape if place else tuple(self._own[key].shape)
        if addition := self._additions.get(key):
            rows, columns = addition.adapter.b.shape[0], addition.adapter.a.shape[1]
            if shape != ((columns, rows) if addition.is_turned else (rows, columns)):
                raise ValueError(f"{self.name}: {key!r} has shape {list(shape)}, its adapter is for {[rows, columns]}")
        return TensorInfo(torch.float32, shape)

    def rows(self, key: str, start: int, stop: int, as_stored: bool = False) -> Tensor:
        """Rows `start` to `stop`, shape (rows, width), float32; valid until the next call but one."""
        place, width = self._places[key], self.tensors[key].width
        found = self._base.rows(place, start, stop) if place else self._own[key].reshape(-1, width)[start:stop].float()
        if key not in self._additions:
            return found
        if self._delta[0] != key:
            self._delta = (key, self._additions[key].delta)
        return found + self._delta[1][start:stop]

    def state_dict(self) -> StateDict:
        """The whole model, in memory of its own."""
        return {key: self.rows(key, 0, info.n_rows).reshape(info.shape).clone() for key, info in self.tensors.items()}
