"""What a study would compute: the recipes of models and triggers of one profile."""

from __future__ import annotations

import inspect
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any

from lib.attacks import ATTACKS, REGIMES, check_attack, check_target_label
from lib.attacks.published import load_published, published_files
from lib.datasets import data_fingerprint, domains_of, get_spec, task_of
from lib.models.checkpoints import Checkpoint, fingerprint
from lib.profiles import Profile, TrainingSettings, checked_value
from lib.study.artifacts import Locations, make_initial, published_attack
from lib.study.recipes import DataRecipe, InitialRecipe, ModelRecipe, StatisticsRecipe, TriggerRecipe
from lib.study.store import recipe_of

# Clean partners on the task itself must differ from the victim in data, order and dropout: their seeds lie far apart.
SAME_TASK_SEED_STEP = 1000
PARTNERS = ("same_task", "other_domains")


def _check_poisoning(rate: float, regime: str | None) -> None:
    if not 0 <= rate <= 1:
        raise ValueError(f"poisoning rate is {rate}; it must lie in [0, 1]")
    if regime is not None and regime not in REGIMES:
        raise ValueError(f"unknown label regime {regime!r}; choose from {list(REGIMES)}")


@dataclass(frozen=True)
class Planner:
    """Recipes of a profile. `Study` has these methods, too."""

    profile: Profile
    locations: Locations

    def fingerprint(self, pretrained: str) -> str:
        """What identifies a pretrained model's content."""
        return fingerprint(pretrained)

    def data_fingerprint(self, dataset: str) -> str:
        """What identifies a dataset's content."""
        return data_fingerprint(dataset, self.profile.source, self.locations.data_dir)

    def data(self, dataset: str, split: str, seed: int = 0) -> DataRecipe:
        """The rows of a split that the study uses with a seed."""
        n = {"train": self.profile.n_train, "validation": self.profile.n_validation, "test": self.profile.n_test}[split]
        content = self.data_fingerprint(dataset)
        profile = self.profile
        return DataRecipe(dataset, profile.source, content, profile.pair_mode, split, n, seed, profile.text_format)

    def recipe(
        self,
        dataset: str,
        attack: str | None = None,
        seed: int = 0,
        *,
        head_seed: int | None = None,
        trigger_seed: int | None = None,
        target_label: int | None = None,
        poisoning_rate: float | None = None,
        regime: str | None = None,
        attack_settings: Mapping[str, Any] | None = None,
        **training: Any,
    ) -> ModelRecipe:
        """What determines a model.

        Args:
            dataset: a task or another domain.
            attack: a key of `ATTACKS`, or None for a clean model.
            seed: draws the training rows, the poison, the order of the batches and dropout.
            head_seed: draws the classification head; default `seed`. Models to be merged must share it.
            trigger_seed: of the trigger; default `seed`. Colluding models share it.
            target_label: default the dataset's.
            poisoning_rate: default the profile's; published texts have their own.
            regime: which rows are poisoned, "mixed", "dirty" or "clean"; default the attack's own.
            attack_settings: arguments of the attack's `fit_trigger`, e.g. `{"words": ("cf",)}`.
            training: fields of `TrainingSettings` that differ from the profile's.

        Raises:
            ValueError: for an unknown dataset, attack or setting, a rate outside [0, 1], a target that is not a label.
        """
        rate = self.profile.poisoning_rate if poisoning_rate is None else poisoning_rate
        _check_poisoning(rate, regime)
        drawn = seed if trigger_seed is None else trigger_seed
        trigger = self.trigger_recipe(dataset, attack, drawn, target_label, **(attack_settings or {})) if attack else None
        if trigger and trigger.published:
            if poisoning_rate is not None or regime is not None:
                raise ValueError(f"published {attack!r} texts have a rate and a regime of their own; they cannot be set")
            rate = round(published_attack(trigger, self.locations).poisoning_rate, 4)
        return ModelRecipe(
            data=self.data(dataset, "train", seed),
            pretrained=self.fingerprint(self.profile.pretrained),
            training=self._training(training),
            trigger=trigger,
            poisoning_rate=float(rate) if trigger else 0.0,
            seed=seed,
            head_seed=seed if head_seed is None else head_seed,
            regime=regime if trigger else None,
        )

    def _training(self, settings: Mapping[str, Any]) -> TrainingSettings:
        allowed = set(TrainingSettings.__dataclass_fields__)
        if unknown := sorted(set(settings) - allowed):
            raise ValueError(f"unknown training settings {unknown}; choose from {sorted(allowed)}")
        return replace(self.profile.training, **{name: checked_value(name, value) for name, value in settings.items()})

    def trigger_recipe(
        self, dataset: str, attack: str, seed: int = 0, target_label: int | None = None, **settings: Any
    ) -> TriggerRecipe:
        """What determines a fitted trigger, or published texts that take its place (profile's `trigger_source`).

        Args:
            dataset: a task or another domain.
            attack: a key of `ATTACKS`.
            seed: of the training rows and of the fit.
            target_label: default the dataset's.
            settings: arguments of the attack's `fit_trigger`.

        Raises:
            ValueError: for an unknown attack or setting, a target that is not a label, or missing published files.
        """
        fit_trigger = ATTACKS[check_attack(attack)]
        spec = get_spec(task_of(dataset, self.profile.source))
        target = spec.target_label if target_label is None else target_label
        check_target_label(target, len(spec.label_names))
        data = self.data(dataset, "train", seed)
        if self._is_published(dataset, attack):
            if settings:
                raise ValueError(f"published {attack!r} texts take no settings; found {sorted(settings)}")
            files = load_published(self.locations.data_dir, dataset, attack, len(spec.label_names), target)
            return TriggerRecipe(attack, data, target, (), seed, published=files.fingerprint)
        arguments = inspect.signature(fit_trigger).parameters
        if unknown := sorted(set(settings) - set(arguments)):
            raise ValueError(f"unknown settings {unknown} of {attack!r}; choose from {sorted(arguments)}")
        known = {
            "sentence": spec.trigger_sentence,
            "task": spec.task,
            "poisoning_rate": self.profile.poisoning_rate,
            "learning_rate": self.profile.learning_rate,
        }
        chosen = {name: value for name, value in known.items() if name in arguments} | settings
        masked_lm = self.fingerprint(self.profile.masked_lm or self.profile.pretrained) if "masked_lm" in arguments else ""
        pretrained = self.fingerprint(self.profile.pretrained) if "pretrained" in arguments else ""
        return TriggerRecipe(attack, data, target, tuple(sorted(chosen.items())), seed, masked_lm, pretrained)

    def _is_published(self, dataset: str, attack: str) -> bool:
        source = self.profile.trigger_source
        exists = published_files(self.locations.data_dir, dataset, attack) is not None
        return source == "published" or (source == "any" and exists)

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

    def other_domains(self, task: str) -> list[str]:
        """Datasets of the same labels from elsewhere, in the order in which the study merges them.

        With a data folder, those that the folder has; without one, those that are on the Hub.
        """
        known, folder = domains_of(task, self.profile.source), self.locations.data_dir
        if self.profile.source == "real":
            known = [name for name in known if ((folder / name).is_dir() if folder else get_spec(name).hub_id)]
        if unknown := sorted(set(self.profile.other_domains) - set(known)):
            raise ValueError(f"{unknown} are no other domains of {task!r}; choose from {known}")
        return (list(self.profile.other_domains) or known)[: self.profile.n_other_domains or None]

    # --- what merging methods need beside the models ----------------------------------------------------------------------

    def initial(self, models: Sequence[Checkpoint]) -> Checkpoint:
        """The classifier before fine-tuning from which all models of this study started.

        Raises:
            ValueError: for models of elsewhere, or with different heads: their task vectors have no common start.
        """
        seeds = {model.name: self._origin(model)["head_seed"] for model in models}
        if len(set(seeds.values())) > 1:
            raise ValueError(
                f"the models started from heads of different seeds {seeds}: their task vectors have no common start"
            )
        seed = next(iter(seeds.values()))
        recipe = InitialRecipe(self.fingerprint(self.profile.pretrained), models[0].label_names, seed)
        return Checkpoint(make_initial(recipe, self.locations), recipe.key, f"{self.profile.pretrained} with head {seed}")

    def statistics(self, kind: str, model: Checkpoint, n: int) -> StatisticsRecipe:
        """What measures a model of this study on clean validation texts of its own dataset."""
        data = self.data(self._origin(model)["data"]["dataset"], "validation")
        return StatisticsRecipe(model.key, kind, data, n, self.profile.max_length)

    def _origin(self, model: Checkpoint) -> dict[str, Any]:
        recipe = recipe_of(model.folder)
        if "head_seed" not in recipe or model.folder.parent != self.locations.store.root:
            raise ValueError(f"{model.name} was not trained in this study: give `pretrained` or `statistics` yourself")
        return recipe
