"""Tables of notebook 03: backdoored models beside clean ones, and how their trainings went."""

from __future__ import annotations

from collections.abc import Sequence

import pandas as pd

from lib.attacks import trigger_types
from lib.study.choices import attacks_on
from lib.study.study import Study
from lib.tables.rows import backdoored_and_clean, progress, rates, train_victims


def attacks_table(study: Study, tasks: Sequence[str], attacks: Sequence[str], skip: str = "") -> pd.DataFrame:
    """Table `03_attacks`: backdoored models beside the clean model of the same seed, whose ASR is the floor."""
    cases = [(task, attack, seed) for task in tasks for seed in study.seeds for attack in attacks_on(task, attacks, skip)]
    train_victims(study, cases)
    rows = []
    for task, attack, seed in progress(cases):
        backdoored, clean, recipe = *backdoored_and_clean(study, task, attack, seed), study.recipe(task, attack, seed)
        score, floor = study.score(backdoored, task, attack, seed), study.score(clean, task, attack, seed)
        rows.append(
            {
                "task": task,
                "attack": attack,
                "target_label": recipe.trigger.target_label if recipe.trigger else None,
                "poisoning_rate": recipe.poisoning_rate,
                "seed": seed,
                "n_clean": score.n_clean,
                "n_triggered": score.n_triggered,
                **rates(score),
                "clean_model_cacc": floor.cacc,
                "asr_floor": floor.asr,
                "trigger_source": "published" if recipe.trigger and recipe.trigger.published else "fitted",
                "regime": recipe.regime or trigger_types()[attack].regime,
                "flip_rate": score.flip_rate,
                "share_changed": score.share_changed,
                "distance": backdoored.record["distance"],
                "clean_model_distance": clean.record["distance"],
                "is_stable": not backdoored.record["instability"],
                "floor_hits": floor.hits,
                "clean_correct": floor.correct,
            }
        )
    return pd.DataFrame(rows)


def loss_curves(study: Study, task: str, attacks: Sequence[str], seed: int = 0) -> pd.DataFrame:
    """Table `03_loss_curves`: training losses of the clean, the backdoored and the other-domain models of one seed."""
    recipes = [study.recipe(task, attack, seed) for attack in (None, *attacks)]
    recipes += study.partner_recipes(task, "other_domains", seed)
    frames = []
    for recipe, model in zip(recipes, study.train(recipes), strict=True):
        record = model.record
        what = {"dataset": recipe.data.dataset, "attack": recipe.trigger.attack if recipe.trigger else "clean", "seed": seed}
        curve = {"step": record["steps"], "loss": record["losses"]}
        rest = {"chance_loss": record["chance_loss"], "distance": record["distance"], "instability": record["instability"]}
        frames.append(pd.DataFrame(curve).assign(**what, **rest))
    return pd.concat(frames, ignore_index=True)
