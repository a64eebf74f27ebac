"""Tables of notebook 01: the tasks, and how far a model of one domain carries to another."""

from __future__ import annotations

from collections.abc import Sequence

import pandas as pd

from lib.study.distances import distance_from_task
from lib.study.planning import Planner
from lib.study.study import Study
from lib.tables.overlap import overlaps
from lib.tables.rows import Needed, declares, progress


def tasks_table(study: Study, tasks: Sequence[str]) -> pd.DataFrame:
    """Table `01_tasks`: the tasks and their other domains, as loaded; `domain_distance` is that of a dataset from its task."""
    rows = []
    for name in [dataset for task in tasks for dataset in (task, *study.other_domains(task))]:
        data = study.dataset(name)
        splits = {split: study.rows(name, split) for split in ("train", "validation", "test")}
        rows.append(
            {
                "task": data.task,
                "dataset": name,
                "domain_distance": distance_from_task(study.planner, name),
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

    `domain_distance` is that of `trained_on` from the task; `relative_cacc` the accuracy over that of the model that was
    trained on the tested dataset.

    Raises:
        ValueError: for a task without other domains.
    """
    models = study.train(_transfer_needed(study.planner, task, seed).models)
    names = [model.recipe.data.dataset for model in models]
    pairs = [(model, trained, tested) for model, trained in zip(models, names, strict=True) for tested in names]
    cacc = {(trained, tested): study.score(model, tested, None).cacc for model, trained, tested in progress(pairs)}
    rows = [
        {
            "task": task,
            "trained_on": trained,
            "domain_distance": distance_from_task(study.planner, trained),
            "tested_on": tested,
            "seed": seed,
            "cacc": rate,
            "relative_cacc": rate / cacc[tested, tested] if cacc[tested, tested] else float("nan"),
        }
        for (trained, tested), rate in cacc.items()
    ]
    return pd.DataFrame(rows)
