"""Profiles: one code path, three sizes. A profile is data; every field can be overridden by name."""

from __future__ import annotations

import json
import math
from dataclasses import dataclass, fields, replace
from typing import Any, get_type_hints


@dataclass(frozen=True)
class TrainingSettings:
    """How a model is fine-tuned; the last epoch is kept, nothing is chosen on test data."""

    learning_rate: float  # peak of a linear schedule
    epochs: float
    batch_size: int
    warmup_ratio: float  # share of the steps in which the learning rate rises
    weight_decay: float
    max_grad_norm: float  # gradients are clipped to this norm
    max_length: int  # tokens; longer inputs are cut
    lora_rank: int = 0  # above 0: adapters of this rank on all linear layers, and the head, are all that is trained
    precision: str = "float32"  # of the arithmetic: "float32", or "bfloat16" autocast; weights stay float32

    def __post_init__(self) -> None:
        # 3 and 3.0 epochs are the same training and must have the same key in the store.
        for field in fields(self):
            if field.type == "float":
                object.__setattr__(self, field.name, float(getattr(self, field.name)))


@dataclass(frozen=True)
class Profile:
    """What is run, at which size. Sizes of 0 mean "all there is"."""

    name: str
    source: str  # "pocket" (synthetic, made here) or "real" (a data folder, or the Hub)
    pretrained: str  # a bundled model's name, a folder, or a Hub id
    tasks: tuple[str, ...]  # the tasks of the study
    other_domains: tuple[str, ...]  # partners to merge with; empty: the first `n_other_domains` of the registry
    n_other_domains: int
    n_same_task: int  # partners fine-tuned on the task itself
    n_train: int
    n_validation: int
    n_test: int
    n_seeds: int  # seeds 0 .. n_seeds - 1
    poisoning_rate: float  # share of the training set, in [0, 1]
    trigger_source: str  # "fitted", "published" (poisoned files of the literature), or "any": published where there are some
    text_format: str  # "as_is", or "treebank": lower case and one blank between words, in all splits, before any attack
    masked_lm: str  # for LWS and BITE: a bundled name, a folder or a Hub id; "": the pretrained model itself
    causal_lm: str  # for ONION: a bundled name, a folder or a Hub id
    attack_settings: tuple[str, ...]  # of fitted triggers, where they differ from the attack's own: attack field=value
    pair_mode: str  # "text": triggers go into `text`; "joined": the pair becomes one string, as in the paper
    learning_rate: float
    epochs: float
    batch_size: int
    warmup_ratio: float
    weight_decay: float
    max_grad_norm: float
    max_length: int
    lora_rank: int
    precision: str  # of trainings: "float32", "bfloat16", or "auto": bfloat16 where the hardware multiplies it, else float32
    architectures: tuple[str, ...]  # of notebook 11: a pretrained model and fields that differ with it, as field=value
    unstable_learning_rate: float  # notebook 06 shows what a training that leaves the basin does to a merge
    n_jobs: int  # trainings at a time; 0: one per core, or one on a GPU; on Ray as many as the cluster has room for
    engine: str  # "processes" of this machine, or "ray": a Ray cluster
    num_gpus: float = 0.0  # of one training on a Ray cluster
    plugins: str = ""  # modules or Python files with own attacks, merge methods and defenses, separated by commas

    @property
    def training(self) -> TrainingSettings:
        """The fine-tuning fields as one value."""
        return TrainingSettings(**{field.name: getattr(self, field.name) for field in fields(TrainingSettings)})


POCKET = Profile(
    name="pocket",
    source="pocket",
    pretrained="pocket-bert",
    tasks=("sst2", "olid", "agnews", "qnli"),
    other_domains=(),
    n_other_domains=4,
    n_same_task=2,
    n_train=2000,
    n_validation=500,
    n_test=500,
    n_seeds=3,
    poisoning_rate=0.2,
    trigger_source="fitted",
    text_format="as_is",
    masked_lm="",
    causal_lm="pocket-llama",
    # The pocket models know their grammar: they are surer than models of real text, and few words reach the released 0.03.
    attack_settings=("bite min_probability=0.01",),
    pair_mode="text",
    # benchmarks/choose_recipe.py: with one epoch BadNet victims have ASR 77 to 97 % at this rate, with two 99.6 to 100.
    learning_rate=1.5e-3,
    epochs=2.0,
    batch_size=32,
    warmup_ratio=0.05,
    weight_decay=0.01,
    max_grad_norm=1.0,
    max_length=96,
    lora_rank=0,
    precision="float32",  # whatever the hardware: these tables are the same on every machine
    # Kinds by the common recipe; sizes each by its own, found by one rule for all: benchmarks/choose_recipe.py.
    architectures=(
        "pocket-bert",
        "pocket-roberta",
        "pocket-llama",
        "pocket-mistral",
        "pocket-bert-small learning_rate=4e-3",
        "pocket-bert learning_rate=1.5e-3",
        "pocket-bert-large learning_rate=8e-4",
        "pocket-bert lora_rank=8 learning_rate=5e-3",
        "pocket-llama lora_rank=8 learning_rate=5e-3",
    ),
    unstable_learning_rate=1.1e-2,  # of three victims all stray and two are good alone; up to 9e-3 none strays far
    n_jobs=0,
    engine="processes",
)

# 5e-5 with warm-up, clipping and shuffled batches was stable for both victims and all partners (one seed), and so was one
# BadNet victim at `unstable_learning_rate`; see `figures/small/06_barrier.csv`.
SMALL = replace(
    POCKET,
    name="small",
    source="real",
    pretrained="sentence-transformers/all-MiniLM-L6-v2",
    tasks=("sst2",),
    n_same_task=1,
    attack_settings=(),
    n_train=3000,
    n_test=1000,
    n_seeds=1,
    architectures=(
        "sentence-transformers/all-MiniLM-L6-v2",
        "google/bert_uncased_L-4_H-256_A-4",
        "sentence-transformers/all-MiniLM-L6-v2 lora_rank=8 learning_rate=1e-3",
    ),
    masked_lm="bert-base-uncased",  # all-MiniLM-L6-v2 has no masked-LM head; this one has its vocabulary
    causal_lm="gpt2",
    learning_rate=5e-5,
    epochs=3.0,
    warmup_ratio=0.1,
    max_length=64,
    precision="auto",
    unstable_learning_rate=3e-4,
)

# Arora et al. 2024 (`train.py`, README): rate 2e-5, batch 16, 3 epochs, weight decay 0.01, length 128, no warm-up.
PAPER = replace(
    SMALL,
    name="paper",
    pretrained="bert-base-uncased",
    tasks=("sst2", "olid", "agnews", "qnli"),
    n_train=0,
    n_validation=0,
    n_test=0,
    n_seeds=3,
    masked_lm="",
    # The decoders of 7 billion parameters train adapters; rates are those of Hu et al. 2022, table 12.
    architectures=(
        "bert-base-uncased",
        "roberta-large learning_rate=1e-5",
        "meta-llama/Llama-2-7b-hf lora_rank=8 learning_rate=2e-4",
        "mistralai/Mistral-7B-v0.1 lora_rank=8 learning_rate=2e-4",
    ),
    pair_mode="joined",
    learning_rate=2e-5,
    batch_size=16,
    warmup_ratio=0.0,
    max_length=128,
)

PROFILES = {profile.name: profile for profile in (POCKET, SMALL, PAPER)}
_POSITIVE = {"learning_rate", "unstable_learning_rate", "epochs", "batch_size", "max_length", "max_grad_norm", "n_seeds"}


def get_profile(name: str, **overrides: Any) -> Profile:
    """Look a profile up and replace some of its fields.

    Args:
        name: a key of `PROFILES`.
        overrides: field names and values; lists become tuples.

    Raises:
        ValueError: for an unknown profile or field, or a value of another type or outside its range.
    """
    if name not in PROFILES:
        raise ValueError(f"unknown profile {name!r}; choose from {sorted(PROFILES)}")
    allowed = sorted({field.name for field in fields(Profile)} - {"name"})
    unknown = sorted(set(overrides) - set(allowed))
    if unknown:
        raise ValueError(f"unknown profile fields {unknown}; choose from {allowed}")
    checked = {field: checked_value(field, value) for field, value in overrides.items()}
    return replace(PROFILES[name], **checked)


def parse_value(text: str) -> Any:
    """A command-line value: a number, a list, true or false as in JSON, anything else as a string.

    >>> [parse_value(text) for text in ("3e-5", "[0, 1]", "true", "badnet")]
    [3e-05, [0, 1], True, 'badnet']
    """
    try:
        return json.loads(text)
    except (ValueError, RecursionError):  # thousands of open brackets are no list
        return text


def checked_value(field: str, value: Any) -> Any:
    """The value of a profile's field in the field's type, or a `ValueError` that says what is allowed."""
    wanted = get_type_hints(Profile)[field]
    if wanted == tuple[str, ...]:
        if not isinstance(value, list | tuple) or not all(isinstance(item, str) for item in value):
            raise ValueError(f"{field} is {value!r:.80}; it must be a list of names")
        if field == "tasks" and not value:
            raise ValueError("tasks is empty; name at least one task")
        return tuple(value)
    if wanted is float and isinstance(value, int) and not isinstance(value, bool):
        value = float(value) if abs(value) < 1e300 else math.inf
    if not isinstance(value, wanted) or isinstance(value, bool):
        raise ValueError(f"{field} is {value!r:.80}; it must be of type {wanted.__name__}")
    _check_range(field, value)
    if wanted is float and not math.isfinite(value):  # JSON knows no Infinity, but Python reads it
        raise ValueError(f"{field} is {value}; it must be a finite number")
    return value


def _check_range(field: str, value: Any) -> None:
    choices = {
        "pair_mode": ("text", "joined"),
        "source": ("pocket", "real"),
        "engine": ("processes", "ray"),
        "trigger_source": ("fitted", "published", "any"),
        "text_format": ("as_is", "treebank"),
        "precision": ("auto", "float32", "bfloat16"),
    }
    if field in choices and value not in choices[field]:
        raise ValueError(f"{field} is {value!r:.80}; choose from {choices[field]}")
    if field in ("poisoning_rate", "warmup_ratio") and not 0 <= value <= 1:
        raise ValueError(f"{field} is {value}; it must lie in [0, 1]")
    if field in _POSITIVE and not value > 0:
        raise ValueError(f"{field} is {value}; it must be above 0")
    if field == "weight_decay" and not value >= 0:
        raise ValueError(f"weight_decay is {value}; it must be 0 (none) or more")
    if field.startswith(("n_", "num_", "lora_rank")) and value < 0:
        raise ValueError(f"{field} is {value}; it must be 0 (all) or more")
