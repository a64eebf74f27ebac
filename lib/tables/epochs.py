"""Table of notebook 10: victims that were trained for longer than their partners, and merges that may mend it."""

from __future__ import annotations

from collections.abc import Sequence

import pandas as pd

from lib.merging.geometry import norm_matched_weights
from lib.models.checkpoints import Checkpoint
from lib.models.model import Model
from lib.study.planning import PARTNERS, Planner
from lib.study.study import Study
from lib.tables.rows import Needed, backdoored_and_clean, backdoored_recipes, cases_of, declares, measured_row, progress

MERGES = ("none", "uniform", "half weight", "norm matching", "more models")


def _needed(planner: Planner, task: str, attacks: Sequence[str], factors: Sequence[float]) -> Needed:
    cases, models = cases_of(planner, [task], attacks), []
    for factor in factors:
        models += backdoored_recipes(planner, cases, PARTNERS, epochs=factor * planner.profile.epochs)
    return Needed(models, n_merges=len(cases) * len(factors) * (len(MERGES) - 1))


@declares(_needed)
def epochs_table(study: Study, task: str, attacks: Sequence[str], factors: Sequence[float]) -> pd.DataFrame:
    """Table `10_epochs`: victims trained for `factors` times the epochs of their partners, and merges that may mend it.

    `merge` is "none" for the victim alone, "uniform" for the average with all other domains, or one of the mitigations of
    `mitigations`. `distance` is the length of the victim's task vector, `partner_distance` the mean of its partners'.
    """
    cases, usual, rows = cases_of(study.planner, [task], attacks), study.profile.epochs, []
    for factor, case in progress([(factor, case) for factor in factors for case in cases]):
        (_, attack, seed), (backdoored, clean) = case, backdoored_and_clean(study, case, epochs=factor * usual)
        others, floor = study.partners(task, "other_domains", seed), study.score(clean, *case)
        merges = mitigations(study, backdoored, others, study.partners(task, "same_task", seed))
        distances = {"distance": backdoored.distance, "partner_distance": sum(other.distance for other in others) / len(others)}
        for name, (n_models, model) in merges.items():
            what = {"task": task, "attack": attack, "epochs": factor * usual, "merge": name, "n_models": n_models, "seed": seed}
            rows.append(measured_row(what, study.score(model, *case), clean=floor) | distances)
    return pd.DataFrame(rows)


def mitigations(
    study: Study, backdoored: Checkpoint, others: Sequence[Checkpoint], same_task: Sequence[Checkpoint]
) -> dict[str, tuple[int, Model]]:
    """The victim, its uniform average with others, and merges that give it less to say; each with its number of models."""
    models = [backdoored, *others]
    n = len(models)
    half = [0.5 / n, *[(1 - 0.5 / n) / len(others)] * len(others)]
    matched = norm_matched_weights([model.distance for model in models])
    merges: list[tuple[int, Model]] = [
        (1, backdoored),
        (n, study.merge(models)),
        (n, study.merge(models, weights=half)),
        (n, study.merge(models, "task_arithmetic", weights=matched)),
        (n + len(same_task), study.merge([*models, *same_task])),
    ]
    return dict(zip(MERGES, merges, strict=True))
