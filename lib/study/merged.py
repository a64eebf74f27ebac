"""A merged model: which checkpoints, how; its weights are computed when they are needed."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from functools import cached_property
from pathlib import Path
from typing import TYPE_CHECKING, Any

from lib.folders import copy_model_files, new_folder
from lib.merging import StateDict, StateDictSource, get_merge_method
from lib.merging.state_dicts import merge_sources, tied_tensors
from lib.models.checkpoints import WEIGHTS, Checkpoint
from lib.models.compatibility import check_compatible
from lib.study.plugins import version_of
from lib.study.recipes import MergeRecipe, as_settings

if TYPE_CHECKING:
    import numpy as np

    from lib.models.prediction import Texts
    from lib.study.study import Study


@dataclass(frozen=True)
class MergedModel:
    """The merge of `parents` by `method`. `key` identifies it, so that what it says can be kept."""

    parents: tuple[Checkpoint, ...]
    method: str
    settings: dict[str, Any] = field(default_factory=dict)  # every default resolved
    pretrained: Checkpoint | None = None  # the common starting point, for methods with task vectors
    statistics: dict[str, tuple[Checkpoint, ...]] = field(default_factory=dict)  # "fishers" or "grams" of each parent

    @property
    def recipe(self) -> MergeRecipe:
        """Parents, method, settings, and what else went into the merge."""
        method = get_merge_method(self.method)
        measured = {kind: tuple(each.key for each in checkpoints) for kind, checkpoints in self.statistics.items()}
        return MergeRecipe(
            tuple(parent.key for parent in self.parents),
            self.method,
            as_settings(self.settings),
            self.pretrained.key if self.pretrained else "",
            as_settings(measured),
            version_of(method.merge, method.version),
        )

    @cached_property
    def key(self) -> str:
        """What identifies the merge."""
        return self.recipe.key

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
        """Compute the merged weights; large parents are read row by row, never whole."""
        sources = [parent.source() for parent in self.parents]
        first = self.parents[0]
        tied = tied_tensors(first.state_dict()) if isinstance(sources[0], StateDictSource) else {}
        return merge_sources(
            sources,
            self.method,
            pretrained=self.pretrained.source() if self.pretrained else None,
            statistics={kind: [each.source() for each in measured] for kind, measured in self.statistics.items()},
            tied=tied,
            **self.settings,
        )

    def logits(self, texts: Texts) -> np.ndarray:
        """Logits in float32, shape (n, n_labels), one row per text in order."""
        from lib.models.prediction import logits_of

        return logits_of(self, texts)

    def save(self, folder: str | Path) -> Path:
        """Write a complete model in Hugging Face format, whole or not at all.

        Raises:
            ValueError: if the folder exists.
        """
        with new_folder(folder) as temporary:
            self.write(temporary)
        return Path(folder)

    def write(self, folder: Path) -> None:
        """Write weights, configuration and tokenizer into an existing folder."""
        from safetensors.torch import save_file

        copy_model_files(self.folder, folder)
        save_file(self.state_dict(), folder / WEIGHTS, metadata={"format": "pt"})


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


def needed_beside(study: Study, models: Sequence[Checkpoint], method: str, settings: Mapping[str, Any]) -> dict[str, Any]:
    """What a method needs beside models of this study, unless the settings have it.

    That is the classifier before fine-tuning, and Fisher information or inputs of linear layers on clean validation texts of
    each model's own dataset. The weights of the merge are computed when they are needed.
    """
    needs, found = get_merge_method(method).needs if models else (), dict[str, Any]()
    if "pretrained" not in settings and ("pretrained" in needs or settings.get("on") == "task_vectors"):
        found["pretrained"] = study.planner.initial(models)
    if "statistics" not in settings and (kinds := [need for need in needs if need != "pretrained"]):
        found["statistics"] = {kind: study.measure(kind, models) for kind in kinds}
    return found
