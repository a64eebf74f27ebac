"""Texts without labels that a student reads: the task's own, those of other domains, or of anything else."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Any

from lib.datasets import PRETRAINING, SAME_TASK_SEED_STEP, get_spec
from lib.study.recipes import DataRecipe, Recipe

if TYPE_CHECKING:
    from lib.study.planning import Planner

OWN_TEXTS, OTHER_DOMAINS, GENERAL = "own", "other_domains", "general"
# General texts of real data, for no pretraining corpus is at hand: the first that is of another task.
ELSEWHERE = ("agnews", "yelp")
TEXTS = (OWN_TEXTS, OTHER_DOMAINS, GENERAL)


@dataclass(frozen=True)
class TextsRecipe(Recipe):
    """Texts without labels: the first `n` rows of each part."""

    parts: tuple[DataRecipe, ...]
    n: int

    def as_dict(self) -> dict[str, Any]:
        """As of every recipe; the parts are recipes, too."""
        return {"parts": [part.as_dict() for part in self.parts], "n": self.n}


def plan_texts(planner: Planner, task: str, texts: str, n: int, seed: int) -> TextsRecipe:
    """The texts that a student reads; see `lib.study.distilled.plan_distilled` for the arguments and errors."""
    parts = _parts(planner, task, texts, seed)
    most = min(planner.n_rows(part) for part in parts)
    wanted = n or planner.profile.n_train or most * len(parts)
    of_each = wanted // len(parts) if n else min(most, wanted // len(parts))
    if n < 0 or not 1 <= of_each <= most:
        raise ValueError(
            f"n_texts is {n}, {of_each} from each of {len(parts)} sources; from 1 to {most} are possible: all rows there are"
        )
    return TextsRecipe(parts, of_each)


def _parts(planner: Planner, task: str, texts: str, seed: int) -> tuple[DataRecipe, ...]:
    if texts == OWN_TEXTS:  # the rows of the first partner on the same task: the first teacher has not seen them
        return (planner.data(task, "train", seed + SAME_TASK_SEED_STEP),)
    if texts == OTHER_DOMAINS:
        names: Sequence[str] = planner.other_domains(task)
    elif texts == GENERAL:
        if planner.profile.source == "pocket":
            return (replace(planner.data(task, "train", seed), split=PRETRAINING),)
        names = [next(name for name in ELSEWHERE if planner.spec(task).name != name)]
    else:
        names = [name.strip() for name in texts.split(",")]
        for name in names:
            try:
                get_spec(name, planner.locations.data_dir)
            except ValueError as error:
                raise ValueError(f"texts is {texts!r}; give one of {list(TEXTS)}, or datasets: {error}") from error
    return tuple(planner.data(name, "train", seed) for name in names)
