"""Scores of a model on a task: CACC, ASR and what intervals need, one outcome per example."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import pandas as pd
from numpy.typing import NDArray

from lib.metrics.rates import REJECTED, attack_outcomes, flip_rate


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
    untriggered_hits: list[int] | None = None  # the same texts without the trigger: 0 or 1 for sent to the target
    attackable: list[int] | None = None  # rows of the test set that `hits` are about
    asr_untriggered: float = float("nan")  # share of the same texts that the model sends to the target without the trigger
    rejected_clean: float = 0.0  # share of clean test examples that an input filter rejects: they count as errors
    rejected_triggered: float = float(
        "nan"
    )  # share of the attackable texts with the trigger that it rejects: the attack failed
    texts: str = ""  # what names the clean test texts: rates of one row are measured on the same ones


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
    labels, predictions = test["label"].to_numpy(), predicted_labels(clean_logits)
    correct = predictions == labels
    clean: dict[str, Any] = {
        "cacc": float(correct.mean()),
        "n_clean": len(labels),
        "clean_loss": cross_entropy(clean_logits, labels),
        "correct": correct.astype(int).tolist(),
        "rejected_clean": float((predictions == REJECTED).mean()),
    }
    if triggered_logits is None or triggered is None:
        return Score(**clean)
    attacked, true_labels = predicted_labels(triggered_logits), triggered["label"].to_numpy()
    hits, is_attackable = attack_outcomes(attacked, true_labels, target_label), true_labels != target_label
    clean["rejected_triggered"] = float((attacked == REJECTED)[is_attackable].mean())
    if "index" in triggered:
        rows = triggered["index"].to_numpy()
        before = predictions[rows]
        sent = (before == target_label)[is_attackable]
        clean |= {"untriggered_hits": sent.astype(int).tolist(), "attackable": rows[is_attackable].tolist()}
        clean |= {"asr_untriggered": float(sent.mean()), "flip_rate": flip_rate(before, attacked, true_labels, target_label)}
    # Published texts are no rows of this test set: how the model reads them without trigger is not known.
    return Score(
        **clean,
        asr=float(hits.mean()),
        n_triggered=len(hits),
        share_changed=float(triggered["is_changed"].mean()),
        hits=hits.astype(int).tolist(),
    )


def predicted_labels(logits: np.ndarray) -> NDArray[np.int64]:
    """Class ids, shape (n,): the largest logit of each row; -1 for a rejected row, which is NaN.

    >>> predicted_labels(np.array([[0.2, 0.9], [np.nan, np.nan]]))
    array([ 1, -1])
    """
    is_rejected = np.isnan(logits).any(axis=1)
    return np.where(is_rejected, REJECTED, np.where(is_rejected[:, None], 0, logits).argmax(axis=1))


def cross_entropy(logits: np.ndarray, labels: Sequence[int] | np.ndarray) -> float:
    """Mean cross-entropy in nats of logits, shape (n, n_labels), against class ids, shape (n,); rejected rows are left out.

    >>> round(cross_entropy(np.array([[0.0, 0.0], [np.nan, np.nan]]), [1, 0]), 4)
    0.6931
    """
    from scipy.special import log_softmax

    shares = log_softmax(np.asarray(logits, dtype=np.float64), axis=1)
    losses = -shares[np.arange(len(shares)), np.asarray(labels)]
    return float(losses[~np.isnan(losses)].mean()) if (~np.isnan(losses)).any() else float("nan")
