"""Which clean models a backdoored one is merged with: of the same task, or of its other domains, all or those at a distance."""

from __future__ import annotations

from dataclasses import replace
from typing import TYPE_CHECKING

from lib.datasets import SAME_TASK_SEED_STEP, domains_of, get_spec
from lib.study.distances import DISTANCES, domains_at
from lib.study.recipes import ModelRecipe

if TYPE_CHECKING:
    from lib.study.planning import Planner

PARTNERS = ("same_task", "other_domains")


def plan_partners(planner: Planner, task: str, partners: str, seed: int) -> list[ModelRecipe]:
    """The recipes of a kind of partners; see `Planner.partner_recipes` for the arguments and errors."""
    if partners == "same_task":
        steps = range(1, planner.profile.n_same_task + 1)
        return [planner.recipe(task, seed=seed + SAME_TASK_SEED_STEP * step, head_seed=seed) for step in steps]
    if partners == "other_domains":
        if not (domains := planner.other_domains(task)):
            raise ValueError(_lacks_domains(planner, task))
        return [planner.recipe(domain, seed=seed) for domain in domains]
    if partners in DISTANCES:
        return [planner.recipe(domain, seed=seed) for domain in domains_at(planner, task, partners)]
    raise ValueError(f"unknown partners {partners!r}; choose from {[*PARTNERS, *DISTANCES]}")


def with_part_of_rows(recipe: ModelRecipe, kept: int = 0, without_label: int = -1) -> ModelRecipe:
    """The same training on a part of its rows: what makes a model of the task a weak partner.

    Args:
        recipe: of a model.
        kept: how many of its rows it keeps; 0: all.
        without_label: a label that it never sees; -1: none.

    Raises:
        ValueError: for a negative number of rows, or more than the model has.
    """
    n = recipe.data.n
    if kept < 0 or (n and kept > n):
        raise ValueError(f"cannot keep {kept} of {n} training rows of {recipe.name}; give 0 for all, or 1 to {n}")
    return replace(recipe, data=replace(recipe.data, kept=kept, without_label=without_label))


def plan_domains(planner: Planner, task: str) -> list[str]:
    """The other domains of a task that there are; see `Planner.other_domains` for the errors."""
    folder = planner.locations.data_dir
    known = domains_of(task, planner.profile.source, folder)
    if planner.profile.source == "real":
        known = [name for name in known if ((folder / name).is_dir() if folder else get_spec(name).hub_id)]
    if unknown := sorted(set(planner.profile.other_domains) - set(known)):
        raise ValueError(f"{unknown} are no other domains of {task!r}; choose from {known}")
    return list(planner.profile.other_domains) or known[: planner.profile.n_other_domains or None]


def _lacks_domains(planner: Planner, task: str) -> str:
    folder = planner.locations.data_dir
    wanted = domains_of(task, planner.profile.source, folder) or "its own"
    found = sorted(path.name for path in folder.iterdir() if path.is_dir()) if folder else []
    return (
        f"{task!r} has no other domain to merge with: data folder {folder} has none of {wanted}; "
        f"found {found or 'nothing'}. Add one of them or one of yours (see data/README.md), or unset FREE_LUNCH_DATA"
    )
