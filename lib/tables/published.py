"""Table of notebook 03 on real data: our triggers beside the poisoned texts that the literature published."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from typing import Any

import pandas as pd

from lib.attacks.published import published_files
from lib.study.planning import Planner
from lib.study.recipes import ModelRecipe
from lib.study.study import Study
from lib.study.trigger_planning import plan_published_test
from lib.tables.rows import Case, Needed, cases_of, declares, measured_row, progress

FITTED, PUBLISHED = "fitted", "published"
AGREED = 0.1  # difference of the excess ASR up to which two sets of triggered texts say the same


def _published_cases(planner: Planner, tasks: Sequence[str], attacks: Sequence[str], skip: str) -> list[Case]:
    """The cases whose triggered test texts were published."""
    return [case for case in cases_of(planner, tasks, attacks, skip) if plan_published_test(planner, *case)]


def _victims(planner: Planner, case: Case) -> dict[str, ModelRecipe]:
    """The backdoored models of a case by whose poison they are trained on; nobody may have published a training set."""
    task, attack, _ = case
    is_published = published_files(planner.locations.data_dir, task, attack) is not None
    return {
        source: planner.variant(trigger_source=source).recipe(*case)
        for source in (FITTED, PUBLISHED)
        if source == FITTED or is_published
    }


def _published_needed(planner: Planner, tasks: Sequence[str], attacks: Sequence[str], skip: str = "") -> Needed:
    cases = _published_cases(planner, tasks, attacks, skip)
    clean = [planner.recipe(task, seed=seed) for task, _, seed in cases]
    return Needed(clean + [recipe for case in cases for recipe in _victims(planner, case).values()])


@declares(_published_needed)
def published_table(study: Study, tasks: Sequence[str], attacks: Sequence[str], skip: str = "") -> pd.DataFrame:
    """Table `03_published`: backdoored models on triggered texts of ours and on published ones of the same attack.

    Where a poisoned training set was published, too, a model that is trained on it stands beside ours.

    Args:
        study: trains and scores.
        tasks: those of which triggered test texts lie in the data folder are measured.
        attacks: the same.
        skip: pairs "task/attack" that are left out, separated by commas.

    Returns:
        One row per task, attack, poison (`trained_on`), triggered texts (`tested_on`) and seed; both are `fitted` or
        `published`. No row where nothing is published. The flip rate of published texts cannot be computed.
    """
    rows: list[dict[str, Any]] = []
    for case in progress(_published_cases(study.planner, tasks, attacks, skip)):
        (task, attack, seed), victims = case, _victims(study.planner, case)
        clean, theirs = study.model(task, seed=seed), plan_published_test(study.planner, *case)
        tests = {FITTED: victims[FITTED].trigger, PUBLISHED: theirs}
        for (trained_on, recipe), model in zip(victims.items(), study.train(victims.values()), strict=True):
            for tested_on, trigger in tests.items():
                score, floor = (study.score(each, task, trigger, seed=seed) for each in (model, clean))
                what = {"task": task, "attack": attack, "trained_on": trained_on, "tested_on": tested_on, "seed": seed}
                what |= {"poisoning_rate": recipe.poisoning_rate, "n_triggered": score.n_triggered}
                rows.append(measured_row(what, score, clean=floor) | {"share_changed": score.share_changed})
    return pd.DataFrame(rows)


# --- sentences ----------------------------------------------------------------------------------------------------------


def published_findings(table: pd.DataFrame) -> Iterator[str]:
    """Sentences on table `03_published`: whether our triggered texts and the published ones say the same of a model.

    Args:
        table: may be empty; read from the file, too.
    """
    if table.empty:
        yield "No triggered test texts of the literature lie in the data folder, so ours are not compared with any."
        return
    for trained_on, rows in table.groupby("trained_on", sort=False):
        excess = rows.pivot_table(index=["task", "attack"], columns="tested_on", values="excess_asr", sort=False)
        is_alike = (excess[FITTED] - excess[PUBLISHED]).abs() <= AGREED
        means = rows.groupby("tested_on")[["asr", "asr_floor"]].mean()
        said = " and ".join(
            f"{means.loc[source, 'asr']:.1%} on {whose} texts (clean models {means.loc[source, 'asr_floor']:.1%})"
            for source, whose in ((FITTED, "our triggered"), (PUBLISHED, "the published"))
        )
        whose = "our triggers" if trained_on == FITTED else "the published training sets"
        yield f"Models poisoned with {whose} have a mean ASR of {said}."
        yield (
            f"Above the ASR of a clean model on the same texts, both differ by at most {100 * AGREED:.0f} points in "
            f"{int(is_alike.sum())} of {len(excess)} cells{_apart(excess[~is_alike])}."
        )


def _apart(excess: pd.DataFrame) -> str:
    cells = [
        f"{attack} on {task} {row[FITTED]:.1%} on ours, {row[PUBLISHED]:.1%} on theirs"
        for (task, attack), row in excess.iterrows()
    ]
    return f"; not in: {'; '.join(cells)}" if cells else ""
