"""What every table is made of: a declaration of the models it needs, and rows of measured rates.

Tables are tidy: one row per measured thing, rates as fractions, columns as in `lib.metrics.columns`. Columns of outcomes hold
one number per test example for intervals; they are not written to files.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass, field
from functools import update_wrapper
from typing import Any, Concatenate, Generic, ParamSpec

import pandas as pd

from lib.bars import bar
from lib.metrics.scores import Score
from lib.models.checkpoints import Checkpoint
from lib.study.choices import attacks_on
from lib.study.planning import Planner
from lib.study.recipes import DerivedRecipe, ModelRecipe
from lib.study.study import Study

P = ParamSpec("P")
Case = tuple[str, str, int]  # task, attack, seed


@dataclass
class Needed:
    """What a table needs: models to train, models to derive from them, and how many merged ones it scores beside them."""

    models: list[ModelRecipe] = field(default_factory=list)
    n_merges: int = 0
    derived: list[DerivedRecipe] = field(default_factory=list)

    def add(self, recipes: Iterable[ModelRecipe | DerivedRecipe]) -> None:
        """Put recipes where their kind belongs."""
        for recipe in recipes:
            if isinstance(recipe, DerivedRecipe):
                self.derived.append(recipe)
            else:
                self.models.append(recipe)

    def __add__(self, other: Needed) -> Needed:
        return Needed([*self.models, *other.models], self.n_merges + other.n_merges, [*self.derived, *other.derived])


@dataclass(eq=False)
class Table(Generic[P]):
    """A table: a function of a study, and one of a planner that says beforehand what it needs.

    Called, it trains what is missing in one parallel call, makes the triggered test sets, and runs. A model that was not
    declared is an error, trained or derived, so that a dry run, which only adds up declarations, cannot miss one.
    """

    make: Callable[Concatenate[Study, P], pd.DataFrame]
    needed: Callable[Concatenate[Planner, P], Needed]

    def __call__(self, study: Study, *arguments: P.args, **settings: P.kwargs) -> pd.DataFrame:
        needed = self.needed(study.planner, *arguments, **settings)
        with study.declared([*needed.models, *needed.derived]):
            made: list[ModelRecipe | DerivedRecipe] = [*needed.models, *needed.derived]
            study.train(made)
            study.prepare(made)
            return self.make(study, *arguments, **settings)


def declares(
    needed: Callable[Concatenate[Planner, P], Needed],
) -> Callable[[Callable[Concatenate[Study, P], pd.DataFrame]], Table[P]]:
    """Make a function a `Table` that declares what `needed`, called with the same arguments, lists."""

    def decorate(make: Callable[Concatenate[Study, P], pd.DataFrame]) -> Table[P]:
        table = Table(make, needed)
        update_wrapper(table, make)
        return table

    return decorate


def cases_of(planner: Planner, tasks: Sequence[str], attacks: Sequence[str], skip: str = "") -> list[Case]:
    """Every task with every seed and attack, without the pairs that `skip` names."""
    return [(task, attack, seed) for task in tasks for seed in planner.seeds for attack in attacks_on(task, attacks, skip)]


def backdoored_recipes(
    planner: Planner, cases: Iterable[Case], partners: Sequence[str] = (), **training: Any
) -> list[ModelRecipe]:
    """The backdoored model of each case, the clean model of its task and seed, and its partners."""
    recipes = []
    for task, attack, seed in cases:
        recipes += [planner.recipe(task, attack, seed, **training), planner.recipe(task, seed=seed)]
        recipes += [recipe for kind in partners for recipe in planner.partner_recipes(task, kind, seed)]
    return recipes


def backdoored_and_clean(study: Study, case: Case, **training: Any) -> tuple[Checkpoint, Checkpoint]:
    """The backdoored model (with its own training settings) and the clean model of the same task and seed."""
    task, attack, seed = case
    return study.model(task, attack, seed, **training), study.model(task, seed=seed)


def measured_row(
    what: dict[str, Any],
    score: Score,
    *,
    clean: Score | None = None,
    before: Score | None = None,
    partners_only: Score | None = None,
) -> dict[str, Any]:
    """One row of a table: what was measured, its rates, and those of the models it is compared with.

    Each model has its ASR, its rate on the same texts without the trigger and its flip rate, because each has a class bias of
    its own. The ASR of the clean model is called `asr_floor`.

    Args:
        what: columns that name the row.
        score: of the model that the row is about.
        clean: of the clean model of the same task and seed, with the same trigger.
        before: of the backdoored model alone.
        partners_only: of the merge without the backdoored model.

    Raises:
        ValueError: for scores on other test texts: one row compares models on one draw.
    """
    others = [each for each in (clean, before, partners_only) if each is not None]
    if any(other.texts != score.texts for other in others):
        raise ValueError(f"the rates of {what} were measured on different test texts: score them all with one seed")
    row = what | _rates("", score) | {"asr_rise": score.asr - score.asr_untriggered}
    row |= {"correct": score.correct, "hits": score.hits}
    row |= {"untriggered_hits": score.untriggered_hits, "attackable": score.attackable}
    if before:
        row |= _rates("backdoored_", before) | {"cacc_change": score.cacc - before.cacc}
        row |= {"backdoored_correct": before.correct, "backdoored_hits": before.hits}
        row["backdoored_untriggered_hits"] = before.untriggered_hits
    if clean:
        rates = _rates("clean_model_", clean)
        row |= {"asr_floor": rates.pop("clean_model_asr"), "excess_asr": score.asr - clean.asr} | rates
        row |= {"cacc_change_vs_clean": score.cacc - clean.cacc, "clean_correct": clean.correct, "floor_hits": clean.hits}
    if partners_only:
        row |= _rates("partners_only_", partners_only)
        row |= {"partners_only_correct": partners_only.correct, "partners_only_hits": partners_only.hits}
    return row


def _rates(prefix: str, score: Score) -> dict[str, float]:
    return {f"{prefix}{rate}": getattr(score, rate) for rate in ("cacc", "asr", "asr_untriggered", "flip_rate")}


def progress(steps: Sequence[Any], title: str = "scoring", unit: str = "score") -> Iterable[Any]:
    """A bar over things to score, which does not appear if they were scored before."""
    return bar(steps, title=title, unit=unit, leave=False, delay=1)
