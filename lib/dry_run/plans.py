"""What a profile would train, without training it: every model with estimated GPU hours and disk.

The tables say themselves what they need, and train nothing else; the dry run adds their declarations up.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import asdict, dataclass
from typing import Any

import numpy as np
import pandas as pd

from lib import tables
from lib.datasets import SAME_TASK_SEED_STEP
from lib.dry_run.estimates import scoring_hours, training_cost
from lib.dry_run.offline import OfflinePlanner
from lib.dry_run.speed import measured_speed
from lib.study import attacks_on, chosen_attacks, chosen_defenses, chosen_tasks
from lib.study.planning import Planner
from lib.study.recipes import ModelRecipe
from lib.tables.rows import Needed, Table

Parameters = dict[str, Any]


def _needs(table: Table[Any], *choose: Callable[[Planner, Parameters], Any]) -> Callable[[Planner, Parameters], Needed]:
    """What a table needs whose arguments are chosen from a notebook's parameters."""
    return lambda planner, p: table.needed(planner, *[each(planner, p) for each in choose])


def _task(_: Planner, p: Parameters) -> str:
    return p["task"]


def _tasks(planner: Planner, p: Parameters) -> list[str]:
    return chosen_tasks(planner, p["task"])


def _attacks(_: Planner, p: Parameters) -> list[str]:
    return chosen_attacks(p["attack"])


def _first_attack(_: Planner, p: Parameters) -> str:
    return chosen_attacks(p["attack"])[0]


def _tasks_alone(_: Planner, p: Parameters) -> list[str]:
    return [p["task"]]


def _defenses(_: Planner, p: Parameters) -> list[str]:
    return chosen_defenses(p["defense"])


def _parameter(name: str) -> Callable[[Planner, Parameters], Any]:
    return lambda _, p: p[name]


def _places(_: Planner, p: Parameters) -> list[float]:
    return [i / (p["n_coefficients"] - 1) for i in range(p["n_coefficients"])]


def _transfer(planner: Planner, p: Parameters) -> Needed:
    return sum(
        (tables.transfer_table.needed(planner, task, p["seed"]) for task in chosen_tasks(planner, p["transfer_task"])), Needed()
    )


def _curves(planner: Planner, p: Parameters) -> Needed:
    task = chosen_tasks(planner, p["task"])[0]
    return tables.loss_curves.needed(planner, task, attacks_on(task, chosen_attacks(p["attack"]), p["skip"]))


def _coefficients(planner: Planner, p: Parameters) -> Needed:
    tasks, attacks, places = _tasks(planner, p), _attacks(planner, p), _places(planner, p)
    return tables.coefficient_table.needed(planner, tasks, attacks, coefficients=places)


_CASES = (_tasks, _attacks, _parameter("skip"))
# What each notebook asks of its study. Notebooks 02 and 90 train nothing.
PLANS: dict[str, tuple[Callable[[Planner, Parameters], Needed], ...]] = {
    "00": (_needs(tables.story_table, _task, _parameter("attack"), _parameter("seed")),),
    "01": (_transfer,),
    "03": (_needs(tables.attacks_table, *_CASES), _needs(tables.published_table, *_CASES), _curves),
    "04": (_needs(tables.merging_table, *_CASES), _needs(tables.partners_table, _tasks)),
    "05": (
        _needs(tables.methods_table, _task, _attacks),
        _needs(tables.sweeps_table, _task, lambda _, p: chosen_attacks(p["sweep_attack"])),
    ),
    "06": (
        _coefficients,
        _needs(tables.task_arithmetic_table, _tasks, _attacks),
        _needs(tables.barrier_table, lambda planner, p: _tasks(planner, p)[0], _first_attack, _places),
    ),
    "07": (
        _needs(tables.partner_kinds_table, _tasks, _attacks),  # and of the table 07_domains that it is made from
        _needs(
            tables.plane_table,
            lambda planner, p: chosen_tasks(planner, p["plane_task"]),
            lambda _, p: chosen_attacks(p["plane_attack"]),
            _parameter("plane_n_same_task"),
        ),
    ),
    "08": (
        _needs(tables.backdoored_table, _task, _attacks),
        _needs(tables.collusion_table, _task, _first_attack, _parameter("n_models")),
    ),
    "09": (_needs(tables.poisoning_rates_table, _task, _attacks, _parameter("poisoning_rates")),),
    "10": (_needs(tables.epochs_table, _task, _attacks, _parameter("factors")),),
    "11": (
        _needs(tables.architectures_table, _task, _attacks, lambda planner, _: planner.profile.architectures),
        _needs(tables.heads_table, _task, _attacks),
    ),
    "12": (
        _needs(tables.defenses_table, _tasks, _attacks, _defenses, _parameter("skip")),
        _needs(tables.onion_table, *_CASES),
    ),
    "13": (
        _needs(tables.margins_table, _tasks_alone, _attacks, _places),
        _needs(tables.collapse_table, _task, _attacks, _places),
        _needs(tables.certificates_table, _tasks_alone, _attacks),
        _needs(tables.rank_table, _task, lambda _, p: chosen_attacks(p["inside_attack"])),
        _needs(tables.picture_table, _task, lambda _, p: chosen_attacks(p["inside_attack"])[0], _parameter("n_plane")),
    ),
    "14": (
        _needs(tables.limits_table, _task, _parameter("rows")),
        _needs(tables.scaling_table, _task),
        _needs(tables.detection_table, _task, _parameter("rows"), _parameter("detection_rates")),
        _needs(tables.clean_sets_table, lambda planner, _: planner.profile.tasks),
        lambda planner, p: tables.composition_table.needed(planner, p["task"]) if p["rows"] == "all" else Needed(),
    ),
    "15": (
        _needs(
            tables.distillation_table,
            *(_task, _attacks, lambda _, p: [name.strip() for name in p["texts"].split(";")]),
            *(_parameter(name) for name in ("students", "second", "n_texts")),
        ),
    ),
    "17": (
        _needs(
            tables.deciding_table,
            *(_tasks, _attacks),
            *(_parameter(name) for name in ("few_rows", "more_rows", "lacking_label")),
        ),
    ),
}


@dataclass
class DryRun:
    """The models that notebooks would train, one row each, and what scoring would cost beside them."""

    models: pd.DataFrame
    n_derived: int  # models made from these without a training of their own
    n_scores: int
    scoring_gpu_hours: float
    scoring_hours_here: float  # of one core, or of this machine's GPU; NaN where it was not tried


def needed_by(planner: Planner, number: str, parameters: Parameters) -> Needed:
    """What a notebook needs, by its two-digit number."""
    return sum((plan(planner, parameters) for plan in PLANS.get(number, ())), Needed())


def dry_run(planner: OfflinePlanner, notebooks: dict[str, Parameters]) -> DryRun:
    """List what notebooks would train, and try how fast this machine does it where the models are small enough.

    Args:
        planner: knows what a recipe is; its store says what is there already.
        notebooks: parameters of each notebook, by its two-digit number.
    """
    rows: dict[str, dict[str, Any]] = {}
    n_scores, hours, derived = 0, np.zeros(2), set[str]()
    for number, parameters in notebooks.items():
        needed = needed_by(planner, number, parameters)
        new = {recipe.key: recipe for recipe in needed.models if recipe.key not in rows}
        rows |= {key: {"notebook": number, **_described(planner, recipe)} for key, recipe in new.items()}
        derived |= {recipe.key for recipe in needed.derived}
        n_scores += needed.n_merges + len(new) + len(needed.derived)
        for recipe in needed.models[:1]:  # of one size all: a merge is as large as its parents
            n_texts = 2 * planner.n_rows(planner.data(recipe.data.dataset, "test"))  # clean, and with a trigger
            pretrained, n_asked = planner.locations.models[recipe.pretrained], n_texts * (needed.n_merges + len(new))
            n_pieces, speed = planner.n_pieces(recipe.data.dataset, pretrained), measured_speed(pretrained, recipe.training)
            hours += scoring_hours(pretrained, n_asked, n_pieces, speed)
    models = pd.DataFrame(list(rows.values()))
    if len(models):
        models = models.sort_values(["notebook", "pretrained", "dataset", "attack", "seed"], ignore_index=True)
    return DryRun(models, len(derived), n_scores, *hours.tolist())


def _described(planner: OfflinePlanner, recipe: ModelRecipe) -> dict[str, Any]:
    pretrained = planner.locations.models[recipe.pretrained]
    n_rows, n_pieces = planner.n_rows(recipe.data), planner.n_pieces(recipe.data.dataset, pretrained)
    cost = training_cost(recipe, pretrained, n_rows, n_pieces, measured_speed(pretrained, recipe.training))
    return {
        **{"pretrained": pretrained, "dataset": recipe.data.dataset},
        "attack": recipe.trigger.attack if recipe.trigger else "clean",
        **{"seed": recipe.seed, "head_seed": recipe.head_seed, "settings": _differing(planner, recipe)},
        **asdict(cost),
        "in_store": planner.locations.store.has(recipe),
    }


def _differing(planner: Planner, recipe: ModelRecipe) -> str:
    """In what a training differs from the profile's."""
    usual = planner.training({})
    names = [name for name in recipe.training.__dataclass_fields__ if getattr(recipe.training, name) != getattr(usual, name)]
    differing = [f"{name}={getattr(recipe.training, name)}" for name in names]
    if recipe.trigger and recipe.poisoning_rate != planner.profile.poisoning_rate:
        differing.append(f"poisoning_rate={recipe.poisoning_rate:g}")
    if recipe.head_seed != recipe.seed % SAME_TASK_SEED_STEP:
        differing.append("own head")
    if recipe.placebo:
        differing.append(f"placebo={recipe.placebo}")
    if recipe.defense:
        differing.append(f"defense={recipe.defense.name}")
    return " ".join(differing)
