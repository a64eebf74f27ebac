"""The study: the one object that notebooks talk to. It knows a profile, makes what is missing, and keeps what is made."""

from __future__ import annotations

import warnings
from collections.abc import Iterable, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd

from lib import merged, paths
from lib.artifacts import Sources, fitted_trigger, load_rows, make_checkpoint, poisoned_rows, triggered_rows
from lib.attacks import Trigger, check_attack, check_target_label
from lib.datasets import Task, data_fingerprint, domains_of, get_spec, load_task, task_of
from lib.merged import MergedModel
from lib.models import Checkpoint, fingerprint
from lib.profiles import TrainingSettings, checked_value, get_profile
from lib.recipes import DataRecipe, ModelRecipe, ScoreRecipe, TriggerRecipe
from lib.scoring import Model, Score, Scorer

TEST_SEED = 0  # test sets are the same for every seed of the study
# Clean partners on the task itself must differ from the victim in data, order and dropout: their seeds lie far apart.
SAME_TASK_SEED_STEP = 1000
PARTNERS = ("same_task", "other_domains")


class Study:
    """Models, merges and scores of one profile, kept in the store.

    Args:
        profile: a key of `lib.profiles.PROFILES`.
        data_dir: folder of real datasets; default `FREE_LUNCH_DATA`; without either they come from the Hub.
        cache_dir: folder of the store; default `FREE_LUNCH_CACHE` or `data/cache`.
        overrides: fields of the profile, e.g. `n_train=500`, `learning_rate=3e-5`.

    Raises:
        ValueError: for an unknown profile or field, or a data folder that does not exist.
    """

    def __init__(
        self, profile: str = "pocket", *, data_dir: str | Path = "", cache_dir: str | Path = "", **overrides: Any
    ) -> None:
        self.profile = get_profile(profile, **overrides)
        folder = Path(data_dir).expanduser().resolve() if data_dir else paths.data_dir()
        if self.profile.source == "real" and folder is not None and not folder.is_dir():
            raise ValueError(f"data folder {folder} does not exist; name a folder of datasets, or unset FREE_LUNCH_DATA")
        cache = Path(cache_dir).expanduser().resolve() if cache_dir else paths.cache_dir()
        self.sources = Sources(folder, self.profile.pretrained, cache)
        self.store = self.sources.store
        self.used_keys: set[str] = set()  # of models and scores, for the manifest
        self._checked: set[str] = set()  # of trained models: an unstable one is warned of once
        self._scorer = Scorer(self.sources, self.profile.max_length)

    # --- data ---------------------------------------------------------------------------------------------------------

    @property
    def seeds(self) -> range:
        """Seeds of the study."""
        return range(self.profile.n_seeds)

    def task(self, name: str) -> Task:
        """All rows of a dataset."""
        return load_task(name, self.profile.source, self.sources.data_dir, self.profile.pair_mode)

    def other_domains(self, task: str) -> list[str]:
        """Datasets of the same labels from elsewhere, in the order in which the study merges them.

        With a data folder, those that the folder has.
        """
        known = domains_of(task, self.profile.source)
        if self.profile.source == "real" and self.sources.data_dir is not None:
            known = [name for name in known if (self.sources.data_dir / name).is_dir()]
        if unknown := sorted(set(self.profile.other_domains) - set(known)):
            raise ValueError(f"{unknown} are no other domains of {task!r}; choose from {known}")
        return (list(self.profile.other_domains) or known)[: self.profile.n_other_domains or None]

    def rows(self, dataset: str, split: str = "train", seed: int = 0) -> pd.DataFrame:
        """The rows of a split that the study uses with a seed."""
        return load_rows(self._data(dataset, split, seed), self.sources)

    def _data(self, dataset: str, split: str, seed: int) -> DataRecipe:
        n = {"train": self.profile.n_train, "validation": self.profile.n_validation, "test": self.profile.n_test}[split]
        content = data_fingerprint(dataset, self.profile.source, self.sources.data_dir)
        return DataRecipe(dataset, self.profile.source, content, self.profile.pair_mode, split, n, seed)

    # --- recipes ------------------------------------------------------------------------------------------------------

    def recipe(
        self,
        dataset: str,
        attack: str | None = None,
        seed: int = 0,
        *,
        head_seed: int | None = None,
        target_label: int | None = None,
        poisoning_rate: float | None = None,
        **training: Any,
    ) -> ModelRecipe:
        """What determines a model.

        Args:
            dataset: a task or another domain.
            attack: a key of `ATTACKS`, or None for a clean model.
            seed: draws the training rows, the poison, the order of the batches and dropout.
            head_seed: draws the classification head; default `seed`. Models to be merged must share it.
            target_label: default the dataset's.
            poisoning_rate: default the profile's.
            training: fields of `TrainingSettings` that differ from the profile's.

        Raises:
            ValueError: for an unknown dataset, attack or setting, a rate outside [0, 1], a target that is not a label.
        """
        rate = self.profile.poisoning_rate if poisoning_rate is None else poisoning_rate
        if not 0 <= rate <= 1:
            raise ValueError(f"poisoning rate is {rate}; it must lie in [0, 1]")
        if unknown := sorted(set(training) - set(TrainingSettings.__dataclass_fields__)):
            raise ValueError(
                f"unknown training settings {unknown}; choose from {sorted(TrainingSettings.__dataclass_fields__)}"
            )
        trigger = self.trigger_recipe(dataset, attack, seed, target_label) if attack else None
        return ModelRecipe(
            data=self._data(dataset, "train", seed),
            pretrained=fingerprint(self.profile.pretrained),
            training=replace(self.profile.training, **{name: checked_value(name, value) for name, value in training.items()}),
            trigger=trigger,
            poisoning_rate=float(rate) if trigger else 0.0,
            seed=seed,
            head_seed=seed if head_seed is None else head_seed,
        )

    def trigger_recipe(self, dataset: str, attack: str, seed: int = 0, target_label: int | None = None) -> TriggerRecipe:
        """What determines a fitted trigger."""
        check_attack(attack)
        spec = get_spec(task_of(dataset, self.profile.source))
        target = spec.target_label if target_label is None else target_label
        check_target_label(target, len(spec.label_names))
        settings = (("sentence", spec.trigger_sentence),) if attack == "insertsent" else ()
        return TriggerRecipe(attack, self._data(dataset, "train", seed), target, settings, seed)

    def partner_recipes(self, task: str, partners: str, seed: int = 0) -> list[ModelRecipe]:
        """Clean models to merge with the model of a seed: fine-tuned on the task itself, or on its other domains.

        Raises:
            ValueError: for partners other than "same_task" and "other_domains".
        """
        if partners == "same_task":
            steps = range(1, self.profile.n_same_task + 1)
            return [self.recipe(task, seed=seed + SAME_TASK_SEED_STEP * step, head_seed=seed) for step in steps]
        if partners == "other_domains":
            return [self.recipe(domain, seed=seed) for domain in self.other_domains(task)]
        raise ValueError(f"unknown partners {partners!r}; choose from {list(PARTNERS)}")

    # --- models -------------------------------------------------------------------------------------------------------

    @property
    def n_jobs(self) -> int:
        """Trainings at a time: the profile's, else one per core, or one on a GPU."""
        if self.profile.n_jobs:
            return self.profile.n_jobs
        import joblib
        import torch

        return 1 if torch.cuda.is_available() else joblib.cpu_count()

    def train(self, recipes: Iterable[ModelRecipe]) -> list[Checkpoint]:
        """The checkpoints of the recipes, in order; missing ones are trained in parallel and kept as they are finished.

        A killed call loses only the trainings that were under way; the next call goes on. Unstable trainings are warned of.
        """
        recipes = list(recipes)
        missing = {recipe.key: recipe for recipe in recipes if not self.store.has(recipe)}
        if missing:
            self._train_missing(list(missing.values()))
        self.used_keys.update(recipe.key for recipe in recipes)
        checkpoints = [Checkpoint(self.store.folder(recipe), recipe.key, recipe.name) for recipe in recipes]
        for recipe, checkpoint in zip(recipes, checkpoints, strict=True):
            if recipe.key not in self._checked and (reason := checkpoint.record["instability"]):
                warnings.warn(f"unstable training of {recipe.name}: {reason}; do not merge it unawares", stacklevel=2)
            self._checked.add(recipe.key)
        return checkpoints

    def _train_missing(self, missing: list[ModelRecipe]) -> None:
        import joblib
        from tqdm.auto import tqdm

        n_jobs = min(self.n_jobs, len(missing))
        n_threads = max(1, joblib.cpu_count() // n_jobs)
        with joblib.parallel_config("loky", inner_max_num_threads=n_threads):
            jobs = (joblib.delayed(make_checkpoint)(recipe, self.sources, n_threads) for recipe in missing)
            done = joblib.Parallel(n_jobs=n_jobs, return_as="generator_unordered")(jobs)
            for name in (bar := tqdm(done, total=len(missing), desc="training", unit="model")):
                bar.set_postfix_str(name)

    def model(self, dataset: str, attack: str | None = None, seed: int = 0, **settings: Any) -> Checkpoint:
        """The checkpoint of one recipe; see `recipe` for the arguments."""
        return self.train([self.recipe(dataset, attack, seed, **settings)])[0]

    def partners(self, task: str, partners: str = "other_domains", seed: int = 0) -> list[Checkpoint]:
        """The checkpoints of `partner_recipes`."""
        return self.train(self.partner_recipes(task, partners, seed))

    def merge(self, models: Sequence[Checkpoint], method: str = "weight_average", **settings: Any) -> MergedModel:
        """Merge checkpoints; see `lib.merged.merge`. The weights are computed when they are needed."""
        return merged.merge(models, method, **settings)

    # --- texts and scores ---------------------------------------------------------------------------------------------

    def trigger(self, dataset: str, attack: str, seed: int = 0) -> Trigger:
        """A fitted trigger."""
        return fitted_trigger(self.trigger_recipe(dataset, attack, seed), self.sources)

    def poisoned_train(self, dataset: str, attack: str, seed: int = 0) -> pd.DataFrame:
        """The training set of the backdoored model, with `is_poisoned`."""
        return poisoned_rows(self.recipe(dataset, attack, seed), self.sources)

    def triggered_test(self, dataset: str, attack: str, seed: int = 0) -> pd.DataFrame:
        """The triggered test set, with `original` and `is_changed`."""
        test = self._data(dataset, "test", TEST_SEED)
        return triggered_rows(test, self.trigger_recipe(dataset, attack, seed), self.sources)

    def apply_trigger(self, dataset: str, attack: str, texts: Sequence[str], seed: int = 0) -> list[str]:
        """Texts a user typed, with the trigger in them; equal calls give equal texts."""
        return self.trigger(dataset, attack, seed)(list(texts), np.random.default_rng(seed))

    def score(self, model: Model, dataset: str, attack: str | None = None, seed: int = 0) -> Score:
        """CACC on the clean test set and, with an attack, ASR on the test set with the trigger of `seed`.

        The score is kept in the store under the model's key, so asking again costs nothing.
        """
        test = self._data(dataset, "test", TEST_SEED)
        trigger = self.trigger_recipe(dataset, attack, seed) if attack else None
        recipe = ScoreRecipe(model.key, test, trigger, self.profile.max_length)
        self.used_keys.add(recipe.key)
        make = lambda folder: self._scorer.score(model, test, trigger).save(folder)  # noqa: E731
        return Score.load(self.store.get_or_make(recipe, make))

    def predict(self, model: Model, texts: Sequence[str], text_pairs: Sequence[str] | None = None) -> pd.DataFrame:
        """Label and probabilities that a model gives to texts a user typed: `text`, `label`, and one column per label."""
        return self._scorer.predict(model, texts, text_pairs)
