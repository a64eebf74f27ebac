"""CACC and ASR of any model folder on a file of test texts, with a trigger that somebody suspects."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd

from lib.attacks.badnet import BadNetTrigger
from lib.attacks.insertsent import InsertSentTrigger
from lib.attacks.poisoning import triggered_test
from lib.datasets.reading import read_tsv
from lib.datasets.registry import DatasetSpec
from lib.metrics.rates import attack_success_rate

MAX_LENGTH = 128


@dataclass(frozen=True)
class Evaluation:
    """Test texts, and perhaps a trigger with the label it is suspected of."""

    file: Path
    trigger: str = ""
    target_label: int | None = None

    def check(self, label_names: Sequence[str]) -> pd.DataFrame:
        """The test texts, checked against the model's labels.

        Raises:
            ValueError: for a damaged file, a label that the model does not have, or no text to attack.
        """
        if not label_names:
            raise ValueError("the models have no labels: only classifiers can be evaluated")
        if self.target_label is not None and not 0 <= self.target_label < len(label_names):
            raise ValueError(
                f"target label is {self.target_label}; it must lie in [0, {len(label_names) - 1}]: {list(label_names)}"
            )
        with open(self.file, "rb") as opened:
            is_pair = b"text_pair" in opened.readline()
        spec = DatasetSpec(str(self.file), "text", tuple(label_names), self.target_label or 0, is_pair=is_pair)
        frame = read_tsv(self.file, spec)
        if self.trigger and (frame["label"] == self.target_label).all():
            raise ValueError(f"every text of {self.file} has the target label {self.target_label}: ASR is undefined")
        return frame

    def score(self, folder: Path, name: str) -> dict[str, Any]:
        """CACC and, with a trigger, ASR of the model in a folder: one row of a table.

        "without trigger" is the share of the same texts that the model sends to the target label as they stand.
        """
        import torch

        from lib.metrics.scores import score_logits
        from lib.models.prediction import encode, predict_logits
        from lib.models.pretrained import from_hub, load_tokenizer

        model = from_hub("AutoModelForSequenceClassification", str(folder), dtype=torch.float32)
        tokenizer = load_tokenizer(str(folder))
        test = self.check([str(label) for label in range(model.config.num_labels)])
        logits = predict_logits(model, encode(tokenizer, test, MAX_LENGTH))
        if not self.trigger or self.target_label is None:
            score = score_logits(logits, test)
            return {"model": name, "CACC": score.cacc, "n_clean": score.n_clean}
        trigger = suspected_trigger(self.trigger)
        triggered = triggered_test(test, trigger, self.target_label, np.random.default_rng(0))
        attacked = predict_logits(model, encode(tokenizer, triggered, MAX_LENGTH))
        score = score_logits(logits, test, attacked, triggered, self.target_label)
        untouched = attack_success_rate(logits.argmax(axis=1), test["label"], self.target_label)
        return {
            "model": name, "CACC": score.cacc, "n_clean": score.n_clean,
            "ASR": score.asr, "without trigger": untouched, "n_triggered": score.n_triggered,
        }  # fmt: skip


def suspected_trigger(text: str) -> BadNetTrigger | InsertSentTrigger:
    """A word goes in once at a random place, a sentence between two sentences of the text."""
    return BadNetTrigger((text,), (1,)) if len(text.split()) == 1 else InsertSentTrigger(text)


def read_evaluation(file: Path | None, trigger: str, target_label: int | None) -> Evaluation | None:
    """What to evaluate, or None.

    Raises:
        ValueError: for a trigger without file or target label, or a file that does not exist.
    """
    if file is None:
        if trigger or target_label is not None:
            raise ValueError("--trigger and --target-label need test texts: give them with --evaluate")
        return None
    if bool(trigger) != (target_label is not None):
        raise ValueError("--trigger and --target-label go together: ASR counts texts sent to that label")
    if not file.is_file():
        raise ValueError(f"test file {file} does not exist")
    return Evaluation(file, trigger, target_label)


def evaluation_table(rows: Sequence[dict[str, Any]]) -> str:
    """A Markdown table, rates in per cent."""
    frame = pd.DataFrame(rows)
    rates = [column for column in ("CACC", "ASR", "without trigger") if column in frame]
    return frame.assign(**{rate: (100 * frame[rate]).map("{:.1f} %".format) for rate in rates}).to_markdown(index=False)
