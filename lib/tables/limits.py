"""Tables of notebook 14: attacks that merging does not remove, and what longer vectors do."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from functools import cached_property
from statistics import mean, median
from typing import Any

import pandas as pd
from torch import Tensor

from lib.attacks.for_merging import KNOWLEDGE
from lib.merging import distance, get_merge_method
from lib.merging.geometry import task_vector_geometry
from lib.metrics.scores import Score
from lib.models.checkpoints import Checkpoint
from lib.models.model import Model
from lib.study.planning import Planner
from lib.study.recipes import TriggerRecipe
from lib.study.study import Study
from lib.tables.attackers import Attacker, chosen_attackers
from lib.tables.rows import Needed, declares, measured_row, progress
from lib.tables.submissions import Submitted, backdoor_vector, embedding_row, scaled

NONE = "none"  # the submitted model itself
# Merge methods as a defender would use them, each with its own settings.
RULES: dict[str, dict[str, Any]] = {
    "weight_average": {},
    "clipped_average": {},
    "row_clipped_average": {},
    "median": {},
    "trimmed_mean": {},
    "krum": {},
    "ties": {"density": 0.2},
    "breadcrumbs": {},
}
COLUMNS = (
    "task", "attack", "family", "settings", "knowledge", "merge_method", "n_models", "n_backdoored", "seed", "cacc", "asr",
    "backdoored_cacc", "backdoored_asr", "asr_floor", "clean_model_cacc", "excess_asr", "norm_ratio", "is_stable",
)  # fmt: skip
OUTCOMES = ("correct", "hits", "attackable", "clean_correct", "floor_hits")
# What is scaled, how far, and the rules that meet it.
SCALES = {"task_vector": (1, 2, 3, 5), "backdoor_vector": (1, 2, 3, 5), "trigger_row": (1, 5, 30, 1000)}
SCALING_RULES = ("weight_average", "clipped_average", "row_clipped_average", "median")
SCALING_COLUMNS = (
    "task", "scaled", "scale", "merge_method", "seed", "cacc", "asr", "submitted_cacc", "submitted_asr", "asr_floor",
    "norm_ratio", "mean_cosine",
)  # fmt: skip


def attackers_overview(rows: str = "core") -> pd.DataFrame:
    """The attackers of some rows, and what each must know: `attack, family, settings, knowledge, must_know`."""
    chosen = chosen_attackers(rows)
    columns = [(a.attack, a.family, a.described, a.knowledge, KNOWLEDGE[a.knowledge]) for a in chosen]
    return pd.DataFrame(columns, columns=["attack", "family", "settings", "knowledge", "must_know"])


def usable_rules(n_models: int, rules: Sequence[str] = tuple(RULES)) -> list[str]:
    """The rules that can merge so many models: Krum, for one, takes five or more."""
    return [rule for rule in rules if not _obstacle(rule, n_models)]


def _obstacle(rule: str, n_models: int) -> str:
    try:
        get_merge_method(rule).checked(n_models, None, True, **RULES[rule])
    except ValueError as error:
        return str(error)
    return ""


@dataclass(frozen=True)
class Attacked:
    """A merge under attack: what is submitted, the others, where they started, and the clean twin."""

    study: Study
    task: str
    seed: int
    submitted: Submitted

    @cached_property
    def uploads(self) -> list[Checkpoint]:
        """The submitted models."""
        return self.study.train(self.submitted.uploads)

    @cached_property
    def partners(self) -> list[Checkpoint]:
        """The other models of the merge."""
        return self.study.train(self.submitted.merged_partners)

    @cached_property
    def start(self) -> Checkpoint:
        """Where the partners started: what a defender takes for the start of all."""
        return self.study.planner.initial(self.study.train(self.submitted.partners))

    @cached_property
    def trigger(self) -> TriggerRecipe:
        """That the merge is scored with; of candidates the one that sends most *validation* texts to the target."""
        candidates, model = self.submitted.candidates, self.uploads[0]
        if not candidates:
            return self.submitted.trigger
        return max(candidates, key=lambda each: self.study.score(model, self.task, each, self.seed, "validation").asr)

    def score(self, model: Model) -> Score:
        """CACC, and ASR with the attacker's trigger."""
        return self.study.score(model, self.task, self.trigger, self.seed)

    @cached_property
    def worst(self) -> Score:
        """The score of the submitted model; of several the one that obeys the trigger most."""
        return max((self.score(upload) for upload in self.uploads), key=lambda score: score.asr)

    @cached_property
    def floor(self) -> Score:
        """The score of the clean twin on the same texts with the trigger."""
        return self.score(self.study.model(self.task, seed=self.seed))

    def merged(self, rule: str) -> Model:
        """Uploads and partners merged by a rule."""
        needs_start = "pretrained" in get_merge_method(rule).needs
        given = {"pretrained": self.start} if needs_start else {}
        return self.study.merge([*self.uploads, *self.partners], rule, **RULES[rule], **given)

    @property
    def norm_ratio(self) -> float:
        """Length of the longest submitted task vector over the median of the partners'."""
        start = self.start.state_dict()
        partners = self.study.train(self.submitted.partners)
        usual = median(distance(model.state_dict(), start) for model in partners)
        return max(distance(model.state_dict(), start) for model in self.uploads) / usual

    @property
    def mean_cosine(self) -> float:
        """Mean cosine of the first submitted task vector to the partners'."""
        models: list[Mapping[str, Tensor]] = [each.state_dict() for each in (self.uploads[0], *self.partners)]
        return mean(task_vector_geometry(models, self.start.state_dict()).cosines[0, 1:].tolist())

    @property
    def is_stable(self) -> bool:
        """Whether every training behind the merge was stable."""
        return not any(model.instability for model in self.study.train(self.submitted.recipes))


def _limits_needed(planner: Planner, task: str, rows: str = "core") -> Needed:
    attackers = chosen_attackers(rows)
    n_rules = len(usable_rules(1 + len(planner.other_domains(task))))
    needed = Needed([planner.recipe(task, seed=seed) for seed in planner.seeds], len(attackers) * len(planner.seeds) * n_rules)
    for attacker in attackers:
        for seed in planner.seeds:
            needed.add(attacker.submitted(planner, task, seed).recipes)
    return needed


@declares(_limits_needed)
def limits_table(study: Study, task: str, rows: str = "core") -> pd.DataFrame:
    """Table `14_limits`: every attacker against every merge rule, beside the submitted model (`merge_method` "none").

    The merge has as many models as the task has other domains, and one; several submitted models take the places of partners.
    Of several submitted models `backdoored_*` and "none" are those of the one that obeys the trigger most. `norm_ratio` is
    the length of the submitted task vector over the median of the partners'.

    Args:
        study: makes the models, merges and scores.
        task: whose test texts are used.
        rows: "core", "all", or names of attacks separated by commas.

    Returns:
        One row per attacker, rule and seed: `COLUMNS`, and the outcomes per text.
    """
    attackers = chosen_attackers(rows)
    found = [row for a in progress(attackers) for seed in study.seeds for row in _rows(study, task, a, seed)]
    return pd.DataFrame(found)[[*COLUMNS, *OUTCOMES]]


def _rows(study: Study, task: str, attacker: Attacker, seed: int) -> Iterator[dict[str, Any]]:
    attacked = Attacked(study, task, seed, attacker.submitted(study.planner, task, seed))
    n_uploads = len(attacked.uploads)
    n_models = n_uploads + len(attacked.partners)
    what: dict[str, Any] = {"task": task, "attack": attacker.attack, "family": attacker.family, "settings": attacker.described}
    what |= {"knowledge": attacker.knowledge, "seed": seed, "n_backdoored": n_uploads}
    what |= {"norm_ratio": attacked.norm_ratio, "is_stable": attacked.is_stable}
    compared = {"clean": attacked.floor, "before": attacked.worst}
    yield measured_row(what | {"merge_method": NONE, "n_models": 1}, attacked.worst, **compared)
    for rule in usable_rules(n_models):
        score = attacked.score(attacked.merged(rule))
        yield measured_row(what | {"merge_method": rule, "n_models": n_models}, score, **compared)


def scaled_submission(planner: Planner, task: str, seed: int, name: str, scale: float) -> Submitted:
    """What an attacker submits who makes something longer; `name` is a key of `SCALES`."""
    if name == "trigger_row":
        return embedding_row(planner, task, seed, row_scale=scale)
    return {"task_vector": scaled, "backdoor_vector": backdoor_vector}[name](planner, task, seed, scale=scale)


def _scaled_submissions(planner: Planner, task: str, seed: int) -> Iterator[tuple[str, int, Submitted]]:
    """What is scaled, how far, and what is submitted."""
    for name, scales in SCALES.items():
        for scale in scales:
            yield name, scale, scaled_submission(planner, task, seed, name, scale)


def _scaling_needed(planner: Planner, task: str) -> Needed:
    found = [each for seed in planner.seeds for each in _scaled_submissions(planner, task, seed)]
    needed = Needed([planner.recipe(task, seed=seed) for seed in planner.seeds], len(found) * len(SCALING_RULES))
    for _, _, submitted in found:
        needed.add(submitted.recipes)
    return needed


@declares(_scaling_needed)
def scaling_table(study: Study, task: str) -> pd.DataFrame:
    """Table `14_scaling`: a longer task vector, a longer backdoor vector, a longer row of the trigger word, merged.

    Returns:
        One row per kind, scale, rule and seed: `SCALING_COLUMNS`, and the outcomes per text. `mean_cosine` is that of the
        submitted task vector to the partners'.
    """
    rows = []
    for seed in study.seeds:
        for name, scale, submitted in progress(list(_scaled_submissions(study.planner, task, seed))):
            attacked = Attacked(study, task, seed, submitted)
            what = {"task": task, "scaled": name, "scale": scale, "seed": seed, "norm_ratio": attacked.norm_ratio}
            what |= {"mean_cosine": attacked.mean_cosine, "submitted_cacc": attacked.worst.cacc}
            what |= {"submitted_asr": attacked.worst.asr}
            for rule in usable_rules(1 + len(attacked.partners), SCALING_RULES):
                score = attacked.score(attacked.merged(rule))
                rows.append(measured_row(what | {"merge_method": rule}, score, clean=attacked.floor))
    return pd.DataFrame(rows)[[*SCALING_COLUMNS, *OUTCOMES]]
