"""Table of notebook 07: number of partners and weight of the victim, varied apart."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from typing import Any

import pandas as pd

from lib.metrics.variation import explained_shares, paired_difference
from lib.models.checkpoints import Checkpoint
from lib.models.model import Model
from lib.study.distances import known_distances
from lib.study.planning import Planner
from lib.study.study import Study
from lib.tables.partners import kinds_of_partners, n_at_distance, without_suspect
from lib.tables.rows import Case, Needed, backdoored_and_clean, backdoored_recipes, cases_of, declares, measured_row, progress

WEIGHTS = (0.0, 0.1, 0.2, 0.33, 0.5, 1.0)  # of the victim: 0 throws it away, 1 is the victim alone
NUMBERS = (1, 2, 4)  # of partners
PANEL = ["task", "attack", "partners"]


def _groups(planner: Planner, task: str, seed: int) -> list[tuple[str, tuple[int, ...]]]:
    """Kinds of partners, each with the places of those that join together.

    The partners of a kind are split into groups of one, of two and of four, in study order. So every number has the same
    partners, each in one group, and number is not mixed up with choice. What does not fill a group is left out.
    """
    groups = []
    for kind in (*kinds_of_partners(planner), *known_distances(planner, task)):
        n_partners = len(planner.partner_recipes(task, kind, seed))
        for n in NUMBERS:
            groups += [(kind, tuple(range(i, i + n))) for i in range(0, n_partners - n + 1, n)]
    return groups


def _n_same_task(planner: Planner, n: int) -> int:
    """How many models of the task the plane has: as many as asked for.

    Real rows are dealt among the victim and as many partners as the profile has, so there it has no more than these.
    """
    return n if planner.profile.source == "pocket" else min(n, planner.profile.n_same_task)


def _plane_needed(planner: Planner, tasks: Sequence[str], attacks: Sequence[str], n_same_task: int = NUMBERS[-1]) -> Needed:
    planner, n_merges = planner.variant(n_same_task=_n_same_task(planner, n_same_task)), 0
    cases = cases_of(planner, tasks, attacks)
    for task, _, seed in cases:
        recipes = {kind: planner.partner_recipes(task, kind, seed) for kind, _ in _groups(planner, task, seed)}
        distinct = {tuple(recipes[kind][i].key for i in chosen) for kind, chosen in _groups(planner, task, seed)}
        between = sum(0 < weight < 1 for weight in WEIGHTS)
        n_merges += between * len(distinct) + sum(len(keys) > 1 for keys in distinct)  # weight 0: the partners alone
    return Needed(backdoored_recipes(planner, cases, kinds_of_partners(planner)), n_merges)


@declares(_plane_needed)
def plane_table(study: Study, tasks: Sequence[str], attacks: Sequence[str], n_same_task: int = NUMBERS[-1]) -> pd.DataFrame:
    """Table `07_plane`: averages in which the victim has a weight and its partners share the rest equally.

    Every weight of `WEIGHTS` with every number of `NUMBERS` and every kind of partners, as far as the profile has them: models
    of the same task, other domains (near and far ones by turns), near domains, far domains.

    Args:
        study: trains and scores.
        tasks: each with every attack and seed.
        attacks: of the victims.
        n_same_task: clean models of the task; of Pocket English whatever number the profile has for other tables, of real data
            no more than it has; 0 leaves them out.

    Returns:
        One row per task, attack, kind, group of partners, weight and seed: `task, attack, partners, n_partners, domains,
        weight, seed`, the rates of the average, and those of the victim, the clean model and the partners alone.
    """
    study, rows = study.variant(n_same_task=_n_same_task(study.planner, n_same_task)), list[dict[str, Any]]()
    for case in progress(cases_of(study.planner, tasks, attacks)):
        for kind, chosen in _groups(study.planner, case[0], case[2]):
            rows += _line(study, case, kind, chosen)
    return pd.DataFrame(rows)


def _line(study: Study, case: Case, kind: str, chosen: Sequence[int]) -> Iterator[dict[str, Any]]:
    """The rows of one group of partners, from weight 0 to 1."""
    (task, attack, seed), (backdoored, clean) = case, backdoored_and_clean(study, case)
    partners = study.partners(task, kind, seed)
    others = [partners[i] for i in chosen]
    names = [recipe.data.dataset for recipe in study.partner_recipes(task, kind, seed)]
    if kind == "same_task":
        names = [f"{name} {i + 1}" for i, name in enumerate(names)]
    alone = without_suspect(study, others)
    compared = {"clean": clean, "before": backdoored, "partners_only": alone}
    scores = {name: study.score(model, *case) for name, model in compared.items()}
    what: dict[str, Any] = {"task": task, "attack": attack, "partners": kind, "n_partners": len(others)}
    what |= {"domains": "+".join(names[i] for i in chosen), **n_at_distance(study.planner, others)}
    for weight in WEIGHTS:
        score = study.score(_average(study, backdoored, others, alone, weight), *case)
        yield measured_row(what | {"weight": weight, "seed": seed}, score, **scores)


def _average(study: Study, backdoored: Checkpoint, others: Sequence[Checkpoint], alone: Model, weight: float) -> Model:
    if weight in (0, 1):
        return backdoored if weight else alone
    return study.merge([backdoored, *others], weights=[weight, *[(1 - weight) / len(others)] * len(others)])


def plane_findings(table: pd.DataFrame, weight: float = 0.2) -> Iterator[str]:
    """Sentences on table `07_plane`: what weight explains, what number explains, and near against far partners.

    Only weights between 0 and 1 count: at 0 and 1 one of the two sides is missing.

    Args:
        table: as read from the file, too: outcomes are not needed.
        weight: of the victim, at which numbers and kinds are compared.

    Raises:
        ValueError: for a weight that the table does not have.
    """
    between = table[(table["weight"] > 0) & (table["weight"] < 1)]
    if weight not in set(between["weight"]):
        raise ValueError(f"weight is {weight}; choose from {sorted(set(between['weight']))}")
    for rate, name in (("asr", "ASR"), ("cacc", "CACC")):
        shares = explained_shares(between, rate, ("weight", "n_partners"), PANEL)
        if pd.notna(shares["weight"]):
            lowest, highest = (100 * edge for edge in (between[rate].min(), between[rate].max()))
            yield (
                f"Of the variation of the mean {name} over weights and numbers of partners (single averages have {lowest:.1f} "
                f"to {highest:.1f} %), the weight of the backdoored model explains {shares['weight']:.1%}, the number of "
                f"partners {shares['n_partners']:.1%}; {shares['rest']:.1%} is noise and what they do only together."
            )
    at_weight = between[between["weight"] == weight]
    for kind, rows in at_weight.groupby("partners", sort=False):
        fewest, most = rows["n_partners"].min(), rows["n_partners"].max()
        if fewest < most:
            few, many = (rows[rows["n_partners"] == n] for n in (fewest, most))
            asr, cacc = (paired_difference(few, many, rate, ["task", "attack"]) for rate in ("asr", "cacc"))
            yield f"At weight {weight:g}, {most} instead of {fewest} partners ({kind}): ASR {asr}, CACC {cacc}."
    near, far = (at_weight[at_weight["partners"] == kind] for kind in ("near", "far"))
    if len(near) and len(far):
        asr, cacc = (paired_difference(near, far, rate, ["task", "attack", "n_partners"]) for rate in ("asr", "cacc"))
        yield f"At weight {weight:g} and equal number, far instead of near partners: ASR {asr}, CACC {cacc}."
