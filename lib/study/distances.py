"""Other domains by their distance from the task: partner models that know much of it, or little."""

from __future__ import annotations

from typing import TYPE_CHECKING

from lib.datasets import distance_of, task_of

if TYPE_CHECKING:
    from lib.study.planning import Planner

DISTANCES = ("near", "far")
OWN, UNKNOWN = "own", "unknown"


def distance_from_task(planner: Planner, dataset: str) -> str:
    """How far a dataset is from its task: "own" for the task itself, "near", "far", or "unknown" where nobody measured it."""
    source, folder = planner.profile.source, planner.locations.data_dir
    if dataset == task_of(dataset, source, folder):
        return OWN
    return distance_of(dataset, source, folder) or UNKNOWN


def known_distances(planner: Planner, task: str) -> list[str]:
    """The distances, "near" and "far", at which a task has other domains."""
    found = {distance_from_task(planner, domain) for domain in planner.other_domains(task)}
    return [distance for distance in DISTANCES if distance in found]


def domains_at(planner: Planner, task: str, distance: str) -> list[str]:
    """The other domains of a task at a distance, in the order in which the study merges them.

    Raises:
        ValueError: for another distance than "near" and "far", or a task without a domain at it; says what is known.
    """
    if distance not in DISTANCES:
        raise ValueError(f"unknown distance {distance!r}; choose from {list(DISTANCES)}")
    known = {domain: distance_from_task(planner, domain) for domain in planner.other_domains(task)}
    if found := [domain for domain, each in known.items() if each == distance]:
        return found
    raise ValueError(
        f"no other domain of {task!r} is known to be {distance}: found {known}. Take the partners 'other_domains', or add "
        "domains of that distance: `distance` in lib/datasets/registry.py says what notebook 01 measured of a dataset"
    )
