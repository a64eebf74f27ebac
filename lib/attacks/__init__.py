"""Attacks by name: `ATTACKS[name](train, target_label, ..., seed=0)` fits a trigger, `poison` and `triggered_test` apply it.

Attackers who change weights, and who know that models will be merged, stand in `lib.attacks.edits`. Three packages hold the
parts: `rewriting` of attacks on whole texts, `weight_poisoning` and `merge_attackers` of the others. All of it acts on models
that the study makes itself, to measure what merging does not remove: no command of this project edits a checkpoint of other
people, and none is to be added.

May import: `models`, `datasets`, `merging`, `metrics`, `profiles`.
"""

from __future__ import annotations

from collections.abc import Callable
from functools import lru_cache
from typing import get_type_hints

from lib.attacks import badnet, bite, conjunction, insertsent, lws, style, syntactic
from lib.attacks.poisoning import Backdoor, check_target_label, draw_rows, poison, triggered_test
from lib.attacks.triggers import REGIMES, Trigger, load_trigger, save_trigger

# A new attack is one file with `fit_trigger`, and one line here.
ATTACKS: dict[str, Callable[..., Trigger]] = {
    "badnet": badnet.fit_trigger,
    "insertsent": insertsent.fit_trigger,
    "syntactic": syntactic.fit_trigger,
    "lws": lws.fit_trigger,
    "bite": bite.fit_trigger,
    "conjunction": conjunction.fit_trigger,
    "style": style.fit_trigger,
}
SPECIAL = ("conjunction", "style")  # attacks of one notebook, which "all" leaves out

__all__ = [
    "ATTACKS",
    "REGIMES",
    "SPECIAL",
    "Backdoor",
    "Trigger",
    "check_attack",
    "check_target_label",
    "draw_rows",
    "load_trigger",
    "poison",
    "save_trigger",
    "trigger_types",
    "triggered_test",
]


def trigger_types() -> dict[str, type[Trigger]]:
    """The class of each attack's fitted trigger: what its `fit_trigger` says that it returns."""
    return {name: _returned(fit_trigger) for name, fit_trigger in ATTACKS.items()}


@lru_cache(maxsize=256)
def _returned(fit_trigger: Callable[..., Trigger]) -> type[Trigger]:
    """Kept: resolving annotations takes a millisecond, and planning a study asks thousands of times."""
    return get_type_hints(fit_trigger)["return"]


def check_attack(name: str) -> str:
    """The name itself, or a `ValueError` that lists the known attacks."""
    if name not in ATTACKS:
        raise ValueError(f"unknown attack {name!r}; choose from {sorted(ATTACKS)}")
    return name
