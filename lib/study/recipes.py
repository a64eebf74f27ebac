"""Recipes: frozen values that fully determine an artifact. A recipe's hash is the artifact's key in the store."""

from __future__ import annotations

import hashlib
import json
from dataclasses import MISSING, dataclass, fields
from functools import cached_property
from typing import Any

from lib.profiles import TrainingSettings

# Bump when code changes what a recipe produces, so that old artifacts are not taken for new ones.
CODE_VERSION = 1


@dataclass(frozen=True)
class Recipe:
    """Base of all recipes: the key is a hash of the kind, the fields and the version of the code."""

    @cached_property
    def key(self) -> str:
        """Twenty hexadecimal digits that stand for this recipe."""
        content = json.dumps(self.as_dict(), sort_keys=True, ensure_ascii=False)
        return hashlib.sha256(f"{CODE_VERSION}:{type(self).__name__}:{content}".encode()).hexdigest()[:20]

    def as_dict(self) -> dict[str, Any]:
        """The fields as plain JSON values, without those that are at their default.

        So a later version can add a field with a default, and what was computed before keeps its key.
        """
        return {name: _plain(value) for name, value in _without_defaults(self).items()}


def _without_defaults(value: Any) -> dict[str, Any]:
    values = {field.name: (getattr(value, field.name), field.default) for field in fields(value)}
    return {name: found for name, (found, default) in values.items() if default is MISSING or found != default}


def _plain(value: Any) -> Any:
    if isinstance(value, Recipe):
        return value.as_dict()
    return _without_defaults(value) if isinstance(value, TrainingSettings) else value


@dataclass(frozen=True)
class DataRecipe(Recipe):
    """`n` rows of one split of one dataset (0: all), drawn with `seed`."""

    dataset: str
    source: str
    fingerprint: str
    pair_mode: str
    split: str
    n: int
    seed: int
    text_format: str = "as_is"


@dataclass(frozen=True)
class TriggerRecipe(Recipe):
    """A trigger fitted on a training set."""

    attack: str
    data: DataRecipe
    target_label: int
    settings: tuple[tuple[str, Any], ...]
    seed: int
    masked_lm: str = ""  # fingerprint of the masked language model, for attacks that use one
    pretrained: str = ""  # fingerprint of the victim's pretrained model, for attacks that train a victim
    published: str = ""  # fingerprint of the published files that take the place of a fitted trigger


@dataclass(frozen=True)
class TriggeredRecipe(Recipe):
    """The texts of a test set with a trigger in them."""

    data: DataRecipe
    trigger: TriggerRecipe


@dataclass(frozen=True)
class ModelRecipe(Recipe):
    """A fine-tuned model, clean or backdoored. `head_seed` is shared by all models that are to be merged."""

    data: DataRecipe
    pretrained: str  # fingerprint of the pretrained model
    training: TrainingSettings
    trigger: TriggerRecipe | None
    poisoning_rate: float
    seed: int
    head_seed: int
    regime: str | None = None  # other than the attack's own

    @property
    def name(self) -> str:
        """A short name for progress bars, tables and messages."""
        return f"{self.data.dataset} {self.trigger.attack if self.trigger else 'clean'} seed {self.seed}"


@dataclass(frozen=True)
class InitialRecipe(Recipe):
    """A classifier before fine-tuning: the pretrained model with the head of a seed. Task vectors start from it."""

    pretrained: str  # fingerprint
    label_names: tuple[str, ...]
    head_seed: int


@dataclass(frozen=True)
class StatisticsRecipe(Recipe):
    """What merging methods know of a model beyond its weights, measured on the first `n` rows of some clean texts."""

    model: str  # the model's key, a folder of the store
    kind: str  # of `lib.models.statistics.KINDS`
    data: DataRecipe
    n: int
    max_length: int


@dataclass(frozen=True)
class ScoreRecipe(Recipe):
    """A model's score on a test set, clean and (with a trigger) attacked."""

    model: str  # the model's key
    data: DataRecipe
    trigger: TriggerRecipe | None
    max_length: int
