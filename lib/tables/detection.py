"""Table of notebook 14: what the statistics of a screen say of submitted models, and of a clean twin in their place."""

from __future__ import annotations

from collections.abc import Iterator
from functools import partial

import pandas as pd

from lib.sanitizing.margins import N_AGREEING
from lib.study.planning import Planner
from lib.study.screenings import screening_of
from lib.study.study import Study
from lib.tables.attackers import Attacker, chosen_attackers
from lib.tables.limits import Attacked
from lib.tables.limits_findings import private_rows, survivors
from lib.tables.rows import Needed, declares, progress
from lib.tables.submissions import Submitted, poisoned_data

CLEAN = "clean"  # the clean twin in the place of the submitted model: without it no rate of flags means anything
USUAL_RATE = 0.2  # poisoned share of the rows that other notebooks train with
RATES = {"all": (0.01, 0.05, 0.1, USUAL_RATE), "usual": (USUAL_RATE,)}  # as in notebook 09, or nothing that must be trained
BY_RATE = ("badnet", "insertsent")
CLIPPING = ("clipped_average", "row_clipped_average")
# What an attacker can do who knows that vectors are clipped and rows are audited.
AGAINST_CLIPPING = {
    "merge_aware": "trains for a small weight",
    "norm_bounded": "keeps to the usual length",
    "decoy_rows": "moves many rows of rare words, so that the row of the trigger is one of many",
}
COLUMNS = (
    "task", "attack", "settings", "poisoning_rate", "upload", "statistic", "needs", "seed", "value", "others_low",
    "others_high", "rank", "n_models", "is_flagged",
)  # fmt: skip


def clean_twin(planner: Planner, task: str, seed: int) -> Submitted:
    """A clean model as the one that is submitted."""
    submitted = poisoned_data(planner, task, seed, BY_RATE[0], USUAL_RATE)
    return Submitted([planner.recipe(task, seed=seed)], submitted.trigger, submitted.partners)


def screened_attackers(rows: str, rates: str = "all") -> list[Attacker]:
    """Who is screened: the clean twin, ordinary attacks at one or several rates, and the other attackers of some rows.

    A poisoned base of all models is left out: there no model differs from the others.

    Args:
        rows: of notebook 14.
        rates: a key of `RATES`.

    Raises:
        ValueError: for unknown rows or rates; lists the known ones.
    """
    if rates not in RATES:
        raise ValueError(f"detection_rates is {rates!r}; choose from {list(RATES)}")
    by_rate = [
        Attacker(attack, "data", 0, partial(poisoned_data, attack=attack), {"poisoning_rate": rate})
        for attack in BY_RATE
        for rate in RATES[rates]
    ]
    others = [each for each in chosen_attackers(rows) if each.family != "data" and not each.is_shared]
    return [Attacker(CLEAN, "data", 0, clean_twin), *by_rate, *others]


def _detection_needed(planner: Planner, task: str, rows: str = "core", rates: str = "all") -> Needed:
    needed, n_models = Needed(), 1 + len(planner.other_domains(task))
    for attacker in screened_attackers(rows, rates):
        for seed in planner.seeds:
            needed.add(attacker.submitted(planner, task, seed).recipes)
            needed.n_merges += 1 + n_models  # the average, and without each model in turn
    return needed


@declares(_detection_needed)
def detection_table(study: Study, task: str, rows: str = "core", rates: str = "all") -> pd.DataFrame:
    """Table `14_detection`: every statistic of the screen for every submitted model, beside the other models of the merge.

    Args:
        study: makes the models.
        task: whose clean validation texts the screen gets, without labels.
        rows: of notebook 14: "core", "all", or names of attacks separated by commas.
        rates: poisoned shares of the ordinary attacks: "all", or "usual", which needs no further training.

    Returns:
        One row per attacker, submitted model, statistic and seed: `COLUMNS`; the attack "clean" is the clean twin. Models that
        one attacker submits together are numbered from 1 (`upload`); each of them is one of the others to the rest.
        `poisoning_rate` is empty for attacks that do not poison rows in the ordinary way, and for the twin.
    """
    found = []
    for attacker in progress(screened_attackers(rows, rates)):
        for seed in study.seeds:
            attacked = Attacked(study, task, seed, attacker.submitted(study.planner, task, seed))
            screened = screening_of(study, [*attacked.uploads, *attacked.partners], attacked.start, task, seed)
            screened["upload"] = 1 + screened.groupby("statistic").cumcount()
            theirs = screened[screened["upload"] <= len(attacked.uploads)]
            what = {"task": task, "attack": attacker.attack, "settings": attacker.described, "seed": seed}
            found.append(theirs.assign(**what, poisoning_rate=attacker.settings.get("poisoning_rate")))
    table = pd.concat(found, ignore_index=True)[list(COLUMNS)]
    return table.astype({"poisoning_rate": float})


def detection_findings(table: pd.DataFrame) -> Iterator[str]:
    """Sentences on table `14_detection`: what would be dropped, and how often a clean twin is."""
    flags = table.groupby(["attack", "settings", "seed", "upload"], sort=False)["is_flagged"].sum()
    dropped = (flags >= N_AGREEING).groupby(["attack", "settings"], sort=False).agg(["sum", "size"])
    twin = dropped.loc[CLEAN].iloc[0]
    yield (
        f"A screen that drops a model if {N_AGREEING} statistics flag it drops the clean twin in {twin['sum']} of "
        f"{twin['size']} seeds."
    )
    attacks = dropped.drop(index=CLEAN, level=0)
    is_always, is_never = attacks["sum"] == attacks["size"], attacks["sum"] == 0
    for what, rows in (("all of whose models it drops", is_always), ("of whose models it drops none", is_never)):
        listed = ", ".join(f"{attack} {settings}" for attack, settings in attacks.index[rows])
        yield f"Attackers {what}: {listed or 'none'}."
    some = attacks[~is_always & ~is_never]
    listed = ", ".join(f"{attack} {settings} ({row['sum']} of {row['size']})" for (attack, settings), row in some.iterrows())
    yield f"Attackers some of whose models it drops: {listed or 'none'}."
    for statistic, rows in table.groupby("statistic", sort=False):
        of_twin = rows.loc[rows["attack"] == CLEAN, "is_flagged"]
        of_others = rows.loc[rows["attack"] != CLEAN, "is_flagged"]
        yield (
            f"{statistic} flags {int(of_others.sum())} of {len(of_others)} submitted models, and {int(of_twin.sum())} of "
            f"{len(of_twin)} clean twins."
        )


def open_findings(limits: pd.DataFrame, detection: pd.DataFrame) -> Iterator[str]:
    """Sentences on tables `14_limits` and `14_detection` together: who comes through the clipped averages and the screen.

    A screen stops an attacker here if it drops a submitted model in more than half of the seeds: of several models that are
    needed together, one is enough; colluding ones need each other less, so this is kind to the screen.
    """
    flags = detection.groupby(["attack", "settings", "seed", "upload"], sort=False)["is_flagged"].sum() >= N_AGREEING
    by_seed = flags.groupby(["attack", "settings", "seed"], sort=False).any()
    caught = by_seed.groupby(["attack", "settings"], sort=False).mean() > 0.5
    found = survivors(private_rows(limits))
    for rule, rows in found[found["merge_method"].isin(CLIPPING)].groupby("merge_method", sort=False):
        alive = [(row.attack, row.settings) for row in rows[rows["survives"]].itertuples()]
        named = {kind: [" ".join(key) for key in alive if bool(caught.get(key, False)) == kind] for kind in (True, False)}
        yield (
            f"Open after the screen and {rule}: {len(named[False])} of {len(rows)} attackers survive both: "
            f"{', '.join(named[False]) or 'none'}. They survive the rule, but the screen drops a model of theirs: "
            f"{', '.join(named[True]) or 'none'}."
        )
    tried = set(found["attack"])
    yield (
        "Of attackers who know how clipping works the table has "
        f"{', '.join(name for name in AGAINST_CLIPPING if name in tried) or 'none'}; not tried: "
        f"{', '.join(f'{name} ({what})' for name, what in AGAINST_CLIPPING.items() if name not in tried) or 'none'}."
    )
