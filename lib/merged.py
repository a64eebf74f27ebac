"""A merged model: which checkpoints, how; its weights are computed when they are needed."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from lib.compatibility import check_compatible
from lib.folders import copy_model_files, new_folder
from lib.merging import StateDict, check_weights, get_merge_method, merge_state_dicts
from lib.models import WEIGHTS, Checkpoint


@dataclass(frozen=True)
class MergedModel:
    """The merge of `parents` by `method`. `key` identifies it, so that its scores can be kept."""

    parents: tuple[Checkpoint, ...]
    method: str
    settings: dict[str, Any] = field(default_factory=dict)

    @property
    def key(self) -> str:
        """A hash of parents, method and settings."""
        content = [[parent.key for parent in self.parents], self.method, self.settings]
        return f"merged-{hashlib.sha256(json.dumps(content, sort_keys=True).encode()).hexdigest()[:20]}"

    @property
    def name(self) -> str:
        """A short name for tables and messages."""
        return f"{self.method} of {', '.join(parent.name for parent in self.parents)}"

    @property
    def folder(self) -> Path:
        """The first parent's folder: its configuration and tokenizer are the merged model's, too."""
        return self.parents[0].folder

    @property
    def label_names(self) -> tuple[str, ...]:
        """Label names in order."""
        return self.parents[0].label_names

    def state_dict(self) -> StateDict:
        """Compute the merged weights."""
        state_dicts = [parent.state_dict() for parent in self.parents]
        return merge_state_dicts(state_dicts, self.method, [p.name for p in self.parents], **self.settings)

    def save(self, folder: str | Path) -> Path:
        """Write a complete model in Hugging Face format, whole or not at all.

        Raises:
            ValueError: if the folder exists.
        """
        from safetensors.torch import save_file

        with new_folder(folder) as temporary:
            copy_model_files(self.folder, temporary)
            save_file(self.state_dict(), temporary / WEIGHTS, metadata={"format": "pt"})
        return Path(folder)


def merge(
    models: Sequence[Checkpoint], method: str = "weight_average", weights: Sequence[float] | None = None, **settings: Any
) -> MergedModel:
    """Merge checkpoints after checking that architecture, labels and tokenizers agree.

    Args:
        models: at least one checkpoint.
        method: a key of `MERGE_METHODS`.
        weights: averaging weights, one per model, summing to 1; default 1/n each.
        settings: further arguments of the method.

    Raises:
        ValueError: for no model, an unknown method, wrong weights, or models that do not fit together.
    """
    get_merge_method(method)
    if not models:
        raise ValueError("no model to merge; give at least one")
    check_compatible(models)
    checked = check_weights(weights, len(models), bool(settings.get("extrapolate", False)))
    return MergedModel(tuple(models), method, {"weights": checked, **settings})
