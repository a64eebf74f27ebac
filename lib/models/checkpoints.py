"""Checkpoints: fine-tuned models in folders, ours or of elsewhere, with what is known of their training."""

from __future__ import annotations

import json
import math
from contextlib import suppress
from dataclasses import dataclass, field
from functools import cached_property
from pathlib import Path
from typing import TYPE_CHECKING, Any

from cachetools import LRUCache

from lib.folders import read_json
from lib.models.pretrained import fingerprint, resolve_pretrained, weight_files

if TYPE_CHECKING:
    import numpy as np

    from lib.merging import ModelSource, StateDict
    from lib.models.prediction import Texts

WEIGHTS = "model.safetensors"
# State dicts that are kept because merges use them again and again; a model takes part if at least so many like it have room.
MAX_BYTES_IN_MEMORY, MODELS_IN_MEMORY = 2 << 30, 16


@dataclass(frozen=True)
class Checkpoint:
    """A fine-tuned model in a folder in Hugging Face format; `key` identifies its content."""

    folder: Path
    key: str
    name: str
    recipe: Any = field(default=None, compare=False)  # of the study that made it; None for a model of elsewhere
    parents: tuple[Any, ...] = field(default=(), compare=False)  # models that it was derived from

    @cached_property
    def config(self) -> dict[str, Any]:
        """The folder's `config.json`.

        Raises:
            ValueError: for a damaged file.
        """
        return read_json(self.folder / "config.json")

    @property
    def label_names(self) -> tuple[str, ...]:
        """Label names in order.

        Raises:
            ValueError: unless `id2label` maps 0, 1, ... to names.
        """
        labels, wanted = self.config.get("id2label") or {}, self.config.get("num_labels")
        is_named = isinstance(labels, dict) and all(isinstance(name, str) and name.isprintable() for name in labels.values())
        if not is_named or any(str(i) not in labels for i in range(len(labels))):
            raise ValueError(f"{self.folder / 'config.json'} has id2label {labels!r:.80}; it must map 0, 1, ... to names")
        if labels and wanted is not None and wanted != len(labels):
            raise ValueError(f"{self.folder / 'config.json'} has {len(labels)} labels, but num_labels is {wanted!r:.80}")
        return tuple(labels[str(i)] for i in range(len(labels)))

    @property
    def record(self) -> dict[str, Any]:
        """How it was trained: loss curve, distance from the pretrained weights, stability, seconds. Empty if not by us."""
        path = self.folder / "training.json"
        return json.loads(path.read_text(encoding="utf-8")) if path.is_file() else {}

    @property
    def instability(self) -> str:
        """What went wrong in its training, "" if nothing did, or if nothing is known of it."""
        return self.record.get("instability", "")

    @property
    def distance(self) -> float:
        """Euclidean distance from the weights before fine-tuning; NaN for a model of elsewhere."""
        return self.record.get("distance", math.nan)

    def state_dict(self) -> StateDict:
        """All tensors; recently used ones stay in memory as long as they are small. Do not modify them."""
        return _load_weights(self)

    def source(self) -> ModelSource:
        """The weights as merges read them: from memory, or row by row from the files of a large model."""
        from lib.merging.sources import StateDictSource
        from lib.models.adapters import open_model

        if self.n_bytes <= MAX_BYTES_IN_MEMORY // MODELS_IN_MEMORY:
            return StateDictSource(self.state_dict(), self.name)
        return open_model(self.folder, self.name)

    @property
    def n_bytes(self) -> int:
        """Size of the weights, of an adapter those of the whole model."""
        from lib.models.adapters import is_adapted, open_model

        if is_adapted(self.folder):
            return sum(info.n_bytes for info in open_model(self.folder, self.name).tensors.values())
        return sum(path.stat().st_size for path in weight_files(self.folder))

    def logits(self, texts: Texts) -> np.ndarray:
        """Logits in float32, shape (n, n_labels), one row per text in order."""
        from lib.models.prediction import logits_of

        return logits_of(self, texts)


def load_checkpoint(folder: str | Path) -> Checkpoint:
    """A checkpoint from any folder, e.g. a suspicious download; its weights may be in shards.

    Raises:
        ValueError: if the folder does not exist, or lacks config, weights or one of their shards.
    """
    from lib.models.adapters import open_model

    folder = Path(folder).expanduser()
    if not folder.is_dir():
        raise ValueError(f"model folder {folder} does not exist")
    resolve_pretrained(str(folder))
    open_model(folder, folder.name)  # reads the headers: are all shards there?
    return Checkpoint(folder.resolve(), f"folder-{fingerprint(str(folder))}", folder.name)


_in_memory: LRUCache[str, StateDict] = LRUCache(
    MAX_BYTES_IN_MEMORY, getsizeof=lambda tensors: sum(tensor.nbytes for tensor in tensors.values())
)


def _load_weights(checkpoint: Checkpoint) -> StateDict:
    from lib.models.adapters import read_weights

    place = f"{checkpoint.folder} {checkpoint.key}"
    if place in _in_memory:
        return _in_memory[place]
    weights = read_weights(checkpoint.folder)
    with suppress(ValueError):  # larger than the whole cache: it is not kept
        _in_memory[place] = weights
    return weights
