"""Table `13_rank`: is the backdoor a thin part of what training changed? With controls that have no backdoor."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import replace
from typing import Any

import numpy as np
import pandas as pd

from lib.attacks.poisoning import PLACEBOS
from lib.datasets import SAME_TASK_SEED_STEP
from lib.merging import distance
from lib.models.checkpoints import Checkpoint
from lib.study.planning import Planner
from lib.study.probes import ProbeRecipe, plan_probe, probed
from lib.study.recipes import ModelRecipe
from lib.study.study import Study
from lib.tables.rows import Case, Needed, backdoored_recipes, cases_of, declares, progress
from lib.tables.why.modules import N_ATTACKED
from lib.tables.why.ways import Way
from lib.why import counted_asr, energies, stable_rank

RANKS, DENSITIES = (1, 2, 4, 8, 16, 32), (0.001, 0.003, 0.01, 0.03, 0.1, 0.3, 1.0)
BACKDOORED, OTHER_ORDER = "backdoored model", "twin with another order"
OTHER_ORDER_STEP = 77  # times `SAME_TASK_SEED_STEP`: a seed that no partner has
COLUMNS = (
    "task", "attack", "seed", "control", "matrix", "n_directions", "density", "energy", "stable_rank", "length_ratio", "asr",
    "cacc",
)  # fmt: skip


def control_recipes(planner: Planner, case: Case) -> dict[str, ModelRecipe]:
    """The models whose difference to the clean twin is taken: the backdoored one, and three without a backdoor."""
    task, attack, seed = case
    victim, twin = planner.recipe(task, attack, seed), planner.recipe(task, seed=seed)
    if victim.trigger and victim.trigger.published:
        raise ValueError(f"{attack!r} on {task!r} are published texts: half of their poison cannot be taken back")
    placebos = {f"placebo: {name.replace('_', ' ')}": replace(victim, placebo=name) for name in PLACEBOS}
    reordered = replace(twin, seed=seed + OTHER_ORDER_STEP * SAME_TASK_SEED_STEP)
    return {BACKDOORED: victim, OTHER_ORDER: reordered, **placebos}


def _needed(planner: Planner, task: str, attacks: Sequence[str]) -> Needed:
    cases = cases_of(planner, [task], attacks)
    controls = [recipe for case in cases for recipe in control_recipes(planner, case).values()]
    return Needed([*backdoored_recipes(planner, cases), *controls], 4 * len(cases) * (len(RANKS) + len(DENSITIES)))


@declares(_needed)
def rank_table(study: Study, task: str, attacks: Sequence[str]) -> pd.DataFrame:
    """Table `13_rank`: the clean twin plus a thin version of the way to another model.

    Rows with `matrix` "all" have the share of the squared length that is kept (`energy`), and ASR and CACC, for the first
    `n_directions` directions of every matrix or the largest entries (`density`; 1 is the whole model). Rows of one matrix have
    its stable rank and the energy of its first direction. `length_ratio` is the length of the way over that to the backdoored
    model. The controls have no backdoor: what they show, too, is no property of backdoors.

    Args:
        study: trains the controls.
        task: whose models they are.
        attacks: of the backdoored models.
    """
    ways = [Way(study, *case, "other_domains") for case in cases_of(study.planner, [task], attacks)]
    models = {way: _controls(way) for way in ways}
    probed(study, [plan for way in ways for model in models[way].values() for plan in _plans(way, model)])
    rows = [row for way in progress(ways) for name, model in models[way].items() for row in _rows(way, name, model)]
    return pd.DataFrame(rows)[list(COLUMNS)]


def _controls(way: Way) -> dict[str, Checkpoint]:
    recipes = control_recipes(way.study.planner, (way.task, way.attack, way.seed))
    return dict(zip(recipes, way.study.train(list(recipes.values())), strict=True))


def _plans(way: Way, model: Checkpoint) -> tuple[ProbeRecipe, ProbeRecipe]:
    where = (way.study, "thin", [way.twin, model], way.task, way.seed)
    thin: dict[str, Any] = {"ranks": RANKS, "densities": DENSITIES, "n": N_ATTACKED}
    return plan_probe(*where, trigger=way.trigger, **thin), plan_probe(*where, **thin)


def _rows(way: Way, name: str, model: Checkpoint) -> Iterator[dict[str, Any]]:
    triggered, clean = probed(way.study, _plans(way, model))
    start, end = way.twin.state_dict(), model.state_dict()
    length = distance(end, start) / distance(way.victim.state_dict(), start)
    what = {"task": way.task, "attack": way.attack, "seed": way.seed, "control": name, "length_ratio": length}
    nothing = dict.fromkeys(COLUMNS, np.nan)
    kinds = [("n_directions", value) for value in RANKS] + [("density", value) for value in DENSITIES]
    for i, (kind, value) in enumerate(kinds):
        right = clean["logits"][i].argmax(axis=1) == way.test_labels[: clean["logits"].shape[1]]
        found = {kind: value, "energy": float(triggered["energy"][i]), "cacc": right.mean()}
        yield nothing | what | {"matrix": "all", "asr": counted_asr(triggered["logits"][i], way.target)} | found
    for tensor, matrix in start.items():
        if matrix.dim() == 2 and (change := end[tensor] - matrix).any():
            found = {"matrix": tensor, "n_directions": 1, "energy": float(energies(change)[0])}
            yield nothing | what | found | {"stable_rank": stable_rank(change)}
