"""What a profile would train, without training it: every model with estimated GPU hours and disk.

The notebooks' own table functions run on a study that remembers what it is asked for and answers with stand-ins, so the list
cannot miss what a notebook would train.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pandas as pd

from lib import tables
from lib.datasets import get_spec, task_of
from lib.dry_run.estimates import hub_rows, scoring_hours, training_cost
from lib.metrics.scores import Score
from lib.models.checkpoints import Checkpoint, resolve_pretrained
from lib.study.choices import attacks_on, chosen_attacks, chosen_tasks
from lib.study.merged import MergedModel
from lib.study.planning import SAME_TASK_SEED_STEP, Planner
from lib.study.recipes import ModelRecipe
from lib.study.scoring import Model
from lib.study.study import Study
from lib.tables.rows import train_victims

Parameters = dict[str, Any]
_NO_SCORE = Score(cacc=0.0, n_clean=1, clean_loss=0.0, correct=[0], asr=0.0, n_triggered=1, hits=[0])


class _PlannedModel(Checkpoint):
    """A model that does not exist."""

    @property
    def record(self) -> dict[str, Any]:
        return {"distance": 1.0, "instability": "", "steps": [], "losses": [], "chance_loss": 1.0}

    @property
    def label_names(self) -> tuple[str, ...]:
        return ()

    def state_dict(self) -> dict[str, Any]:
        return {}


class _OfflinePlanner(Planner):
    """Names instead of contents for what lies on the Hub, so that nothing is downloaded."""

    def fingerprint(self, pretrained: str) -> str:
        return super().fingerprint(pretrained) if Path(resolve_pretrained(pretrained)).is_dir() else pretrained

    def data_fingerprint(self, dataset: str) -> str:
        on_hub = self.profile.source == "real" and self.locations.data_dir is None
        return dataset if on_hub else super().data_fingerprint(dataset)


class DryStudy(Study):
    """A study that makes nothing: it remembers the models it was asked for, and counts scores."""

    planner_class = _OfflinePlanner

    def __init__(self, *arguments: Any, **settings: Any) -> None:
        super().__init__(*arguments, **settings)
        self.planned: dict[str, tuple[ModelRecipe, str]] = {}  # recipe and name of the pretrained model, by key
        self.scored: dict[tuple[str, ...], tuple[str, int]] = {}  # pretrained model and texts of each score

    def variant(self, **overrides: Any) -> DryStudy:
        other = super().variant(**overrides)
        assert isinstance(other, DryStudy)
        other.planned, other.scored = self.planned, self.scored
        return other

    def dataset(self, name: str) -> Any:
        spec = get_spec(task_of(name, self.profile.source))
        return SimpleNamespace(target_label=spec.target_label, label_names=spec.label_names, task=spec.task)

    def train(self, recipes: Iterable[ModelRecipe]) -> list[Checkpoint]:
        recipes = list(recipes)
        for recipe in recipes:
            self.planned.setdefault(recipe.key, (recipe, self.profile.pretrained))
        return [_PlannedModel(Path(), recipe.key, recipe.name) for recipe in recipes]

    def prepare_tests(self, recipes: Iterable[ModelRecipe]) -> None:
        pass

    def merge(self, models: Sequence[Checkpoint], method: str = "weight_average", **settings: Any) -> MergedModel:
        return MergedModel(tuple(models), method, settings)

    def measure(self, kind: str, models: Sequence[Checkpoint], n: int = 0) -> list[Checkpoint]:
        return []

    def soup(self, models: Sequence[Checkpoint], dataset: str, min_ingredients: int = 2) -> MergedModel:
        return self.merge(models, "greedy_soup")

    def choose(self, candidates: Sequence[MergedModel], dataset: str) -> MergedModel:
        for candidate in candidates:
            self.score(candidate, dataset, split="validation")
        return candidates[0]

    def score(
        self, model: Model, dataset: str, attack: str | None = None, seed: int = 0, split: str = "test", **settings: Any
    ) -> Score:
        key = (model.key, dataset, str(attack), str(seed), split, str(settings))
        if key not in self.scored:
            n_texts = self.n_rows(self.planner.data(dataset, split))
            self.scored[key] = self.profile.pretrained, n_texts * (2 if attack else 1)
        return _NO_SCORE

    def n_rows(self, data: Any) -> int:
        """Rows of a recipe: counted where the data are at hand, estimated for the Hub."""
        if self.profile.source == "real" and self.locations.data_dir is None:
            return hub_rows(data)
        return len(self.rows(data.dataset, data.split, data.seed))


def _story(study: Study, p: Parameters) -> None:
    tables.story_table(study, p["task"], p["attack"], p["seed"])


def _transfer(study: Study, p: Parameters) -> None:
    for task in chosen_tasks(study, p["transfer_task"]):
        tables.transfer_table(study, task, p["seed"])


def _attacks(study: Study, p: Parameters) -> None:
    tasks, attacks = chosen_tasks(study, p["task"]), chosen_attacks(p["attack"])
    tables.attacks_table(study, tasks, attacks, p["skip"])
    train_victims(study, [(tasks[0], attack, 0) for attack in attacks_on(tasks[0], attacks, p["skip"])], ["other_domains"])


def _merging(study: Study, p: Parameters) -> None:
    tables.merging_table(study, chosen_tasks(study, p["task"]), chosen_attacks(p["attack"]), p["skip"])


def _methods(study: Study, p: Parameters) -> None:
    tables.methods_table(study, p["task"], chosen_attacks(p["attack"]))
    tables.sweeps_table(study, p["task"], chosen_attacks(p["sweep_attack"]))


def _coefficients(study: Study, p: Parameters) -> None:
    attacks, places = chosen_attacks(p["attack"]), [i / (p["n_coefficients"] - 1) for i in range(p["n_coefficients"])]
    tasks = chosen_tasks(study, p["task"])
    tables.coefficient_table(study, tasks, attacks, coefficients=places)
    tables.task_arithmetic_table(study, tasks, attacks)
    tables.barrier_table(study, tasks[0], attacks[0], places)


def _domains(study: Study, p: Parameters) -> None:
    domains = tables.domains_table(study, chosen_tasks(study, p["task"]), chosen_attacks(p["attack"]))
    tables.partner_kinds_table(study, domains)


def _backdoored(study: Study, p: Parameters) -> None:
    attacks = chosen_attacks(p["attack"])
    tables.backdoored_table(study, p["task"], attacks)
    tables.collusion_table(study, p["task"], attacks[0], p["n_models"])


def _poisoning_rates(study: Study, p: Parameters) -> None:
    tables.poisoning_rates_table(study, p["task"], chosen_attacks(p["attack"]), p["poisoning_rates"])


def _epochs(study: Study, p: Parameters) -> None:
    tables.epochs_table(study, p["task"], chosen_attacks(p["attack"]), p["factors"])


def _architectures(study: Study, p: Parameters) -> None:
    tables.architectures_table(study, p["task"], chosen_attacks(p["attack"]), study.profile.architectures)
    tables.heads_table(study, p["task"], chosen_attacks(p["attack"]))


# What each notebook asks of its study. Notebooks 02 and 90 train nothing.
PLANS: dict[str, Callable[[Study, Parameters], None]] = {
    "00": _story, "01": _transfer, "03": _attacks, "04": _merging, "05": _methods, "06": _coefficients, "07": _domains,
    "08": _backdoored, "09": _poisoning_rates, "10": _epochs, "11": _architectures,
}  # fmt: skip


@dataclass
class DryRun:
    """The models that notebooks would train, one row each, and what scoring would cost beside them."""

    models: pd.DataFrame
    n_scores: int
    scoring_gpu_hours: float


def dry_run(study: DryStudy, notebooks: dict[str, Parameters]) -> DryRun:
    """List what notebooks would train.

    Args:
        study: takes the requests; its store says what is there already.
        notebooks: parameters of each notebook, by its two-digit number.
    """
    rows: list[dict[str, Any]] = []
    for number, parameters in notebooks.items():
        before = set(study.planned)
        if number in PLANS:
            PLANS[number](study, parameters)
        for key in study.planned.keys() - before:
            rows.append({"notebook": number, **_described(study, *study.planned[key])})
    hours = sum(scoring_hours(pretrained, n, study.profile.max_length) for pretrained, n in study.scored.values())
    models = pd.DataFrame(rows)
    if len(models):
        models = models.sort_values(["notebook", "pretrained", "dataset", "attack", "seed"], ignore_index=True)
    return DryRun(models, len(study.scored), hours)


def _described(study: DryStudy, recipe: ModelRecipe, pretrained: str) -> dict[str, Any]:
    cost = training_cost(recipe, pretrained, study.n_rows(recipe.data))
    usual = study.profile.training
    differing = [
        f"{name}={getattr(recipe.training, name):g}"
        for name in recipe.training.__dataclass_fields__
        if getattr(recipe.training, name) != getattr(usual, name)
    ]
    if recipe.trigger and recipe.poisoning_rate != study.profile.poisoning_rate:
        differing.append(f"poisoning_rate={recipe.poisoning_rate:g}")
    if recipe.head_seed != recipe.seed % SAME_TASK_SEED_STEP:
        differing.append("own head")
    return {
        **{"pretrained": pretrained, "dataset": recipe.data.dataset},
        "attack": recipe.trigger.attack if recipe.trigger else "clean",
        **{"seed": recipe.seed, "head_seed": recipe.head_seed, "settings": " ".join(differing)},
        **{"n_rows": cost.n_rows, "gpu_hours": cost.gpu_hours, "gigabytes": cost.gigabytes},
        "in_store": study.store.has(recipe),
    }
