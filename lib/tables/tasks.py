"""Tables of notebook 01: the tasks, and how far a model of one domain carries to another."""

from __future__ import annotations

from collections.abc import Sequence

import pandas as pd

from lib.study.planning import Planner
from lib.study.study import Study
from lib.tables.overlap import overlaps
from lib.tables.rows import Needed, declares, progress


def tasks_table(study: Study, tasks: Sequence[str]) -> pd.DataFrame:
    """Table `01_tasks`: the tasks and their other domains, as loaded."""
    rows = []
    for name in [dataset for task in tasks for dataset in (task, *study.other_domains(task))]:
        data = study.dataset(name)
        splits = {split: study.rows(name, split) for split in ("train", "validation", "test")}
        rows.append(
            {
                "task": data.task,
                "dataset": name,
                "source": data.source,
                "labels": ", ".join(data.label_names),
                **{f"n_{split}": len(frame) for split, frame in splits.items()},
                "target_label": data.label_names[data.target_label],
                "mean_words": float(splits["train"]["text"].str.split().str.len().mean()),
                "target_share": float((splits["train"]["label"] == data.target_label).mean()),
                **overlaps(study, name),
            }
        )
    return pd.DataFrame(rows)


def _transfer_needed(planner: Planner, task: str, seed: int = 0) -> Needed:
    return Needed([planner.recipe(task, seed=seed), *planner.partner_recipes(task, "other_domains", seed)])


@declares(_transfer_needed)
def transfer_table(study: Study, task: str, seed: int = 0) -> pd.DataFrame:
    """Table `01_transfer`: accuracy of a clean model of each domain (`trained_on`) on each domain's test set (`tested_on`).

    Raises:
        ValueError: for a task without other domains.
    """
    models = study.train(_transfer_needed(study.planner, task, seed).models)
    names = [model.recipe.data.dataset for model in models]
    pairs = [(model, trained, tested) for model, trained in zip(models, names, strict=True) for tested in names]
    rows = []
    for model, trained_on, tested_on in progress(pairs):
        score = study.score(model, tested_on, None)
        rows.append({"task": task, "trained_on": trained_on, "tested_on": tested_on, "seed": seed, "cacc": score.cacc})
    return pd.DataFrame(rows)
