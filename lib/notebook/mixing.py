"""Mixing models: how much of each goes into a merge, and what comes out, fast enough to follow a slider."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np

from lib.metrics.scores import Score
from lib.models.checkpoints import Checkpoint
from lib.notebook.judging import Judge
from lib.study.merged import MergedModel
from lib.study.study import Study


@dataclass(frozen=True)
class Knob:
    """A setting of a merge method that a user may turn."""

    low: float
    high: float
    step: float
    value: float  # at first
    is_count: bool = False


@dataclass(frozen=True)
class Mixable:
    """What a user may say of a merge method: whether models have weights, and its settings."""

    has_weights: bool  # if not, a model takes part or does not
    knobs: tuple[str, ...] = ()  # keys of `KNOBS`


KNOBS = {
    "density": Knob(0.05, 1, 0.05, 0.2),
    "merge_coefficient": Knob(0.1, 2, 0.1, 1),
    "n_byzantine": Knob(0, 2, 1, 1, is_count=True),
    "n_selected": Knob(1, 4, 1, 1, is_count=True),
}
# Task arithmetic with weights that sum to 1 and coefficient 1 is the average. Ours would take weights for TIES, too, but the
# paper's rule has none.
MIXABLE = {
    "weight_average": Mixable(True),
    "row_clipped_average": Mixable(True),
    "task_arithmetic": Mixable(True, ("merge_coefficient",)),
    "ties": Mixable(False, ("density", "merge_coefficient")),
    "median": Mixable(False),
    "trimmed_mean": Mixable(False, ("n_byzantine",)),
    "geometric_median": Mixable(False),
    "krum": Mixable(False, ("n_byzantine", "n_selected")),
}


def normalised(amounts: Sequence[float]) -> list[float]:
    """Weights in the proportions of the amounts, summing to 1.

    Raises:
        ValueError: for amounts below 0, or none above it.

    >>> normalised([1, 0, 3])
    [0.25, 0.0, 0.75]
    """
    if any(amount < 0 for amount in amounts) or not any(amounts):
        raise ValueError(f"the amounts are {list(amounts)}; each must be 0 or more, and one above 0: let a model take part")
    total = sum(amounts)
    return [amount / total for amount in amounts]


@dataclass(frozen=True)
class Mix:
    """One merge: the weight of each model (None where the method has none; 0 for a model left out), and its score."""

    weights: list[float | None]
    score: Score


class Mixer:
    """A backdoored model and its partners, to be merged and scored again and again; nothing is written to the store.

    Args:
        study: makes what is missing.
        task: a task of the profile.
        attack: of the backdoored model, and of the texts on which the ASR is measured.
        seed: of models and texts.

    Partners are the models of the other domains, or of the same task where the profile has no other domain.
    """

    def __init__(self, study: Study, task: str, attack: str, seed: int = 0) -> None:
        self.study, self.task, self.attack, self.seed = study, task, attack, seed
        kind = "other_domains" if study.other_domains(task) else "same_task"
        recipes = [study.recipe(task, seed=seed), study.recipe(task, attack, seed)]
        clean, *models = study.train([*recipes, *study.partner_recipes(task, kind, seed)])
        partners = [model.recipe.data.dataset for model in models[1:]]
        names = [f"{name} {number}" if partners.count(name) > 1 else name for number, name in enumerate(partners, 1)]
        self.models: dict[str, Checkpoint] = dict(zip(["backdoored", *names], models, strict=True))
        self.clean, self.alone = (study.score(model, task, attack, seed) for model in (clean, models[0]))
        self.judge = Judge(study, task, attack, seed)
        self.n_labels = len(models[0].label_names)

    def merged(self, method: str, amounts: Sequence[float], **settings: Any) -> MergedModel:
        """The merge of the models whose amount is above 0.

        Raises:
            ValueError: for another number of amounts, none above 0, a method that is not in `MIXABLE`, or too few models.
        """
        if len(amounts) != len(self.models):
            raise ValueError(f"{len(amounts)} amounts for {len(self.models)} models; give one per model")
        if method not in MIXABLE:
            raise ValueError(f"{method!r} cannot be mixed; choose from {list(MIXABLE)}")
        chosen = [model for model, weight in zip(self.models.values(), normalised(amounts), strict=True) if weight > 0]
        if MIXABLE[method].has_weights:
            settings["weights"] = normalised([amount for amount in amounts if amount > 0])
        return self.study.merge(chosen, method, **settings)

    def mix(self, method: str, amounts: Sequence[float], settings: Mapping[str, Any] | None = None) -> Mix:
        """Merge and score; see `merged` for the arguments."""
        score = self.judge.score(self.merged(method, amounts, **(settings or {})))
        if MIXABLE[method].has_weights:
            return Mix(list(normalised(amounts)), score)
        return Mix([None if amount > 0 else 0.0 for amount in amounts], score)

    @property
    def lowest_cacc(self) -> float:
        """What guessing gives: where the axis of the CACC begins."""
        return float(np.floor(100 / self.n_labels) / 100)
