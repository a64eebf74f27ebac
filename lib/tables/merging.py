"""Table of notebook 04: uniform averages of a backdoored model with ever more clean ones."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from typing import Any

import pandas as pd

from lib.models.checkpoints import Checkpoint
from lib.study.planning import Planner
from lib.study.study import Study
from lib.tables.partners import kinds_of_partners, n_at_distance, n_without_suspect, without_suspect
from lib.tables.rows import Case, Needed, backdoored_recipes, cases_of, declares, measured_row, progress


def _merging_needed(planner: Planner, tasks: Sequence[str], attacks: Sequence[str], skip: str = "") -> Needed:
    cases, kinds = cases_of(planner, tasks, attacks, skip), kinds_of_partners(planner)
    n_merges = sum(n_averages(len(planner.partner_recipes(task, kind, seed))) for task, _, seed in cases for kind in kinds)
    return Needed(backdoored_recipes(planner, cases, kinds), n_merges)


def n_averages(n_partners: int) -> int:
    """How many merges `averages` scores: with ever more partners, and each but the first without the suspect, too.

    >>> n_averages(4)
    7
    """
    return sum(1 + n_without_suspect(n) for n in range(1, n_partners + 1))


@declares(_merging_needed)
def merging_table(study: Study, tasks: Sequence[str], attacks: Sequence[str], skip: str = "") -> pd.DataFrame:
    """Table `04_merging`: uniform averages of a backdoored model with 0, 1, 2, ... clean ones; `n_models` counts all.

    Kinds of partners of which the profile has none are left out.
    """
    rows: list[dict[str, Any]] = []
    for task, attack, seed in progress(cases_of(study.planner, tasks, attacks, skip)):
        backdoored = study.model(task, attack, seed)
        for partners in kinds_of_partners(study.planner):
            what = {"task": task, "attack": attack, "merge_method": "weight_average", "partners": partners}
            others = study.partners(task, partners, seed)
            rows += averages(study, (task, attack, seed), backdoored, others, what)
    return pd.DataFrame(rows)


def averages(
    study: Study, case: Case, backdoored: Checkpoint, others: Sequence[Checkpoint], what: dict[str, Any] | None = None
) -> Iterator[dict[str, Any]]:
    """Rows of a backdoored model alone and averaged with ever more partners, beside itself, a clean model and the partners.

    `n_unstable` counts the models in the average whose training was unstable: averages with them may be broken.
    `n_near` and `n_far` count its other domains by distance. The victim alone has no partners, so nothing in their columns.

    Args:
        study: merges and scores.
        case: task, attack and seed of the trigger. The model's own trigger of this attack is taken where it has one.
        backdoored: the suspicious model, of the study or of elsewhere.
        others: its partners, in the order in which they join.
        what: first columns of the rows; default task and attack.
    """
    task, attack, seed = case
    what = {"task": task, "attack": attack} if what is None else what
    trigger = study.trigger_of(backdoored, *case)
    before, clean = study.score(backdoored, task, trigger), study.score(study.model(task, seed=seed), task, trigger)
    unstable = [bool(model.instability) for model in (backdoored, *others)]
    for n in range(len(others) + 1):
        score = study.score(study.merge([backdoored, *others[:n]]), task, trigger) if n else before
        without = study.score(without_suspect(study, others[:n]), task, trigger) if n else None
        row = measured_row(what | {"n_models": 1 + n, "seed": seed}, score, clean=clean, before=before, partners_only=without)
        yield row | {"n_unstable": sum(unstable[: 1 + n]), **n_at_distance(study.planner, others[:n])}


def _suspect_needed(
    planner: Planner, suspect: Checkpoint, task: str, attack: str, seed: int = 0, partners: str = "other_domains"
) -> Needed:
    others = planner.partner_recipes(task, partners, seed)
    return Needed([planner.recipe(task, seed=seed), *others], n_averages(len(others)))


@declares(_suspect_needed)
def suspect_table(
    study: Study, suspect: Checkpoint, task: str, attack: str, seed: int = 0, partners: str = "other_domains"
) -> pd.DataFrame:
    """A checkpoint of elsewhere, alone and averaged with ever more clean models of the study.

    Args:
        study: trains the clean models, of the suspect's architecture, tokenizer and labels.
        suspect: as from `lib.models.load_checkpoint`.
        task: whose test texts are used.
        attack: whose trigger is tried on it, one that the study can fit.
        seed: of the trigger, the clean model and the partners.
        partners: "other_domains", "same_task", "near" or "far".
    """
    return pd.DataFrame(averages(study, (task, attack, seed), suspect, study.partners(task, partners, seed)))
