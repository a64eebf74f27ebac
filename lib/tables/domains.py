"""Tables of notebook 07: which and how many other domains a backdoored model is averaged with."""

from __future__ import annotations

from collections.abc import Sequence
from itertools import combinations
from typing import Any

import pandas as pd

from lib.study.scoring import Model
from lib.study.study import Study
from lib.tables.rows import backdoored_and_clean, progress, rates, train_victims


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
    backdoored, clean = backdoored_and_clean(study, *case)
    model: Model = study.merge([backdoored, *[others[i] for i in chosen]]) if chosen else backdoored
    row, floor = rates(study.score(model, *case)), study.score(clean, *case)
    return {"task": task, "attack": attack, **what, "seed": seed, **row, "asr_floor": floor.asr, "clean_model_cacc": floor.cacc}
