"""What input filters share: how a model answers texts, thresholds from clean texts, and checks of settings."""

from __future__ import annotations

from typing import Any

import numpy as np
import pandas as pd

from lib.metrics.scores import predicted_labels
from lib.models.prediction import Texts, probabilities


def segments(frame: pd.DataFrame) -> list[str]:
    """The columns with texts: `text`, perhaps `text_pair`."""
    return [column for column in ("text", "text_pair") if column in frame]


def texts_of(frame: pd.DataFrame, max_length: int) -> Texts:
    """The texts of a frame as models read them."""
    return Texts(frame[segments(frame)].reset_index(drop=True), max_length)


def labels_said(model: Any, frame: pd.DataFrame, max_length: int) -> np.ndarray:
    """The labels that a model gives to the texts of a frame, shape (n,)."""
    return predicted_labels(model.logits(texts_of(frame, max_length)))


def probabilities_said(model: Any, frame: pd.DataFrame, max_length: int) -> np.ndarray:
    """The probabilities that a model gives to the texts of a frame, shape (n, n_labels)."""
    return probabilities(model.logits(texts_of(frame, max_length)))


def threshold_below(scores: np.ndarray, share: float) -> float:
    """The largest of some scores that has no more than a share of them below it.

    >>> threshold_below(np.array([4.0, 1.0, 3.0, 2.0, 5.0]), 0.4)
    2.0
    """
    return float(np.quantile(scores, share, method="lower"))


def check_clean(frame: pd.DataFrame, at_least: int = 1) -> None:
    """Raise a `ValueError` for too few clean texts."""
    if len(frame) < at_least:
        raise ValueError(f"a threshold needs at least {at_least} clean texts, found {len(frame)}")


def check_share(name: str, value: float, *, ends: bool = False) -> None:
    """Raise a `ValueError` for a share outside (0, 1), or outside [0, 1] where its ends are allowed."""
    if not (0 <= value <= 1 if ends else 0 < value < 1):
        raise ValueError(f"{name} is {value}; it must lie {'from' if ends else 'between'} 0 {'to' if ends else 'and'} 1")


def check_count(name: str, value: int, at_least: int = 1) -> None:
    """Raise a `ValueError` for a count that is too small, or no whole number."""
    if not isinstance(value, int | np.integer) or isinstance(value, bool) or value < at_least:
        raise ValueError(f"{name} is {value}; it must be a whole number of at least {at_least}")
