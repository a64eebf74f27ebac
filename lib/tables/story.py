"""Table of notebook 00: one backdoored model before and after a merge."""

from __future__ import annotations

import pandas as pd

from lib.models.model import Model
from lib.study.planning import Planner
from lib.study.study import Study
from lib.tables.partners import n_without_suspect, without_suspect
from lib.tables.rows import Needed, backdoored_and_clean, backdoored_recipes, declares, measured_row


def _needed(planner: Planner, task: str, attack: str, seed: int = 0) -> Needed:
    n_merges = 1 + n_without_suspect(len(planner.other_domains(task)))
    return Needed(backdoored_recipes(planner, [(task, attack, seed)], ["other_domains"]), n_merges)


@declares(_needed)
def story_table(study: Study, task: str, attack: str, seed: int = 0) -> pd.DataFrame:
    """Table `00_story`: the clean model, the backdoored one, its average with the models of all other domains, and theirs."""
    backdoored, clean = backdoored_and_clean(study, (task, attack, seed))
    others = study.partners(task, "other_domains", seed)
    models: dict[str, Model] = {"clean": clean, "backdoored": backdoored, "merged": study.merge([backdoored, *others])}
    models |= {"partners only": without_suspect(study, others)}
    what = {"task": task, "attack": attack, "seed": seed}
    return pd.DataFrame(
        [measured_row({"model": name, **what}, study.score(model, task, attack, seed)) for name, model in models.items()]
    )
