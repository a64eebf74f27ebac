"""Scores of a model on a task: CACC, ASR and what intervals need, one outcome per example."""

from __future__ import annotations

import json
from collections.abc import Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd

from lib.metrics.rates import attack_outcomes, flip_rate

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


def cross_entropy(logits: np.ndarray, labels: Sequence[int] | np.ndarray) -> float:
    """Mean cross-entropy in nats of logits, shape (n, n_labels), against class ids, shape (n,)."""
    import torch

    return float(torch.nn.functional.cross_entropy(torch.from_numpy(logits), torch.tensor(labels)).item())
