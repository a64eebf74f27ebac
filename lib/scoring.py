"""Scores of a model on a task: CACC, ASR and what intervals need, one outcome per example."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
import pandas as pd

from lib.artifacts import Sources, load_rows, triggered_rows
from lib.merged import MergedModel
from lib.metrics import attack_outcomes, flip_rate
from lib.models import Checkpoint, load_tokenizer
from lib.recipes import DataRecipe, TriggerRecipe

if TYPE_CHECKING:
    from lib.prediction import EncodedTexts

Model = Checkpoint | MergedModel
SCORE_FILE = "score.json"


@dataclass(frozen=True)
class Score:
    """How a model does on clean and on triggered test texts. Rates are fractions in [0, 1]; `asr` is NaN without attack."""

    cacc: float
    n_clean: int
    clean_loss: float  # cross-entropy on the clean test set, in nats
    correct: list[int]  # 0 or 1 per clean test example
    asr: float = float("nan")
    n_triggered: int = 0
    flip_rate: float = float("nan")
    share_changed: float = float("nan")  # of the attackable texts, how many the trigger changed
    hits: list[int] | None = None  # 0 or 1 per attackable test example

    def save(self, folder: Path) -> None:
        """Write the score into an artifact's folder."""
        (folder / SCORE_FILE).write_text(json.dumps(asdict(self)), encoding="utf-8")

    @classmethod
    def load(cls, folder: Path) -> Score:
        """Read a saved score."""
        return cls(**json.loads((folder / SCORE_FILE).read_text(encoding="utf-8")))


def score_logits(
    clean_logits: np.ndarray,
    test: pd.DataFrame,
    triggered_logits: np.ndarray | None = None,
    triggered: pd.DataFrame | None = None,
    target_label: int = -1,
) -> Score:
    """Turn logits into a score.

    Args:
        clean_logits: on the clean test set, shape (n, n_labels).
        test: the clean test set, n rows.
        triggered_logits: on the triggered test set, shape (n_triggered, n_labels); None without an attack.
        triggered: the triggered test set, with `index` (its rows in `test`) and `is_changed`.
        target_label: class id chosen by the attacker.
    """
    from lib.prediction import cross_entropy

    labels, predictions = test["label"].to_numpy(), clean_logits.argmax(axis=1)
    correct = predictions == labels
    clean: dict[str, Any] = {
        "cacc": float(correct.mean()),
        "n_clean": len(labels),
        "clean_loss": cross_entropy(clean_logits, labels),
        "correct": correct.astype(int).tolist(),
    }
    if triggered_logits is None or triggered is None:
        return Score(**clean)
    attacked, true_labels = triggered_logits.argmax(axis=1), triggered["label"].to_numpy()
    hits = attack_outcomes(attacked, true_labels, target_label)
    # Published texts are no rows of this test set: how the model reads them without trigger is not known.
    before = predictions[triggered["index"].to_numpy()] if "index" in triggered else None
    return Score(
        **clean,
        asr=float(hits.mean()),
        n_triggered=len(hits),
        flip_rate=float("nan") if before is None else flip_rate(before, attacked, true_labels, target_label),
        share_changed=float(triggered["is_changed"].mean()),
        hits=hits.astype(int).tolist(),
    )


class Scorer:
    """Scores many models in one process: test sets are tokenised once, one network in memory takes each model's weights."""

    def __init__(self, sources: Sources, max_length: int) -> None:
        self.sources, self.max_length = sources, max_length
        self._texts: dict[tuple[str, ...], tuple[pd.DataFrame, EncodedTexts]] = {}
        self._networks: dict[str, Any] = {}
        self._last_clean: tuple[tuple[str, str], np.ndarray] = (("", ""), np.empty(0))  # whose logits on clean texts

    def score(self, model: Model, test: DataRecipe, trigger: TriggerRecipe | None) -> Score:
        """CACC on the test set and, with a trigger, ASR on its triggered version."""
        from lib.prediction import predict_logits

        network = self.network(model)
        rows, clean = self._encoded(model, test, None)
        if self._last_clean[0] != (model.key, test.key):  # one model is often scored with several attacks in a row
            self._last_clean = (model.key, test.key), predict_logits(network, clean)
        logits = self._last_clean[1]
        if trigger is None:
            return score_logits(logits, rows)
        triggered, texts = self._encoded(model, test, trigger)
        return score_logits(logits, rows, predict_logits(network, texts), triggered, trigger.target_label)

    def predict(self, model: Model, texts: Sequence[str], text_pairs: Sequence[str] | None = None) -> pd.DataFrame:
        """Label and probabilities of texts: `text`, perhaps `text_pair`, `label`, and one column per label name."""
        from lib.prediction import encode, predict_logits, probabilities

        frame = pd.DataFrame({"text": list(texts)} | ({"text_pair": list(text_pairs)} if text_pairs else {}))
        if frame.empty:
            return frame.reindex(columns=[*frame.columns, "label", *model.label_names])
        encoded = encode(load_tokenizer(str(model.folder)), frame, self.max_length)
        shares = pd.DataFrame(probabilities(predict_logits(self.network(model), encoded)), columns=list(model.label_names))
        return frame.assign(label=shares.idxmax(axis=1)).join(shares)

    def network(self, model: Model) -> Any:
        """The model as a network with its weights loaded; the next call may overwrite it."""
        import torch
        from transformers import AutoConfig, AutoModelForSequenceClassification

        config_text = (model.folder / "config.json").read_text(encoding="utf-8")
        if config_text not in self._networks:
            config = AutoConfig.from_pretrained(model.folder)
            network = AutoModelForSequenceClassification.from_config(config, dtype=torch.float32)
            self._networks[config_text] = network.to("cuda" if torch.cuda.is_available() else "cpu")
        network = self._networks[config_text]
        network.load_state_dict(model.state_dict())
        return network.eval()

    def _encoded(self, model: Model, test: DataRecipe, trigger: TriggerRecipe | None) -> tuple[pd.DataFrame, EncodedTexts]:
        from lib.prediction import encode

        tokenizer_file = (model.folder / "tokenizer.json").read_bytes()
        key = (test.key, trigger.key if trigger else "", hashlib.sha256(tokenizer_file).hexdigest())
        if key not in self._texts:
            rows = triggered_rows(test, trigger, self.sources) if trigger else load_rows(test, self.sources)
            self._texts[key] = rows, encode(load_tokenizer(str(model.folder)), rows, self.max_length)
        return self._texts[key]
