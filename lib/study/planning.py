"""What a study would compute: the recipes of models and triggers of one profile."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass, replace
from typing import Any

from lib.datasets import SAME_TASK_SEED_STEP, DatasetSpec, data_fingerprint, task_spec
from lib.defenses import Defense, get_defense
from lib.models.checkpoints import Checkpoint
from lib.models.precision import resolved_precision
from lib.models.pretrained import fingerprint
from lib.profiles import Profile, TrainingSettings, checked_value, get_profile
from lib.study.artifacts import Locations, load_rows
from lib.study.derived import common_start, plan_derived
from lib.study.makers import make_initial
from lib.study.partner_planning import plan_domains, plan_partners
from lib.study.plugins import version_of
from lib.study.recipes import (
    DataRecipe,
    DefenseRecipe,
    DerivedRecipe,
    InitialRecipe,
    ModelRecipe,
    StatisticsRecipe,
    TriggerRecipe,
    as_settings,
)
from lib.study.texts import TextsRecipe
from lib.study.trigger_planning import plan_trigger, planned_rate


@dataclass(frozen=True)
class Planner:
    """Recipes of a profile. `Study` has these methods, too."""

    profile: Profile
    locations: Locations

    @property
    def seeds(self) -> range:
        """Seeds of the study."""
        return range(self.profile.n_seeds)

    def variant(self, **overrides: Any) -> Planner:
        """The same planner with other fields of the profile."""
        fields = {name: value for name, value in asdict(self.profile).items() if name != "name"}
        return replace(self, profile=get_profile(self.profile.name, **(fields | overrides)))

    def fingerprint(self, pretrained: str) -> str:
        """What identifies a pretrained model's content; the study remembers where it lies."""
        content = fingerprint(pretrained)
        self.locations.models[content] = pretrained
        return content

    def data_fingerprint(self, dataset: str) -> str:
        """What identifies a dataset's content."""
        return data_fingerprint(dataset, self.profile.source, self.locations.data_dir)

    def spec(self, dataset: str) -> DatasetSpec:
        """What is known of the task whose labels a dataset shares: label names, the attacker's target."""
        return task_spec(dataset, self.profile.source, self.locations.data_dir)

    def data(self, dataset: str, split: str, seed: int = 0) -> DataRecipe:
        """The rows of a split that the study uses with a seed.

        Training rows are a model's own. What it is validated and tested on belongs to the case: a victim shares it with its
        partners on the same task, whose seeds differ by multiples of `SAME_TASK_SEED_STEP`.

        Raises:
            ValueError: for an unknown dataset, or all rows of Pocket English, which has no last one.
        """
        profile = self.profile
        n = {"train": profile.n_train, "validation": profile.n_validation, "test": profile.n_test}[split]
        if profile.source == "pocket" and n == 0:
            raise ValueError(f"n_{split} is 0, all there is, but Pocket English has no last text; give a number of rows")
        if split != "train":
            seed = seed % SAME_TASK_SEED_STEP if n else 0  # all rows are the same rows for every seed
        is_shared = profile.source == "real" and split == "train" and n > 0 and self.spec(dataset).name == dataset
        drawn = (split, n, seed, profile.text_format, profile.n_same_task if is_shared else 0)
        return DataRecipe(dataset, profile.source, self.data_fingerprint(dataset), profile.pair_mode, *drawn)

    def n_rows(self, data: DataRecipe) -> int:
        """How many rows a recipe gives: those asked for, or all there are if these are fewer or `n` is 0."""
        return data.n if data.source == "pocket" else len(load_rows(data, self.locations))

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
        defense: str | None = None,
        defense_settings: Mapping[str, Any] | None = None,
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
            poisoning_rate: default the profile's; published texts have their own. Triggers are learnt from as many rows.
            regime: which rows are poisoned, "mixed", "dirty" or "clean"; default the attack's own.
            attack_settings: of the attack's `fit_trigger`, e.g. `{"words": ("cf",)}`.
            defense, defense_settings: a key of `DEFENSES` of the family training_time, and its settings.
            training: fields of `TrainingSettings` that differ from the profile's.

        Raises:
            ValueError: for an unknown dataset, attack, defense or setting, a rate outside [0, 1], a target that is not a label.
        """
        drawn = seed if trigger_seed is None else trigger_seed
        fit = {"poisoning_rate": poisoning_rate} | dict(attack_settings or {})
        trigger = self.trigger_recipe(dataset, attack, drawn, target_label, **fit) if attack else None
        return ModelRecipe(
            data=self.data(dataset, "train", seed),
            pretrained=self.fingerprint(self.profile.pretrained),
            training=self.training(training),
            trigger=trigger,
            poisoning_rate=planned_rate(self, trigger, poisoning_rate, regime),
            seed=seed,
            head_seed=seed if head_seed is None else head_seed,
            regime=regime if trigger else None,
            defense=self.defense_recipe(defense, "training_time", **(defense_settings or {})) if defense else None,
        )

    def defense_recipe(self, name: str, family: str = "", **settings: Any) -> DefenseRecipe:
        """A defense with every setting resolved.

        Raises:
            ValueError: for an unknown defense or setting, or a defense of another family than `family`.
        """
        defense = get_defense(name)
        if family and defense.family != family:
            raise ValueError(f"{name} is a defense of the family {defense.family}; one of {family} is needed")
        return self.resolved_defense(name, defense, settings)

    def resolved_defense(self, name: str, defense: Defense, settings: Mapping[str, Any]) -> DefenseRecipe:
        """The recipe of a defense, or of another derivation, with every setting resolved."""
        masked_lm = self.fingerprint(self.profile.masked_lm or self.profile.pretrained) if defense.takes("masked_lm") else ""
        pretrained = self.fingerprint(self.profile.pretrained) if defense.takes("pretrained") else ""
        causal_lm = self.fingerprint(self.profile.causal_lm) if defense.takes("causal_lm") else ""
        version = version_of(defense.function, defense.version)
        return DefenseRecipe(name, as_settings(defense.resolved(**settings)), masked_lm, pretrained, version, causal_lm)

    def derived(
        self,
        method: str,
        parents: Sequence[str],
        data: DataRecipe | TextsRecipe | None = None,
        seed: int = 0,
        first: Any = None,
        *,
        trigger: TriggerRecipe | None = None,
        part: int = 0,
        **settings: Any,
    ) -> DerivedRecipe:
        """What determines a model that is made from others; see `lib.study.derived.plan_derived` for the arguments."""
        return plan_derived(self, method, parents, data, seed, first, settings, trigger, part)

    def training(self, settings: Mapping[str, Any]) -> TrainingSettings:
        """The profile's training settings with some of them replaced, as they are on this machine."""
        allowed = set(TrainingSettings.__dataclass_fields__)
        if unknown := sorted(set(settings) - allowed):
            raise ValueError(f"unknown training settings {unknown}; choose from {sorted(allowed)}")
        chosen = replace(self.profile.training, **{name: checked_value(name, value) for name, value in settings.items()})
        return replace(chosen, precision=resolved_precision(chosen.precision))

    def trigger_recipe(
        self,
        dataset: str,
        attack: str,
        seed: int = 0,
        target_label: int | None = None,
        poisoning_rate: float | None = None,
        **settings: Any,
    ) -> TriggerRecipe:
        """What determines a fitted trigger, or published texts that take its place (profile's `trigger_source`).

        Args:
            dataset: a task or another domain.
            attack: a key of `ATTACKS`.
            seed: of the training rows and of the fit.
            target_label: default the dataset's.
            poisoning_rate: of the model that it is for; default the profile's. It changes triggers that are learnt, no others.
            settings: other arguments of the attack's `fit_trigger`.

        Raises:
            ValueError: for an unknown attack or setting, a target that is not a label, or missing published files.
        """
        return plan_trigger(self, dataset, attack, seed, target_label, poisoning_rate, settings)

    def partner_recipes(self, task: str, partners: str, seed: int = 0) -> list[ModelRecipe]:
        """Clean models to merge with the model of a seed: fine-tuned on the task itself, or on its other domains.

        Kinds of partners are `PARTNERS`, and "near" and "far" for the other domains of that distance.

        Raises:
            ValueError: for another kind of partners, or a task without other domains of that kind.
        """
        return plan_partners(self, task, partners, seed)

    def other_domains(self, task: str) -> list[str]:
        """Datasets of the same labels from elsewhere, in the order in which the study merges them.

        With a data folder, those that the folder has; without one, those that are on the Hub. There may be fewer than the
        profile's `n_other_domains`, or none; `partner_recipes` refuses a task that has none.
        """
        return plan_domains(self, task)

    # --- what merging methods need beside the models ----------------------------------------------------------------------

    def initial(self, models: Sequence[Checkpoint]) -> Checkpoint:
        """The classifier before fine-tuning from which all the models started.

        Raises:
            ValueError: for models of elsewhere, or with different heads or pretrained models: their task vectors have no
                common start.
        """
        recipe = common_start(self, models)
        name = f"{self.locations.pretrained(recipe.pretrained)} with head {recipe.head_seed}"
        return Checkpoint(make_initial(recipe, self.locations), recipe.key, name)

    def initial_recipe(self, model: ModelRecipe) -> InitialRecipe:
        """What determines the classifier before fine-tuning from which a model starts."""
        return InitialRecipe(model.pretrained, self.spec(model.data.dataset).label_names, model.head_seed, model.base)

    def statistics(self, kind: str, model: Checkpoint, n: int) -> StatisticsRecipe:
        """What measures a model of this study on clean validation texts of its own dataset."""
        origin = model.recipe
        if not isinstance(origin, ModelRecipe):
            raise ValueError(f"{model.name} was not trained in this study: give `pretrained` or `statistics` yourself")
        data = self.data(origin.data.dataset, "validation", origin.seed)
        return StatisticsRecipe(model.key, kind, data, n, self.profile.max_length)
