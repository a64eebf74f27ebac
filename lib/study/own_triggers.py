"""Which trigger and which test texts a model is scored with: those of its own case, unless others are asked for."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import Any

from lib.datasets import SAME_TASK_SEED_STEP
from lib.models.checkpoints import Checkpoint
from lib.models.model import Ensemble, Guarded, Model
from lib.study.merged import MergedModel
from lib.study.planning import Planner
from lib.study.recipes import DerivedRecipe, ModelRecipe, TriggerRecipe

OWN = "own"  # the trigger of the model itself, or of one of its parents


def choose_case(
    planner: Planner,
    model: Model,
    dataset: str,
    attack: str | TriggerRecipe | None,
    seed: int | None,
    settings: Mapping[str, Any],
) -> tuple[TriggerRecipe | None, int]:
    """The trigger that a score means, and the seed whose texts it is measured on; see `Study.score` for the arguments.

    The texts are those of the seed that is asked for, else of the trigger, else of the model.

    Raises:
        ValueError: for several triggers or seeds that could be meant.
    """
    trigger = choose_trigger(planner, model, dataset, attack, seed, settings)
    if seed is not None:
        return trigger, seed
    return trigger, trigger.seed if trigger else case_of(model)


def choose_trigger(
    planner: Planner,
    model: Model,
    dataset: str,
    attack: str | TriggerRecipe | None,
    seed: int | None,
    settings: Mapping[str, Any],
) -> TriggerRecipe | None:
    """The trigger that a score means; see `Study.score` for the arguments.

    A trigger that is asked for by name alone is the model's own of that name: words that were given as `attack_settings` when
    the model was trained are words that it is scored with.

    Raises:
        ValueError: for several triggers or seeds that could be meant.
    """
    if attack is None or isinstance(attack, TriggerRecipe):
        return attack
    own = {} if settings else {t.key: t for t in own_triggers(model) if t.data.dataset == dataset}
    meant = [t for t in own.values() if attack in (OWN, t.attack) and seed in (None, t.seed)]
    if len(meant) > 1:
        named = ", ".join(f"{t.attack} of seed {t.seed} for label {t.target_label}" for t in meant)
        raise ValueError(f"{model.name} has several triggers on {dataset!r}: {named}; say which by attack, seed or settings")
    if meant:
        return meant[0]
    return (
        None if attack == OWN else planner.trigger_recipe(dataset, attack, case_of(model) if seed is None else seed, **settings)
    )


def own_triggers(model: Model) -> Iterator[TriggerRecipe]:
    """The triggers that a model, its parents, its members or the model behind its filter was trained with."""
    for origin in _origins(model):
        yield from (trigger for trigger in (origin.trigger, getattr(origin, "second", None)) if trigger)


def case_of(model: Model) -> int:
    """The seed of a model's case, which its parents or members share; 0 for a model of elsewhere, which has none.

    Raises:
        ValueError: for models of several cases in one.
    """
    seeds = {origin.name: origin.seed % SAME_TASK_SEED_STEP for origin in _origins(model)}
    if len(set(seeds.values())) > 1:
        raise ValueError(
            f"{model.name} is made of models of several seeds: {', '.join(seeds)}; say whose texts it gets by seed"
        )
    return next(iter(seeds.values()), 0)


def _origins(model: Model) -> Iterator[ModelRecipe | DerivedRecipe]:
    """The recipes of the models that were trained, or attacked in another way, of which a model was made, or that it is."""
    if isinstance(model, Checkpoint):
        is_attack = isinstance(model.recipe, DerivedRecipe) and model.recipe.trigger
        if isinstance(model.recipe, ModelRecipe) or is_attack:
            yield model.recipe
        parts: tuple[Model, ...] = model.parents
    elif isinstance(model, MergedModel):
        parts = model.parents
    elif isinstance(model, Ensemble):
        parts = model.members
    else:
        parts = (model.model,) if isinstance(model, Guarded) else ()
    for part in parts:
        yield from _origins(part)
