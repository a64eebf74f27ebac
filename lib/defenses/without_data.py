"""Defenses that need other models and nothing else: ways to merge the suspicious one with them, or to let all of them vote."""

# Arora et al. 2024 (arXiv 2402.19334) average the weights. The other merges stand beside it as the simplest alternatives: a
# small weight without many partners, robust averages, no suspicious model at all. The ensemble of Hansen and Salamon (1990)
# averages what the models say, not what they are, and asks every one of them.

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np


def average(models: Sequence[Any]) -> dict[str, Any]:
    """The uniform average of the suspicious model and all others (WAG)."""
    _check_others(models)
    return {"method": "weight_average"}


def small_weight(models: Sequence[Any], *, weight: float = 0.2) -> dict[str, Any]:
    """An average in which the suspicious model has a small weight and the others share the rest.

    Args:
        models: the suspicious model first.
        weight: of the suspicious model, in [0, 1]; 0.2 is what it has in the uniform average of five.

    Raises:
        ValueError: for a weight outside [0, 1], or no other model.
    """
    _check_others(models)
    if not 0 <= weight <= 1:
        raise ValueError(f"weight is {weight}; it must lie from 0 to 1")
    return {"weights": [weight, *[(1 - weight) / (len(models) - 1)] * (len(models) - 1)]}


def partners_only(models: Sequence[Any]) -> dict[str, Any]:
    """The average of the others: the suspicious model is thrown away."""
    return small_weight(models, weight=0.0)


def median(models: Sequence[Any]) -> dict[str, Any]:
    """The median of every weight over the suspicious model and the others."""
    _check_others(models)
    return {"method": "median"}


def clipped_average(models: Sequence[Any]) -> dict[str, Any]:
    """The average after every task vector was scaled down to the median norm: an attacker gains nothing by a longer one.

    Like `row_clipped_average` it also needs the model before fine-tuning, which the study gives to the merge.

    Raises:
        ValueError: for no other model. The merge itself refuses fewer than 3 models in all.
    """
    _check_others(models)
    return {"method": "clipped_average"}


def row_clipped_average(models: Sequence[Any]) -> dict[str, Any]:
    """The same, and each row of the embeddings is scaled down to its own median norm: one changed word does not survive."""
    _check_others(models)
    return {"method": "row_clipped_average"}


def logit_ensemble(logits: Sequence[np.ndarray]) -> np.ndarray:
    """The mean of the logits of the suspicious model and the others; each array of shape (n, n_labels)."""
    _check_others(logits)
    return np.mean(np.stack(list(logits)), axis=0)


def _check_others(models: Sequence[Any]) -> None:
    if len(models) < 2:
        raise ValueError(f"this defense needs other models beside the suspicious one; found {len(models) - 1}")
