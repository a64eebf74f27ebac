"""The study: the one object that notebooks talk to. It knows a profile, makes what is missing, and keeps what is made."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from copy import copy
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd

from lib.attacks import Trigger
from lib.datasets import SPLITS, Dataset, load_dataset, pocket_dataset
from lib.merging.soup import greedy_soup
from lib.metrics.scores import Score
from lib.models.checkpoints import Checkpoint
from lib.models.model import Ensemble, Model
from lib.models.statistics import N_EXAMPLES
from lib.profiles import Profile, get_profile
from lib.study.artifacts import find_locations, fitted_trigger, load_rows, make_triggered, poisoned_rows, triggered_rows
from lib.study.defended import defended
from lib.study.distilled import distilled
from lib.study.ensembles import ensemble
from lib.study.makers import make_checkpoint, make_statistics
from lib.study.making import Maker
from lib.study.merged import MergedModel, merge, needed_beside
from lib.study.own_triggers import OWN, choose_case, choose_trigger
from lib.study.planning import Planner
from lib.study.recipes import DataRecipe, DerivedRecipe, ModelRecipe, TriggeredRecipe, TriggerRecipe
from lib.study.scoring import Scorer, predicted


class Study:
    """Models, merges and scores of one profile, kept in the store.

    Args:
        profile: a key of `lib.profiles.PROFILES`.
        data_dir: folder of real datasets; default `FREE_LUNCH_DATA`; without either they come from the Hub.
        cache_dir: folder of the store; default `FREE_LUNCH_CACHE` or `data/cache`.
        only_stored: make nothing: what the store lacks is a `MissingRunsError`.
        overrides: fields of the profile, e.g. `n_train=500`, `learning_rate=3e-5`.

    Raises:
        ValueError: for an unknown profile or field, a data folder that does not exist, or a plugin that cannot be imported.
    """

    def __init__(
        self,
        profile: str = "pocket",
        *,
        data_dir: str | Path = "",
        cache_dir: str | Path = "",
        only_stored: bool = False,
        **overrides: Any,
    ) -> None:
        chosen = get_profile(profile, **overrides)
        self.locations = find_locations(chosen, data_dir, cache_dir)
        self.store = self.locations.store
        self.maker = maker = Maker(self.locations, only_stored)
        self.used_keys, self.declared, self.require = maker.used_keys, maker.declared, maker.use
        self._use(chosen)

    def _use(self, profile: Profile) -> None:
        """Take a profile. What a study would compute is the planner's to say; its methods are the study's, too."""
        self.profile = profile
        self.planner = planner = Planner(profile, self.locations)
        self.other_domains, self.recipe, self.seeds = planner.other_domains, planner.recipe, planner.seeds
        self.trigger_recipe, self.partner_recipes = planner.trigger_recipe, planner.partner_recipes
        self._scorer = Scorer(self.locations, profile.max_length)

    def variant(self, **overrides: Any) -> Study:
        """The same study, data and store, with other fields of the profile; its runs count as this study's, too."""
        other = copy(self)
        other._use(self.planner.variant(**overrides).profile)
        return other

    # --- data ---------------------------------------------------------------------------------------------------------

    def dataset(self, name: str) -> Dataset:
        """All rows of a dataset; of Pocket English, which has no last one, those of seed 0."""
        profile = self.profile
        if profile.source == "pocket":
            return pocket_dataset(name, {split: self.rows(name, split) for split in SPLITS})
        return load_dataset(name, profile.source, self.locations.data_dir, profile.pair_mode, profile.text_format)

    def rows(self, dataset: str, split: str = "train", seed: int = 0) -> pd.DataFrame:
        """The rows of a split that the study uses with a seed."""
        return load_rows(self.planner.data(dataset, split, seed), self.locations)

    # --- models -------------------------------------------------------------------------------------------------------

    def train(self, recipes: Iterable[ModelRecipe | DerivedRecipe]) -> list[Checkpoint]:
        """The checkpoints of the recipes, in order; missing ones are made in parallel and kept as they are finished.

        What derived models are made from is in the store, or among the recipes.

        A killed call loses only the trainings that were under way; the next call goes on. Unstable trainings are warned of.

        Raises:
            UndeclaredError: inside a table that did not say that it needs a recipe.
        """
        return self.maker.checkpoints(make_checkpoint, list(recipes), self.profile, "training")

    def prepare(self, recipes: Iterable[ModelRecipe | DerivedRecipe]) -> None:
        """Make triggered test sets of the recipes' triggers, in parallel: some ask a language model."""
        triggers = {r.trigger.key: r.trigger for r in recipes if r.trigger and not r.trigger.published}
        wanted = [TriggeredRecipe(self.planner.data(t.data.dataset, "test", t.seed), t) for t in triggers.values()]
        self.maker.missing(make_triggered, wanted, self.profile, "triggered test sets", "set")

    def model(self, dataset: str, attack: str | None = None, seed: int = 0, **settings: Any) -> Checkpoint:
        """The checkpoint of one recipe; see `recipe` for the arguments."""
        return self.train([self.recipe(dataset, attack, seed, **settings)])[0]

    def partners(self, task: str, partners: str = "other_domains", seed: int = 0) -> list[Checkpoint]:
        """The checkpoints of `partner_recipes`."""
        return self.train(self.partner_recipes(task, partners, seed))

    def derive(
        self,
        method: str,
        parents: Sequence[Checkpoint | MergedModel],
        data: DataRecipe | None = None,
        seed: int = 0,
        **settings: Any,
    ) -> Checkpoint:
        """A model made from others, and perhaps from data; see `Planner.derived`."""
        known, first = [self.kept(parent) for parent in parents], parents[0].recipe if parents else None
        recipe = self.planner.derived(method, [parent.key for parent in known], data, seed, first, **settings)
        return replace(self.train([recipe])[0], parents=tuple(parents))

    def kept(self, model: Checkpoint | MergedModel) -> Checkpoint:
        """The model in a folder that workers find by its key: a merge is written into the store."""
        if isinstance(model, MergedModel):
            folder = self.store.get_or_make(model.recipe, model.write)
            return Checkpoint(folder, model.key, model.name, model.recipe, model.parents)
        if model.folder != self.store.root / model.key:
            self.locations.models[model.key] = str(model.folder)
        return model

    def merge(self, models: Sequence[Checkpoint], method: str = "weight_average", **settings: Any) -> MergedModel:
        """Merge checkpoints, with what the method needs beside them; see `lib.study.merged.merge` and `needed_beside`."""
        return merge(models, method, **settings | needed_beside(self, models, method, settings))

    def defend(
        self, defense: str, model: Checkpoint | MergedModel, others: Sequence[Checkpoint] = (), **settings: Any
    ) -> Model:
        """A model behind a defense, whatever its family; see `lib.study.defended.defended` for the arguments."""
        return defended(self, defense, model, others, **settings)

    def ensemble(self, models: Sequence[Model], method: str = "logit_ensemble", **settings: Any) -> Ensemble:
        """Models of any architecture whose outputs are combined; see `lib.study.ensembles.ensemble`."""
        return ensemble(self, models, method, **settings)

    def distil(self, teachers: Any, student: str = "same", texts: str = "own", **settings: Any) -> Checkpoint:
        """A student of one teacher or several, made without labels; see `lib.study.distilled.plan_distilled`."""
        return distilled(self, teachers, student, texts=texts, **settings)

    def measure(self, kind: str, models: Sequence[Checkpoint], n: int = N_EXAMPLES) -> list[Checkpoint]:
        """What a merging method knows of each model, "fishers" or "grams", measured in parallel on clean validation texts."""
        recipes = [self.planner.statistics(kind, self.kept(model), n) for model in models]
        self.maker.missing(make_statistics, recipes, self.profile, f"measuring {kind}", "model")
        folders = [self.store.folder(recipe) for recipe in recipes]
        return [
            Checkpoint(folder, folder.name, f"{kind} of {model.name}") for folder, model in zip(folders, models, strict=True)
        ]

    def soup(self, models: Sequence[Checkpoint], dataset: str, min_ingredients: int = 2) -> MergedModel:
        """The greedy soup of the models, its ingredients chosen by clean validation accuracy on a dataset."""
        average = lambda chosen: self._validated(self.merge([models[i] for i in chosen]), dataset)  # noqa: E731
        chosen = greedy_soup([self._validated(model, dataset) for model in models], average, min_ingredients)
        return self.merge([models[i] for i in chosen])

    def choose(self, candidates: Sequence[MergedModel], dataset: str) -> MergedModel:
        """The candidate of the highest clean validation accuracy, the first among equals: all that a defender can go by."""
        return max(candidates, key=lambda model: self._validated(model, dataset))

    def _validated(self, model: Model, dataset: str) -> float:
        return self.score(model, dataset, None, split="validation").cacc

    # --- texts and scores ---------------------------------------------------------------------------------------------

    def trigger(self, dataset: str, attack: str, seed: int = 0, **settings: Any) -> Trigger:
        """A fitted trigger; see `trigger_recipe` for the settings."""
        return fitted_trigger(self.trigger_recipe(dataset, attack, seed, **settings), self.locations)

    def poisoned_train(self, dataset: str, attack: str, seed: int = 0, **settings: Any) -> pd.DataFrame:
        """The training set of the backdoored model, with `is_poisoned`; see `recipe` for the settings."""
        return poisoned_rows(self.recipe(dataset, attack, seed, **settings), self.locations)

    def triggered_test(self, dataset: str, attack: str, seed: int = 0, **settings: Any) -> pd.DataFrame:
        """The triggered test set, with `original` and `is_changed`; see `trigger_recipe` for the settings."""
        test = self.planner.data(dataset, "test", seed)
        return triggered_rows(test, self.trigger_recipe(dataset, attack, seed, **settings), self.locations)

    def apply_trigger(self, dataset: str, attack: str, texts: Sequence[str], seed: int = 0, **settings: Any) -> list[str]:
        """Texts a user typed, with the trigger in them; equal calls give equal texts."""
        return self.trigger(dataset, attack, seed, **settings)(list(texts), np.random.default_rng(seed))

    def score(
        self,
        model: Model,
        dataset: str,
        attack: str | TriggerRecipe | None = OWN,
        seed: int | None = None,
        split: str = "test",
        **settings: Any,
    ) -> Score:
        """CACC on clean texts and ASR on the same texts with a trigger.

        What the model says is kept in the store under its key, so asking again costs nothing.

        Args:
            model: of any kind.
            dataset: whose texts.
            attack: default the trigger that the model, or one of its parents, was trained with on this dataset, if any; an
                attack's name, a trigger's recipe, or None for clean texts alone.
            seed: whose test texts, and whose trigger if it is asked for by name; default the trigger's, else the model's.
                Partners on the same task have the texts of their victim.
            split: "test"; what a defender chooses is chosen on "validation".
            settings: those of `trigger_recipe`, for another trigger than the model's own.

        Raises:
            ValueError: for a model with several triggers, or made of models of several seeds, of which none is named.
        """
        trigger, drawn = choose_case(self.planner, model, dataset, attack, seed, settings)
        data = self.planner.data(dataset, split, drawn)
        what = f"logits of {dataset} with {trigger.attack if trigger else 'no attack'}"
        self.maker.use(self._scorer.needed(model, data, trigger), what)
        return self._scorer.score(model, data, trigger)

    def logits(
        self, model: Model, dataset: str, attack: str | TriggerRecipe | None = OWN, seed: int | None = None, split: str = "test"
    ) -> np.ndarray:
        """What a model says to a split's texts, or with an attack to the triggered ones; float32, shape (n, n_labels)."""
        trigger, drawn = choose_case(self.planner, model, dataset, attack, seed, {})
        return self._scorer.logits(model, self.planner.data(dataset, split, drawn), trigger)

    def trigger_of(
        self, model: Model, dataset: str, attack: str | TriggerRecipe | None = OWN, seed: int | None = None, **settings: Any
    ) -> TriggerRecipe | None:
        """The trigger that a score of the model means; see `score`. Other models can be scored with it, too."""
        return choose_trigger(self.planner, model, dataset, attack, seed, settings)

    def predict(self, model: Model, texts: Sequence[str], text_pairs: Sequence[str] | None = None) -> pd.DataFrame:
        """Label and probabilities that a model gives to texts a user typed: `text`, `label`, and one column per label."""
        frame = pd.DataFrame({"text": list(texts)} | ({"text_pair": list(text_pairs)} if text_pairs else {}))
        return predicted(model, frame, self.profile.max_length)
