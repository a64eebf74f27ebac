"""Metrics of the study: CACC, ASR and its floor, and intervals. Rates are fractions in [0, 1].

`merging` and `metrics` know arrays only: no dataset, no tokenizer. A rejected input has prediction -1 (`REJECTED`), which
is neither a right label nor the target, so denominators never move.
"""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
from numpy.typing import ArrayLike, NDArray

REJECTED = -1
MIN_REMOVABLE = 0.05  # an attack that adds less than this to its floor leaves nothing to remove


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
    """Share of the removable ASR that a defense removed; NaN where the attack adds less than 0.05 to the floor.

    >>> round(removed_share(0.98, 0.24, 0.09), 3)
    0.831
    """
    removable = asr_before - asr_floor
    return float("nan") if removable < MIN_REMOVABLE else (asr_before - asr_after) / removable


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


def wilson_interval(n_successes: int, n: int, confidence: float = 0.95) -> tuple[float, float]:
    """Wilson score interval of one rate: useful where a bootstrap of equal outcomes has no width.

    >>> [round(bound, 4) for bound in wilson_interval(0, 240)]
    [0.0, 0.0158]
    >>> [round(bound, 4) for bound in wilson_interval(12, 240)]
    [0.0288, 0.0853]
    """
    from scipy.stats import binomtest

    interval = binomtest(n_successes, n).proportion_ci(confidence, method="wilson")
    return float(interval.low), float(interval.high)


def bootstrap_interval(
    outcomes_per_seed: Sequence[ArrayLike], rng: np.random.Generator, confidence: float = 0.95, n_draws: int = 2000
) -> tuple[float, float]:
    """Percentile interval of the mean over seeds, by a hierarchical bootstrap: first seeds, then rows within each seed.

    With one seed this is the ordinary bootstrap over rows and says nothing about other training runs.

    Args:
        outcomes_per_seed: one array of 0/1 outcomes (or of any numbers) per seed, each of shape (n_rows,).
        rng: source of the draws.
        confidence: coverage, in (0, 1).
        n_draws: bootstrap draws.

    Raises:
        ValueError: if there is no seed, an empty one, or a confidence outside (0, 1).

    >>> bootstrap_interval([[1, 1, 1]], np.random.default_rng(0))
    (1.0, 1.0)
    """
    arrays = [np.asarray(outcomes, dtype=float) for outcomes in outcomes_per_seed]
    if not arrays or any(array.size == 0 for array in arrays):
        raise ValueError("a bootstrap needs at least one seed with at least one outcome")
    if not 0 < confidence < 1:
        raise ValueError(f"confidence is {confidence}; it must lie in (0, 1)")
    # All row draws of a seed at once; a second, smaller draw then picks which seeds enter each replicate.
    n_seeds = len(arrays)
    seed_means = np.stack(
        [_row_means(array, rng, n_draws * n_seeds).reshape(n_draws, n_seeds) for array in arrays]
    )  # (seed, draw, slot)
    picked = rng.integers(n_seeds, size=(n_draws, n_seeds))  # (draw, slot) -> seed
    replicates = np.take_along_axis(seed_means, picked[None], axis=0)[0].mean(axis=1)
    low, high = np.quantile(replicates, [(1 - confidence) / 2, (1 + confidence) / 2])
    return float(low), float(high)


def _row_means(outcomes: NDArray, rng: np.random.Generator, n_draws: int) -> NDArray:
    """Means of `n_draws` resamples of the rows. Outcomes take few values: drawing how often each occurs is the same draw."""
    values, counts = np.unique(outcomes, return_counts=True)
    n = len(outcomes)
    return rng.multinomial(n, counts / n, size=n_draws) @ values / n


def seed_interval(values: Sequence[float], confidence: float = 0.95) -> tuple[float, float]:
    """Student-t interval of the mean over seeds, the unit for any claim about a method.

    Raises:
        ValueError: for fewer than two seeds.

    >>> [round(bound, 3) for bound in seed_interval([0.62, 0.55, 0.70, 0.48, 0.66])]
    [0.493, 0.711]
    """
    from scipy.stats import t

    if len(values) < 2:
        raise ValueError(f"an interval over seeds needs two or more, found {len(values)}")
    mean, spread = float(np.mean(values)), float(np.std(values, ddof=1)) / len(values) ** 0.5
    half = float(t.ppf((1 + confidence) / 2, len(values) - 1)) * spread
    return mean - half, mean + half
