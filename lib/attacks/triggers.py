"""What a fitted trigger is, and how it is saved and loaded."""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from dataclasses import asdict
from pathlib import Path
from typing import Any, ClassVar, Protocol, runtime_checkable

import numpy as np

# Which rows may be poisoned, and what happens to their label:
# mixed: any row, label set to the target; dirty: rows of other labels, label set to the target; clean: rows of the target
# label, label kept.
REGIMES = ("mixed", "dirty", "clean")


@runtime_checkable
class Trigger(Protocol):
    """A fitted trigger: a frozen dataclass of JSON values that is called on a batch of texts."""

    attack: ClassVar[str]  # its key in `ATTACKS`
    regime: ClassVar[str]  # the attack's usual label regime, one of `REGIMES`

    def __call__(self, texts: Sequence[str], rng: np.random.Generator) -> list[str]:
        """Return one triggered text per text, in order; the input is not modified."""
        ...


def save_trigger(trigger: Trigger, path: Path) -> None:
    """Write a fitted trigger as JSON: the attack's name and the trigger's fields."""
    content = {"attack": trigger.attack, "fields": asdict(trigger)}  # type: ignore[call-overload]
    path.write_text(json.dumps(content, indent=1, ensure_ascii=False), encoding="utf-8")


def load_trigger(path: Path, trigger_types: Mapping[str, type]) -> Trigger:
    """Read a fitted trigger; applied with the same generator it gives the same texts as before it was saved.

    Raises:
        ValueError: when the file names an attack that is not in `trigger_types`.
    """
    content: dict[str, Any] = json.loads(path.read_text(encoding="utf-8"))
    if content["attack"] not in trigger_types:
        raise ValueError(f"{path} holds a trigger of {content['attack']!r}; known are {sorted(trigger_types)}")
    fields = {name: _frozen(value) for name, value in content["fields"].items()}
    return trigger_types[content["attack"]](**fields)


def _frozen(value: Any) -> Any:
    """JSON's lists as the tuples that they were."""
    if isinstance(value, list):
        return tuple(map(_frozen, value))
    return {key: _frozen(item) for key, item in value.items()} if isinstance(value, dict) else value
