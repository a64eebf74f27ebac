"""Certificates: for which texts no f of n models, whatever they say, could change the answer of all together.

A model of unbounded weights or logits moves a plain average anywhere, so an average has no certificate. A vote has one, and so
has a mean of probabilities, because one vote and one probability are bounded.
"""

from __future__ import annotations

from math import comb

import numpy as np
from numpy.typing import ArrayLike, NDArray


def vote_certificate(votes: ArrayLike, n_labels: int) -> tuple[NDArray[np.int64], NDArray[np.int64]]:
    """The answer of a vote, and how many voters could say something else without changing it.

    Ties go to the label of the lower index. Label A with N_A votes holds against each other label B if
    floor((N_A - N_B - [B has the lower index]) / 2) >= f.

    Args:
        votes: class ids, shape (n_voters, n_texts).
        n_labels: how many labels there are.

    Returns:
        Labels and numbers of voters, each of shape (n_texts,). A label that no voter could give cannot win.

    Source: Levine and Feizi 2021 (arXiv 2006.14768), `certify.py` of their code.

    >>> [found.tolist() for found in vote_certificate([[0], [0], [0], [0], [1]], 2)]
    [[0], [1]]
    """
    given = np.asarray(votes)
    if given.ndim != 2 or not given.size:
        raise ValueError(f"votes have shape {given.shape}; one row per voter, one column per text is wanted")
    if n_labels < 2 or given.min() < 0 or given.max() >= n_labels:
        raise ValueError(f"votes lie in [{given.min()}, {given.max()}]; {n_labels} labels are 0 to {n_labels - 1}, two or more")
    counts = (given[:, :, None] == np.arange(n_labels)).sum(axis=0)  # (n_texts, n_labels)
    winner = counts.argmax(axis=1)  # of equal ones the lowest index
    gap = counts.max(axis=1)[:, None] - counts - (np.arange(n_labels) < winner[:, None])
    gap[np.arange(len(winner)), winner] = 2 * len(given) + 1
    return winner, gap.min(axis=1) // 2


def subset_tolerance(tolerated: ArrayLike, n_models: int, size: int) -> NDArray[np.int64]:
    """How many of n models may be bad, if the voters are the averages of all subsets of a size.

    One bad model spoils C(n - 1, size - 1) of the C(n, size) votes.

    Args:
        tolerated: numbers of voters that may say something else, as of `vote_certificate`.
        n_models: n.
        size: models in each average, 1 to n.

    >>> subset_tolerance([5, 3], n_models=5, size=2).tolist()
    [1, 0]
    """
    if not 1 <= size <= n_models:
        raise ValueError(f"subsets of {size} of {n_models} models; the size must lie in [1, {n_models}]")
    return np.asarray(tolerated) // comb(n_models - 1, size - 1)


def probability_certificate(probabilities: ArrayLike) -> tuple[NDArray[np.int64], NDArray[np.int64]]:
    """The answer of the mean of probabilities, and how many models could say anything else without changing it.

    A model that leads by d between two labels can be made to lead by -1, and by no less. So the sum of the leads falls by the
    sum of the f largest d + 1 at most.

    Args:
        probabilities: shape (n_models, n_texts, n_labels), each row sums to 1.

    Returns:
        Labels and numbers of models, each of shape (n_texts,).

    >>> every = [[[0.9, 0.1]], [[0.9, 0.1]], [[0.9, 0.1]]]
    >>> [found.tolist() for found in probability_certificate(every)]
    [[0], [1]]
    """
    given = np.asarray(probabilities, dtype=float)
    if given.ndim != 3 or given.shape[-1] < 2 or not np.allclose(given.sum(axis=-1), 1, atol=1e-4) or (given < 0).any():
        raise ValueError(f"values of shape {given.shape}; probabilities of models, texts and labels are wanted, rows sum to 1")
    winner = given.mean(axis=0).argmax(axis=1)
    of_winner = np.take_along_axis(given, winner[None, :, None], axis=2)
    leads = of_winner - given  # (n_models, n_texts, n_labels)
    losses = np.cumsum(-np.sort(-(leads + 1), axis=0), axis=0)  # of the f largest, f = 1 .. n
    left = leads.sum(axis=0)[None] - losses
    holds = left > 0
    holds[:, np.arange(len(winner)), winner] = True
    return winner, np.cumprod(holds.all(axis=2), axis=0).sum(axis=0)


def certified(answers: ArrayLike, tolerated: ArrayLike, is_good: ArrayLike, n_bad: int) -> float:
    """Share of texts whose answer is good and stays whatever `n_bad` models say.

    Args:
        answers: shape (n,), counted for the check of shapes only.
        tolerated: how many models may be bad, shape (n,).
        is_good: whether the answer is what a defender wants, shape (n,).
        n_bad: number of bad models, 0 or more.
    """
    shapes = {np.asarray(each).shape for each in (answers, tolerated, is_good)}
    if len(shapes) != 1 or n_bad < 0:
        raise ValueError(f"shapes {sorted(shapes)} must be one, and n_bad, {n_bad}, 0 or more")
    return float((np.asarray(is_good, dtype=bool) & (np.asarray(tolerated) >= n_bad)).mean())
