"""The study: the one object that notebooks talk to. It knows a profile, makes what is missing, and keeps what is made."""

from __future__ import annotations

import warnings
from collections.abc import Callable, Iterable, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd

from lib import paths
from lib.attacks import Trigger
from lib.datasets import Dataset, load_dataset
from lib.merging import get_merge_method
from lib.merging.soup import greedy_soup
from lib.metrics.scores import Score
from lib.models.checkpoints import Checkpoint
from lib.models.statistics import N_EXAMPLES
from lib.profiles import as_dict, get_profile
from lib.study import merged
from lib.study.artifacts import (
    Locations,
    fitted_trigger,
    load_rows,
    make_checkpoint,
    make_statistics,
    make_triggered,
    poisoned_rows,
    triggered_rows,
)
from lib.study.merged import MergedModel
from lib.study.parallel import run_jobs
from lib.study.planning import Planner
from lib.study.recipes import ModelRecipe, Recipe, ScoreRecipe, TriggeredRecipe
from lib.study.scoring import Model, Scorer
from lib.study.store import MissingRunsError

TEST_SEED = 0  # test sets are the same for every seed of the study


class Study:
    """Models, merges and scores of one profile, kept in the store.

    Args:
        profile: a key of `lib.profiles.PROFILES`.
        data_dir: folder of real datasets; default `FREE_LUNCH_DATA`; without either they come from the Hub.
        cache_dir: folder of the store; default `FREE_LUNCH_CACHE` or `data/cache`.
        only_stored: make nothing: what the store lacks is a `MissingRunsError`.
        overrides: fields of the profile, e.g. `n_train=500`, `learning_rate=3e-5`.

    Raises:
        ValueError: for an unknown profile or field, or a data folder that does not exist.
    """

    planner_class = Planner

    def __init__(
        self,
        profile: str = "pocket",
        *,
        data_dir: str | Path = "",
        cache_dir: str | Path = "",
        only_stored: bool = False,
        **overrides: Any,
    ) -> None:
        self.profile = get_profile(profile, **overrides)
        folder = Path(data_dir).expanduser().resolve() if data_dir else paths.data_dir()
        if self.profile.source == "real" and folder is not None and not folder.is_dir():
            raise ValueError(f"data folder {folder} does not exist; name a folder of datasets, or unset FREE_LUNCH_DATA")
        cache = Path(cache_dir).expanduser().resolve() if cache_dir else paths.cache_dir()
        self.locations = Locations(folder, self.profile.pretrained, cache, self.profile.masked_lm)
        self.store = self.locations.store
        self.only_stored = only_stored
        # What a study would compute is the planner's to say; its methods are the study's, too.
        self.planner = planner = self.planner_class(self.profile, self.locations)
        self.other_domains, self.recipe = planner.other_domains, planner.recipe
        self.trigger_recipe, self.partner_recipes = planner.trigger_recipe, planner.partner_recipes
        self.used_keys: set[str] = set()  # of models and scores, for the manifest
        self._checked: set[str] = set()  # of trained models: an unstable one is warned of once
        self._scorer = Scorer(self.locations, self.profile.max_length)

    def variant(self, **overrides: Any) -> Study:
        """The same study, data and store, with other fields of the profile; its runs count as this study's, too."""
        fields = {name: value for name, value in as_dict(self.profile).items() if name != "name"}
        folders = {"data_dir": self.locations.data_dir or "", "cache_dir": self.locations.store.root}
        other = type(self)(self.profile.name, **folders, only_stored=self.only_stored, **(fields | overrides))
        other.used_keys = self.used_keys
        return other

    # --- data ---------------------------------------------------------------------------------------------------------

    @property
    def seeds(self) -> range:
        """Seeds of the study."""
        return range(self.profile.n_seeds)

    def dataset(self, name: str) -> Dataset:
        """All rows of a dataset."""
        profile = self.profile
        return load_dataset(name, profile.source, self.locations.data_dir, profile.pair_mode, profile.text_format)

    def rows(self, dataset: str, split: str = "train", seed: int = 0) -> pd.DataFrame:
        """The rows of a split that the study uses with a seed."""
        return load_rows(self.planner.data(dataset, split, seed), self.locations)

    # --- models -------------------------------------------------------------------------------------------------------

    def train(self, recipes: Iterable[ModelRecipe]) -> list[Checkpoint]:
        """The checkpoints of the recipes, in order; missing ones are trained in parallel and kept as they are finished.

        A killed call loses only the trainings that were under way; the next call goes on. Unstable trainings are warned of.
        """
        recipes = list(recipes)
        missing = {recipe.key: recipe for recipe in recipes if not self.store.has(recipe)}
        if missing:
            self._run_in_parallel(make_checkpoint, list(missing.values()), "training", "model")
        self.used_keys.update(recipe.key for recipe in recipes)
        checkpoints = [Checkpoint(self.store.folder(recipe), recipe.key, recipe.name) for recipe in recipes]
        for recipe, checkpoint in zip(recipes, checkpoints, strict=True):
            if recipe.key not in self._checked and (reason := checkpoint.record["instability"]):
                warnings.warn(f"unstable training of {recipe.name}: {reason}; do not merge it unawares", stacklevel=2)
            self._checked.add(recipe.key)
        return checkpoints

    def prepare_tests(self, recipes: Iterable[ModelRecipe]) -> None:
        """Make the triggered test sets of the recipes' triggers, in parallel: slow for attacks that ask a language model."""
        triggers = {r.trigger.key: r.trigger for r in recipes if r.trigger and not r.trigger.published}
        wanted = [TriggeredRecipe(self.planner.data(t.data.dataset, "test", TEST_SEED), t) for t in triggers.values()]
        if missing := [recipe for recipe in wanted if not self.store.has(recipe)]:
            self._run_in_parallel(make_triggered, missing, "triggered test sets", "set")

    def _run_in_parallel(self, make: Callable[..., str], recipes: Sequence[Recipe], title: str, unit: str) -> None:
        self._refuse_missing(recipes, f"{unit}s")
        run_jobs(make, recipes, self.locations, self.profile, title, unit)

    def _refuse_missing(self, recipes: Sequence[Recipe], what: str) -> None:
        if self.only_stored:
            names = ", ".join(dict.fromkeys(str(getattr(recipe, "name", type(recipe).__name__)) for recipe in recipes[:3]))
            raise MissingRunsError(
                f"{len(recipes)} {what} are not in the store ({names}, ...): run the notebooks that make them"
            )

    def model(self, dataset: str, attack: str | None = None, seed: int = 0, **settings: Any) -> Checkpoint:
        """The checkpoint of one recipe; see `recipe` for the arguments."""
        return self.train([self.recipe(dataset, attack, seed, **settings)])[0]

    def partners(self, task: str, partners: str = "other_domains", seed: int = 0) -> list[Checkpoint]:
        """The checkpoints of `partner_recipes`."""
        return self.train(self.partner_recipes(task, partners, seed))

    def merge(self, models: Sequence[Checkpoint], method: str = "weight_average", **settings: Any) -> MergedModel:
        """Merge checkpoints; see `lib.study.merged.merge`. The weights are computed when they are needed.

        What a method needs beside the models is made for models of this study: the classifier before fine-tuning, and Fisher
        information or inputs of linear layers on clean validation texts of each model's own dataset.
        """
        needs = get_merge_method(method).needs if models else ()
        if "pretrained" not in settings and ("pretrained" in needs or settings.get("on") == "task_vectors"):
            settings["pretrained"] = self.planner.initial(models)
        if "statistics" not in settings and (kinds := [need for need in needs if need != "pretrained"]):
            settings["statistics"] = {kind: self.measure(kind, models) for kind in kinds}
        return merged.merge(models, method, **settings)

    def measure(self, kind: str, models: Sequence[Checkpoint], n: int = N_EXAMPLES) -> list[Checkpoint]:
        """What a merging method knows of each model, "fishers" or "grams", measured in parallel on clean validation texts."""
        recipes = [self.planner.statistics(kind, model, n) for model in models]
        if missing := {recipe.key: recipe for recipe in recipes if not self.store.has(recipe)}:
            self._run_in_parallel(make_statistics, list(missing.values()), f"measuring {kind}", "model")
        folders = [self.store.folder(recipe) for recipe in recipes]
        return [
            Checkpoint(folder, folder.name, f"{kind} of {model.name}") for folder, model in zip(folders, models, strict=True)
        ]

    def soup(self, models: Sequence[Checkpoint], dataset: str, min_ingredients: int = 2) -> MergedModel:
        """The greedy soup of the models, its ingredients chosen by clean validation accuracy on a dataset."""
        score = lambda merge_or_model: self.score(merge_or_model, dataset, split="validation").cacc  # noqa: E731
        average = lambda chosen: score(self.merge([models[i] for i in chosen]))  # noqa: E731
        chosen = greedy_soup([score(model) for model in models], average, min_ingredients)
        return self.merge([models[i] for i in chosen])

    def choose(self, candidates: Sequence[MergedModel], dataset: str) -> MergedModel:
        """The candidate of the highest clean validation accuracy, the first among equals: all that a defender can go by."""
        return max(candidates, key=lambda model: self.score(model, dataset, split="validation").cacc)

    # --- texts and scores ---------------------------------------------------------------------------------------------

    def trigger(self, dataset: str, attack: str, seed: int = 0, **settings: Any) -> Trigger:
        """A fitted trigger; see `trigger_recipe` for the settings."""
        return fitted_trigger(self.trigger_recipe(dataset, attack, seed, **settings), self.locations)

    def poisoned_train(self, dataset: str, attack: str, seed: int = 0, **settings: Any) -> pd.DataFrame:
        """The training set of the backdoored model, with `is_poisoned`; see `recipe` for the settings."""
        return poisoned_rows(self.recipe(dataset, attack, seed, **settings), self.locations)

    def triggered_test(self, dataset: str, attack: str, seed: int = 0, **settings: Any) -> pd.DataFrame:
        """The triggered test set, with `original` and `is_changed`; see `trigger_recipe` for the settings."""
        test = self.planner.data(dataset, "test", TEST_SEED)
        return triggered_rows(test, self.trigger_recipe(dataset, attack, seed, **settings), self.locations)

    def apply_trigger(self, dataset: str, attack: str, texts: Sequence[str], seed: int = 0, **settings: Any) -> list[str]:
        """Texts a user typed, with the trigger in them; equal calls give equal texts."""
        return self.trigger(dataset, attack, seed, **settings)(list(texts), np.random.default_rng(seed))

    def score(
        self, model: Model, dataset: str, attack: str | None = None, seed: int = 0, split: str = "test", **settings: Any
    ) -> Score:
        """CACC on the clean test set and, with an attack, ASR on the test set with the trigger of `seed`.

        The score is kept in the store under the model's key, so asking again costs nothing. `settings` are those of
        `trigger_recipe`: a model that was trained for another `target_label` is scored for it, too. What a defender chooses is
        chosen on the validation split.
        """
        test = self.planner.data(dataset, split, TEST_SEED)
        trigger = self.trigger_recipe(dataset, attack, seed, **settings) if attack else None
        recipe = ScoreRecipe(model.key, test, trigger, self.profile.max_length)
        self.used_keys.add(recipe.key)
        if not self.store.has(recipe):
            self._refuse_missing([recipe], f"scores of {dataset} with {attack or 'no attack'}")
        make = lambda folder: self._scorer.score(model, test, trigger).save(folder)  # noqa: E731
        return Score.load(self.store.get_or_make(recipe, make))

    def predict(self, model: Model, texts: Sequence[str], text_pairs: Sequence[str] | None = None) -> pd.DataFrame:
        """Label and probabilities that a model gives to texts a user typed: `text`, `label`, and one column per label."""
        return self._scorer.predict(model, texts, text_pairs)
