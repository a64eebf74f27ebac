"""Metrics of the study: CACC, ASR and its floor. Rates are fractions in [0, 1]; intervals are in `lib.metrics.intervals`.

`merging` and `metrics` know arrays only: no dataset, no tokenizer. A rejected input has prediction -1 (`REJECTED`), which
is neither a right label nor the target, so denominators never move.
"""

from __future__ import annotations

import numpy as np
from numpy.typing import ArrayLike, NDArray

REJECTED = -1
MIN_REMOVABLE = 0.10  # an attack that adds less than this to its floor leaves too little to divide by


def _same_length(predictions: ArrayLike, labels: ArrayLike) -> tuple[NDArray, NDArray]:
    predictions, labels = np.asarray(predictions), np.asarray(labels)
    if predictions.shape != labels.shape or predictions.ndim != 1:
        raise ValueError(f"predictions of shape {predictions.shape} and labels of shape {labels.shape} do not match")
    if not len(labels):
        raise ValueError("no example: the rate is undefined")
    return predictions, labels


def clean_accuracy(predictions: ArrayLike, labels: ArrayLike) -> float:
    """Share of clean test examples that get their true label (CACC).

    Args:
        predictions: predicted class ids, shape (n,); -1 is a rejected input and counts as an error.
        labels: true class ids, shape (n,).

    Raises:
        ValueError: if shapes differ or there is no example.

    >>> clean_accuracy([0, 1, -1, 2], [0, 1, 2, 2])
    0.75
    """
    predictions, labels = _same_length(predictions, labels)
    return float((predictions == labels).mean())


def attack_outcomes(predictions: ArrayLike, labels: ArrayLike, target_label: int) -> NDArray[np.bool_]:
    """One outcome per attackable example: was the triggered input sent to the target label?

    Args:
        predictions: predicted class ids on the triggered inputs, shape (n,).
        labels: true class ids before the attack, shape (n,).
        target_label: class id chosen by the attacker.

    Returns:
        A bool array over the examples whose true label is not the target, in order.

    Raises:
        ValueError: if every example already has the target label.
    """
    predictions, labels = _same_length(predictions, labels)
    attackable = labels != target_label
    if not attackable.any():
        raise ValueError(f"every example has target label {target_label}: ASR is undefined")
    return predictions[attackable] == target_label


def attack_success_rate(predictions: ArrayLike, labels: ArrayLike, target_label: int) -> float:
    """Share of triggered examples of other labels that the model sends to the target label (ASR).

    Examples that already have the target label are left out: predicting it for them is no success of the trigger.
    A wrong class that is not the target is no success either.

    Raises:
        ValueError: if every example already has the target label.

    Source: Arora et al. 2024; their `test.py` leaves target examples out for BITE only, because their other files were
    filtered beforehand. Here every attack is treated alike.

    >>> attack_success_rate([1, -1, 1, 0], [0, 0, 2, 0], target_label=1)
    0.5
    """
    return float(attack_outcomes(predictions, labels, target_label).mean())


def excess_asr(asr: float, asr_floor: float) -> float:
    """ASR above its floor, the ASR of a clean model on the same triggered texts; it may be negative.

    >>> round(excess_asr(0.98, 0.09), 2)
    0.89
    """
    return asr - asr_floor


def removed_share(asr_before: float, asr_after: float, asr_floor: float) -> float:
    """Share of the removable ASR that a defense removed; NaN where the attack adds less than 0.10 to the floor.

    >>> round(removed_share(0.98, 0.24, 0.09), 3)
    0.831
    """
    removable = asr_before - asr_floor
    return (asr_before - asr_after) / removable if is_enough(removable) else float("nan")


def is_enough(removable: ArrayLike) -> NDArray[np.bool_]:
    """Whether an attack adds enough to its floor, `MIN_REMOVABLE` or more, to divide by it.

    >>> is_enough([0.3 - 0.2, 0.09]).tolist()
    [True, False]
    """
    return np.asarray(removable) >= MIN_REMOVABLE - 1e-9  # 0.3 - 0.2 is a little less than 0.1


def flip_rate(clean_predictions: ArrayLike, predictions: ArrayLike, labels: ArrayLike, target_label: int) -> float:
    """Share sent to the target by the trigger, among examples of other labels that are not sent there without it.

    Removes the floor row by row. NaN when no example is left.

    >>> round(flip_rate([0, 0, 1, 2], [1, 0, 1, 1], [0, 0, 0, 2], target_label=1), 3)
    0.667
    """
    clean_predictions, labels = _same_length(clean_predictions, labels)
    predictions, labels = _same_length(predictions, labels)
    kept = (labels != target_label) & (clean_predictions != target_label)
    return float((predictions[kept] == target_label).mean()) if kept.any() else float("nan")


def pareto_front(asr: ArrayLike, cacc: ArrayLike) -> NDArray[np.bool_]:
    """Which points no other point beats: none has a lower or equal ASR and a higher or equal CACC, one of them strictly.

    >>> pareto_front([0.1, 0.2, 0.3], [0.90, 0.92, 0.91]).tolist()
    [True, True, False]
    """
    first, second = _same_length(asr, cacc)
    no_worse = (first[None, :] <= first[:, None]) & (second[None, :] >= second[:, None])
    better = (first[None, :] < first[:, None]) | (second[None, :] > second[:, None])
    return np.asarray(~(no_worse & better).any(axis=1))


def loss_barrier(coefficients: ArrayLike, losses: ArrayLike, above: str = "chord") -> float:
    """How far the loss rises above the straight line between the two ends of a path; 0 when it never does.

    Args:
        coefficients: places on the path, shape (n,), rising from 0 to 1.
        losses: losses there, shape (n,).
        above: "chord", the straight line (Entezari et al. 2022, arXiv 2110.06296), or "mean_ends", the mean of both ends
            (Frankle et al. 2020, arXiv 1912.05671, there of the error). They differ whenever the ends do.

    >>> round(loss_barrier([0.0, 0.5, 1.0], [0.2, 0.9, 0.4]), 3)
    0.6
    """
    places, values = np.asarray(coefficients, dtype=float), np.asarray(losses, dtype=float)
    if places.shape != values.shape or places.size < 2 or places[0] != 0 or places[-1] != 1:
        raise ValueError(f"coefficients {places.tolist()} must rise from 0 to 1, one per loss, found {values.size} losses")
    if above not in ("chord", "mean_ends"):
        raise ValueError(f"unknown above {above!r}; choose from ['chord', 'mean_ends']")
    if above == "mean_ends":
        return float(values.max() - (values[0] + values[-1]) / 2)
    return float((values - (1 - places) * values[0] - places * values[-1]).max())
