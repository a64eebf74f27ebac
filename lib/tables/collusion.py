"""Tables of notebook 08: merges of backdoored models with each other, when attackers work alone and when they collude."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from itertools import combinations
from typing import Any

import pandas as pd

from lib.datasets import SAME_TASK_SEED_STEP
from lib.merging import get_merge_method
from lib.models.checkpoints import Checkpoint
from lib.models.model import Model
from lib.study.planning import Planner
from lib.study.recipes import ModelRecipe
from lib.study.study import Study
from lib.tables.partners import n_without_suspect, without_suspect
from lib.tables.rows import Needed, declares, measured_row, progress

METHODS = ("weight_average", "median")  # the paper's, and a robust one that shrugs off a minority


@dataclass(frozen=True)
class Group:
    """Backdoored models of one seed that are merged, one per attack, each with the target label it obeys."""

    attacks: tuple[str, ...]
    targets: tuple[int, ...]
    seed: int

    def recipes(self, planner: Planner, task: str) -> list[ModelRecipe]:
        """What determines the models."""
        pairs = zip(self.attacks, self.targets, strict=True)
        return [planner.recipe(task, attack, self.seed, target_label=target) for attack, target in pairs]


def _groups(planner: Planner, task: str, attacks: Sequence[str]) -> list[Group]:
    """Each attack alone, every pair, and all together; beside groups of one target label those of two."""
    usual, other = _targets(planner, task)
    sets = [*((attack,) for attack in attacks), *combinations(attacks, 2), *([tuple(attacks)] if len(attacks) > 2 else [])]
    groups = []
    for seed in planner.seeds:
        for chosen in sets:
            groups.append(Group(chosen, (usual,) * len(chosen), seed))
            if len(chosen) > 1:
                groups.append(Group(chosen, tuple(other if i % 2 else usual for i in range(len(chosen))), seed))
    return groups


def _backdoored_needed(planner: Planner, task: str, attacks: Sequence[str]) -> Needed:
    groups = _groups(planner, task, attacks)
    models = [recipe for group in groups for recipe in group.recipes(planner, task)]
    clean = [planner.recipe(task, seed=seed) for seed in planner.seeds]
    n_merges = 0
    for n in (len(group.attacks) for group in groups if len(group.attacks) > 1):
        n_merges += 1 + n * n_without_suspect(n - 1)  # each of the models is the suspect once
    return Needed(models + clean, n_merges)


@declares(_backdoored_needed)
def backdoored_table(study: Study, task: str, attacks: Sequence[str]) -> pd.DataFrame:
    """Table `08_backdoored`: uniform averages of backdoored models of one task: each alone, every pair, and all together.

    Every merge is scored on each attack that is in it, for the target label of that attack. With `same_target` False every
    second model of a merge obeys another label. `partners_only` is the merge without the model of the scored attack: the others
    are backdoored by other attacks.

    Returns:
        One row per set of attacks, scored attack, kind of target and seed: `task, attacks, scored_attack, same_target,
        n_models, seed, cacc, asr, backdoored_asr, asr_floor`, and the outcomes per text.
    """
    groups = _groups(study.planner, task, attacks)
    return pd.DataFrame([row for group in progress(groups) for row in _rows(study, task, group)])


def _rows(study: Study, task: str, group: Group) -> list[dict[str, Any]]:
    models = study.train(group.recipes(study.planner, task))
    merged, clean = study.merge(models) if len(models) > 1 else models[0], study.model(task, seed=group.seed)
    rows: list[dict[str, Any]] = []
    for number, (attack, target, model) in enumerate(zip(group.attacks, group.targets, models, strict=True)):
        others = [*models[:number], *models[number + 1 :]]
        compared: dict[str, Model] = {"score": merged, "before": model, "clean": clean}
        compared |= {"partners_only": without_suspect(study, others)} if others else {}
        scores = {name: study.score(each, task, attack, group.seed, target_label=target) for name, each in compared.items()}
        what: dict[str, Any] = {"task": task, "attacks": "+".join(group.attacks), "scored_attack": attack}
        what |= {"same_target": len(set(group.targets)) == 1, "n_models": len(models), "seed": group.seed}
        rows.append(measured_row(what, scores.pop("score"), **scores))
    return rows


def _collusion_needed(planner: Planner, task: str, attack: str, n_models: int = 5) -> Needed:
    crews = [_crew(planner, task, kind, seed, n_models) for seed in planner.seeds for kind in (attack, None)]
    models = [recipe for crew in crews for recipe in crew]
    n_alone = sum(_is_merged(method, n_models - k) for method in METHODS for k in range(1, n_models))
    return Needed(models, n_merges=len(planner.seeds) * ((n_models + 1) * len(METHODS) + n_alone))


def _is_merged(method: str, n_clean: int) -> bool:
    """Whether a method can merge so many clean models; a single one stands for itself."""
    try:
        get_merge_method(method).checked(n_clean, None, False)
    except ValueError:
        return False
    return n_clean > 1


@declares(_collusion_needed)
def collusion_table(study: Study, task: str, attack: str, n_models: int = 5) -> pd.DataFrame:
    """Table `08_collusion`: k of n models carry the same backdoor, the others are clean models of the task.

    The colluding models share one trigger; rows, poison and order of the batches are each one's own, as are the clean ones'.
    `partners_only` is the same method on the clean models alone, empty where there are too few of them for it.

    Returns:
        One row per k, method and seed: `task, attack, merge_method, n_backdoored, n_models, seed, cacc, asr, asr_floor`, and
        the rates of the models compared.

    Raises:
        ValueError: for fewer than 3 models, of which no median can be taken.
    """
    rows = []
    for seed in study.seeds:
        backdoored, clean = (study.train(_crew(study.planner, task, kind, seed, n_models)) for kind in (attack, None))
        floor, before = (study.score(model, task, attack, seed) for model in (clean[0], backdoored[0]))
        for k in progress(range(n_models + 1)):
            models: list[Checkpoint] = [*backdoored[:k], *clean[k:]]
            for method in METHODS:
                what = {"task": task, "attack": attack, "merge_method": method, "n_backdoored": k, "n_models": n_models}
                score = study.score(study.merge(models, method), task, attack, seed)
                is_defined = n_models - k == 1 or _is_merged(method, n_models - k)
                alone = study.score(without_suspect(study, clean[k:], method), task, attack, seed) if is_defined else None
                rows.append(measured_row({**what, "seed": seed}, score, clean=floor, before=before, partners_only=alone))
    return pd.DataFrame(rows)


def _crew(planner: Planner, task: str, attack: str | None, seed: int, n_models: int) -> list[ModelRecipe]:
    """Models of one head and, if backdoored, of one trigger; everything else is drawn with seeds of their own."""
    if n_models < 3:
        raise ValueError(f"n_models is {n_models}; it must be 3 or more")
    own_seeds = [seed + SAME_TASK_SEED_STEP * i for i in range(n_models)]
    return [planner.recipe(task, attack, own, head_seed=seed, trigger_seed=seed if attack else None) for own in own_seeds]


def _targets(planner: Planner, task: str) -> tuple[int, int]:
    """The task's target label, and the first other one."""
    spec = planner.spec(task)
    return spec.target_label, next(label for label in range(len(spec.label_names)) if label != spec.target_label)
