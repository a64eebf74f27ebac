"""Table of notebook 00: one backdoored model before and after a merge."""

from __future__ import annotations

import pandas as pd

from lib.study.study import Study
from lib.tables.rows import backdoored_and_clean, rates, train_victims


def story_table(study: Study, task: str, attack: str, seed: int = 0) -> pd.DataFrame:
    """Table `00_story`: the clean model, the backdoored one, and its average with the models of all other domains."""
    train_victims(study, [(task, attack, seed)], ["other_domains"])
    backdoored, clean = backdoored_and_clean(study, task, attack, seed)
    merged = study.merge([backdoored, *study.partners(task, "other_domains", seed)])
    models = {"clean": clean, "backdoored": backdoored, "merged": merged}
    what = {"task": task, "attack": attack, "seed": seed}
    return pd.DataFrame(
        [{"model": name, **what, **rates(study.score(model, task, attack, seed))} for name, model in models.items()]
    )
