"""How independent seeds are: the shares of rows that models of a study have in common, counted text by text."""

from __future__ import annotations

from collections.abc import Iterable
from itertools import permutations

import pandas as pd

from lib.study.planning import SAME_TASK_SEED_STEP
from lib.study.study import Study


def overlaps(study: Study, dataset: str) -> dict[str, float]:
    """Mean shares of rows that one model has in common with another; 0 where draws are disjoint, NaN where there is no other.

    Returns:
        `overlap_seeds`: of a model's training rows, those that the model of another seed has, too.
        `overlap_same_task`: of a victim's training rows, those that a partner on the same task has, too.
        `overlap_test`: of a seed's test texts, those that another seed has, too.
    """
    texts = {(split, seed): _texts(study.rows(dataset, split, seed)) for split in ("train", "test") for seed in study.seeds}
    by_seed = {split: [texts[split, seed] for seed in study.seeds] for split in ("train", "test")}
    n_partners = study.profile.n_same_task if study.planner.spec(dataset).name == dataset else 0
    partners = [
        (texts["train", seed], _texts(study.rows(dataset, "train", seed + SAME_TASK_SEED_STEP * step)))
        for seed in study.seeds
        for step in range(1, n_partners + 1)
    ]
    return {
        "overlap_seeds": _mean_shared(permutations(by_seed["train"], 2)),
        "overlap_same_task": _mean_shared(partners),
        "overlap_test": _mean_shared(permutations(by_seed["test"], 2)),
    }


def share_in_common(ours: pd.DataFrame, theirs: pd.DataFrame) -> float:
    """Share of our rows that others have, too, by their texts; in [0, 1].

    >>> share_in_common(pd.DataFrame({"text": list("abcd")}), pd.DataFrame({"text": list("dx")}))
    0.25
    """
    return _shared(_texts(ours), _texts(theirs))


def _shared(ours: pd.MultiIndex, theirs: pd.MultiIndex) -> float:
    return float(ours.isin(theirs).mean())


def _texts(frame: pd.DataFrame) -> pd.MultiIndex:
    return pd.MultiIndex.from_frame(frame[[column for column in ("text", "text_pair") if column in frame]])


def _mean_shared(pairs: Iterable[tuple[pd.MultiIndex, pd.MultiIndex]]) -> float:
    shares = [_shared(ours, theirs) for ours, theirs in pairs]
    return sum(shares) / len(shares) if shares else float("nan")
