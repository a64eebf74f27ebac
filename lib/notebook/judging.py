"""Scores of models that somebody is trying out: on the texts of one case, at once, and without a trace in the store."""

from __future__ import annotations

from lib.metrics.scores import Score, score_logits
from lib.models.model import Model
from lib.models.prediction import Texts
from lib.study.study import Study


class Judge:
    """Knows the clean and the triggered test texts of a case, and reads them once.

    Args:
        study: makes the triggered texts if they are missing.
        task: a task of the profile.
        attack: whose trigger.
        seed: of texts and trigger.
    """

    def __init__(self, study: Study, task: str, attack: str, seed: int = 0) -> None:
        self.rows, self.attacked = study.rows(task, "test", seed), study.triggered_test(task, attack, seed)
        self.target = study.planner.spec(task).target_label
        columns = [column for column in ("text", "text_pair") if column in self.rows]
        self._texts = [Texts(frame[columns], study.profile.max_length) for frame in (self.rows, self.attacked)]

    def score(self, model: Model) -> Score:
        """CACC and ASR of a model of any kind."""
        clean, attacked = (model.logits(texts) for texts in self._texts)
        return score_logits(clean, self.rows, attacked, self.attacked, self.target)
