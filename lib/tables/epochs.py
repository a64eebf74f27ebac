"""Table of notebook 10: victims that were trained for longer than their partners, and merges that may mend it."""

from __future__ import annotations

from collections.abc import Sequence

import pandas as pd

from lib.merging.geometry import norm_matched_weights
from lib.models.checkpoints import Checkpoint
from lib.study.planning import PARTNERS
from lib.study.scoring import Model
from lib.study.study import Study
from lib.tables.rows import backdoored_and_clean, progress, rates, train_victims


def epochs_table(study: Study, task: str, attacks: Sequence[str], factors: Sequence[float]) -> pd.DataFrame:
    """Table `10_epochs`: victims trained for `factors` times the epochs of their partners, and merges that may mend it.

    `merge` is "none" for the victim alone, "uniform" for the average with all other domains, or one of the mitigations of
    `mitigations`. `distance` is the length of the victim's task vector, `partner_distance` the mean of its partners'.
    """
    cases = [(task, attack, seed) for seed in study.seeds for attack in attacks]
    usual = study.profile.epochs
    for factor in factors:
        train_victims(study, cases, PARTNERS, epochs=factor * usual)
    rows = []
    for factor, (_, attack, seed) in progress([(factor, case) for factor in factors for case in cases]):
        backdoored, clean = backdoored_and_clean(study, task, attack, seed, epochs=factor * usual)
        others, floor = study.partners(task, "other_domains", seed), study.score(clean, task, attack, seed)
        merges = mitigations(study, backdoored, others, study.partners(task, "same_task", seed))
        for name, (n_models, model) in merges.items():
            score = study.score(model, task, attack, seed)
            rows.append(
                {
                    **{"task": task, "attack": attack, "epochs": factor * usual, "merge": name, "n_models": n_models},
                    **{"seed": seed, **rates(score), "asr_floor": floor.asr, "clean_model_cacc": floor.cacc},
                    "distance": backdoored.record["distance"],
                    "partner_distance": sum(other.record["distance"] for other in others) / len(others),
                }
            )
    return pd.DataFrame(rows)


def mitigations(
    study: Study, backdoored: Checkpoint, others: Sequence[Checkpoint], same_task: Sequence[Checkpoint]
) -> dict[str, tuple[int, Model]]:
    """The victim, its uniform average with others, and merges that give it less to say; each with its number of models."""
    models = [backdoored, *others]
    n = len(models)
    half = [0.5 / n, *[(1 - 0.5 / n) / len(others)] * len(others)]
    matched = norm_matched_weights([model.record["distance"] for model in models])
    return {
        "none": (1, backdoored),
        "uniform": (n, study.merge(models)),
        "half weight": (n, study.merge(models, weights=half)),
        "norm matching": (n, study.merge(models, "task_arithmetic", weights=matched)),
        "more models": (n + len(same_task), study.merge([*models, *same_task])),
    }
