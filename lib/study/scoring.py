"""Many models scored in one process: texts are tokenised once, one network takes each model's weights."""

from __future__ import annotations

import hashlib
from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

import numpy as np
import pandas as pd

from lib.metrics.scores import Score, score_logits
from lib.models.checkpoints import Checkpoint, load_tokenizer
from lib.study.artifacts import Locations, load_rows, triggered_rows
from lib.study.merged import MergedModel
from lib.study.recipes import DataRecipe, TriggerRecipe

if TYPE_CHECKING:
    from lib.models.prediction import EncodedTexts

Model = Checkpoint | MergedModel


class Scorer:
    """Scores many models in one process: test sets are tokenised once, one network in memory takes each model's weights."""

    def __init__(self, locations: Locations, max_length: int) -> None:
        self.locations, self.max_length = locations, max_length
        self._texts: dict[tuple[str, ...], tuple[pd.DataFrame, EncodedTexts]] = {}
        self._networks: dict[str, Any] = {}
        self._last_clean: tuple[tuple[str, str], np.ndarray] = (("", ""), np.empty(0))  # whose logits on clean texts

    def score(self, model: Model, test: DataRecipe, trigger: TriggerRecipe | None) -> Score:
        """CACC on the test set and, with a trigger, ASR on its triggered version."""
        from lib.models.prediction import predict_logits

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
        from lib.models.prediction import encode, predict_logits, probabilities

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
        from lib.models.prediction import encode

        tokenizer_file = (model.folder / "tokenizer.json").read_bytes()
        key = (test.key, trigger.key if trigger else "", hashlib.sha256(tokenizer_file).hexdigest())
        if key not in self._texts:
            rows = triggered_rows(test, trigger, self.locations) if trigger else load_rows(test, self.locations)
            self._texts[key] = rows, encode(load_tokenizer(str(model.folder)), rows, self.max_length)
        return self._texts[key]
