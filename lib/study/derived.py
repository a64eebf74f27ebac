"""Models made from other models: who can make them, by name. Attackers' edits, repairs, distillation, re-basin."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from typing import TYPE_CHECKING, Any

from lib.attacks.edits import ATTACKER_EDITS
from lib.defenses import DEFENSES, Defense
from lib.models.distillation import distil
from lib.models.rebasin import rebasin
from lib.study.recipes import DataRecipe, DerivedRecipe, InitialRecipe, ModelRecipe, TriggerRecipe
from lib.study.texts import TextsRecipe

if TYPE_CHECKING:
    from lib.models.checkpoints import Checkpoint
    from lib.study.planning import Planner

# Derivations that are no defenses: edits of weights, distillation. Their functions are called as those of `post_training`.
EDITS: dict[str, Defense] = {
    name: Defense("post_training", edit.function, version=edit.version) for name, edit in ATTACKER_EDITS.items()
}
EDITS |= {"distil": Defense("post_training", distil), "rebasin": Defense("post_training", rebasin)}


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
    data: DataRecipe | TextsRecipe | None,
    seed: int,
    first: Any,
    settings: Mapping[str, Any],
    trigger: TriggerRecipe | None = None,
    part: int = 0,
) -> DerivedRecipe:
    """What determines a model that is made from others.

    Args:
        planner: knows the profile and its models.
        method: a key of `EDITS`, or of `DEFENSES` where it is a defense of the family post_training.
        parents: keys of models, the one to be changed first.
        data: rows that it is made with.
        seed: of whatever is drawn.
        first: recipe of the first parent, or of a model with the same start, or that start; some methods look at the rows
            that it was trained on, or begin where it began.
        settings: of the method.
        trigger: of an attack that trains.
        part: which of the models that the method makes together, from 0.

    Raises:
        ValueError: for an unknown method or setting, an attack without its trigger, or a first parent that was not trained in
            this study where its training rows or its start are needed.
    """
    derivation, suspicious = get_derivation(method), None
    if derivation.takes("suspicious_train"):
        if not isinstance(first, ModelRecipe):
            raise ValueError(f"{method} needs the training rows of the suspicious model, which was not trained in this study")
        suspicious = first
    if derivation.takes("backdoor") and trigger is None:
        raise ValueError(f"{method} puts a trigger into rows; give a trigger")
    # Of attacks always: a defender who merges task vectors must know where the submitted model started.
    initial = _initial_of(planner, first) if method in ATTACKER_EDITS or derivation.takes("initial") else None
    if derivation.takes("initial") and initial is None:
        raise ValueError(f"{method} needs the model before fine-tuning, but its first parent was not trained in this study")
    training = planner.training({}) if derivation.takes("training") else None
    recipe = planner.resolved_defense(method, derivation, settings)
    return DerivedRecipe(tuple(parents), recipe, data, seed, training, suspicious, trigger, initial, part)


def _initial_of(planner: Planner, recipe: Any) -> InitialRecipe | None:
    """Where a model of this study started; None for a model of elsewhere or a merge."""
    if isinstance(recipe, InitialRecipe):
        return recipe
    if isinstance(recipe, DerivedRecipe):
        return recipe.initial
    return planner.initial_recipe(recipe) if isinstance(recipe, ModelRecipe) else None


def generations(
    recipes: Sequence[ModelRecipe | DerivedRecipe],
) -> Iterator[list[ModelRecipe | DerivedRecipe]]:
    """The recipes in groups, so that what a model is made from stands in an earlier group than the model."""
    waiting = {recipe.key: recipe for recipe in recipes}
    while waiting:
        ready = [recipe for recipe in waiting.values() if not waiting.keys() & _made_from(recipe)]
        yield ready
        for recipe in ready:
            del waiting[recipe.key]


def _made_from(recipe: ModelRecipe | DerivedRecipe) -> set[str]:
    """Keys of the models that a model is made from."""
    if isinstance(recipe, DerivedRecipe):
        return {*recipe.parents} | ({recipe.initial.base.key} if recipe.initial and recipe.initial.base else set())
    return {recipe.base.key} if recipe.base else set()


def common_start(planner: Planner, models: Sequence[Checkpoint]) -> InitialRecipe:
    """The classifier before fine-tuning from which all the models started.

    Raises:
        ValueError: for models of elsewhere, or with different starts.
    """
    starts = [(model.name, _initial_of(planner, model.recipe)) for model in models]
    known = [(name, start) for name, start in starts if start]
    if len(known) < len(starts):
        name = next(name for name, start in starts if not start)
        raise ValueError(f"{name} was not trained in this study: give `pretrained` or `statistics` yourself")
    aspects = {
        "heads of different seeds": lambda start: start.head_seed,
        "different pretrained models": lambda start: start.pretrained,
        "different bases": lambda start: f"{start.base.name} ({start.base.key})" if start.base else "the pretrained model",
    }
    for what, aspect in aspects.items():
        if len({aspect(start) for _, start in known}) > 1:
            found = {name: aspect(start) for name, start in known}  # of models with one name the last
            raise ValueError(f"the models started from {what} {found}: their task vectors have no common start")
    return known[0][1]
