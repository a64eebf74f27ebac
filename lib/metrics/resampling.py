"""Outcomes of many cells on shared test texts: their means, what the texts add to their variance, and a joint bootstrap.

All attacks on a task are scored on one test set per seed: CACC on all its texts, ASR on those whose label is not the target. So
a text that is drawn twice counts twice in every cell of its task and seed, for CACC and for ASR.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence

import numpy as np
import pandas as pd
from numpy.typing import NDArray

N_DRAWS = 2000
ATTACKED = ("backdoored_hits", "hits", "floor_hits")
CLEAN = ("backdoored_correct", "correct", "clean_correct")
UNTRIGGERED = ("backdoored_untriggered_hits", "untriggered_hits")
N_OUTCOMES = len(ATTACKED) + len(CLEAN) + 2 * len(UNTRIGGERED)
Members = list[tuple[int, int]]  # place among the chosen cells, and number of the cell


class Runs:
    """The runs of all cells, ordered by seed.

    Outcomes, in this order along a last axis: `ATTACKED`, `CLEAN`, `UNTRIGGERED`, and which texts the trigger flipped, before
    and after the defense. What a table does not have is NaN.

    Attributes:
        seeds: in order.
        cells: tasks and attacks, in the order of the table.
        rows: the row of each cell and seed.
        means: of the outcomes, shape (seed, cell, outcome).

    Args:
        table: as `lib.metrics.reduction.reduction_table` takes it.
    """

    def __init__(self, table: pd.DataFrame) -> None:
        if table.empty:
            raise ValueError("there is no row to compare before and after")
        frames = {(str(task), str(attack)): rows for (task, attack), rows in table.groupby(["task", "attack"], sort=False)}
        self.seeds, self.cells = sorted(set(table["seed"])), list(frames)
        for cell, found in frames.items():
            if sorted(found["seed"]) != self.seeds:
                raise ValueError(f"{cell} has seeds {sorted(found['seed'])}; every cell must have each of {self.seeds} once")
        indexed = [found.set_index("seed") for found in frames.values()]
        self.rows = [[found.loc[seed] for seed in self.seeds] for found in indexed]
        self._texts = [[_per_text(row) for row in rows] for rows in self.rows]
        self.means = np.array([[_means(texts) for texts in cell] for cell in self._texts]).swapaxes(0, 1)

    def text_variances(self, chosen: Sequence[int], slopes: NDArray) -> NDArray:
        """Variance of each seed's measures that comes from the draw of its test texts, shape (seed, measure).

        The influence of a text is summed over all cells that are scored on it, and then squared. One text more or fewer counts
        for each rate, as in `lib.metrics.intervals.text_variance`.

        Args:
            chosen: numbers of cells.
            slopes: of the measures in the means of the outcomes of these cells, shape (cell, outcome, measure).
        """
        found = np.zeros((len(self.seeds), slopes.shape[-1]))
        for number in range(len(self.seeds)):
            for members in self._sharing(chosen, number):
                texts = {place: self._texts[cell][number] for place, cell in members}
                influences = sum(_influences(values) @ slopes[place] for place, values in texts.items())
                found[number] += (influences**2).sum(axis=0)
                for place, values in texts.items():
                    one_text = 1 / np.maximum(1, (~np.isnan(values)).sum(axis=0))
                    found[number] += ((slopes[place] * one_text[:, None]) ** 2).sum(axis=0)
        return found

    def drawn(self, seed: int) -> NDArray:
        """Means of outcomes over drawn seeds and, for each of them, drawn texts; shape (draw, cell, outcome)."""
        rng, n = np.random.default_rng(seed), len(self.seeds)
        picked = rng.integers(n, size=(N_DRAWS, n))  # (draw, slot) -> seed, the same for all cells
        total = np.zeros((N_DRAWS, len(self.cells), N_OUTCOMES))
        for slot, number in np.ndindex(n, n):
            draws = np.flatnonzero(picked[:, slot] == number)
            for members in self._sharing(range(len(self.cells)), number):
                texts = [self._texts[cell][number] for _, cell in members]
                counts = _counts(len(texts[0]), len(draws), rng)
                for (_, cell), values in zip(members, texts, strict=True):
                    total[draws, cell] += _weighted_means(values, counts)
        return total / n

    def _sharing(self, chosen: Sequence[int], number: int) -> Iterator[Members]:
        """Cells that are scored on the same texts with a seed.

        Where it is not known which test texts are attacked (published texts are others), a cell is on its own.
        """
        groups: dict[tuple[str, str], Members] = {}
        for place, cell in enumerate(chosen):
            task, attack = self.cells[cell]
            key = (task, "" if _is_known(self.rows[cell][number], "attackable") else attack)
            groups.setdefault(key, []).append((place, cell))
        yield from groups.values()


def gradient(function: Callable[[NDArray], NDArray], at: NDArray, step: float = 1e-6) -> NDArray:
    """Slopes of the values of a function in each of its inputs, shape (*at.shape, n_values), by central differences.

    Args:
        function: of arrays of shape (n, *at.shape), to shape (n, n_values).
        at: where the slopes are taken.
        step: of the differences.
    """
    moves = step * np.eye(at.size).reshape(-1, *at.shape)
    return ((function(at + moves) - function(at - moves)) / (2 * step)).reshape(*at.shape, -1)


def _per_text(run: pd.Series) -> NDArray:
    """Outcomes of a run, shape (text, outcome); NaN where a text is not scored in that way."""
    without = np.full(len(run["correct"]), np.nan)  # a table need not know the clean model
    clean = [np.asarray(run[name], dtype=float) if _is_known(run, name) else without for name in CLEAN]
    attacked = [np.asarray(run[name], dtype=float) for name in ATTACKED]
    unknown = np.full(len(attacked[0]), np.nan)
    own = [np.asarray(run[name], dtype=float) if _is_known(run, name) else unknown for name in UNTRIGGERED]
    flips = [hits * (1 - before) for hits, before in zip(attacked, own, strict=False)]
    n_clean, n_attacked = len(clean[0]), len(attacked[0])
    # Attacked texts that are no rows of the test set are numbered behind it.
    is_shared = _is_known(run, "attackable")
    places = np.asarray(run["attackable"]) if is_shared else n_clean + np.arange(n_attacked)
    texts = np.full((n_clean if is_shared else n_clean + n_attacked, N_OUTCOMES), np.nan)
    texts[places, : len(attacked)] = np.stack(attacked, axis=1)
    texts[:n_clean, len(attacked) : len(attacked) + len(clean)] = np.stack(clean, axis=1)
    texts[places, len(attacked) + len(clean) :] = np.stack([*own, *flips], axis=1)
    return texts


def _is_known(run: pd.Series, name: str) -> bool:
    return isinstance(run.get(name), list | np.ndarray)


def _means(texts: NDArray) -> NDArray:
    n = (~np.isnan(texts)).sum(axis=0)
    return np.where(n > 0, np.nansum(texts, axis=0) / np.maximum(1, n), np.nan)


def _influences(texts: NDArray) -> NDArray:
    """What each text does to the means, shape (text, outcome)."""
    n = np.maximum(1, (~np.isnan(texts)).sum(axis=0))
    return np.nan_to_num((texts - _means(texts)) / n)


def _counts(n: int, n_draws: int, rng: np.random.Generator) -> NDArray:
    """How often each of n texts occurs in each draw of n, shape (draw, text)."""
    texts = rng.integers(n, size=(n_draws, n)) + n * np.arange(n_draws)[:, None]
    return np.bincount(texts.ravel(), minlength=n * n_draws).reshape(n_draws, n).astype(float)


def _weighted_means(texts: NDArray, counts: NDArray) -> NDArray:
    """Means of the outcomes in each draw, shape (draw, outcome); that of all texts where a draw has none of a kind."""
    n = counts @ (~np.isnan(texts)).astype(float)
    return np.where(n > 0, counts @ np.nan_to_num(texts) / np.maximum(1, n), _means(texts))
