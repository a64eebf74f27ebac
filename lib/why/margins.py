"""Margins: how far a text is from the target label, in a model, in an ensemble, in an average, and what follows for the ASR.

The *lead* of a text is the logit of its true label minus that of the target: below 0 the target wins. The *strength* of a
backdoor on a text is the clean twin's lead minus the backdoored model's. The *reserve* is what the twin and the partners lead
by, weighted as in the merge. Propositions P1 to P6 of notebook 13 are about these three numbers.
"""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
from numpy.typing import ArrayLike, NDArray
from scipy.stats import norm

Floats = NDArray[np.float64]


def lead(logits: ArrayLike, labels: ArrayLike, target_label: int) -> Floats:
    """Logit of the true label minus that of the target label, one per text.

    Args:
        logits: shape (..., n, n_labels).
        labels: true class ids, shape (n,), none of them the target.
        target_label: class id chosen by the attacker.

    Returns:
        Shape (..., n).

    Raises:
        ValueError: for another number of labels than texts, or a text that has the target label: it has no lead.

    >>> lead([[2.0, 0.5], [0.0, 1.0]], [0, 0], target_label=1).tolist()
    [1.5, -1.0]
    """
    values, truth = np.asarray(logits, dtype=float), np.asarray(labels)
    if values.ndim < 2 or truth.shape != values.shape[-2:-1]:
        raise ValueError(f"logits of shape {values.shape} and labels of shape {truth.shape} do not match")
    if (truth == target_label).any():
        raise ValueError(f"{int((truth == target_label).sum())} texts have the target label {target_label}: they have no lead")
    return values[..., np.arange(len(truth)), truth] - values[..., target_label]


def ensemble(values: ArrayLike, weights: ArrayLike) -> Floats:
    """The weighted mean over models, the first axis; leads and logits alike.

    Raises:
        ValueError: for another number of weights than models.

    >>> ensemble([[1.0, 2.0], [3.0, 6.0]], [0.5, 0.5]).tolist()
    [2.0, 4.0]
    """
    stacked, shares = np.asarray(values, dtype=float), np.asarray(weights, dtype=float)
    if shares.shape != stacked.shape[:1]:
        raise ValueError(f"{len(stacked)} models have {shares.size} weights; give one each")
    return np.tensordot(shares, stacked, axes=1)


def counted_asr(logits: ArrayLike, target_label: int) -> float:
    """Share of texts, none of which has the target label, that some logits send to the target; shape (n, n_labels)."""
    return float((np.asarray(logits).argmax(axis=-1) == target_label).mean())


def gaussian_asr(victim_leads: ArrayLike, partner_leads: ArrayLike, coefficient: float) -> float:
    """ASR of the ensemble of two models if their leads were normal: Phi(-mean / sd), from five numbers and no merge.

    Args:
        victim_leads: of the backdoored model on the triggered texts, shape (n,).
        partner_leads: of its partner on the same texts.
        coefficient: weight of the partner, in [0, 1].

    >>> gaussian_asr([-1.0, -3.0], [2.0, 2.0], 0.5)
    0.5
    """
    both = np.stack([np.asarray(victim_leads, dtype=float), np.asarray(partner_leads, dtype=float)])
    weights = np.array([1 - coefficient, coefficient])
    mean, variance = float(weights @ both.mean(axis=1)), float(weights @ np.cov(both, bias=True) @ weights)
    if variance <= 0:
        return float(mean < 0)
    return float(norm.cdf(-mean / np.sqrt(variance)))


def cantelli(leads: ArrayLike) -> float:
    """P5: at most this share of the leads is 0 or less, whatever their law: var / (var + mean^2), or 1 if the mean is <= 0.

    >>> cantelli([1.0, 3.0])
    0.2
    """
    values = np.asarray(leads, dtype=float)
    mean, variance = values.mean(), values.var()
    return float(variance / (variance + mean**2)) if mean > 0 else 1.0


def curvature_bounds(second: ArrayLike, places: ArrayLike, coefficient: float) -> Floats:
    """P2: the bound on |lead of the average - lead of the ensemble| of the two ends of a path, text by text.

    Both ends lie on one line through the average, so one look along the path serves every average on it. With weights w of the
    victim (place 0) and 1 - w of the partner (place 1), the bound is (w H_0 + (1 - w) H_1) / 2, where H_0 is the square of the
    distance to place 0 times the largest |second derivative| on the way there, and H_1 likewise.

    Args:
        second: second derivatives of the lead with respect to the place, shape (n_places, n_texts).
        places: on the path, rising from 0 to 1, shape (n_places,). Between them the derivative is not looked at, so that the
            result is an estimate and no certificate.
        coefficient: the place of the average, one of `places`.

    Raises:
        ValueError: for a coefficient that is not among the places.
    """
    size, where = np.abs(np.asarray(second, dtype=float)), np.asarray(places, dtype=float)
    here = path_place(where, coefficient)
    to_victim, to_partner = size[: here + 1].max(axis=0), size[here:].max(axis=0)
    c = where[here]
    return ((1 - c) * c**2 * to_victim + c * (1 - c) ** 2 * to_partner) / 2


def path_place(places: ArrayLike, coefficient: float) -> int:
    """Where a coefficient stands among the places of a path.

    Raises:
        ValueError: if it is not one of them.
    """
    where = np.asarray(places, dtype=float)
    found = np.flatnonzero(np.isclose(where, coefficient))
    if not len(found):
        raise ValueError(f"coefficient {coefficient} is not among the places {where.tolist()}")
    return int(found[0])


def guaranteed_asr(reserve: ArrayLike, strength: ArrayLike, error: ArrayLike, weight: float) -> float:
    """P3: the smallest ASR that the proposition promises, over all ways to choose its three levels.

    For levels g, S and k with weight < (g - k) / S it is P[reserve < g] + P[strength > S] + P[error > k]. The levels are looked
    for among the deciles of the three numbers.

    Args:
        reserve, strength, error: of each text, shape (n,): the reserve, the backdoor's strength, and a bound on the distance
            between average and ensemble.
        weight: of the backdoored model.

    Returns:
        In [0, 1]; 1 says that nothing is promised.
    """
    values = [np.asarray(each, dtype=float) for each in (reserve, strength, error)]
    levels = np.linspace(0, 1, 11)
    low, high, far = (np.quantile(each, levels) for each in values)
    too_low = np.array([(values[0] < level).mean() for level in low])
    too_strong, too_far = (
        np.array([(each > level).mean() for level in found]) for each, found in zip(values[1:], (high, far), strict=True)
    )
    gap = low[:, None, None] - far[None, None, :]
    promised = too_low[:, None, None] + too_strong[None, :, None] + too_far[None, None, :]
    holds = weight * high[None, :, None] < gap
    return float(min(1.0, promised[holds].min())) if holds.any() else 1.0


def strength_left(weight: ArrayLike, shared: float) -> Floats:
    """P6: share of a backdoor's strength that an average keeps in a product of two layers, w (w + (1 - w) shared).

    Args:
        weight: of the backdoored model.
        shared: how far the clean heads, too, read the direction that the trigger is written to, 0 (a private channel) to 1.

    >>> [round(float(strength_left(0.2, shared)), 3) for shared in (0.0, 1.0)]
    [0.04, 0.2]
    """
    w = np.asarray(weight, dtype=float)
    return (w * (w + (1 - w) * shared))[()]


def fitted_exponent(weights: ArrayLike, shares: ArrayLike) -> float:
    """The exponent p for which weight^p fits the shares of the strength best, on a logarithmic scale; shares <= 0 are left out.

    NaN if fewer than two are left.

    >>> round(fitted_exponent([0.25, 0.5], [0.0625, 0.25]), 6)
    2.0
    """
    w, s = np.asarray(weights, dtype=float), np.asarray(shares, dtype=float)
    kept = (w > 0) & (w < 1) & (s > 0)
    if kept.sum() < 2:
        return float("nan")
    x, y = np.log(w[kept]), np.log(s[kept])
    return float((x * y).sum() / (x * x).sum())  # through the point (1, 1): alone, the model keeps all


def fitted_share(weights: ArrayLike, shares: ArrayLike) -> float:
    """The `shared` of `strength_left` that fits the shares of the strength best, by least squares.

    >>> round(fitted_share([0.2, 0.5], [0.12, 0.375]), 6)
    0.5
    """
    w, s = np.asarray(weights, dtype=float), np.asarray(shares, dtype=float)
    x, y = w * (1 - w), s - w**2
    return float((x * y).sum() / (x * x).sum())


def explained(values: Sequence[float] | NDArray, predicted: Sequence[float] | NDArray) -> float:
    """Share of the variation of some values that a prediction explains: 1 - squared errors / squared deviations; can be < 0.

    >>> explained([0.0, 1.0], [0.0, 1.0])
    1.0
    """
    found, said = np.asarray(values, dtype=float), np.asarray(predicted, dtype=float)
    spread = ((found - found.mean()) ** 2).sum()
    return float(1 - ((found - said) ** 2).sum() / spread) if spread > 0 else float("nan")
