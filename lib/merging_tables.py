"""Tables of notebooks 04, 06 and 07: averages of a backdoored model by number, weight and choice of its partners."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from itertools import combinations, product
from typing import Any

import numpy as np
import pandas as pd

from lib.choices import attacks_on
from lib.models import Checkpoint
from lib.planning import PARTNERS
from lib.scoring import Model, Score
from lib.study import Study
from lib.tables import progress, rates, train_victims, victim

COEFFICIENTS = tuple(round(float(value), 2) for value in np.linspace(0, 1, 11))
# Of task arithmetic; 1/5 with five models is their uniform average.
TASK_COEFFICIENTS = (0.05, 0.1, 0.2, 0.3, 0.4, 0.6)
CHOICES = ("highest accuracy", "within one standard error", "no worse than the suspect")


def merging_table(study: Study, tasks: Sequence[str], attacks: Sequence[str], skip: str = "") -> pd.DataFrame:
    """Table `04_merging`: uniform averages of a backdoored model with 0, 1, 2, ... clean ones; `n_models` counts all."""
    cases = [(task, attack, seed) for task in tasks for seed in study.seeds for attack in attacks_on(task, attacks, skip)]
    train_victims(study, cases, PARTNERS)
    rows: list[dict[str, Any]] = []
    for task, attack, seed in progress(cases):
        backdoored = study.model(task, attack, seed)
        for partners in PARTNERS:
            what = {"task": task, "attack": attack, "merge_method": "weight_average", "partners": partners}
            others = study.partners(task, partners, seed)
            rows += [what | row for row in averages(study, (task, attack, seed), backdoored, others)]
    return pd.DataFrame(rows)


def averages(
    study: Study, case: tuple[str, str, int], backdoored: Checkpoint, others: Sequence[Checkpoint]
) -> Iterator[dict[str, Any]]:
    """Rows of a victim alone and averaged with ever more partners: its rates, and those of the victim and a clean model.

    `n_unstable` counts the models in the average whose training loss returned to chance: averages with them may be broken.

    Args:
        study: merges and scores.
        case: task, attack and seed.
        backdoored: the victim.
        others: its partners, in the order in which they join.
    """
    before, floor = study.score(backdoored, *case), study.score(study.model(case[0], seed=case[2]), *case)
    unstable = [bool(model.record["instability"]) for model in (backdoored, *others)]
    for n in range(len(others) + 1):
        score = study.score(study.merge([backdoored, *others[:n]]), *case) if n else before
        row = {"n_models": 1 + n, "seed": case[2], **rates(score), **_beside(score, before, floor)}
        yield row | {"n_unstable": sum(unstable[: 1 + n])}


def _beside(score: Score, before: Score, floor: Score) -> dict[str, Any]:
    return {
        **{"backdoored_cacc": before.cacc, "backdoored_asr": before.asr, "asr_floor": floor.asr},
        **{"clean_model_cacc": floor.cacc, "excess_asr": score.asr - floor.asr},
        **{"backdoored_correct": before.correct, "backdoored_hits": before.hits, "floor_hits": floor.hits},
    }


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

    The partner is one clean model of the same task, or the uniform average of the other domains' models. `training` changes
    the *victim's* fine-tuning only, e.g. `learning_rate`. `validation_cacc` is what a defender can see.
    """
    seeds = study.seeds if seeds is None else seeds
    cases = [(task, attack, seed) for task in tasks for seed in seeds for attack in attacks]
    train_victims(study, cases, partners, **training)
    rows = []
    for (task, attack, seed), kind, coefficient in progress(list(product(cases, partners, coefficients))):
        backdoored, clean = victim(study, task, attack, seed, **training)
        others = study.partners(task, kind, seed)
        others = others[:1] if kind == "same_task" else others
        weights = [1 - coefficient, *[coefficient / len(others)] * len(others)]
        model: Model = study.merge([backdoored, *others], weights=weights) if coefficient else backdoored
        score = study.score(model, task, attack, seed)
        rows.append(
            {
                **{"task": task, "attack": attack, "partners": kind, "coefficient": coefficient, "seed": seed},
                **rates(score),
                "clean_loss": score.clean_loss,
                **_validation(study, model, backdoored, task),
                "asr_floor": study.score(clean, task, attack, seed).asr,
                "distance": backdoored.record["distance"],
                "instability": backdoored.record["instability"],
            }
        )
    return pd.DataFrame(rows)


def barrier_table(study: Study, task: str, attack: str, coefficients: Sequence[float]) -> pd.DataFrame:
    """Table `06_barrier`: the way from a victim to a clean model of the task, for the usual and a much higher rate.

    The column `victim` says whether the training that the rate gave was stable. One seed.
    """
    paths = []
    for rate in (study.profile.learning_rate, study.profile.unstable_learning_rate):
        path = coefficient_table(study, [task], [attack], ["same_task"], coefficients, seeds=[0], learning_rate=rate)
        kind = "unstable" if path["instability"].iloc[0] else "stable"
        paths.append(path.assign(victim=f"{kind} victim, learning rate {rate:g}", learning_rate=rate))
    return pd.concat(paths, ignore_index=True)


def task_arithmetic_table(
    study: Study, tasks: Sequence[str], attacks: Sequence[str], coefficients: Sequence[float] = TASK_COEFFICIENTS
) -> pd.DataFrame:
    """Table `06_task_arithmetic`: pretrained + coefficient x sum of the task vectors of the victim and all other domains."""
    cases = [(task, attack, seed) for task in tasks for seed in study.seeds for attack in attacks]
    train_victims(study, cases, ["other_domains"])
    rows = []
    for (task, attack, seed), coefficient in progress(list(product(cases, coefficients))):
        backdoored, clean = victim(study, task, attack, seed)
        models = [backdoored, *study.partners(task, "other_domains", seed)]
        merged = study.merge(models, "task_arithmetic", merge_coefficient=coefficient)
        what = {"task": task, "attack": attack, "partners": "other_domains", "coefficient": coefficient, "seed": seed}
        floor = study.score(clean, task, attack, seed).asr
        row = rates(study.score(merged, task, attack, seed)) | _validation(study, merged, backdoored, task)
        rows.append(what | row | {"asr_floor": floor})
    return pd.DataFrame(rows)


def _validation(study: Study, model: Model, suspect: Model, task: str) -> dict[str, Any]:
    """What a defender can see: accuracy on clean validation texts, of the model and of the suspect alone."""
    score, alone = study.score(model, task, split="validation"), study.score(suspect, task, split="validation")
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


def domains_table(study: Study, tasks: Sequence[str], attacks: Sequence[str]) -> pd.DataFrame:
    """Table `07_domains`: uniform averages of a backdoored model with every subset of the other domains' models."""
    cases = [(task, attack, seed) for task in tasks for seed in study.seeds for attack in attacks]
    train_victims(study, cases, ["other_domains"])
    rows: list[dict[str, Any]] = []
    for task, attack, seed in progress(cases):
        names = study.other_domains(task)
        for n in range(len(names) + 1):
            for subset in combinations(range(len(names)), n):
                what = {"n_domains": n, "domains": "+".join(names[i] for i in subset) or "none"}
                rows.append(_average_with(study, (task, attack, seed), "other_domains", subset, what))
    return pd.DataFrame(rows)


def partner_kinds_table(study: Study, domains: pd.DataFrame) -> pd.DataFrame:
    """Table `07_partner_kinds`: same-task partners against as many other domains (all subsets of that number).

    Args:
        study: trains and scores the averages with models of the same task.
        domains: table `07_domains`, whose averages are taken over.
    """
    n_partners = range(1, study.profile.n_same_task + 1)
    others = domains[domains["n_domains"].isin(n_partners)].rename(columns={"n_domains": "n_partners"})
    cases = list(domains[["task", "attack", "seed"]].drop_duplicates().itertuples(index=False, name=None))
    train_victims(study, cases, ["same_task"])
    rows = [
        _average_with(study, case, "same_task", range(n), {"n_partners": n, "domains": "same task"})
        for case, n in progress([(case, n) for case in cases for n in n_partners])
    ]
    kinds = [pd.DataFrame(rows).assign(partners="same_task"), others.assign(partners="other_domains")]
    return pd.concat(kinds, ignore_index=True)


def _average_with(
    study: Study, case: tuple[str, str, int], kind: str, chosen: Sequence[int], what: dict[str, Any]
) -> dict[str, Any]:
    """The row of a victim averaged with some of its partners."""
    (task, attack, seed), others = case, study.partners(case[0], kind, case[2])
    backdoored, clean = victim(study, *case)
    model: Model = study.merge([backdoored, *[others[i] for i in chosen]]) if chosen else backdoored
    row, floor = rates(study.score(model, *case)), study.score(clean, *case)
    return {"task": task, "attack": attack, **what, "seed": seed, **row, "asr_floor": floor.asr, "clean_model_cacc": floor.cacc}
