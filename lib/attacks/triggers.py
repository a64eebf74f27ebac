"""What a fitted trigger is, and how it is saved and loaded."""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from dataclasses import asdict, fields
from pathlib import Path
from typing import Any, ClassVar, Protocol, runtime_checkable

import numpy as np

# Which rows may be poisoned, and what happens to their label:
# mixed: any row, label set to the target; dirty: rows of other labels, label set to the target; clean: rows of the target
# label, label kept.
REGIMES = ("mixed", "dirty", "clean")


@runtime_checkable
class Trigger(Protocol):
    """A fitted trigger: a frozen dataclass of JSON values that is called on a batch of texts.

    A field with the metadata `{"resource": True}` names something that lies elsewhere, such as a model's folder: it is not
    saved, and whoever loads the trigger says where it lies.
    """

    attack: ClassVar[str]  # its key in `ATTACKS`
    regime: ClassVar[str]  # the attack's usual label regime, one of `REGIMES`
    version: ClassVar[int]  # bump when the same settings would give other texts

    def __call__(self, texts: Sequence[str], rng: np.random.Generator) -> list[str]:
        """Return one triggered text per text, in order; the input is not modified."""
        ...


def save_trigger(trigger: Trigger, path: Path) -> None:
    """Write a fitted trigger as JSON: the attack's name and the trigger's fields, resources left out."""
    resources = _resources(type(trigger))
    kept = {name: value for name, value in asdict(trigger).items() if name not in resources}  # type: ignore[call-overload]
    content = {"attack": trigger.attack, "fields": kept}
    path.write_text(json.dumps(content, indent=1, ensure_ascii=False), encoding="utf-8")


def load_trigger(path: Path, trigger_types: Mapping[str, type], resources: Mapping[str, str] | None = None) -> Trigger:
    """Read a fitted trigger; applied with the same generator it gives the same texts as before it was saved.

    Args:
        path: of the file.
        trigger_types: attack -> class of its trigger.
        resources: what a file does not keep, such as `{"masked_lm": "bert-base-uncased"}`; ignored where it is not needed.

    Raises:
        ValueError: when the file names an attack that is not in `trigger_types`, or a resource of its trigger is not given.
    """
    content: dict[str, Any] = json.loads(path.read_text(encoding="utf-8"))
    if content["attack"] not in trigger_types:
        raise ValueError(f"{path} holds a trigger of {content['attack']!r}; known are {sorted(trigger_types)}")
    trigger_type, given = trigger_types[content["attack"]], dict(resources or {})
    needed = _resources(trigger_type)
    if missing := [name for name in needed if name not in given]:
        raise ValueError(
            f"{path}: a trigger of {content['attack']!r} needs {missing}, which no file keeps; given are {sorted(given)}; "
            "name the rest in `resources`"
        )
    kept = {name: _frozen(value) for name, value in content["fields"].items()}
    return trigger_type(**kept, **{name: given[name] for name in needed})


def _resources(trigger_type: type) -> list[str]:
    """Names of the fields that are not saved."""
    return [field.name for field in fields(trigger_type) if field.metadata.get("resource")]


def _frozen(value: Any) -> Any:
    """JSON's lists as the tuples that they were."""
    if isinstance(value, list):
        return tuple(map(_frozen, value))
    return {key: _frozen(item) for key, item in value.items()} if isinstance(value, dict) else value
