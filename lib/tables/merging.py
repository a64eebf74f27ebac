"""Table of notebook 04: uniform averages of a backdoored model with ever more clean ones."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from typing import Any

import pandas as pd

from lib.metrics.scores import Score
from lib.models.checkpoints import Checkpoint
from lib.study.choices import attacks_on
from lib.study.planning import PARTNERS
from lib.study.study import Study
from lib.tables.rows import progress, rates, train_victims


def merging_table(study: Study, tasks: Sequence[str], attacks: Sequence[str], skip: str = "") -> pd.DataFrame:
    """Table `04_merging`: uniform averages of a backdoored model with 0, 1, 2, ... clean ones; `n_models` counts all."""
    cases = [(task, attack, seed) for task in tasks for seed in study.seeds for attack in attacks_on(task, attacks, skip)]
    train_victims(study, cases, PARTNERS)
    rows: list[dict[str, Any]] = []
    for task, attack, seed in progress(cases):
        backdoored = study.model(task, attack, seed)
        for partners in PARTNERS:
            what = {"task": task, "attack": attack, "merge_method": "weight_average", "partners": partners}
            others = study.partners(task, partners, seed)
            rows += [what | row for row in averages(study, (task, attack, seed), backdoored, others)]
    return pd.DataFrame(rows)


def averages(
    study: Study, case: tuple[str, str, int], backdoored: Checkpoint, others: Sequence[Checkpoint]
) -> Iterator[dict[str, Any]]:
    """Rows of a victim alone and averaged with ever more partners: its rates, and those of the victim and a clean model.

    `n_unstable` counts the models in the average whose training loss returned to chance: averages with them may be broken.

    Args:
        study: merges and scores.
        case: task, attack and seed.
        backdoored: the victim.
        others: its partners, in the order in which they join.
    """
    before, floor = study.score(backdoored, *case), study.score(study.model(case[0], seed=case[2]), *case)
    unstable = [bool(model.record["instability"]) for model in (backdoored, *others)]
    for n in range(len(others) + 1):
        score = study.score(study.merge([backdoored, *others[:n]]), *case) if n else before
        row = {"n_models": 1 + n, "seed": case[2], **rates(score), **_beside(score, before, floor)}
        yield row | {"n_unstable": sum(unstable[: 1 + n])}


def _beside(score: Score, before: Score, floor: Score) -> dict[str, Any]:
    return {
        **{"backdoored_cacc": before.cacc, "backdoored_asr": before.asr, "asr_floor": floor.asr},
        **{"clean_model_cacc": floor.cacc, "excess_asr": score.asr - floor.asr},
        **{"backdoored_correct": before.correct, "backdoored_hits": before.hits, "floor_hits": floor.hits},
    }
