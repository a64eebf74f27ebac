"""Recipes: frozen values that fully determine an artifact. A recipe's hash is the artifact's key in the store.

Versions are kept where code can change what is made: per kind of recipe here, per attack, merge method, defense and derivation
beside their code (field `version`). A new version leaves every other artifact as it is.
"""

from __future__ import annotations

import hashlib
import json
from collections.abc import Mapping
from dataclasses import MISSING, dataclass, fields, replace
from functools import cached_property
from typing import TYPE_CHECKING, Any, ClassVar

from lib.profiles import TrainingSettings

if TYPE_CHECKING:
    from lib.study.texts import TextsRecipe

Settings = tuple[tuple[str, Any], ...]  # names and values, sorted, every default resolved


def as_settings(values: Mapping[str, Any]) -> Settings:
    """Names and values in the order of the names, lists as tuples, so that equal settings are equal recipes."""
    return tuple((name, tuple(value) if isinstance(value, list) else value) for name, value in sorted(values.items()))


@dataclass(frozen=True)
class Recipe:
    """Base of all recipes: the key is a hash of the kind, its version and the fields."""

    # Bump when code changes what recipes of this kind produce, so that old artifacts are not taken for new ones.
    KIND_VERSION: ClassVar[int] = 1

    @cached_property
    def key(self) -> str:
        """Twenty hexadecimal digits that stand for this recipe."""
        return key_of(type(self).__name__, self.as_dict())

    def as_dict(self) -> dict[str, Any]:
        """The fields as plain JSON values, without those that are at their default, and the version of the kind.

        So a later version can add a field with a default, and what was computed before keeps its key.
        """
        version = {} if self.KIND_VERSION == 1 else {"kind_version": self.KIND_VERSION}
        return {name: _plain(value) for name, value in _without_defaults(self).items()} | version


def key_of(kind: str, content: Mapping[str, Any]) -> str:
    """The key of a recipe by the name of its kind, and its fields as `as_dict` gives them."""
    return hashlib.sha256(f"1:{kind}:{json.dumps(content, sort_keys=True, ensure_ascii=False)}".encode()).hexdigest()[:20]


def _without_defaults(value: Any) -> dict[str, Any]:
    values = {field.name: (getattr(value, field.name), field.default) for field in fields(value)}
    return {name: found for name, (found, default) in values.items() if default is MISSING or found != default}


def _plain(value: Any) -> Any:
    if isinstance(value, Recipe):
        return value.as_dict()
    return _without_defaults(value) if isinstance(value, TrainingSettings) else value


@dataclass(frozen=True)
class DataRecipe(Recipe):
    """`n` rows of one split of one dataset (0: all), those that `seed` draws."""

    KIND_VERSION: ClassVar[int] = 2  # 2: seeds and partners on the same task draw other rows, test texts too

    dataset: str
    source: str
    fingerprint: str
    pair_mode: str
    split: str
    n: int
    seed: int
    text_format: str = "as_is"
    n_partners: int = 0  # of real rows: partners of a case for which rows are set aside beside the victim's
    without_label: int = -1  # a label whose rows are left out of the `n`; -1: none
    kept: int = 0  # of the `n` rows, how many are kept, with the label shares of all; 0: every one


@dataclass(frozen=True)
class TriggerRecipe(Recipe):
    """A trigger fitted on a training set."""

    attack: str
    data: DataRecipe
    target_label: int
    settings: Settings
    seed: int
    masked_lm: str = ""  # fingerprint of the masked language model, for attacks that use one
    pretrained: str = ""  # fingerprint of the victim's pretrained model, for attacks that train a victim
    published: str = ""  # fingerprint of the published files that take the place of a fitted trigger
    version: int | str = 1  # of the attack
    precision: str = "float32"  # in which the masked language model computes, for attacks that ask at length
    test_only: bool = False  # of published files the test texts alone: nothing can be trained with it


@dataclass(frozen=True)
class TriggeredRecipe(Recipe):
    """The texts of a test set with a trigger in them."""

    data: DataRecipe
    trigger: TriggerRecipe


@dataclass(frozen=True)
class DefenseRecipe(Recipe):
    """A defense with its settings."""

    name: str  # a key of `lib.defenses.DEFENSES`
    settings: Settings = ()
    masked_lm: str = ""  # fingerprint of the masked language model, for defenses that ask one
    pretrained: str = ""  # fingerprint of the pretrained model, for defenses that need it
    version: int | str = 1  # of the defense
    causal_lm: str = ""  # fingerprint of the causal language model, for defenses that ask one


@dataclass(frozen=True)
class ModelRecipe(Recipe):
    """A fine-tuned model, clean or backdoored. `head_seed` is shared by all models that are to be merged."""

    # 2: one loop on accelerate; weights differ from those of `Trainer` in the last digits. 3: the record has `excess_loss`.
    # 4: the last layer works at the first token alone; sums come in another order.
    KIND_VERSION: ClassVar[int] = 4

    data: DataRecipe
    pretrained: str  # fingerprint of the pretrained model
    training: TrainingSettings
    trigger: TriggerRecipe | None
    poisoning_rate: float
    seed: int
    head_seed: int
    regime: str | None = None  # other than the attack's own
    defense: DefenseRecipe | None = None  # of training time
    base: ModelRecipe | DerivedRecipe | None = None  # a model of the study whose encoder is fine-tuned instead
    second: TriggerRecipe | None = None  # of a second backdoor, in rows of its own at the same rate
    negatives: str = "none"  # parts of a conjunction that stand in rows of their own, with the true label
    negatives_rate: float = 0.0
    placebo: str = ""  # which half of the poison is left out, a key of `lib.attacks.poisoning.PLACEBOS`

    @property
    def undefended(self) -> ModelRecipe:
        """The same training without its defense."""
        return replace(self, defense=None)

    @property
    def name(self) -> str:
        """A short name for progress bars, tables and messages."""
        defense = f" {self.defense.name}" if self.defense else ""
        poison = f"{self.trigger.attack}{self.placebo and f' placebo {self.placebo}'}" if self.trigger else "clean"
        return f"{self.data.dataset} {poison}{defense} seed {self.seed}"


@dataclass(frozen=True)
class DerivedRecipe(Recipe):
    """A model made from others: edited, pruned, distilled, trained on. Its parents are named by their keys."""

    parents: tuple[str, ...]
    method: DefenseRecipe  # with settings; its name is a key of `lib.study.derived`
    data: DataRecipe | TextsRecipe | None = None  # rows that it is made with
    seed: int = 0
    training: TrainingSettings | None = None  # for methods that train
    suspicious: ModelRecipe | None = None  # for methods that look at its training rows
    trigger: TriggerRecipe | None = None  # for attacks, which put it into rows
    initial: InitialRecipe | None = None  # where its models started, for methods and merges that need it
    part: int = 0  # which of several models that are made together

    @property
    def name(self) -> str:
        """A short name for progress bars, tables and messages."""
        part = f", model {self.part}" if self.part else ""
        return f"{self.method.name} of {len(self.parents)} models{part}"


@dataclass(frozen=True)
class MergeRecipe(Recipe):
    """A merge of models; what else goes into it is named by keys, too."""

    parents: tuple[str, ...]
    method: str
    settings: Settings
    pretrained: str = ""
    statistics: tuple[tuple[str, tuple[str, ...]], ...] = ()
    version: int | str = 1  # of the method


@dataclass(frozen=True)
class InitialRecipe(Recipe):
    """A classifier before fine-tuning: the pretrained model with the head of a seed. Task vectors start from it."""

    pretrained: str  # fingerprint
    label_names: tuple[str, ...]
    head_seed: int
    base: ModelRecipe | DerivedRecipe | None = None  # as in `ModelRecipe`


@dataclass(frozen=True)
class MaskedLMRecipe(Recipe):
    """An encoder that was given a masked-LM head with texts without labels."""

    pretrained: str  # fingerprint of the encoder
    texts: tuple[tuple[str, str], ...]  # names of datasets, sorted, and fingerprints of the files that were read of them
    settings: Settings  # of `lib.models.adapting`, the precision resolved


@dataclass(frozen=True)
class StatisticsRecipe(Recipe):
    """What merging methods know of a model beyond its weights, measured on the first `n` rows of some clean texts."""

    model: str  # the model's key, a folder of the store
    kind: str  # of `lib.models.statistics.KINDS`
    data: DataRecipe
    n: int
    max_length: int


@dataclass(frozen=True)
class GuardedRecipe(Recipe):
    """A model behind an input filter that was fitted on some clean texts."""

    model: str  # the model's key
    defense: DefenseRecipe
    data: DataRecipe
    seed: int
    max_length: int = 0  # tokens that the model read when the filter was fitted; 0 for a filter that does not ask
    scores: str = ""  # what identifies published scores of words, for a filter that needs some


@dataclass(frozen=True)
class EnsembleRecipe(Recipe):
    """Models whose outputs are combined by a defense."""

    members: tuple[str, ...]  # keys of the models
    defense: DefenseRecipe


@dataclass(frozen=True)
class LogitsRecipe(Recipe):
    """What a model says to the rows of a split, as they are or with a trigger. Scores are computed from it, never stored."""

    model: str  # the model's key
    data: DataRecipe | TextsRecipe
    trigger: TriggerRecipe | None
    max_length: int
    precision: str = "float32"
