"""A merged model: which checkpoints, how; its weights are computed when they are needed."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from lib.folders import copy_model_files, new_folder
from lib.merging import StateDict, get_merge_method, merge_state_dicts
from lib.models.checkpoints import WEIGHTS, Checkpoint
from lib.models.compatibility import check_compatible


@dataclass(frozen=True)
class MergedModel:
    """The merge of `parents` by `method`. `key` identifies it, so that its scores can be kept."""

    parents: tuple[Checkpoint, ...]
    method: str
    settings: dict[str, Any] = field(default_factory=dict)
    pretrained: Checkpoint | None = None  # the common starting point, for methods with task vectors
    statistics: dict[str, tuple[Checkpoint, ...]] = field(default_factory=dict)  # "fishers" or "grams" of each parent

    @property
    def key(self) -> str:
        """A hash of parents, method, settings, and what else went into the merge."""
        content: list[Any] = [[parent.key for parent in self.parents], self.method, self.settings]
        if self.pretrained:
            content.append(self.pretrained.key)
        if self.statistics:
            content.append({kind: [each.key for each in measured] for kind, measured in self.statistics.items()})
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
        return merge_state_dicts(
            [parent.state_dict() for parent in self.parents],
            self.method,
            [parent.name for parent in self.parents],
            pretrained=self.pretrained.state_dict() if self.pretrained else None,
            statistics={kind: [each.state_dict() for each in measured] for kind, measured in self.statistics.items()},
            **self.settings,
        )

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
    models: Sequence[Checkpoint],
    method: str = "weight_average",
    weights: Sequence[float] | None = None,
    *,
    pretrained: Checkpoint | None = None,
    statistics: Mapping[str, Sequence[Checkpoint]] | None = None,
    **settings: Any,
) -> MergedModel:
    """Merge checkpoints after checking that architecture, labels and tokenizers agree.

    Args:
        models: at least one checkpoint.
        method: a key of `MERGE_METHODS`.
        weights: one per model; averages sum to 1 (default 1/n each), task vectors take them as they are (default 1 each).
        pretrained: the common starting point, for methods with task vectors.
        statistics: "fishers" or "grams" of each model, for methods that need them.
        settings: further arguments of the method.

    Raises:
        ValueError: for no model, an unknown method or setting, wrong weights, or models that do not fit together.
    """
    merge_method = get_merge_method(method)
    if not models:
        raise ValueError("no model to merge; give at least one")
    check_compatible([*models, *([pretrained] if pretrained else [])])
    checked = merge_method.checked(len(models), weights, pretrained is not None, **settings)
    known = {kind: tuple(measured) for kind, measured in (statistics or {}).items()}
    return MergedModel(tuple(models), method, checked, pretrained, known)
