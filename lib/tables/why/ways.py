"""A way: the straight line from a backdoored model to its partner, with all that the tables of notebook 13 ask of it."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from functools import cached_property
from typing import Any

import numpy as np
from numpy.typing import NDArray

from lib.models.checkpoints import Checkpoint
from lib.models.model import Model
from lib.study.planning import Planner
from lib.study.probes import ProbeRecipe, plan_probe, probed
from lib.study.recipes import TriggerRecipe
from lib.study.study import Study
from lib.tables.coefficient import between
from lib.tables.partners import check_kinds, kinds_of_partners
from lib.tables.rows import Needed, backdoored_recipes, cases_of
from lib.why import lead

N_PROBED = 24  # texts of which derivatives are taken: each costs as much as dozens of passes
SPLITS = ("clean", "triggered")
Floats = NDArray[np.float64]


@dataclass(frozen=True)
class Way:
    """From the backdoored model of a case (coefficient 0) to a clean model of the task, or the average of other domains (1)."""

    study: Study
    task: str
    attack: str
    seed: int
    kind: str  # of partners
    places: tuple[float, ...] = ()  # coefficients, both ends among them

    @property
    def what(self) -> dict[str, Any]:
        """The columns that name it."""
        return {"task": self.task, "attack": self.attack, "partners": self.kind, "seed": self.seed}

    @cached_property
    def victim(self) -> Checkpoint:
        """The backdoored model."""
        return self.study.model(self.task, self.attack, self.seed)

    @cached_property
    def twin(self) -> Checkpoint:
        """A clean model of the same rows, order and head."""
        return self.study.model(self.task, seed=self.seed)

    @cached_property
    def partners(self) -> list[Checkpoint]:
        """The clean models at the end of the way; of the same task there is one."""
        found = self.study.partners(self.task, self.kind, self.seed)
        return found[:1] if self.kind == "same_task" else found

    @cached_property
    def target(self) -> int:
        """The label that the attacker wants."""
        return self.study.planner.spec(self.task).target_label

    @cached_property
    def trigger(self) -> TriggerRecipe:
        """The attacker's trigger."""
        found = self.study.trigger_of(self.victim, self.task, self.attack, self.seed)
        assert found is not None
        return found

    @cached_property
    def test_labels(self) -> NDArray[np.int64]:
        """True labels of the clean test texts."""
        return self.study.rows(self.task, "test", self.seed)["label"].to_numpy()

    @cached_property
    def labels(self) -> NDArray[np.int64]:
        """True labels of the attackable test texts, the same with and without the trigger."""
        return self.test_labels[self.test_labels != self.target]

    def logits(self, coefficient: float, split: str) -> NDArray[np.float32]:
        """Of a model on the way, on the attackable texts, shape (n, n_labels); notebook 06 has stored them."""
        return self._of_split(self.model(coefficient), split)

    def model(self, coefficient: float) -> Model:
        """A model on the way; it has the key, and so the stored logits, that notebook 06 gave it."""
        return between(self.study, self.victim, self.partners, coefficient)

    def leads(self, coefficient: float, split: str) -> Floats:
        """Leads of a model on the way, shape (n,)."""
        return lead(self.logits(coefficient, split), self.labels, self.target)

    @cached_property
    def _twin_logits(self) -> NDArray[np.float32]:
        """The same way from the twin, on triggered texts, shape (n_places, n, n_labels)."""
        return probed(self.study, [self.twin_probe()])[0]["logits"]

    def twin_leads(self, coefficient: float) -> Floats:
        """Leads on triggered texts if the twin stood in the victim's place, shape (n,)."""
        return lead(self.twin_logits(coefficient), self.labels, self.target)

    def twin_logits(self, coefficient: float) -> NDArray[np.float32]:
        """Logits, likewise, shape (n, n_labels)."""
        return self._twin_logits[self.places.index(coefficient)]

    def model_logits(self, split: str) -> list[NDArray[np.float32]]:
        """Of the victim and of each partner alone, on the attackable texts."""
        return [self._of_split(model, split) for model in (self.victim, *self.partners)]

    def _of_split(self, model: Any, split: str) -> NDArray[np.float32]:
        if split == "triggered":
            return self.study.logits(model, self.task, self.attack, self.seed)
        return self.study.logits(model, self.task, None, self.seed)[self.test_labels != self.target]

    # --- what has to be looked at ---------------------------------------------------------------------------------------

    def plan(self, probe: str, models: Sequence[Checkpoint], split: str, **settings: Any) -> ProbeRecipe:
        """A look into models with this case's texts: triggered ones, or all clean ones."""
        trigger = self.trigger if split == "triggered" else None
        return plan_probe(self.study, probe, models, self.task, self.seed, trigger=trigger, **settings)

    def twin_probe(self) -> ProbeRecipe:
        """The way from the twin."""
        return self.plan("averages", [self.twin, *self.partners], "triggered", weights=self.weights)

    @property
    def weights(self) -> tuple[tuple[float, ...], ...]:
        """Averaging weights of the first model and of the partners at each place."""
        n = len(self.partners)
        return tuple((1 - place, *[place / n] * n) for place in self.places)

    def path_probe(self, split: str) -> ProbeRecipe:
        """Derivatives along the way, on the first texts."""
        return self.plan("path", [self.victim, *self.partners], split, places=self.places, n=N_PROBED)

    def tangent_probe(self, split: str) -> ProbeRecipe:
        """All models as seen from where they started, on the first texts; the twin is the last."""
        models = [self.victim, *self.partners, self.twin]
        return self.plan("tangent", [self.study.planner.initial(models), *models], split, n=N_PROBED)


def chosen_kinds(planner: Planner, partners: Sequence[str] | None) -> list[str]:
    """The kinds of partners that are asked for, or those that the profile has."""
    return kinds_of_partners(planner) if partners is None else check_kinds(planner, partners)


def ways_of(
    study: Study, tasks: Sequence[str], attacks: Sequence[str], places: Sequence[float], partners: Sequence[str] | None = None
) -> list[Way]:
    """Every way of some tasks and attacks, all seeds.

    Raises:
        ValueError: for places that do not rise from 0 to 1.
    """
    where = tuple(round(float(place), 3) for place in places)
    if len(where) < 3 or where[0] != 0 or where[-1] != 1 or list(where) != sorted(set(where)):
        raise ValueError(f"coefficients {list(where)} must rise from 0 to 1, three or more")
    kinds = chosen_kinds(study.planner, partners)
    return [
        Way(study, task, attack, seed, kind, where)
        for task, attack, seed in cases_of(study.planner, tasks, attacks)
        for kind in kinds
    ]


def ways_needed(
    planner: Planner,
    tasks: Sequence[str],
    attacks: Sequence[str],
    places: Sequence[float],
    partners: Sequence[str] | None = None,
) -> Needed:
    """The models of some ways, and their averages."""
    cases, kinds = cases_of(planner, tasks, attacks), chosen_kinds(planner, partners)
    return Needed(backdoored_recipes(planner, cases, kinds), 2 * len(cases) * len(kinds) * len(places))
