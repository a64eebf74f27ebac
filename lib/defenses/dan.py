"""DAN, distance-based anomaly (Chen et al. 2022): a text is rejected if a model's layers put it far from all clean classes.

Where others differ:
- The released script scores only inputs that are predicted as the known target, and counts triggered texts whose label was the
  target all along. Ours knows no target: each predicted class has a threshold of its own.
- Its `--agg min` acts on negated scores, so it is the largest distance; ours is its default, the mean over the layers.
- It takes the diagonal of an n x n product of all texts with each other; ours computes the diagonal alone.
- He et al. 2023 use DAN to filter training data: their numbers are no numbers of this filter.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np
import pandas as pd

from lib.defenses.inputs import check_clean, check_share, labels_said, texts_of, threshold_below
from lib.models.model import Filtered, Guard
from lib.models.prediction import mean_states_of

CALIBRATION_SHARE = 0.2  # of the clean texts: for the thresholds; the others give the centres
MIN_CLEAN = 10


@dataclass(frozen=True)
class Distances:
    """Where the clean classes lie in one layer.

    Attributes:
        centres: shape (n_classes, width).
        precision: the inverse of the covariance that all classes share, shape (width, width).
        mean, deviation: of the distances of clean texts that had no part in the above.
    """

    centres: np.ndarray
    precision: np.ndarray
    mean: float = 0.0
    deviation: float = 1.0

    def __call__(self, states: np.ndarray) -> np.ndarray:
        """Squared Mahalanobis distance from the nearest centre, standardised; shape (n,) for states of shape (n, width)."""
        gaps = states[:, None].astype(np.float64) - self.centres  # (n, n_classes, width)
        squared = np.einsum("ncd,de,nce->nc", gaps, self.precision, gaps, optimize=True)
        return (squared.min(axis=1) - self.mean) / self.deviation


def fit(model: Any, clean: pd.DataFrame, *, seed: int, max_length: int, frr: float = 0.05, shrinkage: float = 0.1) -> Guard:
    """A filter that rejects texts far from the clean classes.

    Args:
        model: what stands behind the filter: a checkpoint, or a merge.
        clean: labelled validation texts, at least `MIN_CLEAN`.
        seed: of their split: most give the centres, the others the thresholds.
        max_length: tokens that the model reads.
        frr: share of clean texts that may be rejected, in (0, 1).
        shrinkage: of the covariance, in [0, 1]; 0 needs more clean texts than the layers are wide.

    Raises:
        ValueError: for a setting outside its range, too few clean texts, or a covariance that cannot be inverted.
    """
    check_share("frr", frr)
    check_share("shrinkage", shrinkage, ends=True)
    check_clean(clean, MIN_CLEAN)
    order = np.random.default_rng(seed).permutation(len(clean))
    n_held = max(1, round(CALIBRATION_SHARE * len(clean)))
    fitted, held = clean.iloc[order[n_held:]], clean.iloc[order[:n_held]]
    states, labels = mean_states_of(model, texts_of(fitted, max_length)), fitted["label"].to_numpy()
    held_states = mean_states_of(model, texts_of(held, max_length))
    layers = [
        standardised(class_distances(states[:, layer], labels, shrinkage), held_states[:, layer])
        for layer in range(states.shape[1])
    ]
    thresholds = class_thresholds(score(layers, held_states), labels_said(model, held, max_length), frr)

    def guard(frame: pd.DataFrame) -> Filtered:
        scores = score(layers, mean_states_of(model, texts_of(frame, max_length)))
        limits = np.array([thresholds.get(label, thresholds[None]) for label in labels_said(model, frame, max_length)])
        return frame, scores > limits

    return guard


def class_distances(states: np.ndarray, labels: np.ndarray, shrinkage: float) -> Distances:
    """The classes of some texts in one layer, not standardised.

    Args:
        states: shape (n, width).
        labels: true ones, shape (n,).
        shrinkage: share of the covariance that gives way to the mean variance on its diagonal.

    Source: `sklearn.covariance.ShrunkCovariance`.

    Raises:
        ValueError: for a covariance that cannot be inverted.
    """
    states = states.astype(np.float64)
    classes = np.unique(labels)
    centres = np.stack([states[labels == label].mean(axis=0) for label in classes])
    centred = states - centres[np.searchsorted(classes, labels)]
    covariance = centred.T @ centred / len(centred)
    width = len(covariance)
    shrunk = (1 - shrinkage) * covariance + shrinkage * np.trace(covariance) / width * np.eye(width)
    if np.linalg.matrix_rank(shrunk) < width:
        raise ValueError(f"the covariance of {len(states)} clean texts in {width} dimensions has no inverse; raise shrinkage")
    return Distances(centres, np.linalg.inv(shrunk))


def standardised(distances: Distances, held: np.ndarray) -> Distances:
    """Distances that have mean 0 and deviation 1 on clean texts, of shape (n, width), that did not give the centres."""
    found = distances(held)
    return Distances(distances.centres, distances.precision, float(found.mean()), float(found.std()) or 1.0)


def score(layers: list[Distances], states: np.ndarray) -> np.ndarray:
    """The mean over the layers, shape (n,), of states of shape (n, n_layers, width)."""
    return np.mean([distances(states[:, layer]) for layer, distances in enumerate(layers)], axis=0)


def class_thresholds(scores: np.ndarray, predicted: np.ndarray, frr: float) -> dict[int | None, float]:
    """The limit of each predicted class that has enough clean texts to tell a share of `frr`, and None: of all classes."""
    found: dict[int | None, float] = {None: -threshold_below(-scores, frr)}
    for label, count in zip(*np.unique(predicted, return_counts=True), strict=True):
        if count * frr >= 1:
            found[int(label)] = -threshold_below(-scores[predicted == label], frr)
    return found
