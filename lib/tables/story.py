"""Table of notebook 00: one backdoored model before and after a merge."""

from __future__ import annotations

import pandas as pd

from lib.models.model import Model
from lib.study.planning import Planner
from lib.study.study import Study
from lib.tables.rows import Needed, backdoored_and_clean, backdoored_recipes, declares, measured_row


def _needed(planner: Planner, task: str, attack: str, seed: int = 0) -> Needed:
    return Needed(backdoored_recipes(planner, [(task, attack, seed)], ["other_domains"]), n_merges=1)


@declares(_needed)
def story_table(study: Study, task: str, attack: str, seed: int = 0) -> pd.DataFrame:
    """Table `00_story`: the clean model, the backdoored one, and its average with the models of all other domains."""
    backdoored, clean = backdoored_and_clean(study, (task, attack, seed))
    merged = study.merge([backdoored, *study.partners(task, "other_domains", seed)])
    models: dict[str, Model] = {"clean": clean, "backdoored": backdoored, "merged": merged}
    what = {"task": task, "attack": attack, "seed": seed}
    return pd.DataFrame(
        [measured_row({"model": name, **what}, study.score(model, task, attack, seed)) for name, model in models.items()]
    )
