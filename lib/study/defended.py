"""A model behind a defense: each family ends in one of the four kinds of models, and is scored like any other."""

from __future__ import annotations

import hashlib
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

from lib.defenses import Defense, get_defense
from lib.models.checkpoints import Checkpoint
from lib.models.model import Guarded, Model
from lib.study.artifacts import given_to, load_rows
from lib.study.ensembles import ensemble
from lib.study.merged import MergedModel
from lib.study.own_triggers import case_of
from lib.study.published_scores import needed_folder
from lib.study.recipes import DataRecipe, DefenseRecipe, DerivedRecipe, GuardedRecipe, ModelRecipe

if TYPE_CHECKING:
    from lib.study.planning import Planner
    from lib.study.study import Study


def defended(
    study: Study,
    name: str,
    model: Checkpoint | MergedModel,
    others: Sequence[Checkpoint] = (),
    *,
    dataset: str = "",
    seed: int | None = None,
    **settings: Any,
) -> Model:
    """A model behind a defense.

    Args:
        study: makes what is missing.
        name: a key of `DEFENSES`.
        model: the suspicious model; for a defense of training time a model of this study, which is trained anew. In front of
            a merge stand input filters, and repairs.
        others: models that a merging defense, an ensemble or a repair may use.
        dataset: whose validation texts are the clean ones; default the dataset that the model was trained on.
        seed: of whatever the defense draws, and of its clean texts; default the model's.
        settings: of the defense.

    Raises:
        ValueError: for an unknown defense or setting, or a model of elsewhere where its training or its dataset is needed.
    """
    defense, recipe = get_defense(name), study.planner.defense_recipe(name, **settings)
    resolved, everyone = dict(recipe.settings), [model, *others]
    origin = model.recipe if isinstance(model.recipe, ModelRecipe) else None
    drawn = seed if seed is not None else (origin.seed if origin else case_of(model))
    if defense.family == "training_time":
        if origin is None:
            raise ValueError(f"{name} defends a training, but {model.name} was not trained in this study")
        return study.train([replace(origin, defense=recipe)])[0]
    if defense.family == "merging":
        parents = [study.kept(each) for each in everyone]
        return study.merge(parents, **defense.call(parents, settings=resolved, **given_to(recipe, drawn, study.locations)))
    texts_of = dataset or (origin.data.dataset if origin else "")
    if defense.family == "ensemble":
        return ensemble(study, everyone, name, dataset=texts_of, seed=drawn, **settings)
    clean = _clean(study.planner, name, defense, texts_of, drawn)
    if defense.family == "post_training":
        return study.derive(name, everyone, clean, drawn, **settings)
    assert clean is not None  # every input filter is fitted on clean texts
    return _guarded(study, model, recipe, clean, drawn)


def _guarded(study: Study, model: Checkpoint | MergedModel, recipe: DefenseRecipe, clean: DataRecipe, seed: int) -> Guarded:
    """A model behind an input filter, which is fitted when it is needed."""
    defense, locations, max_length = get_defense(recipe.name), study.locations, study.profile.max_length
    scores = needed_folder(study.planner, clean.dataset, recipe.name) if defense.takes("published_scores") else None

    def fit() -> Any:
        given = given_to(recipe, seed, locations) | {"max_length": max_length, "published_scores": str(scores)}
        return defense.call(model, load_rows(clean, locations), settings=dict(recipe.settings), **given)

    read = max_length if defense.takes("max_length") else 0
    key = GuardedRecipe(model.key, recipe, clean, seed, read, _digest(scores) if scores else "").key
    return Guarded(model, fit, key, _named(recipe.name, model))


def _digest(folder: Path) -> str:
    """What identifies the files of a folder."""
    contents = [file.read_bytes() for file in sorted(folder.glob("*.tsv"))]
    return hashlib.sha256(b"".join(contents)).hexdigest()[:16]


def planned(
    planner: Planner, name: str, model: ModelRecipe, others: Sequence[ModelRecipe] = ()
) -> ModelRecipe | DerivedRecipe | None:
    """What `defended` would make of a model of this study with the defense's own settings: None where it makes no new model."""
    defense = get_defense(name)
    if defense.family == "training_time":
        return replace(model, defense=planner.defense_recipe(name))
    if defense.family == "post_training":
        clean = _clean(planner, name, defense, model.data.dataset, model.seed)
        return planner.derived(name, [each.key for each in (model, *others)], clean, model.seed, model)
    return None


def _clean(planner: Planner, name: str, defense: Defense, dataset: str, seed: int) -> DataRecipe | None:
    """The clean texts that a defense is given: validation texts, never test texts."""
    if defense.family == "post_training" and not any(need.startswith("clean") for need in defense.needs):
        return None
    if not dataset:
        raise ValueError(f"{name} needs clean texts: say whose by dataset, for the model was not trained in this study")
    return planner.data(dataset, "validation", seed)


def _named(defense: str, model: Model) -> str:
    return f"{defense} for {model.name}"
