"""Which trigger a model is scored with: the one it was trained with, unless another is asked for."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import Any

from lib.models.checkpoints import Checkpoint
from lib.models.model import Ensemble, Guarded, Model
from lib.study.merged import MergedModel
from lib.study.planning import Planner
from lib.study.recipes import ModelRecipe, TriggerRecipe

OWN = "own"  # the trigger of the model itself, or of one of its parents


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
        ValueError: for several triggers that could be meant.
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
    return None if attack == OWN else planner.trigger_recipe(dataset, attack, seed or 0, **settings)


def own_triggers(model: Model) -> Iterator[TriggerRecipe]:
    """The triggers that a model, its parents, its members or the model behind its filter was trained with."""
    if isinstance(model, Checkpoint):
        if isinstance(model.recipe, ModelRecipe) and model.recipe.trigger:
            yield model.recipe.trigger
        parts: tuple[Model, ...] = model.parents
    elif isinstance(model, MergedModel):
        parts = model.parents
    elif isinstance(model, Ensemble):
        parts = model.members
    else:
        parts = (model.model,) if isinstance(model, Guarded) else ()
    for part in parts:
        yield from own_triggers(part)
