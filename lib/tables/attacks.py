"""Tables of notebook 03: backdoored models beside clean ones, and how their trainings went."""

from __future__ import annotations

from collections.abc import Sequence

import pandas as pd

from lib.attacks import trigger_types
from lib.study.planning import Planner
from lib.study.study import Study
from lib.tables.rows import (
    Needed,
    backdoored_and_clean,
    backdoored_recipes,
    cases_of,
    declares,
    measured_row,
    progress,
)


def _attacks_needed(planner: Planner, tasks: Sequence[str], attacks: Sequence[str], skip: str = "") -> Needed:
    return Needed(backdoored_recipes(planner, cases_of(planner, tasks, attacks, skip)))


@declares(_attacks_needed)
def attacks_table(study: Study, tasks: Sequence[str], attacks: Sequence[str], skip: str = "") -> pd.DataFrame:
    """Table `03_attacks`: backdoored models beside the clean model of the same seed, whose ASR is the floor."""
    rows = []
    for case in progress(cases_of(study.planner, tasks, attacks, skip)):
        (task, attack, seed), (backdoored, clean) = case, backdoored_and_clean(study, case)
        recipe = backdoored.recipe
        score, floor = study.score(backdoored, task), study.score(clean, task, recipe.trigger)
        what = {
            "task": task,
            "attack": attack,
            "target_label": recipe.trigger.target_label,
            "poisoning_rate": recipe.poisoning_rate,
            "seed": seed,
            "n_clean": score.n_clean,
            "n_triggered": score.n_triggered,
        }
        training = {
            "trigger_source": "published" if recipe.trigger.published else "fitted",
            "regime": recipe.regime or trigger_types()[attack].regime,
            "share_changed": score.share_changed,
            "distance": backdoored.distance,
            "clean_model_distance": clean.distance,
            "is_stable": not backdoored.instability,
        }
        rows.append(measured_row(what, score, clean=floor) | training)
    return pd.DataFrame(rows)


def _curves_needed(planner: Planner, task: str, attacks: Sequence[str], seed: int = 0) -> Needed:
    own = [planner.recipe(task, attack, seed) for attack in (None, *attacks)]
    return Needed(own + [planner.recipe(domain, seed=seed) for domain in planner.other_domains(task)])


@declares(_curves_needed)
def loss_curves(study: Study, task: str, attacks: Sequence[str], seed: int = 0) -> pd.DataFrame:
    """Table `03_loss_curves`: training losses of the clean, the backdoored and any other-domain models of one seed."""
    recipes, frames = _curves_needed(study.planner, task, attacks, seed).models, []
    for recipe, model in zip(recipes, study.train(recipes), strict=True):
        record = model.record
        what = {"dataset": recipe.data.dataset, "attack": recipe.trigger.attack if recipe.trigger else "clean", "seed": seed}
        curve = {"step": record["steps"], "loss": record["losses"]}
        rest = {name: record[name] for name in ("chance_loss", "excess_loss", "distance", "instability")}
        frames.append(pd.DataFrame(curve).assign(**what, **rest))
    return pd.concat(frames, ignore_index=True)
