"""Table of notebook 14: what the statistics of a screen say of submitted models, and of a clean twin in their place."""

from __future__ import annotations

from collections.abc import Iterator
from functools import partial

import pandas as pd

from lib.sanitizing.screening import N_AGREEING
from lib.study.planning import Planner
from lib.study.screenings import screening_of
from lib.study.study import Study
from lib.tables.attackers import Attacker, chosen_attackers
from lib.tables.limits import Attacked
from lib.tables.rows import Needed, declares, progress
from lib.tables.submissions import Submitted, poisoned_data

CLEAN = "clean"  # the clean twin in the place of the submitted model: without it no rate of flags means anything
RATES = (0.01, 0.05, 0.1, 0.2)  # poisoned shares of the rows, as in notebook 09
BY_RATE = ("badnet", "insertsent")
COLUMNS = (
    "task", "attack", "settings", "poisoning_rate", "statistic", "needs", "seed", "value", "others_low", "others_high", "rank",
    "n_models", "is_flagged",
)  # fmt: skip


def clean_twin(planner: Planner, task: str, seed: int) -> Submitted:
    """A clean model as the one that is submitted."""
    submitted = poisoned_data(planner, task, seed, BY_RATE[0], 0.2)
    return Submitted([planner.recipe(task, seed=seed)], submitted.trigger, submitted.partners)


def screened_attackers(rows: str) -> list[Attacker]:
    """Who is screened: the clean twin, ordinary attacks at several rates, and the other attackers of some rows.

    A poisoned base of all models is left out: there no model differs from the others.
    """
    by_rate = [
        Attacker(attack, "data", 0, partial(poisoned_data, attack=attack), {"poisoning_rate": rate})
        for attack in BY_RATE
        for rate in RATES
    ]
    others = [each for each in chosen_attackers(rows) if each.family != "data" and not each.is_shared]
    return [Attacker(CLEAN, "data", 0, clean_twin), *by_rate, *others]


def _detection_needed(planner: Planner, task: str, rows: str = "core") -> Needed:
    needed, n_models = Needed(), 1 + len(planner.other_domains(task))
    for attacker in screened_attackers(rows):
        for seed in planner.seeds:
            needed.add(attacker.submitted(planner, task, seed).recipes)
            needed.n_merges += 1 + n_models  # the average, and without each model in turn
    return needed


@declares(_detection_needed)
def detection_table(study: Study, task: str, rows: str = "core") -> pd.DataFrame:
    """Table `14_detection`: every statistic of the screen for the first submitted model, beside the other models of the merge.

    Args:
        study: makes the models.
        task: whose clean validation texts the screen gets, without labels.
        rows: of notebook 14: "core", "all", or names of attacks separated by commas.

    Returns:
        One row per attacker, statistic and seed: `COLUMNS`; the attack "clean" is the clean twin. `poisoning_rate` is empty for
        attacks that do not poison rows in the ordinary way, and for the twin.
    """
    found = []
    for attacker in progress(screened_attackers(rows)):
        for seed in study.seeds:
            attacked = Attacked(study, task, seed, attacker.submitted(study.planner, task, seed))
            screened = screening_of(study, [*attacked.uploads, *attacked.partners], attacked.start, task, seed)
            first = screened[screened.groupby("statistic").cumcount() == 0]
            what = {"task": task, "attack": attacker.attack, "settings": attacker.described, "seed": seed}
            found.append(first.assign(**what, poisoning_rate=attacker.settings.get("poisoning_rate")))
    table = pd.concat(found, ignore_index=True)[list(COLUMNS)]
    return table.astype({"poisoning_rate": float})


def detection_findings(table: pd.DataFrame) -> Iterator[str]:
    """Sentences on table `14_detection`: what would be dropped, and how often a clean twin is."""
    flags = table.groupby(["attack", "settings", "seed"], sort=False)["is_flagged"].sum()
    dropped = (flags >= N_AGREEING).groupby(["attack", "settings"], sort=False).agg(["sum", "size"])
    twin = dropped.loc[CLEAN].iloc[0]
    yield (
        f"A screen that drops a model if {N_AGREEING} statistics flag it drops the clean twin in {twin['sum']} of "
        f"{twin['size']} seeds."
    )
    attacks = dropped.drop(index=CLEAN, level=0)
    for what, rows in (("every time", attacks["sum"] == attacks["size"]), ("never", attacks["sum"] == 0)):
        listed = ", ".join(f"{attack} {settings}" for attack, settings in attacks.index[rows])
        yield f"Attackers that it drops {what}: {listed or 'none'}."
    for statistic, rows in table.groupby("statistic", sort=False):
        of_twin = rows.loc[rows["attack"] == CLEAN, "is_flagged"]
        of_others = rows.loc[rows["attack"] != CLEAN, "is_flagged"]
        yield (
            f"{statistic} flags {int(of_others.sum())} of {len(of_others)} submitted models, and {int(of_twin.sum())} of "
            f"{len(of_twin)} clean twins."
        )
