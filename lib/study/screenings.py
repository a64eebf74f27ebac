"""What a screen says of some models: measured once, and kept in the store like a result."""

from __future__ import annotations

import json
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

import pandas as pd

from lib.models.checkpoints import Checkpoint
from lib.sanitizing import screening
from lib.study.artifacts import load_rows
from lib.study.recipes import DataRecipe, Recipe

if TYPE_CHECKING:
    from lib.study.study import Study

SCREENING_FILE = "screening.json"


@dataclass(frozen=True)
class ScreeningRecipe(Recipe):
    """What a screen says of models, with some clean texts."""

    models: tuple[str, ...]  # keys
    start: str  # key of the model that they started from
    data: DataRecipe
    max_length: int
    version: int  # of the screen


def screening_of(study: Study, models: Sequence[Checkpoint], start: Checkpoint, dataset: str, seed: int) -> pd.DataFrame:
    """The table of a screen, measured now or read from the store; see `lib.sanitizing.screening.Screening`.

    The values are kept, the flags are set now: other margins need no new measurement.

    Args:
        study: whose models they are.
        models: at least 3, in the order of the table.
        start: where they started.
        dataset: whose clean validation texts the screen gets, without labels.
        seed: whose texts.

    Raises:
        MissingRunsError: if nothing may be made and it was not measured.
    """
    data, length = study.planner.data(dataset, "validation", seed), study.profile.max_length
    recipe = ScreeningRecipe(tuple(model.key for model in models), start.key, data, length, screening.VERSION)
    study.require([recipe], "screenings")

    def make(folder: Path) -> None:
        texts = load_rows(data, study.locations).drop(columns="label")
        table = screening.screen(models, start.source(), texts, max_length=length).table
        columns = {name: values.astype(object).where(values.notna(), None).tolist() for name, values in table.items()}
        (folder / SCREENING_FILE).write_text(json.dumps(columns), encoding="utf-8")

    folder = study.locations.store.get_or_make(recipe, make)
    found = pd.DataFrame(json.loads((folder / SCREENING_FILE).read_text(encoding="utf-8"))).astype({"value": float})
    values = {str(name): rows["value"].tolist() for name, rows in found.groupby("statistic", sort=False)}
    return screening.flagged(values, [model.name for model in models])
