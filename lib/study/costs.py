"""What a model behind a defense costs, once and per text: measured once, and kept in the store like a result."""

from __future__ import annotations

import json
import time
from collections.abc import Callable
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import TYPE_CHECKING

import pandas as pd

from lib.defenses import get_defense
from lib.defenses.suspicion import forget
from lib.models.checkpoints import Checkpoint
from lib.models.model import Guarded, Model
from lib.models.prediction import Texts
from lib.models.threads import one_thread
from lib.study.artifacts import Locations, load_rows
from lib.study.merged import MergedModel
from lib.study.recipes import DataRecipe, DerivedRecipe, ModelRecipe, Recipe

if TYPE_CHECKING:
    from lib.study.study import Study

COST_FILE = "cost.json"
N_TEXTS = 100


@dataclass(frozen=True)
class CostRecipe(Recipe):
    """What a model costs, measured on the first `n` rows of some clean texts."""

    model: str  # the model's key
    data: DataRecipe
    n: int
    max_length: int


@dataclass(frozen=True)
class Cost:
    """Of a model behind a defense, in processor time of one process.

    Attributes:
        seconds: once: training, repair, merge, or fitting a filter; models that the defender is given anyway cost nothing.
        milliseconds_per_text: of a clean text, the model's own passes included.
    """

    seconds: float
    milliseconds_per_text: float


def cost_of(study: Study, model: Model, dataset: str, seed: int = 0, split: str = "train") -> Cost:
    """The cost of a model, measured now or read from the store.

    Args:
        study: whose model it is.
        model: behind a defense, or not.
        dataset: whose clean texts are read.
        seed: whose texts.
        split: of the dataset; nobody has asked a filter about its training texts yet.

    Raises:
        MissingRunsError: if nothing may be made and it was not measured.
    """
    locations, length = study.locations, study.profile.max_length
    recipe = CostRecipe(model.key, study.planner.data(dataset, split, seed), N_TEXTS, length)

    study.require([recipe], f"costs of {model.name}")

    def make(folder: Path) -> None:
        with one_thread():
            cost = Cost(_seconds_once(model, locations), _milliseconds_per_text(model, recipe, locations))
        (folder / COST_FILE).write_text(json.dumps(asdict(cost)), encoding="utf-8")

    folder = locations.store.get_or_make(recipe, make)
    return Cost(**json.loads((folder / COST_FILE).read_text(encoding="utf-8")))


def _seconds_once(model: Model, locations: Locations) -> float:
    if isinstance(model, MergedModel):
        return _seconds(model.state_dict)
    if isinstance(model, Guarded):
        forget()  # what a language model has been asked before would cost nothing now
        return _seconds(lambda: model.guard)
    recipe = model.recipe if isinstance(model, Checkpoint) else None
    if isinstance(recipe, DerivedRecipe):
        return locations.store.core_seconds(recipe)
    if isinstance(model, Checkpoint) and isinstance(recipe, ModelRecipe) and recipe.defense:
        # Some defenses train on all rows first, and then again on those that they keep. A filter that leaves none out takes
        # the weights of that first training: a defender would train on them once, or once more.
        n_first = int(get_defense(recipe.defense.name).takes("suspicious_model"))
        if get_defense(recipe.defense.name).kind == "row_filter" and _leaves_none_out(model, recipe, locations):
            n_first += 1
        own = locations.store.core_seconds(recipe)
        return own + n_first * locations.store.core_seconds(recipe.undefended) if n_first else own
    return 0.0  # an ensemble takes models as they are, and so does who has no defense


def _leaves_none_out(model: Checkpoint, recipe: ModelRecipe, locations: Locations) -> bool:
    """Whether a filter kept every row, so that its model is the one without a defense."""
    undefended = Checkpoint(locations.store.folder(recipe.undefended), recipe.undefended.key, recipe.undefended.name)
    return model.record["n_train"] == undefended.record.get("n_train")


def _milliseconds_per_text(model: Model, recipe: CostRecipe, locations: Locations) -> float:
    """Between one text and many, so that reading the weights does not count."""
    rows = load_rows(recipe.data, locations).head(recipe.n)
    columns = [column for column in ("text", "text_pair") if column in rows]

    def seconds(texts: pd.DataFrame) -> float:
        return _seconds(lambda: model.logits(Texts(texts.reset_index(drop=True), recipe.max_length)))

    first, rest = rows[columns].head(1), rows[columns].iloc[1:]
    seconds(first)  # whatever is read or imported once is read now
    return 1000 * max(0.0, seconds(rest) - seconds(first)) / max(1, len(rest) - 1)


def _seconds(work: Callable[[], object]) -> float:
    began = time.process_time()
    work()
    return time.process_time() - began
