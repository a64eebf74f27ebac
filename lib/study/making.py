"""Making what is missing: one place that knows the store, what a table declared, and what has been used."""

from __future__ import annotations

import warnings
from collections.abc import Callable, Iterable, Iterator, Sequence
from contextlib import contextmanager
from typing import Any

from lib.models.checkpoints import Checkpoint
from lib.profiles import Profile
from lib.study.artifacts import Locations
from lib.study.derived import generations
from lib.study.parallel import run_jobs
from lib.study.recipes import Recipe
from lib.study.store import MissingRunsError, UndeclaredError


class Maker:
    """Makes artifacts of a study and its variants, in parallel, unless they are there.

    Args:
        locations: where everything lies.
        only_stored: make nothing: what the store lacks is a `MissingRunsError`.
    """

    def __init__(self, locations: Locations, only_stored: bool = False) -> None:
        self.locations, self.only_stored = locations, only_stored
        self.used_keys: set[str] = set()  # of models and logits, for the manifest
        self._checked: set[str] = set()  # of trained models: an unstable one is warned of once
        self._declared: list[set[str]] = []  # keys that the tables under way said they need

    @contextmanager
    def declared(self, models: Iterable[Recipe]) -> Iterator[None]:
        """Context in which no other model is made."""
        self._declared.append({recipe.key for recipe in models})
        try:
            yield
        finally:
            self._declared.pop()

    def checkpoints(self, make: Callable[..., str], recipes: Sequence[Any], profile: Profile, title: str) -> list[Checkpoint]:
        """The checkpoints of recipes of models, in order; those whose training was unstable are warned of.

        Raises:
            UndeclaredError: inside a table that did not say that it needs a recipe.
            MissingRunsError: if nothing may be made and one is missing.
        """
        for declared in self._declared:
            if undeclared := [recipe.name for recipe in recipes if recipe.key not in declared]:
                raise UndeclaredError(
                    f"{len(undeclared)} models were not declared by the table that asks for them: {undeclared[:3]}"
                )
        for group in generations(recipes):
            self.missing(make, group, profile, title, "model")
        self.used_keys.update(recipe.key for recipe in recipes)
        found = [Checkpoint(self.locations.store.folder(recipe), recipe.key, recipe.name, recipe) for recipe in recipes]
        for checkpoint in found:
            if checkpoint.key not in self._checked and (reason := checkpoint.instability):
                warnings.warn(f"unstable training of {checkpoint.name}: {reason}; do not merge it unawares", stacklevel=4)
            self._checked.add(checkpoint.key)
        return found

    def missing(self, make: Callable[..., str], recipes: Sequence[Recipe], profile: Profile, title: str, unit: str) -> None:
        """Make what the store lacks of some recipes, each once."""
        if missing := {recipe.key: recipe for recipe in recipes if not self.locations.store.has(recipe)}:
            self.refuse(list(missing.values()), f"{unit}s")
            run_jobs(make, list(missing.values()), self.locations, profile, title, unit)

    def use(self, recipes: Sequence[Recipe], what: str) -> None:
        """Note what is read, and refuse what is missing if nothing may be made."""
        self.used_keys.update(recipe.key for recipe in recipes)
        if missing := [recipe for recipe in recipes if self.only_stored and not self.locations.store.has(recipe)]:
            self.refuse(missing, what)

    def refuse(self, recipes: Sequence[Recipe], what: str) -> None:
        """Raise a `MissingRunsError` if nothing may be made."""
        if self.only_stored:
            names = ", ".join(dict.fromkeys(str(getattr(recipe, "name", type(recipe).__name__)) for recipe in recipes[:3]))
            raise MissingRunsError(
                f"{len(recipes)} {what} are not in the store ({names}, ...): run the notebooks that make them"
            )
