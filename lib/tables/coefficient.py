"""Tables of notebook 06: the weight of a backdoored model in a merge, and who could choose it."""

from __future__ import annotations

from collections.abc import Sequence
from itertools import product
from typing import Any

import numpy as np
import pandas as pd

from lib.models.checkpoints import Checkpoint
from lib.models.model import Model
from lib.study.planning import Planner
from lib.study.study import Study
from lib.tables.partners import check_kinds, kinds_of_partners, n_without_suspect, without_suspect
from lib.tables.rows import (
    Case,
    Needed,
    backdoored_and_clean,
    backdoored_recipes,
    cases_of,
    declares,
    measured_row,
    progress,
)

COEFFICIENTS = tuple(round(float(value), 2) for value in np.linspace(0, 1, 11))
# Of task arithmetic; 1/5 with five models is their uniform average.
TASK_COEFFICIENTS = (0.05, 0.1, 0.2, 0.3, 0.4, 0.6)
CHOICES = ("highest accuracy", "within one standard error", "no worse than the suspect")


def _coefficient_needed(
    planner: Planner,
    tasks: Sequence[str],
    attacks: Sequence[str],
    partners: Sequence[str] | None = None,
    coefficients: Sequence[float] = COEFFICIENTS,
    seeds: Sequence[int] | None = None,
    **training: float,
) -> Needed:
    cases, kinds = _cases(planner, tasks, attacks, seeds), _kinds(planner, partners)
    between, n_merges = sum(0 < coefficient < 1 for coefficient in coefficients), 0
    for (task, _, _), kind in product(cases, kinds):
        n_merges += between + (kind != "same_task") * n_without_suspect(len(planner.other_domains(task)))
    return Needed(backdoored_recipes(planner, cases, kinds, **training), n_merges)


def _kinds(planner: Planner, partners: Sequence[str] | None) -> list[str]:
    return kinds_of_partners(planner) if partners is None else check_kinds(planner, partners)


def _cases(planner: Planner, tasks: Sequence[str], attacks: Sequence[str], seeds: Sequence[int] | None) -> list[Case]:
    return [case for case in cases_of(planner, tasks, attacks) if seeds is None or case[2] in seeds]


@declares(_coefficient_needed)
def coefficient_table(
    study: Study,
    tasks: Sequence[str],
    attacks: Sequence[str],
    partners: Sequence[str] | None = None,
    coefficients: Sequence[float] = COEFFICIENTS,
    seeds: Sequence[int] | None = None,
    **training: float,
) -> pd.DataFrame:
    """Table `06_coefficient`: interpolation from the backdoored model (0) to its partner (1), which is what is left without it.

    The partner is one clean model of the same task, or the uniform average of the other domains' models. `training` changes the
    fine-tuning of the backdoored model only, e.g. `learning_rate`. `validation_cacc` is what a defender can see.

    Args:
        study: trains and scores.
        tasks, attacks: of the backdoored models; every attack on every task, with every seed.
        partners: "same_task", "other_domains" or both; default those that the profile has.
        coefficients: of the partner, in [0, 1].
        seeds: default those of the profile.
        training: settings of the backdoored model that differ from the profile's.

    Raises:
        ValueError: for partners "same_task" where the profile has none.
    """
    rows = []
    steps = product(_cases(study.planner, tasks, attacks, seeds), _kinds(study.planner, partners), coefficients)
    for case, kind, coefficient in progress(list(steps)):
        (task, attack, seed), (backdoored, clean) = case, backdoored_and_clean(study, case, **training)
        others = study.partners(task, kind, seed)
        others = others[:1] if kind == "same_task" else others
        partner = without_suspect(study, others)
        model = between(study, backdoored, others, coefficient)
        score, floor = study.score(model, *case), study.score(clean, *case)
        before, without = study.score(backdoored, *case), study.score(partner, *case)
        what = {"task": task, "attack": attack, "partners": kind, "coefficient": coefficient, "seed": seed}
        rows.append(
            {
                **measured_row(what, score, clean=floor, before=before, partners_only=without),
                "clean_loss": score.clean_loss,
                **_validation(study, model, backdoored, task),
                "distance": backdoored.distance,
                "clean_model_distance": clean.distance,
                "excess_loss": backdoored.record["excess_loss"],
                "instability": backdoored.instability,
            }
        )
    return pd.DataFrame(rows)


def between(study: Study, backdoored: Checkpoint, others: Sequence[Checkpoint], coefficient: float) -> Model:
    """The model at a coefficient on the way from a backdoored model (0) to the average of others (1)."""
    if coefficient in (0, 1):
        return without_suspect(study, others) if coefficient else backdoored
    return study.merge([backdoored, *others], weights=[1 - coefficient, *[coefficient / len(others)] * len(others)])


def _arithmetic_needed(
    planner: Planner, tasks: Sequence[str], attacks: Sequence[str], coefficients: Sequence[float] = TASK_COEFFICIENTS
) -> Needed:
    cases = cases_of(planner, tasks, attacks)
    # A single partner is merged, too: its task vector is scaled.
    return Needed(backdoored_recipes(planner, cases, ["other_domains"]), n_merges=2 * len(cases) * len(coefficients))


@declares(_arithmetic_needed)
def task_arithmetic_table(
    study: Study, tasks: Sequence[str], attacks: Sequence[str], coefficients: Sequence[float] = TASK_COEFFICIENTS
) -> pd.DataFrame:
    """Table `06_task_arithmetic`: pretrained + coefficient x sum of the task vectors of the victim and all other domains.

    Without the suspect the sum is that of the other domains, with the same coefficient.
    """
    rows = []
    for case, coefficient in progress(list(product(cases_of(study.planner, tasks, attacks), coefficients))):
        (task, attack, seed), (backdoored, clean) = case, backdoored_and_clean(study, case)
        others = study.partners(task, "other_domains", seed)
        merged, without = (
            study.merge(models, "task_arithmetic", merge_coefficient=coefficient) for models in ([backdoored, *others], others)
        )
        what = {"task": task, "attack": attack, "partners": "other_domains", "coefficient": coefficient, "seed": seed}
        scores: dict[str, Model] = {"clean": clean, "before": backdoored, "partners_only": without}
        compared = {name: study.score(model, *case) for name, model in scores.items()}
        row = measured_row(what, study.score(merged, *case), **compared)
        rows.append(row | _validation(study, merged, backdoored, task))
    return pd.DataFrame(rows)


def _validation(study: Study, model: Model, suspect: Model, task: str) -> dict[str, Any]:
    """What a defender can see: accuracy on clean validation texts, of the model and of the suspect alone."""
    score, alone = study.score(model, task, None, split="validation"), study.score(suspect, task, None, split="validation")
    return {"validation_cacc": score.cacc, "suspect_validation_cacc": alone.cacc, "n_validation": score.n_clean}


def chosen_coefficients(table: pd.DataFrame, furthest: str = "largest") -> pd.DataFrame:
    """Table `06_chosen`: the coefficients that a defender picks who has clean validation texts and no trigger.

    Three rules: the highest validation accuracy; and the coefficient furthest from the suspect whose validation accuracy is
    within one standard error of the highest (Breiman et al. 1984, section 3.4.3), or not below that of the suspect alone. Every
    step away from the suspect weakens a backdoor that may be in it. Equal accuracies go to the furthest, too. Where nothing is
    as good as the suspect, the third rule takes the most accurate.

    Args:
        table: with `task`, `partners`, `attack`, `seed`, `coefficient`, `validation_cacc`, `suspect_validation_cacc` and
            `n_validation`, one row per coefficient.
        furthest: "largest" or "smallest": the end of the scale that lies away from the victim.

    Raises:
        ValueError: for another `furthest`.
    """
    if furthest not in ("largest", "smallest"):
        raise ValueError(f"furthest is {furthest!r}; choose from ['largest', 'smallest']")
    chosen = []
    for _, path in table.groupby(["task", "partners", "attack", "seed"], sort=False):
        path = path.sort_values("coefficient", ascending=furthest == "smallest")
        best = path["validation_cacc"].max()
        error = (best * (1 - best) / path["n_validation"].iloc[0]) ** 0.5
        suspect = min(best, path["suspect_validation_cacc"].iloc[0])
        for choice, lowest in zip(CHOICES, (best, best - error, suspect), strict=True):
            chosen.append(path[path["validation_cacc"] >= lowest].iloc[0].to_dict() | {"choice": choice})
    return pd.DataFrame(chosen)
