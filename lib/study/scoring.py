"""What models say to texts, kept in the store, and the scores that are computed from it."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import numpy as np
import pandas as pd
from cachetools import LRUCache
from safetensors.numpy import load_file, save_file

from lib.metrics.rates import REJECTED
from lib.metrics.scores import Score, predicted_labels, score_logits
from lib.models.checkpoints import Checkpoint
from lib.models.model import Ensemble, Model
from lib.models.prediction import Texts, probabilities
from lib.study.artifacts import Locations, kept_rows, load_texts, triggered_rows
from lib.study.recipes import DataRecipe, DerivedRecipe, LogitsRecipe, TriggerRecipe
from lib.study.texts import TextsRecipe

LOGITS_FILE = "logits.safetensors"
N_SCORES = 2000  # that are remembered


class Scorer:
    """Scores many models in one process; texts are read and tokenised once."""

    def __init__(self, locations: Locations, max_length: int) -> None:
        self.locations, self.max_length = locations, max_length
        self._texts: dict[tuple[str, str], tuple[pd.DataFrame, Texts]] = {}
        self._scores: LRUCache[tuple[str, str, str], Score] = LRUCache(N_SCORES)  # tables ask for the same ones again and again

    def recipe(self, model: Model, data: DataRecipe, trigger: TriggerRecipe | None = None) -> LogitsRecipe:
        """What determines the logits of a model."""
        return LogitsRecipe(model.key, data, trigger, self.max_length)

    def needed(self, model: Model, data: DataRecipe, trigger: TriggerRecipe | None = None) -> list[LogitsRecipe]:
        """The logits that a score rests on: of the model, or of the members of an ensemble; on clean and triggered texts."""
        if isinstance(model, Ensemble):
            return [each for member in model.members for each in self.needed(member, data, trigger)]
        return [self.recipe(model, data, kind) for kind in ((None, trigger) if trigger else (None,))]

    def logits(self, model: Model, data: DataRecipe, trigger: TriggerRecipe | None = None) -> np.ndarray:
        """Logits on the rows of a split as they are, or with a trigger; float32, shape (n, n_labels), from the store."""
        if isinstance(model, Ensemble):  # its members' logits are stored: it costs no forward pass
            return model.combine([self.logits(member, data, trigger) for member in model.members])

        def make(folder: Path) -> None:
            save_file({"logits": model.logits(self._kept(data, trigger)[1])}, folder / LOGITS_FILE)

        folder = self.locations.store.get_or_make(self.recipe(model, data, trigger), make)
        return load_file(folder / LOGITS_FILE)["logits"]

    def score(self, model: Model, data: DataRecipe, trigger: TriggerRecipe | None = None) -> Score:
        """CACC on the rows of a split and, with a trigger, ASR on the same rows with it."""
        asked = (model.key, data.key, trigger.key if trigger else "")
        if asked not in self._scores:
            self._scores[asked] = self._scored(model, data, trigger)
        return self._scores[asked]

    def _scored(self, model: Model, data: DataRecipe, trigger: TriggerRecipe | None) -> Score:
        clean, rows = self.logits(model, data), self.rows(data)
        if trigger is None:
            return replace(score_logits(clean, rows), texts=data.key)
        attacked = self.logits(model, data, trigger)
        return replace(score_logits(clean, rows, attacked, self.rows(data, trigger), trigger.target_label), texts=data.key)

    def rows(self, data: DataRecipe, trigger: TriggerRecipe | None = None) -> pd.DataFrame:
        """The rows of a split as they are, or with a trigger."""
        return self._kept(data, trigger)[0]

    def _kept(self, data: DataRecipe, trigger: TriggerRecipe | None) -> tuple[pd.DataFrame, Texts]:
        key = (data.key, trigger.key if trigger else "")
        if key not in self._texts:
            rows = triggered_rows(data, trigger, self.locations) if trigger else kept_rows(data, self.locations)
            columns = [column for column in ("text", "text_pair") if column in rows]
            self._texts[key] = rows, Texts(rows[columns], self.max_length)
        return self._texts[key]


def teacher_logits(key: str, student: DerivedRecipe, locations: Locations) -> np.ndarray:
    """What a teacher says to the texts of a student, kept for all students of it; float32, shape (n_texts, n_labels).

    Args:
        key: of the teacher, a folder of the store or of elsewhere.
        student: names the texts, and how long they may be.
        locations: where everything lies.
    """
    assert student.training is not None and isinstance(student.data, TextsRecipe)
    recipe, folder = LogitsRecipe(key, student.data, None, student.training.max_length), locations.model_folder(key)
    texts = load_texts(student.data, locations)

    def make(place: Path) -> None:
        said = Checkpoint(folder, key, key).logits(Texts(texts, recipe.max_length))
        save_file({"logits": said}, place / LOGITS_FILE)

    return load_file(locations.store.get_or_make(recipe, make) / LOGITS_FILE)["logits"]


def predicted(model: Model, frame: pd.DataFrame, max_length: int) -> pd.DataFrame:
    """Label and probabilities of texts: `text`, perhaps `text_pair`, `label`, and one column per label name.

    The label of a text that an input filter rejects is "rejected", its probabilities are NaN.
    """
    names = list(model.label_names)
    if frame.empty:
        return frame.reindex(columns=[*frame.columns, "label", *names])
    logits = model.logits(Texts(frame, max_length))
    labels = [names[label] if label != REJECTED else "rejected" for label in predicted_labels(logits)]
    return frame.assign(label=labels).join(pd.DataFrame(probabilities(logits), columns=names))
