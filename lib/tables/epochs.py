"""Table of notebook 10: victims that were trained for longer than their partners, and merges that may mend it."""

from __future__ import annotations

from collections.abc import Sequence

import pandas as pd

from lib.merging.geometry import norm_matched_weights
from lib.models.checkpoints import Checkpoint
from lib.models.model import Model
from lib.study.planning import Planner
from lib.study.study import Study
from lib.tables.partners import kinds_of_partners, n_without_suspect, without_suspect
from lib.tables.rows import Needed, backdoored_and_clean, backdoored_recipes, cases_of, declares, measured_row, progress

MERGES = ("none", "uniform", "half weight", "norm matching", "more models")


def _needed(planner: Planner, task: str, attacks: Sequence[str], factors: Sequence[float]) -> Needed:
    cases, kinds, models = cases_of(planner, [task], attacks), kinds_of_partners(planner), []
    for factor in factors:
        models += backdoored_recipes(planner, cases, kinds, epochs=factor * planner.profile.epochs)
    n_others, n_more = len(planner.other_domains(task)), planner.profile.n_same_task
    # Without the suspect "uniform" and "half weight" are one merge; all are the same for every number of epochs.
    n_alone = n_without_suspect(n_others) * 2 + (n_without_suspect(n_others + n_more) if n_more else 0)
    n_merges = len(factors) * (len(MERGES) - 1 - (not n_more)) + n_alone
    return Needed(models, len(cases) * n_merges)


@declares(_needed)
def epochs_table(study: Study, task: str, attacks: Sequence[str], factors: Sequence[float]) -> pd.DataFrame:
    """Table `10_epochs`: victims trained for `factors` times the epochs of their partners, and merges that may mend it.

    `merge` is "none" for the victim alone, "uniform" for the average with all other domains, or one of the mitigations of
    `mitigations`. `distance` is the length of the victim's task vector, `partner_distance` the mean of its partners'.
    """
    cases, usual, rows = cases_of(study.planner, [task], attacks), study.profile.epochs, []
    for factor, case in progress([(factor, case) for factor in factors for case in cases]):
        (_, attack, seed), (backdoored, clean) = case, backdoored_and_clean(study, case, epochs=factor * usual)
        others = study.partners(task, "other_domains", seed)
        same_task = study.partners(task, "same_task", seed) if "same_task" in kinds_of_partners(study.planner) else []
        merges, alone = mitigations(study, backdoored, others, same_task), partners_alone(study, others, same_task)
        distances = {"distance": backdoored.distance, "partner_distance": sum(other.distance for other in others) / len(others)}
        scores = {"clean": study.score(clean, *case), "before": study.score(backdoored, *case)}
        for name, (n_models, model) in merges.items():
            what = {"task": task, "attack": attack, "epochs": factor * usual, "merge": name, "n_models": n_models, "seed": seed}
            without = study.score(alone[name], *case) if name in alone else None
            rows.append(measured_row(what, study.score(model, *case), **scores, partners_only=without) | distances)
    return pd.DataFrame(rows)


def mitigations(
    study: Study, backdoored: Checkpoint, others: Sequence[Checkpoint], same_task: Sequence[Checkpoint]
) -> dict[str, tuple[int, Model]]:
    """The victim, its uniform average with others, and merges that give it less to say; each with its number of models.

    Without models of the same task there is no merge "more models".
    """
    models = [backdoored, *others]
    n = len(models)
    half = [0.5 / n, *[(1 - 0.5 / n) / len(others)] * len(others)]
    merges: dict[str, tuple[int, Model]] = {
        "none": (1, backdoored),
        "uniform": (n, study.merge(models)),
        "half weight": (n, study.merge(models, weights=half)),
        "norm matching": (n, _norm_matched(study, models)),
    }
    return merges | ({"more models": (n + len(same_task), study.merge([*models, *same_task]))} if same_task else {})


def partners_alone(study: Study, others: Sequence[Checkpoint], same_task: Sequence[Checkpoint]) -> dict[str, Model]:
    """What each merge of `mitigations` is without the victim: its partners, merged alike."""
    uniform = without_suspect(study, others)
    matched = others[0] if len(others) == 1 else _norm_matched(study, others)
    merges = {"uniform": uniform, "half weight": uniform, "norm matching": matched}
    return merges | ({"more models": without_suspect(study, [*others, *same_task])} if same_task else {})


def _norm_matched(study: Study, models: Sequence[Checkpoint]) -> Model:
    return study.merge(models, "task_arithmetic", weights=norm_matched_weights([model.distance for model in models]))
