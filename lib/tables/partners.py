"""The partners of a suspicious model: which kinds a profile has, how far they are, and what they make without the suspect."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from lib.models.checkpoints import Checkpoint
from lib.models.model import Model
from lib.study.distances import DISTANCES, UNKNOWN, distance_from_task
from lib.study.partner_planning import PARTNERS
from lib.study.planning import Planner
from lib.study.recipes import ModelRecipe
from lib.study.study import Study


def obstacles_of_partners(planner: Planner) -> dict[str, str]:
    """Why a profile has no partners of a kind, "" if it has."""
    lacks = "" if planner.profile.n_same_task else "n_same_task of the profile is 0; set it to 1 or more"
    return {kind: lacks if kind == "same_task" else "" for kind in PARTNERS}


def kinds_of_partners(planner: Planner) -> list[str]:
    """The kinds of partners that a profile has; a task without other domains is an error of its own."""
    return [kind for kind, obstacle in obstacles_of_partners(planner).items() if not obstacle]


def left_out_partners(planner: Planner) -> str:
    """The kinds of partners that a profile does not have, with the reasons, as a line for people."""
    obstacles = {kind: obstacle for kind, obstacle in obstacles_of_partners(planner).items() if obstacle}
    return "; ".join(f"{kind} ({obstacle})" for kind, obstacle in obstacles.items()) or "none"


def check_kinds(planner: Planner, kinds: Sequence[str]) -> list[str]:
    """The kinds, if the profile has partners of each.

    Raises:
        ValueError: for a kind of which it has none; says why.
    """
    for kind in kinds:
        if obstacle := obstacles_of_partners(planner).get(kind):
            raise ValueError(f"there are no partners {kind!r}: {obstacle}")
    return list(kinds)


def n_at_distance(planner: Planner, partners: Sequence[Checkpoint]) -> dict[str, float]:
    """How many of the partners are near and far domains (`n_near`, `n_far`); NaN where a distance is unknown.

    Models of the task itself are neither.
    """
    recipes = [partner.recipe for partner in partners]
    found = [
        distance_from_task(planner, recipe.data.dataset) if isinstance(recipe, ModelRecipe) else UNKNOWN for recipe in recipes
    ]
    return {f"n_{distance}": float("nan") if UNKNOWN in found else found.count(distance) for distance in DISTANCES}


def without_suspect(study: Study, partners: Sequence[Checkpoint], method: str = "weight_average", **settings: Any) -> Model:
    """What a merge would be if the suspect were thrown away: its partners alone, merged alike; one partner is itself.

    Raises:
        ValueError: for no partner, or fewer than the method takes.
    """
    if not partners:
        raise ValueError("no partner is left without the suspect; give at least one")
    return partners[0] if len(partners) == 1 else study.merge(partners, method, **settings)


def n_without_suspect(n_partners: int) -> int:
    """How many merges `without_suspect` adds to those that are scored: a single partner is a model of its own.

    >>> [n_without_suspect(n) for n in (0, 1, 2, 4)]
    [0, 0, 1, 1]
    """
    return int(n_partners > 1)
