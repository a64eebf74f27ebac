"""Tables of notebook 07: which and how many other domains a backdoored model is averaged with."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from itertools import combinations
from typing import Any

import pandas as pd

from lib.metrics.variation import paired_difference
from lib.models.model import Model
from lib.study.distances import DISTANCES
from lib.study.planning import Planner
from lib.study.study import Study
from lib.tables.partners import n_at_distance, n_without_suspect, without_suspect
from lib.tables.rows import Case, Needed, backdoored_and_clean, backdoored_recipes, cases_of, declares, measured_row, progress


def _domains_needed(planner: Planner, tasks: Sequence[str], attacks: Sequence[str]) -> Needed:
    cases = cases_of(planner, tasks, attacks)
    n_merges = sum(1 + n_without_suspect(len(chosen)) for task, _, _ in cases for chosen in _subsets(planner, task)[1:])
    return Needed(backdoored_recipes(planner, cases, ["other_domains"]), n_merges)


def _subsets(planner: Planner, task: str) -> list[tuple[int, ...]]:
    """Places of the other domains in every subset of them, the empty one first."""
    n = len(planner.other_domains(task))
    return [subset for size in range(n + 1) for subset in combinations(range(n), size)]


@declares(_domains_needed)
def domains_table(study: Study, tasks: Sequence[str], attacks: Sequence[str]) -> pd.DataFrame:
    """Table `07_domains`: uniform averages of a backdoored model with every subset of the other domains' models.

    `n_near` and `n_far` count the domains of a subset by their distance from the task.
    """
    rows: list[dict[str, Any]] = []
    for case in progress(cases_of(study.planner, tasks, attacks)):
        names = study.other_domains(case[0])
        for subset in _subsets(study.planner, case[0]):
            what = {"n_domains": len(subset), "domains": "+".join(names[i] for i in subset) or "none"}
            rows.append(_average_with(study, case, "other_domains", subset, what))
    return pd.DataFrame(rows)


def _kinds_needed(
    planner: Planner, tasks: Sequence[str], attacks: Sequence[str], domains: pd.DataFrame | None = None
) -> Needed:
    cases, n = cases_of(planner, tasks, attacks), planner.profile.n_same_task
    n_merges = len(cases) * sum(1 + n_without_suspect(size) for size in range(1, n + 1))
    same_task = Needed(backdoored_recipes(planner, cases, ["same_task"]), n_merges)
    return same_task + _domains_needed(planner, tasks, attacks) if domains is None else same_task


@declares(_kinds_needed)
def partner_kinds_table(
    study: Study, tasks: Sequence[str], attacks: Sequence[str], domains: pd.DataFrame | None = None
) -> pd.DataFrame:
    """Table `07_partner_kinds`: partners of several kinds at equal number, so with equal weights.

    The kinds are models of the same task, near domains, far domains, and other domains whatever their distance; of domains all
    subsets of a number are taken. Numbers go as far as a kind of one sort, same task, near or far, has models.

    Args:
        study: trains and scores the averages with models of the same task.
        tasks: those of `domains`.
        attacks: those of `domains`.
        domains: table `07_domains`, whose averages are taken over; default: it is made.
    """
    domains = domains_table(study, tasks, attacks) if domains is None else domains
    subsets = domains[domains["n_domains"] > 0].rename(columns={"n_domains": "n_partners"})
    rows = [
        _average_with(study, case, "same_task", range(n), {"n_partners": n, "domains": "same task"})
        for case in progress(cases_of(study.planner, tasks, attacks))
        for n in range(1, study.profile.n_same_task + 1)
    ]
    same = pd.DataFrame(rows, columns=None if rows else list(subsets))
    kinds = {"same_task": same, **subsets_at_distance(domains)}
    most = max([1, *(int(frame["n_partners"].max()) for frame in kinds.values() if len(frame))])
    kinds |= {"other_domains": subsets[subsets["n_partners"] <= most]}
    return pd.concat([frame.assign(partners=kind) for kind, frame in kinds.items() if len(frame)], ignore_index=True)


def subsets_at_distance(domains: pd.DataFrame) -> dict[str, pd.DataFrame]:
    """The rows of table `07_domains` whose domains are all near, and those whose domains are all far, by kind of partners.

    The number of domains is called `n_partners`, as in table `07_partner_kinds`.
    """
    subsets = domains[domains["n_domains"] > 0].rename(columns={"n_domains": "n_partners"})
    return {kind: subsets[subsets[f"n_{kind}"] == subsets["n_partners"]].assign(partners=kind) for kind in DISTANCES}


def kinds_findings(kinds: pd.DataFrame) -> Iterator[str]:
    """Sentences on table `07_partner_kinds`: far against near domains, and what keeping the backdoored model does."""
    cell = ["task", "attack", "n_partners"]
    near, far = (kinds[kinds["partners"] == distance] for distance in DISTANCES)
    if len(near) and len(far):
        asr, cacc = (paired_difference(near, far, rate, cell) for rate in ("asr", "cacc"))
        yield f"Far instead of near domains, at equal number and weight: ASR {asr}, CACC {cacc}."
    for kind, kept in kinds.groupby("partners", sort=False):
        alone = kept.assign(cacc=kept["partners_only_cacc"], asr=kept["partners_only_asr"])
        asr, cacc = (paired_difference(alone, kept, rate, cell) for rate in ("asr", "cacc"))
        yield f"Partners {kind}: keeping the backdoored model changes CACC by {cacc}, ASR by {asr}."


def _average_with(study: Study, case: Case, kind: str, chosen: Sequence[int], what: dict[str, Any]) -> dict[str, Any]:
    """The row of a backdoored model averaged with some of its partners."""
    (task, attack, seed), partners = case, study.partners(case[0], kind, case[2])
    backdoored, clean = backdoored_and_clean(study, case)
    others = [partners[i] for i in chosen]
    model: Model = study.merge([backdoored, *others]) if others else backdoored
    return measured_row(
        {"task": task, "attack": attack, **what, **n_at_distance(study.planner, others), "seed": seed},
        study.score(model, *case),
        clean=study.score(clean, *case),
        before=study.score(backdoored, *case),
        partners_only=study.score(without_suspect(study, others), *case) if others else None,
    )
