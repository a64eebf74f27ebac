"""Tables of notebook 07: which and how many other domains a backdoored model is averaged with."""

from __future__ import annotations

from collections.abc import Sequence
from itertools import combinations
from typing import Any

import pandas as pd

from lib.models.model import Model
from lib.study.planning import Planner
from lib.study.study import Study
from lib.tables.rows import Case, Needed, backdoored_and_clean, backdoored_recipes, cases_of, declares, measured_row, progress


def _domains_needed(planner: Planner, tasks: Sequence[str], attacks: Sequence[str]) -> Needed:
    cases = cases_of(planner, tasks, attacks)
    n_merges = sum(2 ** len(planner.other_domains(task)) - 1 for task, _, _ in cases)
    return Needed(backdoored_recipes(planner, cases, ["other_domains"]), n_merges)


@declares(_domains_needed)
def domains_table(study: Study, tasks: Sequence[str], attacks: Sequence[str]) -> pd.DataFrame:
    """Table `07_domains`: uniform averages of a backdoored model with every subset of the other domains' models."""
    rows: list[dict[str, Any]] = []
    for case in progress(cases_of(study.planner, tasks, attacks)):
        names = study.other_domains(case[0])
        for n in range(len(names) + 1):
            for subset in combinations(range(len(names)), n):
                what = {"n_domains": n, "domains": "+".join(names[i] for i in subset) or "none"}
                rows.append(_average_with(study, case, "other_domains", subset, what))
    return pd.DataFrame(rows)


def _kinds_needed(
    planner: Planner, tasks: Sequence[str], attacks: Sequence[str], domains: pd.DataFrame | None = None
) -> Needed:
    cases = cases_of(planner, tasks, attacks)
    return Needed(backdoored_recipes(planner, cases, ["same_task"]), n_merges=len(cases) * planner.profile.n_same_task)


@declares(_kinds_needed)
def partner_kinds_table(
    study: Study, tasks: Sequence[str], attacks: Sequence[str], domains: pd.DataFrame | None = None
) -> pd.DataFrame:
    """Table `07_partner_kinds`: same-task partners against as many other domains (all subsets of that number).

    Args:
        study: trains and scores the averages with models of the same task.
        tasks: those of `domains`.
        attacks: those of `domains`.
        domains: table `07_domains`, whose averages are taken over; default: it is made.
    """
    domains = domains_table(study, tasks, attacks) if domains is None else domains
    n_partners = range(1, study.profile.n_same_task + 1)
    others = domains[domains["n_domains"].isin(n_partners)].rename(columns={"n_domains": "n_partners"})
    rows = [
        _average_with(study, case, "same_task", range(n), {"n_partners": n, "domains": "same task"})
        for case in progress(cases_of(study.planner, tasks, attacks))
        for n in n_partners
    ]
    kinds = [pd.DataFrame(rows).assign(partners="same_task"), others.assign(partners="other_domains")]
    return pd.concat(kinds, ignore_index=True)


def _average_with(study: Study, case: Case, kind: str, chosen: Sequence[int], what: dict[str, Any]) -> dict[str, Any]:
    """The row of a backdoored model averaged with some of its partners."""
    (task, attack, seed), others = case, study.partners(case[0], kind, case[2])
    backdoored, clean = backdoored_and_clean(study, case)
    model: Model = study.merge([backdoored, *[others[i] for i in chosen]]) if chosen else backdoored
    return measured_row(
        {"task": task, "attack": attack, **what, "seed": seed}, study.score(model, *case), clean=study.score(clean, *case)
    )
