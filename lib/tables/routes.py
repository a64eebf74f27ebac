"""Routes of notebook 15: from a backdoored model of one architecture to students and partners of another, or of its own."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path

from lib.models.checkpoints import Checkpoint
from lib.models.model import Model
from lib.models.pretrained import resolve_pretrained
from lib.study.defended import planned
from lib.study.distilled import SAME, SAME_OTHER_HEAD, STARTS, plan_distilled
from lib.study.entries import parse_entry
from lib.study.merged import MergedModel
from lib.study.planning import Planner
from lib.study.recipes import DerivedRecipe, ModelRecipe
from lib.study.study import Study
from lib.tables.architectures import RECIPE
from lib.tables.partners import without_suspect
from lib.tables.rows import Case

OTHER_ARCHITECTURE, OTHER_PRETRAINING = "other_architecture", "other_pretraining"
NONE = "none"
OUTPUTS = ("logit_ensemble", "probability_ensemble", "vote")
STUDENTS = ("distil", "distil_merge", "distil_ensemble")
N_SECOND = 1  # partners of a second pretraining: whether two models can be averaged shows with two
EXAMPLE = "pocket-bert-large learning_rate=8e-4"


@dataclass(frozen=True)
class Route:
    """Who teaches, and who learns or stands beside.

    Attributes:
        teacher, partner: entries of pretrained models, "" for the profile's own: of the suspicious model; of its students and
            partners.
        start: of the students, one of `STARTS`, or `OTHER_ARCHITECTURE` or `OTHER_PRETRAINING`.
        is_back: whether it leads from another architecture to the profile's own.
    """

    teacher: str
    partner: str
    start: str
    is_back: bool = False

    def methods(self, texts: Sequence[str]) -> list[tuple[str, str]]:
        """Methods and the texts that their students read, "none" for methods without a student."""
        first, students = texts[0], [("distil", each) for each in texts]
        outputs, merges = [(name, NONE) for name in OUTPUTS], [("distil_merge", first)]
        if self.start == SAME:
            alone = [(NONE, NONE), ("partners_only", NONE), ("weight_average", NONE)]
            return [*alone, *outputs, ("nad", NONE), *students, *merges]
        if self.start == SAME_OTHER_HEAD:
            return students[:1]
        if self.start == OTHER_PRETRAINING:
            return [("partners_only", NONE), ("weight_average", NONE), ("rebasin", NONE)]
        if self.is_back:
            return [(NONE, NONE), *outputs, *students[:1], *merges]
        return [("partners_only", NONE), *outputs, *students, *merges, ("distil_ensemble", first)]


def routes(planner: Planner, students: str, second: str) -> list[Route]:
    """The routes that two parameters of the notebook name.

    Args:
        planner: knows the profile.
        students: entries such as "pocket-bert-large learning_rate=8e-4", separated by commas; "" the first of the profile's
            other architectures without adapters, if one has its common recipe the first of these; "all" all without adapters.
        second: another pretraining of the profile's architecture; "none"; or "auto": a bundled model with the ending -seed-1.

    Raises:
        ValueError: for an entry that is no pretrained model with fields of a profile, or is the profile's own.
    """
    found = [Route("", "", SAME), Route("", "", SAME_OTHER_HEAD)]
    entries = chosen_students(planner, students)
    found += [Route("", entry, OTHER_ARCHITECTURE) for entry in entries]
    found += [Route(entry, "", OTHER_ARCHITECTURE, is_back=True) for entry in entries]
    name = f"{planner.profile.pretrained}-seed-1" if second == "auto" else second
    if second == "auto" and not _is_bundled(name):
        name = NONE
    return found if name == NONE else [*found, Route("", _checked(planner, name), OTHER_PRETRAINING)]


def chosen_students(planner: Planner, students: str) -> list[str]:
    """The entries that the notebook's parameter means; see `routes`."""
    if students not in ("", "all"):
        return [_checked(planner, entry.strip()) for entry in students.split(",")]
    own, found, tuned = planner.profile.pretrained, list[str](), set[str]()
    for entry in planner.profile.architectures:
        name, fields = parse_entry(entry, EXAMPLE)
        if name != own and not fields.get("lora_rank"):
            found.append(entry)
            tuned |= {entry} if set(RECIPE) & set(fields) else set()
    if not found:
        raise ValueError(
            f"the profile's architectures {list(planner.profile.architectures)} have none beside {own!r}; name some as students"
        )
    return found if students == "all" else sorted(found, key=tuned.__contains__)[:1]


def _checked(planner: Planner, entry: str) -> str:
    name, fields = parse_entry(entry, EXAMPLE)
    if name in (planner.profile.pretrained, *STARTS):
        raise ValueError(f"{entry!r} is the suspicious model's own pretrained model; name another one")
    planner.variant(pretrained=name, **fields)
    resolve_pretrained(name)
    return entry


def _is_bundled(name: str) -> bool:
    return "/" not in name and Path(resolve_pretrained(name)).is_dir()


def pretrained_name(planner: Planner, entry: str) -> str:
    """The pretrained model of an entry, the last part of its name."""
    name = parse_entry(entry, EXAMPLE)[0] if entry else planner.profile.pretrained
    return name.rstrip("/").split("/")[-1]


def planner_of(planner: Planner, entry: str) -> Planner:
    """The planner that trains models of an entry."""
    if not entry:
        return planner
    name, fields = parse_entry(entry, EXAMPLE)
    return planner.variant(pretrained=name, **fields)


def partner_recipes(planner: Planner, route: Route, task: str, seed: int) -> list[ModelRecipe]:
    """The clean models that stand beside a student, or beside the suspicious model."""
    found = planner_of(planner, route.partner).partner_recipes(task, "other_domains", seed)
    return found[:N_SECOND] if route.start == OTHER_PRETRAINING else found


def suspect_recipes(planner: Planner, route: Route, case: Case) -> tuple[ModelRecipe, ModelRecipe]:
    """The suspicious model of a route, and its clean twin."""
    task, attack, seed = case
    trainer = planner_of(planner, route.teacher)
    return trainer.recipe(task, attack, seed), trainer.recipe(task, seed=seed)


def derived_recipes(
    planner: Planner, route: Route, suspect: ModelRecipe, texts: Sequence[str], n_texts: int
) -> Iterator[DerivedRecipe]:
    """What the methods of a route make of a suspicious model beside merges and ensembles."""
    partners = [each.key for each in partner_recipes(planner, route, suspect.data.dataset, suspect.seed)]
    for method, read in route.methods(texts):
        if method in STUDENTS:
            teachers = [suspect.key, *(partners if method == "distil_ensemble" else [])]
            yield plan_distilled(planner, teachers, suspect, _student(planner, route), read, n_texts)
        elif method == "nad":
            made = planned(planner, "nad", suspect)
            assert isinstance(made, DerivedRecipe)
            yield made
        elif method == "rebasin":
            yield from (planner.derived("rebasin", [each, suspect.key], seed=suspect.seed) for each in partners)


def _student(planner: Planner, route: Route) -> str:
    """Where the students of a route start, as `study.distil` is told it."""
    return route.start if route.start in STARTS else route.partner or planner.profile.pretrained


@dataclass(frozen=True)
class Bench:
    """A suspicious model, or its clean twin in the same place, with all that the methods of a route make of it."""

    study: Study
    route: Route
    suspect: Checkpoint
    task: str
    seed: int
    n_texts: int

    @cached_property
    def partners(self) -> list[Checkpoint]:
        """The clean models beside it."""
        return self.study.train(partner_recipes(self.study.planner, self.route, self.task, self.seed))

    def student(self, texts: str, with_partners: bool = False) -> Checkpoint:
        """A student of the suspicious model, or of it and the partners together."""
        teachers = [self.suspect, *(self.partners if with_partners else [])]
        return self.study.distil(teachers, _student(self.study.planner, self.route), texts, n_texts=self.n_texts)

    def made(self, method: str, texts: str) -> Model:
        """What a method gives."""
        if method in OUTPUTS:
            return self.study.ensemble([self.suspect, *self.partners], method, dataset=self.task, seed=self.seed)
        ways: dict[str, Callable[[], Model]] = {
            NONE: lambda: self.suspect,
            "partners_only": lambda: without_suspect(self.study, self.partners),
            "weight_average": lambda: self.study.merge([self.suspect, *self.partners]),
            "rebasin": lambda: self.study.merge([self.suspect, *map(self._aligned, self.partners)]),
            "nad": lambda: self.study.defend("nad", self.suspect),
            "distil": lambda: self.student(texts),
            "distil_merge": lambda: self.study.merge([self.student(texts), *self.partners]),
            "distil_ensemble": lambda: self.student(texts, with_partners=True),
        }
        return ways[method]()

    def _aligned(self, partner: Checkpoint) -> Checkpoint:
        return self.study.derive("rebasin", [partner, self.suspect], seed=self.seed)


def students_in(model: Model) -> list[Checkpoint]:
    """The models that were derived for a method, of the model itself or of the merge."""
    parts = model.parents if isinstance(model, MergedModel) else (model,)
    return [each for each in parts if isinstance(each, Checkpoint) and isinstance(each.recipe, DerivedRecipe)]
