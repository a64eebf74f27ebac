"""Ensembles of models of this study: what a defense combines, and temperatures that are fitted on validation texts."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

from lib.defenses import get_defense
from lib.metrics.temperature import fit_temperature
from lib.models.checkpoints import Checkpoint
from lib.models.model import Ensemble, Model
from lib.study.own_triggers import case_of
from lib.study.recipes import EnsembleRecipe, ModelRecipe

if TYPE_CHECKING:
    from lib.study.study import Study

DECIMALS = 4  # of a fitted temperature: its last digits depend on the machine, and the key must not


def ensemble(
    study: Study, models: Sequence[Model], method: str, *, dataset: str = "", seed: int | None = None, **settings: Any
) -> Ensemble:
    """Models of any architecture whose outputs are combined.

    Args:
        study: whose texts they are.
        models: at least one; equal labels in equal order.
        method: a key of `DEFENSES` of the family ensemble. One that takes `temperatures` gets, unless they are given, one per
            model, fitted on clean labelled validation texts.
        dataset: whose validation texts; default the one that the first model was trained on.
        seed: whose validation texts; default that of the models.
        settings: of the method.

    Raises:
        ValueError: for an unknown method or setting, models with other labels, or models of elsewhere without a dataset where
            temperatures are fitted.
    """
    if not models:
        raise ValueError("an ensemble needs at least one model; found none")
    recipe = study.planner.defense_recipe(method, "ensemble", **settings)
    if "temperatures" in dict(recipe.settings) and not dict(recipe.settings)["temperatures"]:
        fitted = _temperatures(study, models, method, dataset, seed)
        recipe = study.planner.defense_recipe(method, "ensemble", **settings | {"temperatures": fitted})
    key = EnsembleRecipe(tuple(each.key for each in models), recipe).key
    combine = get_defense(method).call
    return Ensemble(
        tuple(models), lambda said: combine(said, settings=dict(recipe.settings)), key, f"{method} for {models[0].name}"
    )


def _temperatures(study: Study, models: Sequence[Model], method: str, dataset: str, seed: int | None) -> tuple[float, ...]:
    """One per model, from its logits on clean validation texts; they are stored, so a second ensemble costs nothing."""
    origin = models[0].recipe if isinstance(models[0], Checkpoint) else None
    name = dataset or (origin.data.dataset if isinstance(origin, ModelRecipe) else "")
    if not name:
        raise ValueError(f"{method} fits temperatures on clean texts: say whose by dataset, or give `temperatures`")
    drawn = case_of(models[0]) if seed is None else seed
    labels = study.rows(name, "validation", drawn)["label"].to_numpy()
    said = [study.logits(model, name, None, drawn, split="validation") for model in models]
    return tuple(round(fit_temperature(logits, labels), DECIMALS) for logits in said)
