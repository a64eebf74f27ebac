"""Models made from other models: who can make them, by name. Edits, post-training defenses, and later distillation."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Any

from lib.defenses import DEFENSES, Defense
from lib.study.recipes import DataRecipe, DerivedRecipe, ModelRecipe

if TYPE_CHECKING:
    from lib.study.planning import Planner

# Derivations that are no defenses: edits of weights, distillation. Their functions are called as those of `post_training`.
EDITS: dict[str, Defense] = {}


def get_derivation(name: str) -> Defense:
    """What derives a model, by name.

    Raises:
        ValueError: for an unknown name; lists the known ones.
    """
    known = EDITS | {key: defense for key, defense in DEFENSES.items() if defense.kind == "post_training"}
    if name not in known:
        raise ValueError(f"unknown derivation {name!r}; choose from {sorted(known)}")
    return known[name]


def plan_derived(
    planner: Planner,
    method: str,
    parents: Sequence[str],
    data: DataRecipe | None,
    seed: int,
    first: Any,
    settings: Mapping[str, Any],
) -> DerivedRecipe:
    """What determines a model that is made from others.

    Args:
        planner: knows the profile and its models.
        method: a key of `EDITS`, or of `DEFENSES` where it is a defense of the family post_training.
        parents: keys of models, the one to be changed first.
        data: rows that it is made with.
        seed: of whatever is drawn.
        first: recipe of the first parent; some methods look at the rows that it was trained on.
        settings: of the method.

    Raises:
        ValueError: for an unknown method or setting, or a first parent that was not trained in this study where its training
            rows are needed.
    """
    derivation, suspicious = get_derivation(method), None
    if derivation.takes("suspicious_train"):
        if not isinstance(first, ModelRecipe):
            raise ValueError(f"{method} needs the training rows of the suspicious model, which was not trained in this study")
        suspicious = first
    training = planner.training({}) if derivation.takes("training") else None
    recipe = planner.resolved_defense(method, derivation, settings)
    return DerivedRecipe(tuple(parents), recipe, data, seed, training, suspicious)
