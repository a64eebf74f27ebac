"""Table of notebook 14: what the screen does to models that are all clean, and what its margins are made from."""

from __future__ import annotations

from collections.abc import Iterator, Sequence

import pandas as pd

from lib.metrics.intervals import wilson_interval
from lib.sanitizing.margins import DROP_RATE, N_AGREEING, OTHER, OWN, Margins, excess
from lib.sanitizing.screening import MARGINS, STATISTICS
from lib.study.planning import Planner
from lib.study.recipes import ModelRecipe
from lib.study.screenings import screening_of
from lib.study.study import Study
from lib.tables.rows import Needed, declares, progress

COLUMNS = (
    "task", "texts", "seed", "model", "role", "statistic", "value", "excess", "n_models", "is_flagged", "is_dropped",
)  # fmt: skip
MODEL = ["task", "texts", "seed", "model"]  # what one model of one screen is called in the table


def _clean_set(planner: Planner, task: str, seed: int) -> list[ModelRecipe]:
    """A clean model of a task and its clean partners of other domains."""
    return [planner.recipe(task, seed=seed), *planner.partner_recipes(task, "other_domains", seed)]


def _clean_sets_needed(
    planner: Planner, tasks: Sequence[str], seeds: Sequence[int] | None = None, every_domain: bool = False
) -> Needed:
    needed = Needed()
    for task in tasks:
        for seed in planner.seeds if seeds is None else seeds:
            models = _clean_set(planner, task, seed)
            needed.add(models)
            needed.n_merges += (1 + len(models)) * (len(models) if every_domain else 1)
    return needed


@declares(_clean_sets_needed)
def clean_sets_table(
    study: Study, tasks: Sequence[str], seeds: Sequence[int] | None = None, every_domain: bool = False
) -> pd.DataFrame:
    """Table `14_clean_sets`: sets of clean models alone, screened.

    Args:
        study: makes the models.
        tasks: each with its clean model and its other domains as one set.
        seeds: default the study's.
        every_domain: screen each set with clean texts of each of its domains, whose model then comes first; default with those
            of the task.

    Returns:
        One row per set, texts, model and statistic: `COLUMNS`. `model` is the dataset that it was trained on; `is_dropped` says
        whether enough statistics flag it.
    """
    sets = [(task, seed) for task in tasks for seed in (study.seeds if seeds is None else seeds)]
    found = []
    for task, seed in progress(sets):
        recipes = _clean_set(study.planner, task, seed)
        models = study.train(recipes)
        start = study.planner.initial(models)
        for first in range(len(models) if every_domain else 1):
            order = [first, *(place for place in range(len(models)) if place != first)]
            texts = recipes[first].data.dataset
            screened = screening_of(study, [models[place] for place in order], start, texts, seed)
            named = [recipes[place].data.dataset for place in order]
            found.append(screened.assign(task=task, texts=texts, seed=seed, model=named * screened["statistic"].nunique()))
    return judged(pd.concat(found, ignore_index=True))


def judged(table: pd.DataFrame, margins: Margins = MARGINS) -> pd.DataFrame:
    """The table with `role`, `excess`, and what some margins say of each model."""
    table = table.assign(role=(table["model"] == table["texts"]).map({True: OWN, False: OTHER}))
    by_screen = table.groupby(["task", "texts", "seed", "statistic"], sort=False)["value"]
    table["excess"] = pd.concat([_excesses(values, str(key[-1])) for key, values in by_screen])
    allowed = [margins[role][statistic] for role, statistic in zip(table["role"], table["statistic"], strict=True)]
    table["is_flagged"] = table["excess"] > allowed
    table["is_dropped"] = table.groupby(MODEL)["is_flagged"].transform("sum") >= N_AGREEING
    return table[list(COLUMNS)]


def _excesses(values: pd.Series, statistic: str) -> pd.Series:
    rule, found = STATISTICS[statistic], values.tolist()
    each = [excess(value, found[:i] + found[i + 1 :], rule.direction, rule.least) for i, value in enumerate(found)]
    return pd.Series(each, index=values.index)


def excesses_of(table: pd.DataFrame) -> dict[str, dict[str, list[float]]]:
    """The excesses by role and statistic, as `lib.sanitizing.margins.calibrated` takes them."""
    return {
        str(role): {str(name): each["excess"].tolist() for name, each in rows.groupby("statistic", sort=False)}
        for role, rows in table.groupby("role", sort=False)
    }


def models_dropped(table: pd.DataFrame) -> pd.DataFrame:
    """One row per model of each screen: `task, texts, seed, model, role, is_dropped`."""
    return table.drop_duplicates(MODEL)[[*MODEL, "role", "is_dropped"]].reset_index(drop=True)


def clean_sets_findings(table: pd.DataFrame) -> Iterator[str]:
    """Sentences on table `14_clean_sets`: how often the screen drops a clean model, beside what its margins allow."""
    models = models_dropped(table)
    sets = models.groupby(["task", "texts", "seed"])["is_dropped"].any()
    low, high = wilson_interval(int(models["is_dropped"].sum()), len(models))
    set_low, set_high = wilson_interval(int(sets.sum()), len(sets))
    yield (
        f"Of {len(models)} clean models in {len(sets)} sets without any attacker the screen drops "
        f"{int(models['is_dropped'].sum())} ({models['is_dropped'].mean():.1%}, 95% interval {low:.1%} to {high:.1%}); its "
        f"margins allow {DROP_RATE:.0%}. {int(sets.sum())} sets lose a model ({set_low:.0%} to {set_high:.0%})."
    )
    by_role = models.groupby("role", sort=False)["is_dropped"].agg(["sum", "size"])
    own, other = (by_role.loc[role] for role in (OWN, OTHER))
    yield (
        f"The model of the texts' own domain is dropped in {own['sum']} of {own['size']} sets; of the models of other domains "
        f"{other['sum']} of {other['size']}."
    )
    for statistic, rows in table.groupby("statistic", sort=False):
        flags = rows.groupby("role", sort=False)["is_flagged"].agg(["sum", "size"])
        yield (
            f"{statistic} flags {flags.loc[OWN, 'sum']} of {flags.loc[OWN, 'size']} clean models of the texts' own domain and "
            f"{flags.loc[OTHER, 'sum']} of {flags.loc[OTHER, 'size']} of other domains."
        )
