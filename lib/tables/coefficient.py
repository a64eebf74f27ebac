"""Tables of notebook 06: the weight of a backdoored model in a merge, and who could choose it."""

from __future__ import annotations

from collections.abc import Sequence
from itertools import product
from typing import Any

import numpy as np
import pandas as pd

from lib.models.model import Model
from lib.study.planning import PARTNERS, Planner
from lib.study.study import Study
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
    partners: Sequence[str] = PARTNERS,
    coefficients: Sequence[float] = COEFFICIENTS,
    seeds: Sequence[int] | None = None,
    **training: float,
) -> Needed:
    cases = _cases(planner, tasks, attacks, seeds)
    models = backdoored_recipes(planner, cases, partners, **training)
    return Needed(models, n_merges=len(cases) * len(partners) * sum(coefficient > 0 for coefficient in coefficients))


def _cases(planner: Planner, tasks: Sequence[str], attacks: Sequence[str], seeds: Sequence[int] | None) -> list[Case]:
    return [case for case in cases_of(planner, tasks, attacks) if seeds is None or case[2] in seeds]


@declares(_coefficient_needed)
def coefficient_table(
    study: Study,
    tasks: Sequence[str],
    attacks: Sequence[str],
    partners: Sequence[str] = PARTNERS,
    coefficients: Sequence[float] = COEFFICIENTS,
    seeds: Sequence[int] | None = None,
    **training: float,
) -> pd.DataFrame:
    """Table `06_coefficient`: interpolation from the backdoored model (0) to its partner (1).

    The partner is one clean model of the same task, or the uniform average of the other domains' models. `training` changes the
    fine-tuning of the backdoored model only, e.g. `learning_rate`. `validation_cacc` is what a defender can see.
    """
    rows = []
    steps = product(_cases(study.planner, tasks, attacks, seeds), partners, coefficients)
    for case, kind, coefficient in progress(list(steps)):
        (task, attack, seed), (backdoored, clean) = case, backdoored_and_clean(study, case, **training)
        others = study.partners(task, kind, seed)
        others = others[:1] if kind == "same_task" else others
        weights = [1 - coefficient, *[coefficient / len(others)] * len(others)]
        model: Model = study.merge([backdoored, *others], weights=weights) if coefficient else backdoored
        score, floor = study.score(model, *case), study.score(clean, *case)
        what = {"task": task, "attack": attack, "partners": kind, "coefficient": coefficient, "seed": seed}
        rows.append(
            {
                **measured_row(what, score, clean=floor),
                "clean_loss": score.clean_loss,
                **_validation(study, model, backdoored, task),
                "distance": backdoored.distance,
                "clean_model_distance": clean.distance,
                "excess_loss": backdoored.record["excess_loss"],
                "instability": backdoored.instability,
            }
        )
    return pd.DataFrame(rows)


def _arithmetic_needed(
    planner: Planner, tasks: Sequence[str], attacks: Sequence[str], coefficients: Sequence[float] = TASK_COEFFICIENTS
) -> Needed:
    cases = cases_of(planner, tasks, attacks)
    return Needed(backdoored_recipes(planner, cases, ["other_domains"]), n_merges=len(cases) * len(coefficients))


@declares(_arithmetic_needed)
def task_arithmetic_table(
    study: Study, tasks: Sequence[str], attacks: Sequence[str], coefficients: Sequence[float] = TASK_COEFFICIENTS
) -> pd.DataFrame:
    """Table `06_task_arithmetic`: pretrained + coefficient x sum of the task vectors of the victim and all other domains."""
    rows = []
    for case, coefficient in progress(list(product(cases_of(study.planner, tasks, attacks), coefficients))):
        (task, attack, seed), (backdoored, clean) = case, backdoored_and_clean(study, case)
        models = [backdoored, *study.partners(task, "other_domains", seed)]
        merged = study.merge(models, "task_arithmetic", merge_coefficient=coefficient)
        what = {"task": task, "attack": attack, "partners": "other_domains", "coefficient": coefficient, "seed": seed}
        row = measured_row(what, study.score(merged, *case), clean=study.score(clean, *case))
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
