"""Tables of notebook 17: what decides the price of an average, the merge itself, weak partners, or another domain.

The victim and the number of its partners stay; only the partners change. Models of the task itself with all their rows show
what the merge costs when nothing is wrong with its partners. Models of the task on few rows are as weak as models of other
domains, but know the right domain. So the price of other domains has three parts, each a difference of two rows of one table.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np
import pandas as pd

from lib.metrics.variation import Difference, paired_difference
from lib.models.checkpoints import Checkpoint
from lib.study.partner_planning import with_part_of_rows
from lib.study.planning import Planner
from lib.study.recipes import ModelRecipe
from lib.study.study import Study
from lib.tables.partners import without_suspect
from lib.tables.rows import Case, Needed, backdoored_and_clean, backdoored_recipes, cases_of, declares, measured_row, progress

STRONG, DOMAINS, MORE, FEW, LACKING = (
    "same_task", "other_domains", "other_domains_more", "same_task_few", "same_task_lacking",
)  # fmt: skip
MATCHED = "same_task_matched"  # of the weak models of the task, those that are as accurate as the other domains'
FEW_ROWS = (100, 200, 400, 800)
MORE_ROWS = 4000
LACKING_LABEL = "Business"
N_PARTNERS = 4
CELL = ["task", "attack"]
# Each part of the price is what the second partners add to the first; the merge itself is compared with the victim alone.
PARTS = {
    "merge": (None, STRONG),
    "weak partners": (STRONG, MATCHED),
    "other domain": (MATCHED, DOMAINS),
    "all": (None, DOMAINS),
    "more rows": (DOMAINS, MORE),
    "missing label": (STRONG, LACKING),
}
CAUSES = {"merge": "the merge itself", "weak partners": "the weakness of the partners", "other domain": "their domain"}
MEASURES = {"cacc": "cacc_change", "asr": "excess_asr"}
Partners = tuple[dict[str, Any], list[ModelRecipe]]  # what a row is called, and the models


def _planner(planner: Planner) -> Planner:
    """With enough partners on the task. Real rows are dealt among them, so with more partners a model's rows are others."""
    return planner.variant(n_same_task=max(N_PARTNERS, planner.profile.n_same_task))


def _n_rows(planner: Planner, recipes: Sequence[ModelRecipe]) -> int:
    """Training rows of a model; where the profile takes all there are, those of the model that has most."""
    return planner.profile.n_train or max(planner.n_rows(recipe.data) for recipe in recipes)


def _sets_of_partners(
    planner: Planner, task: str, seed: int, few_rows: Sequence[int], more_rows: int, lacking_label: str
) -> list[Partners]:
    """Every set of partners of a task and seed, all of one size."""
    domains = planner.partner_recipes(task, DOMAINS, seed)
    n = min(N_PARTNERS, len(domains))
    same = planner.partner_recipes(task, STRONG, seed)[:n]
    n_train, labels = _n_rows(planner, same), planner.spec(task).label_names
    sets: list[Partners] = [({"partners": STRONG, "n_rows": n_train}, same)]
    sets += [({"partners": FEW, "n_rows": k}, [with_part_of_rows(recipe, k) for recipe in same]) for k in few_rows]
    sets.append(({"partners": DOMAINS, "n_rows": _n_rows(planner, domains[:n])}, domains[:n]))
    if more_rows > planner.profile.n_train > 0:
        more = planner.variant(n_train=more_rows).partner_recipes(task, DOMAINS, seed)[:n]
        sets.append(({"partners": MORE, "n_rows": more_rows}, more))
    if lacking_label in labels and len(labels) > 2:  # of two labels one would be left: such a model knows nothing
        left_out = labels.index(lacking_label)
        lacking = [with_part_of_rows(recipe, without_label=left_out) for recipe in same]
        sets.append(({"partners": LACKING, "n_rows": n_train}, lacking))
    return sets


def _needed(
    planner: Planner,
    tasks: Sequence[str],
    attacks: Sequence[str],
    few_rows: Sequence[int] = FEW_ROWS,
    more_rows: int = MORE_ROWS,
    lacking_label: str = LACKING_LABEL,
) -> Needed:
    if not few_rows:
        raise ValueError("few_rows is empty; give one number of training rows or more, such as 200")
    planner = _planner(planner)
    cases = cases_of(planner, tasks, attacks)
    needed = Needed()
    for task, _, seed in cases:
        sets = _sets_of_partners(planner, task, seed, few_rows, more_rows, lacking_label)
        needed.add(recipe for _, recipes in sets for recipe in recipes)
        needed.n_merges += 2 * len(sets)
    return Needed(backdoored_recipes(planner, cases)) + needed


@declares(_needed)
def deciding_table(
    study: Study,
    tasks: Sequence[str],
    attacks: Sequence[str],
    few_rows: Sequence[int] = FEW_ROWS,
    more_rows: int = MORE_ROWS,
    lacking_label: str = LACKING_LABEL,
) -> pd.DataFrame:
    """Table `17_partners`: one victim in uniform averages with equally many partners of several kinds.

    The kinds are models of the task on other rows (`same_task`), the same on fewer of these rows (`same_task_few`) and without
    one label (`same_task_lacking`), models of other domains (`other_domains`) and of the same domains on more rows
    (`other_domains_more`). The last but one kind of the task is left out where the task lacks the label, or has two.

    Args:
        study: trains and scores.
        tasks: each with every attack and seed.
        attacks: of the victims.
        few_rows: numbers of training rows of weak partners.
        more_rows: training rows of other domains that have so many; no more than the profile's, as 0, leave them out, and so
            does a profile that takes all rows.
        lacking_label: name of the label that some partners never saw.

    Returns:
        One row per task, attack, kind, number of rows and seed: the rates of the average, of the victim, of a clean model and
        of the partners alone; the partners' own accuracy on the task, `partner_cacc` on test texts, `partner_validation_cacc`
        on validation texts, `weakest_partner_cacc` that of the worst one on test texts.

    Raises:
        ValueError: for no number of rows, or one above the profile's.
    """
    study = study.variant(n_same_task=_planner(study.planner).profile.n_same_task)
    rows = []
    for case in progress(cases_of(study.planner, tasks, attacks)):
        for what, recipes in _sets_of_partners(study.planner, case[0], case[2], few_rows, more_rows, lacking_label):
            rows.append(_row(study, case, what, study.train(recipes)))
    return pd.DataFrame(rows)


def _row(study: Study, case: Case, what: dict[str, Any], others: Sequence[Checkpoint]) -> dict[str, Any]:
    (task, attack, seed), (backdoored, clean) = case, backdoored_and_clean(study, case)
    tested, validated = (
        [study.score(model, task, None, seed=seed, split=split).cacc for model in others] for split in ("test", "validation")
    )
    named = {"task": task, "attack": attack, **what, "n_partners": len(others), "seed": seed}
    named |= {"partner_cacc": float(np.mean(tested)), "weakest_partner_cacc": min(tested)}
    named["partner_validation_cacc"] = float(np.mean(validated))
    return measured_row(
        named,
        study.score(study.merge([backdoored, *others]), *case),
        clean=study.score(clean, *case),
        before=study.score(backdoored, *case),
        partners_only=study.score(without_suspect(study, others), *case),
    )


def with_matched(table: pd.DataFrame) -> pd.DataFrame:
    """Table `17_partners` and, as `same_task_matched`, the weak models of the task that are as accurate as the other domains'.

    Of the numbers of rows, the strong partners' among them, the one whose mean accuracy on *validation* texts is nearest, of
    every task, attack and seed.
    """
    kept = [table]
    for _, rows in table.groupby([*CELL, "seed"], sort=False):
        goal = rows.loc[rows["partners"] == DOMAINS, "partner_validation_cacc"].mean()
        weak = rows[rows["partners"].isin([FEW, STRONG])]
        nearest = (weak["partner_validation_cacc"] - goal).abs().idxmin()
        kept.append(weak.loc[[nearest]].assign(partners=MATCHED))
    return pd.concat(kept, ignore_index=True)


def deciding_parts(table: pd.DataFrame) -> pd.DataFrame:
    """Table `17_parts`: of every task, how much of the price of other domains is the merge's, the weakness's, the domain's.

    The first three parts of a measure add up to `all`: the change from the victim alone (`cacc`), or the ASR above a clean
    model's (`asr`), in an average with other domains. Then come what more rows of the same domains change, and what a missing
    label does to strong partners.

    Args:
        table: table `17_partners`; outcomes are not needed.

    Returns:
        One row per task, measure and part: `task, measure, part, change` with bounds over seeds (NaN for one seed), `n_seeds`.
    """
    known = with_matched(table)
    rows = []
    for task, of_task in known.groupby("task", sort=False):
        for measure, column in MEASURES.items():
            for part, (first, second) in PARTS.items():
                if {first, second} - {None} <= set(of_task["partners"]):
                    found = _difference(of_task, first, second, column)
                    bounds = {"change": found.mean, "change_low": found.low, "change_high": found.high}
                    rows.append({"task": task, "measure": measure, "part": part, **bounds, "n_seeds": found.n_seeds})
    return pd.DataFrame(rows)


def _difference(table: pd.DataFrame, first: str | None, second: str, column: str) -> Difference:
    after = table[table["partners"] == second]
    before = after.assign(**{column: 0.0}) if first is None else table[table["partners"] == first]
    return paired_difference(before, after, column, CELL)
