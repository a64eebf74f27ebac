"""Tables of notebooks 09 and 10: victims of other poisoning rates or more epochs, and what merging makes of them."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import pandas as pd

from lib.merging.geometry import norm_matched_weights
from lib.merging_tables import averages
from lib.models import Checkpoint
from lib.planning import PARTNERS
from lib.scoring import Model
from lib.study import Study
from lib.tables import progress, rates, train_victims, victim


def poisoning_rates_table(study: Study, task: str, attacks: Sequence[str], poisoning_rates: Sequence[float]) -> pd.DataFrame:
    """Table `09_poisoning_rate`: victims of several poisoning rates, averaged with 0, 1, 2, ... models of other domains."""
    cases = [(task, attack, seed) for seed in study.seeds for attack in attacks]
    for rate in poisoning_rates:
        train_victims(study, cases, ["other_domains"], poisoning_rate=rate)
    rows: list[dict[str, Any]] = []
    for rate, (_, attack, seed) in progress([(rate, case) for rate in poisoning_rates for case in cases]):
        what = {"task": task, "attack": attack, "poisoning_rate": rate, "seed": seed}
        backdoored, others = study.model(task, attack, seed, poisoning_rate=rate), study.partners(task, "other_domains", seed)
        rows += [what | row for row in averages(study, (task, attack, seed), backdoored, others)]
    return pd.DataFrame(rows)


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
        backdoored, clean = victim(study, task, attack, seed, epochs=factor * usual)
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
