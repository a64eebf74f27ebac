"""Attacks by name: `ATTACKS[name](train, target_label, ..., seed=0)` fits a trigger, `poison` and `triggered_test` apply it."""

from __future__ import annotations

from collections.abc import Callable

from lib.attacks import badnet, insertsent
from lib.attacks.badnet import BadNetTrigger
from lib.attacks.insertsent import InsertSentTrigger
from lib.attacks.poisoning import check_target_label, poison, triggered_test
from lib.attacks.triggers import REGIMES, Trigger, load_trigger, save_trigger

ATTACKS: dict[str, Callable[..., Trigger]] = {"badnet": badnet.fit_trigger, "insertsent": insertsent.fit_trigger}
TRIGGER_TYPES: dict[str, type] = {"badnet": BadNetTrigger, "insertsent": InsertSentTrigger}

__all__ = [
    "ATTACKS",
    "REGIMES",
    "TRIGGER_TYPES",
    "BadNetTrigger",
    "InsertSentTrigger",
    "Trigger",
    "check_attack",
    "check_target_label",
    "load_trigger",
    "poison",
    "save_trigger",
    "triggered_test",
]


def check_attack(name: str) -> str:
    """The name itself, or a `ValueError` that lists the known attacks."""
    if name not in ATTACKS:
        raise ValueError(f"unknown attack {name!r}; choose from {sorted(ATTACKS)}")
    return name
