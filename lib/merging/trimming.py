"""Keep the largest entries of a tensor, or of a stream of its parts, exactly: k of them, lowest index first among equals."""

from __future__ import annotations

import math
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass

import numpy as np
import torch
from torch import Tensor
from torch.nn.functional import hardshrink

DIGIT = np.dtype("<u2")  # 16 bits are looked at in one pass; floats lie in memory with the lowest first
BASE = 1 << 16
N_DEVIATIONS = 4  # of a share estimated from a sample
LEAST_SLACK = 0.002  # on either side of that share
SLACK = 1e-9  # 0.7 * 10 is 7.000000000000001 and 0.29 * 100 is 28.999999999999996: both are meant exactly


def n_kept(density: float, n: int) -> int:
    """How many of `n` entries a density keeps: the whole part of `density * n`.

    >>> n_kept(0.29, 100), n_kept(0.2, 4)
    (29, 0)
    """
    return math.floor(density * n + SLACK)


@dataclass
class Cutoff:
    """Keep what is larger than `magnitude`, and the first `n_equal` entries that equal it.

    The entries come in one tensor or in parts; `n_equal` counts down, so the parts must come in order.
    """

    magnitude: float
    n_equal: int

    def trim(self, vector: Tensor) -> Tensor:
        """The next vector with the entries below the cutoff set to 0; not modified."""
        if self.n_equal == 0:
            return hardshrink(vector, self.magnitude)  # one pass; a mask and a product take ten times as long
        n_equal = int(np.count_nonzero(np.abs(vector.numpy()) == self.magnitude))
        number = np.float32 if vector.dtype == torch.float32 else np.float64
        kept = hardshrink(vector, float(np.nextafter(number(self.magnitude), number(-1))))
        if n_equal > self.n_equal:
            kept.view(-1)[(kept.view(-1).abs() == self.magnitude).nonzero().squeeze(1)[self.n_equal :]] = 0
        self.n_equal -= min(n_equal, self.n_equal)
        return kept


def trim(vector: Tensor, cutoff: Cutoff) -> Tensor:
    """The vector with the entries below the cutoff set to 0 (the first step of TIES).

    >>> trim(torch.tensor([3.0, -1.0, 1.0, 2.0]), Cutoff(1.0, n_equal=1))
    tensor([ 3., -1.,  0.,  2.])
    """
    return cutoff.trim(vector)


class MagnitudeSearch:
    """Finds the magnitude of the k-th largest entry of a stream in two passes (four in float64), in 512 KB.

    The bit pattern of a non-negative float grows with its value, so the k-th largest magnitude is found like a number in
    base 65,536: each pass counts one digit of those entries whose higher digits are already known.
    """

    def __init__(self, k: int, dtype: torch.dtype = torch.float32) -> None:
        self._float = np.dtype(np.float32 if dtype == torch.float32 else np.float64)
        self.n_passes = self._float.itemsize // np.dtype(DIGIT).itemsize
        self._found: list[int] = []  # digits, the highest first
        self._remaining = k  # how many of the entries with these digits are among the k largest
        self._counts = np.zeros(BASE, dtype=np.int64)

    def count(self, magnitudes: Tensor) -> None:
        """Take notice of some magnitudes, all at or above 0."""
        digits = magnitudes.reshape(-1).numpy().view(DIGIT).reshape(-1, self.n_passes).T[::-1]  # the highest first
        known = np.ones(1, dtype=bool)
        for digit, found in zip(digits, self._found, strict=False):
            known = known & (digit == found)
        current = digits[len(self._found)]
        self._counts += np.bincount(current[known] if self._found else current, minlength=BASE)

    def end_pass(self) -> None:
        """All magnitudes of this pass were seen: settle its digit."""
        from_top = np.cumsum(self._counts[::-1])
        place = int(np.searchsorted(from_top, self._remaining))  # first digit, from the top, at which k is reached
        self._remaining -= int(from_top[place - 1]) if place else 0
        self._found.append(BASE - 1 - place)
        self._counts[:] = 0

    @property
    def cutoff(self) -> Cutoff:
        """The cutoff that keeps exactly k entries."""
        pattern = np.array(self._found[::-1], dtype=DIGIT)
        return Cutoff(float(pattern.view(self._float)[0]), self._remaining)


class Bracket:
    """Finds the magnitude of the k-th largest entry of a stream in one pass, if it lies where a sample lets expect it.

    What is larger than the bracket is counted, what lies within is kept and sorted out at the end: some per cent of the stream.

    Args:
        k: rank of the entry that is looked for, 1 or more.
        n: entries of the stream.
        sample: magnitudes of some of them, shape (clusters, entries of a cluster); neighbours in a cluster may be alike, so
            the spread between clusters says how far the sample can be trusted.
    """

    def __init__(self, k: int, n: int, sample: Tensor) -> None:
        self.k, self._limit = k, n // 8  # of entries kept: where there are more, counting them in two passes takes less memory
        values = sample.numpy()
        shares = (values > np.quantile(values, 1 - k / n)).mean(axis=1)
        slack = N_DEVIATIONS * shares.std() / len(shares) ** 0.5 + LEAST_SLACK
        self._low, self._high = np.quantile(values, np.clip([1 - k / n - slack, 1 - k / n + slack], 0, 1)).astype(values.dtype)
        self._n_above = self._n_inside = 0
        self._inside: list[np.ndarray] = []

    def count(self, magnitudes: Tensor) -> None:
        """Take notice of some magnitudes."""
        values = magnitudes.reshape(-1).numpy()
        self._n_above += int(np.count_nonzero(values > self._high))
        inside = (values >= self._low) & (values <= self._high)
        self._n_inside += int(np.count_nonzero(inside))
        if self._n_inside <= self._limit:
            self._inside.append(values[inside])

    @property
    def cutoff(self) -> Cutoff | None:
        """The cutoff that keeps exactly k entries, or None if it lies elsewhere."""
        rank = self.k - self._n_above
        if not 0 < rank <= self._n_inside <= self._limit:
            return None
        inside = np.concatenate(self._inside)
        magnitude = np.partition(inside, len(inside) - rank)[len(inside) - rank]
        return Cutoff(float(magnitude), rank - int(np.count_nonzero(inside > magnitude)))


def find_cutoffs(
    passes: Callable[[], Iterable[Sequence[Tensor]]],
    ks: Sequence[int],
    dtype: torch.dtype,
    n: int = 0,
    samples: Sequence[Tensor] | None = None,
) -> list[Cutoff]:
    """For each model the cutoff that keeps its `ks[i]` largest entries.

    Args:
        passes: starts a new pass over the parts; each part holds one vector per model. Called two times (four in float64),
            once if the samples serve, or not at all where nothing is kept.
        ks: how many entries to keep, one number per model.
        dtype: of the vectors, float32 or float64.
        n: entries of each vector; needed with `samples`.
        samples: of each vector, shape (clusters, entries of a cluster); they save a pass, and never change the result.
    """
    if not any(ks):
        return [Cutoff(math.inf, 0) for _ in ks]
    if samples is not None and all(ks):
        brackets = [Bracket(k, n, sample.abs()) for k, sample in zip(ks, samples, strict=True)]
        for part in passes():
            for bracket, vector in zip(brackets, part, strict=True):
                bracket.count(vector.abs())
        found = [bracket.cutoff for bracket in brackets]
        if all(found):
            return [cutoff for cutoff in found if cutoff]
    searches = [MagnitudeSearch(k, dtype) for k in ks]
    for _ in range(searches[0].n_passes):
        for part in passes():
            for search, vector in zip(searches, part, strict=True):
                search.count(vector.abs())
        for search in searches:
            search.end_pass()
    return [search.cutoff if k else Cutoff(math.inf, 0) for search, k in zip(searches, ks, strict=True)]
