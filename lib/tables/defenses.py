"""Table of notebook 12: merging beside other defenses, what each needs, leaves and costs; and sentences on it."""

from __future__ import annotations

import math
from collections.abc import Iterator, Sequence
from dataclasses import asdict
from typing import Any

import pandas as pd

from lib.defenses import NEEDS, get_defense
from lib.metrics.summary import points
from lib.metrics.variation import Difference, paired_difference
from lib.models.checkpoints import Checkpoint
from lib.models.model import Model
from lib.study.costs import Cost, cost_of
from lib.study.defended import planned
from lib.study.planning import Planner
from lib.study.recipes import ModelRecipe
from lib.study.study import Study
from lib.tables.rows import Case, Needed, backdoored_recipes, cases_of, declares, measured_row, progress

NONE, CLEAN = "none", "clean_model"  # the backdoored model as it is, and the model that a defense would like to give
MERGE = "average"  # the defense that the others are compared with
NOTHING = "nothing"
CELL = ["task", "attack"]
MAX_CACC_COST = 0.01  # a defense beats another if it leaves less ASR and costs at most so much more CACC, by its mean
# How many of the other domains a defense takes, if not all: their first are near ones.
N_OTHERS = {"small_weight": 1, "gms": 1}


def needs_of(name: str) -> str:
    """What a defense needs beside the suspicious model, as text."""
    return NOTHING if name in (NONE, CLEAN) else ", ".join(get_defense(name).needs)


def _n_others(name: str, n_domains: int) -> int:
    """How many other models a defense is given."""
    return N_OTHERS.get(name, n_domains) if "other models" in get_defense(name).needs else 0


def _defenses_needed(
    planner: Planner, tasks: Sequence[str], attacks: Sequence[str], defenses: Sequence[str], skip: str = ""
) -> Needed:
    cases = cases_of(planner, tasks, attacks, skip)
    needed = Needed(backdoored_recipes(planner, cases, ["other_domains"]))
    for task, attack, seed in cases:
        victim, others = planner.recipe(task, attack, seed), planner.partner_recipes(task, "other_domains", seed)
        for name in defenses:
            made = planned(planner, name, victim, others[: _n_others(name, len(others))])
            if isinstance(made, ModelRecipe):
                needed.models.append(made)
            elif made:
                needed.derived.append(made)
            else:  # an ensemble asks each of its members about the triggered texts
                needed.n_merges += len(others) if get_defense(name).family == "ensemble" else 1
    return needed


@declares(_defenses_needed)
def defenses_table(
    study: Study, tasks: Sequence[str], attacks: Sequence[str], defenses: Sequence[str], skip: str = ""
) -> pd.DataFrame:
    """Table `12_defenses`: every defense with its own settings, beside the backdoored model as it is and a clean model.

    `seconds` and `milliseconds_per_text` are processor time, measured once per task and seed: with the first attack, for what a
    defense costs hardly depends on it.

    Args:
        study: trains and scores.
        tasks: each with every attack and seed.
        attacks: of the backdoored models.
        defenses: keys of `DEFENSES`.
        skip: pairs "task/attack" that are left out, separated by commas.
    """
    rows, costs = list[dict[str, Any]](), dict[tuple[str, int, str], Cost]()
    for task, attack, seed in progress(cases_of(study.planner, tasks, attacks, skip)):
        models = _models(study, (task, attack, seed), defenses)
        for name, model in models.items():  # before any score: a filter that is fitted costs nothing more
            if (task, seed, name) not in costs:
                costs[task, seed, name] = cost_of(study, model, task, seed, _timed_split(name))
        before, clean = (study.score(models[name], task, attack, seed) for name in (NONE, CLEAN))
        for name, model in models.items():
            score, cost = study.score(model, task, attack, seed), costs[task, seed, name]
            what = {"task": task, "attack": attack, "defense": name, "seed": seed}
            row = measured_row(what, score, clean=clean, before=before)
            row |= {"rejected_clean": score.rejected_clean, "rejected_triggered": score.rejected_triggered}
            row["n_train"] = model.record.get("n_train", math.nan) if isinstance(model, Checkpoint) else math.nan
            rows.append(row | asdict(cost) | {"needs": needs_of(name)})
    return pd.DataFrame(rows)


def _timed_split(name: str) -> str:
    """Whose texts a defense is timed on: those that it has not read yet, or the only ones that it has scores of."""
    is_published = name not in (NONE, CLEAN) and get_defense(name).takes("published_scores")
    return "test" if is_published else "train"


def _models(study: Study, case: Case, defenses: Sequence[str]) -> dict[str, Model]:
    """The backdoored model of a case as it is, a clean model, and the backdoored one behind every defense."""
    task, attack, seed = case
    suspect, others = study.model(task, attack, seed), study.partners(task, "other_domains", seed)
    models: dict[str, Model] = {NONE: suspect, CLEAN: study.model(task, seed=seed)}
    return models | {name: study.defend(name, suspect, others[: _n_others(name, len(others))]) for name in defenses}


def defense_means(table: pd.DataFrame, by: Sequence[str] = ()) -> pd.DataFrame:
    """Means over tasks, attacks and seeds of table `12_defenses`, one row per defense (and value of `by`), as it came.

    Returns:
        `by`, `defense`, `needs`, and means of the rates, of what clean texts lose, and of the costs.
    """
    columns = [
        "asr", "excess_asr", "asr_untriggered", "flip_rate", "cacc", "cacc_change", "cacc_change_vs_clean", "rejected_clean",
        "rejected_triggered", "n_train", "seconds", "milliseconds_per_text",
    ]  # fmt: skip
    return table.groupby([*by, "defense", "needs"], sort=False)[columns].mean().reset_index()


def assumptions_table(study: Study, table: pd.DataFrame) -> pd.DataFrame:
    """What each defense of table `12_defenses` assumes, beside what it leaves and costs on average.

    Returns:
        One row per defense: `family`, one truth value per entry of `NEEDS`, `clean_rows` (how many clean texts it is given),
        `is_training` (it fine-tunes), `excess_asr`, `cacc_change`, `seconds`, `milliseconds_per_text`.
    """
    rows = []
    for mean in defense_means(table[~table["defense"].isin([NONE, CLEAN])]).to_dict("records"):
        defense, task = get_defense(mean["defense"]), table["task"].iloc[0]
        sees_clean = any(need.startswith("clean") for need in defense.needs)
        row = {"defense": mean["defense"], "family": defense.family} | {need: need in defense.needs for need in NEEDS}
        row["clean_rows"] = len(study.rows(task, "validation")) if sees_clean else 0
        row["is_training"] = defense.family == "training_time" or defense.takes("training")
        names = ("excess_asr", "cacc_change", "seconds", "milliseconds_per_text")
        rows.append(row | {name: mean[name] for name in names})
    return pd.DataFrame(rows).rename(columns={need: f"needs_{need.replace(' ', '_')}" for need in NEEDS})


def compared_with_merging(table: pd.DataFrame) -> pd.DataFrame:
    """Every defense against the plain average: differences of ASR and CACC over the same cells, with intervals over seeds.

    Returns:
        `defense`, `needs`, `asr_difference` and `cacc_difference` (the defense minus the average) with bounds, `n_lower_asr`
        (cells in which its mean ASR is lower), `n_cells`, `n_seeds`.

    Raises:
        ValueError: for a table without the average.
    """
    merged, rows = table[table["defense"] == MERGE], []
    if merged.empty:
        raise ValueError(f"the table has the defenses {sorted(set(table['defense']))}; {MERGE!r} must be among them")
    for (name, needs), others in table.groupby(["defense", "needs"], sort=False):
        if name in (MERGE, CLEAN):
            continue
        cells = [frame.groupby(CELL)["asr"].mean() for frame in (merged, others)]
        row = {"defense": name, "needs": needs, "n_cells": len(cells[0]), "n_seeds": others["seed"].nunique()}
        row["n_lower_asr"] = int((cells[1] < cells[0]).sum())
        for rate in ("asr", "cacc"):
            found = paired_difference(merged, others, rate, CELL)
            bounds = {"": found.mean, "_low": found.low, "_high": found.high}
            row |= {f"{rate}_difference{end}": value for end, value in bounds.items()}
        rows.append(row)
    return pd.DataFrame(rows)


def defense_findings(table: pd.DataFrame) -> Iterator[str]:
    """Sentences on table `12_defenses`: does merging outperform ABL and ONION, where, by how much, at which cost?

    Args:
        table: with the defense `average` in it; read from the file, too.

    Raises:
        ValueError: for a table without the average.
    """
    means, against = defense_means(table).set_index("defense"), compared_with_merging(table).set_index("defense")
    merged, before = means.loc[MERGE], means.loc[NONE]
    yield (
        f"The average of the weights takes the mean ASR above a clean model's from {points(before.excess_asr)} to "
        f"{points(merged.excess_asr)} and changes the CACC by {points(merged.cacc_change)}. It takes {merged.seconds:.2f} "
        f"seconds once and {merged.milliseconds_per_text:.2f} milliseconds per text."
    )
    for name in ("abl", "onion" if "onion" in means.index else "onion_masked"):
        if name in means.index:
            yield _against(table, name, means.loc[name], against.loc[name])
    beats = [name for name, row in against.iterrows() if row.asr_difference_high < 0 and row.cacc_difference > -MAX_CACC_COST]
    if against["n_seeds"].max() > 1:
        listed = "; ".join(_listed(name, means.loc[name], against.loc[name]) for name in beats if name != NONE)
        yield (
            "Less ASR than the average, by an interval over seeds below zero, for at most "
            f"{100 * MAX_CACC_COST:.0f} point more of CACC: {listed or 'no defense'}."
        )
    else:
        lower = against[(against["asr_difference"] < 0) & (against["cacc_difference"] > -MAX_CACC_COST)].drop(
            NONE, errors="ignore"
        )
        listed = "; ".join(_listed(str(name), means.loc[name], row) for name, row in lower.iterrows())
        yield (
            f"With one seed, less mean ASR than the average for at most {100 * MAX_CACC_COST:.0f} point more of CACC: "
            f"{listed or 'no defense'}."
        )
    kept = table[[_is_filter(name) for name in table["defense"]]].groupby("defense", sort=False)["n_train"].mean()
    if len(kept):
        n_all = table[table["defense"] == NONE]["n_train"].mean()
        listed = ", ".join(f"{name} {n_all - n:,.0f}" for name, n in kept.items())
        yield f"Of {n_all:,.0f} training rows, the filters of training data leave out on average: {listed}."
    weak = means[(means["excess_asr"] > before.excess_asr / 2) & ~means.index.isin([NONE, CLEAN])]
    listed = ", ".join(f"{name} {points(row.excess_asr)}" for name, row in weak.sort_values("excess_asr").iterrows())
    yield f"More than half of the attack's effect stays behind: {listed or 'no defense'}."


def _is_filter(name: str) -> bool:
    return name not in (NONE, CLEAN) and get_defense(name).kind == "row_filter"


def _against(table: pd.DataFrame, name: str, mean: pd.Series[Any], against: pd.Series[Any]) -> str:
    """One sentence on a defense beside the average, with the attacks where each of them leaves less."""
    of_attack = table.groupby(["defense", "attack"], sort=False)["asr"].mean().unstack("defense")
    lower = of_attack.index[of_attack[MERGE] < of_attack[name]]
    higher = of_attack.index[of_attack[MERGE] > of_attack[name]]
    return (
        f"{name} leaves {points(mean.excess_asr)} and changes the CACC by {points(mean.cacc_change)}: against the average, ASR "
        f"{_interval(against, 'asr')}, CACC {_interval(against, 'cacc')}. The average leaves less on "
        f"{against.n_cells - against.n_lower_asr:.0f} of {against.n_cells:.0f} cells of tasks and attacks; by attack, on "
        f"{', '.join(lower) or 'none'}, {name} on {', '.join(higher) or 'none'}. It takes {mean.seconds:.1f} seconds once and "
        f"{mean.milliseconds_per_text:.2f} milliseconds per text."
    )


def _listed(name: str, mean: pd.Series[Any], against: pd.Series[Any]) -> str:
    return f"{name} (ASR {_interval(against, 'asr')}, CACC {_interval(against, 'cacc')}; needs {mean.needs})"


def _interval(row: pd.Series[Any], rate: str) -> str:
    return str(
        Difference(
            row[f"{rate}_difference"], row[f"{rate}_difference_low"], row[f"{rate}_difference_high"], int(row["n_seeds"])
        )
    )
