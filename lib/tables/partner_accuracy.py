"""Table of notebook 04: what each partner can do alone, before it is averaged with anything."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from typing import Any

import pandas as pd

from lib.metrics.reduction import most_models
from lib.metrics.summary import points, summarise
from lib.models.checkpoints import Checkpoint
from lib.study.planning import Planner
from lib.study.study import Study
from lib.tables.overlap import share_in_common
from lib.tables.partners import kinds_of_partners
from lib.tables.rows import Needed, declares, progress


def _partners_needed(planner: Planner, tasks: Sequence[str]) -> Needed:
    kinds, cases = kinds_of_partners(planner), [(task, seed) for task in tasks for seed in planner.seeds]
    clean = [planner.recipe(task, seed=seed) for task, seed in cases]
    partners = [recipe for task, seed in cases for kind in kinds for recipe in planner.partner_recipes(task, kind, seed)]
    return Needed(clean + partners)


@declares(_partners_needed)
def partners_table(study: Study, tasks: Sequence[str]) -> pd.DataFrame:
    """Table `04_partners`: each clean partner alone on the test texts of the task that it is to help with.

    Returns:
        One row per task, kind of partners, partner and seed: its training rows (`n_train`), the labels that they have and those
        that they lack (`lacks_label`, "" for none), the share of the backdoored model's rows among them (`overlap_victim`), its
        `cacc` with bounds over test texts, and the `clean_model_cacc` of a clean model of the task.
    """
    kinds = kinds_of_partners(study.planner)
    cases = [(task, seed, kind) for task in tasks for seed in study.seeds for kind in kinds]
    rows = [
        {"task": task, "partners": kind} | _partner_row(study, task, seed, partner)
        for task, seed, kind in progress(cases)
        for partner in study.partners(task, kind, seed)
    ]
    table = pd.DataFrame(rows).assign(place=range(len(rows)))  # two partners on one task differ in nothing that names them
    bounds = summarise(table, ["place"])[["cacc_low", "cacc_high"]]
    return pd.concat([table.drop(columns="place"), bounds], axis=1)


def _partner_row(study: Study, task: str, seed: int, partner: Checkpoint) -> dict[str, Any]:
    data, names = partner.recipe.data, study.planner.spec(task).label_names
    rows, own = study.rows(data.dataset, "train", data.seed), study.rows(task, "train", seed)
    seen = set(rows["label"])
    score, clean = (study.score(model, task, None, seed=seed) for model in (partner, study.model(task, seed=seed)))
    return {
        "trained_on": data.dataset,
        "seed": seed,
        "n_train": len(rows),
        "labels": ", ".join(name for label, name in enumerate(names) if label in seen),
        "lacks_label": ", ".join(name for label, name in enumerate(names) if label not in seen),
        "overlap_victim": share_in_common(own, rows),
        "cacc": score.cacc,
        "clean_model_cacc": clean.cacc,
        "correct": score.correct,
    }


# --- sentences ----------------------------------------------------------------------------------------------------------


def partner_findings(partners: pd.DataFrame, merging: pd.DataFrame | None = None) -> Iterator[str]:
    """Sentences on table `04_partners`: a line per task on how accurate its partners are alone, and what they never saw.

    Args:
        partners: table `04_partners`; read from the file, too.
        merging: table `04_merging` of the same tasks; with it come averages with and without partners that lack a label.
    """
    for task, rows in partners.groupby("task", sort=False):
        means = rows.groupby(["partners", "trained_on"], sort=False)["cacc"].mean()
        lacking = lacking_partners(rows)
        named = []
        for (kind, domain), cacc in means.items():
            what = "models of the same task" if kind == "same_task" else domain
            named.append(f"{what} {cacc:.1%}" + (f" (never saw {lacking[domain]})" if domain in lacking else ""))
        reference = rows.drop_duplicates("seed")["clean_model_cacc"].mean()
        yield f"Partners alone on {task}, where a clean model has {reference:.1%}: {', '.join(named)}."
    if merging is not None:
        yield from _lacking_findings(merging, partners)


def lacking_partners(partners: pd.DataFrame) -> dict[str, str]:
    """The partners of table `04_partners` that lack labels, with their names.

    >>> lacking_partners(pd.DataFrame({"trained_on": ["bbc", "inshorts"], "lacks_label": ["", "Business"]}))
    {'inshorts': 'Business'}
    """
    rows = partners[partners["lacks_label"].fillna("") != ""]  # an empty cell of a file is read as missing
    return dict(zip(rows["trained_on"], rows["lacks_label"], strict=True))


def _lacking_findings(merging: pd.DataFrame, partners: pd.DataFrame) -> Iterator[str]:
    """Averages with and without the partners that lack a label, of each task that has some.

    Partners join in a fixed order. So the average without them is the largest one before the first of them joins: it has fewer
    models, and a larger share of the backdoored one, which the sentence says.
    """
    for task, rows in partners[partners["partners"] == "other_domains"].groupby("task", sort=False):
        if not (lacking := lacking_partners(rows)):
            continue
        order = list(dict.fromkeys(rows["trained_on"]))
        first = next(place for place, domain in enumerate(order) if domain in lacking)
        names = ", ".join(f"{domain} never saw {labels}" for domain, labels in lacking.items())
        if not first:
            yield f"{task}: {names}; {order[0]} joins first, so that no average here is without it."
            continue
        averages = merging[(merging["task"] == task) & (merging["partners"] == "other_domains")]
        without, with_all = averages[averages["n_models"] == first + 1], most_models(averages, "other_domains")
        yield f"{task}: {names}. {_average(without)} {_average(with_all)}"


def _average(rows: pd.DataFrame) -> str:
    n, means = int(rows["n_models"].iloc[0]), rows[["asr", "cacc", "backdoored_cacc", "partners_only_cacc"]].mean()
    return (
        f"Averages of {n} models (weight of the backdoored one 1/{n}): ASR {means.asr:.1%}, CACC {means.cacc:.1%} "
        f"({points(means.cacc - means.backdoored_cacc)}), partners alone {means.partners_only_cacc:.1%}."
    )
