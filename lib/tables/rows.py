"""What every table is made of: models trained in one call, the columns of a score, a bar.

Tables are tidy: one row per measured thing, rates as fractions, columns named as in the field. The columns `correct` and `hits`
hold one outcome per test example for intervals; they are not written to files.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from typing import Any

from tqdm.auto import tqdm

from lib.metrics.scores import Score
from lib.study.study import Study


def train_victims(study: Study, cases: Iterable[tuple[str, str, int]], partners: Sequence[str] = (), **training: Any) -> None:
    """Train everything that the cases need in one parallel call."""
    recipes = []
    for task, attack, seed in cases:
        recipes += [study.recipe(task, attack, seed, **training), study.recipe(task, seed=seed)]
        recipes += [recipe for kind in partners for recipe in study.partner_recipes(task, kind, seed)]
    study.train(recipes)
    study.prepare_tests(recipes)


def backdoored_and_clean(study: Study, task: str, attack: str, seed: int, **training: Any) -> tuple[Any, Any]:
    """The backdoored model (with its own training settings) and the clean model of the same task and seed."""
    return study.model(task, attack, seed, **training), study.model(task, seed=seed)


def rates(score: Score) -> dict[str, Any]:
    """The columns of a score."""
    return {"cacc": score.cacc, "asr": score.asr, "correct": score.correct, "hits": score.hits}


def progress(steps: Sequence[Any]) -> Iterable[Any]:
    """A bar over things to score."""
    return tqdm(steps, desc="scoring", unit="score", leave=False, delay=1)
