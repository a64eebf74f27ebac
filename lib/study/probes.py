"""Looks into models for notebook 13, made in parallel, and kept in the store like results."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
import pandas as pd
from safetensors.numpy import load_file, save_file

from lib.models.checkpoints import Checkpoint
from lib.study.artifacts import Locations, kept_rows, prepare_worker, triggered_rows
from lib.study.recipes import DataRecipe, Recipe, Settings, TriggerRecipe, as_settings
from lib.why.probes import PROBES

if TYPE_CHECKING:
    from lib.study.study import Study

PROBE_FILE = "probe.safetensors"


@dataclass(frozen=True)
class ProbeRecipe(Recipe):
    """What a probe finds in some models with some texts.

    The texts are those of the split; with a trigger the attackable ones with it; with `without_label` all of other labels.
    """

    probe: str  # a key of `lib.why.probes.PROBES`
    models: tuple[str, ...]  # keys
    settings: Settings
    data: DataRecipe
    trigger: TriggerRecipe | None
    without_label: int
    n: int  # the first texts; 0: all
    max_length: int
    version: int

    @property
    def name(self) -> str:
        """A short name for progress bars and messages."""
        return f"{self.probe} {self.data.dataset} {self.trigger.attack if self.trigger else 'clean'} seed {self.data.seed}"


def plan_probe(
    study: Study,
    probe: str,
    models: Sequence[Checkpoint],
    dataset: str,
    seed: int,
    *,
    trigger: TriggerRecipe | None = None,
    without_label: int = -1,
    n: int = 0,
    **settings: Any,
) -> ProbeRecipe:
    """What determines a look into models of a study.

    Args:
        study: whose models and test texts they are.
        probe: a key of `PROBES`.
        models: in the order that the probe wants; they must be in the store, or in a folder that the study knows.
        dataset, seed: of the test texts.
        trigger: put into the texts, which are then those of other labels than the target.
        without_label: leaves out the texts of a label, so that they are the ones that a trigger would be put into.
        n: the first texts; 0 takes all.
        settings: of the probe, numbers and (nested) tuples of numbers.

    Raises:
        ValueError: for an unknown probe, no model, or a negative n.
    """
    if probe not in PROBES:
        raise ValueError(f"unknown probe {probe!r}; choose from {sorted(PROBES)}")
    if not models or n < 0:
        raise ValueError(f"{len(models)} models and the first {n} texts; give a model or more, and 0 (all) texts or more")
    keys = tuple(study.kept(model).key for model in models)
    data = study.planner.data(dataset, "test", seed)
    where = (data, trigger, -1 if trigger else without_label, n, study.profile.max_length)
    return ProbeRecipe(probe, keys, as_settings(settings), *where, PROBES[probe][1])


def probed(study: Study, recipes: Sequence[ProbeRecipe]) -> list[dict[str, np.ndarray]]:
    """What the probes find, in order; missing ones are made in parallel with a progress bar.

    Raises:
        MissingRunsError: if nothing may be made and one is missing.
    """
    study.maker.missing(make_probe, recipes, study.profile, "looking into models", "look")
    study.require(list(recipes), "looks")
    return [load_file(study.store.folder(recipe) / PROBE_FILE) for recipe in recipes]


def make_probe(recipe: ProbeRecipe, locations: Locations, n_threads: int | None = None) -> str:
    """Run a probe unless the store has what it finds; returns a name for the progress bar.

    Raises:
        RuntimeError: when that fails; names the probe.
    """
    prepare_worker(locations, n_threads)

    def make(folder: Path) -> None:
        models = [Checkpoint(locations.model_folder(key), key, key) for key in recipe.models]
        settings = dict(recipe.settings)
        found = PROBES[recipe.probe][0](models, probed_rows(recipe, locations), recipe.max_length, **settings)
        save_file({name: np.ascontiguousarray(array) for name, array in found.items()}, folder / PROBE_FILE)

    try:
        locations.store.get_or_make(recipe, make)
    except OSError:
        raise  # the store's own errors say what to do
    except Exception as error:
        raise RuntimeError(f"looking into models, {recipe.name!r}, failed: {type(error).__name__}: {error}") from error
    return recipe.name


def probed_rows(recipe: ProbeRecipe, locations: Locations) -> pd.DataFrame:
    """The texts that a probe reads, with their labels."""
    if recipe.trigger:
        rows = triggered_rows(recipe.data, recipe.trigger, locations)
    else:
        rows = kept_rows(recipe.data, locations)
        rows = rows[rows["label"] != recipe.without_label].reset_index(drop=True)
    return rows.head(recipe.n) if recipe.n else rows
