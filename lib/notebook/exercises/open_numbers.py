"""Open exercises of notebooks 07 and 90 on numbers, of difficulty 3: a law for a table, an interval of one's own."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np
import pandas as pd
from numpy.typing import NDArray

from lib.metrics.intervals import seed_interval
from lib.notebook.exercises.feedback import exercise
from lib.notebook.exercises.trying import attempted, is_enough

N_TABLES, N_CELLS, N_SEEDS = 400, 20, 3
SPREAD = 0.05  # of the seeds of each cell, as a standard deviation
ENOUGH = 0.75  # of the error of the straight line
LEAST_COVERED = 0.94  # of 95 %, for 400 tables are not all that there could be


@exercise(
    "Draw the mean ASR over the weight. Is it a straight line? Where does it rise fastest?",
    "A backdoor wins or loses against the other words of a text: a curve like an S fits, 1 / (1 + exp(-slope * (w - middle))).",
    "The S begins at the ASR of the partners alone and ends at that of the backdoored model.",
)
def open_law(answer: Callable[[float], float] | None, plane: pd.DataFrame) -> str:
    """Notebook 07: `answer(weight)` foretells the ASR of every row, with three quarters of the error of a straight line."""

    def scored() -> str:
        assert answer is not None
        weights = plane["weight"].unique()
        foretold = plane["weight"].map({weight: float(answer(float(weight))) for weight in weights})
        ends = plane.groupby("weight")["asr"].mean()
        line = np.interp(plane["weight"], [0, 1], [ends[0.0], ends[1.0]])
        mine, straight = ((plane["asr"] - values).abs().mean() for values in (foretold, line))
        if not np.isfinite(mine):
            raise ValueError("your function gives values that are not finite")
        said = f"scored: off by {100 * mine:.1f} points on average over {len(plane)} merges"
        passes = is_enough(bool(mine <= ENOUGH * straight))
        return f"{said}, {100 * straight:.1f} by the straight line; this {passes}"

    return attempted(answer, scored)


@exercise(
    "Three seeds say little about the spread of one cell. But there are twenty cells.",
    "The spread is the same in all cells: take the mean of their variances, and so its root.",
    "Twenty cells with two degrees of freedom each have forty. A t-interval with forty is hardly wider than a normal one.",
)
def open_interval(answer: Callable[[NDArray], Any] | None) -> str:
    """Notebook 90: `answer(values)` gives lower and upper bounds of each cell's mean, narrower than t-intervals of each."""

    def scored() -> str:
        assert answer is not None
        rng = np.random.default_rng(0)
        covered, width, usual_covered, usual_width = (list[float]() for _ in range(4))
        for _ in range(N_TABLES):
            truth = rng.uniform(0.05, 0.95, N_CELLS)
            values = truth[:, None] + SPREAD * rng.standard_normal((N_CELLS, N_SEEDS))
            bounds = (answer(values.copy()), seed_interval(values.T))
            for (low, high), hits, widths in zip(bounds, (covered, usual_covered), (width, usual_width), strict=True):
                low, high = (np.broadcast_to(np.asarray(bound, dtype=float), (N_CELLS,)) for bound in (low, high))
                if not np.isfinite([low, high]).all():
                    raise ValueError("your function gives bounds that are not finite")
                hits.append(((low <= truth) & (truth <= high)).mean())
                widths.append((high - low).mean())
        mine, usual = float(np.mean(covered)), float(np.mean(usual_covered))
        passes = mine >= LEAST_COVERED and np.mean(width) < np.mean(usual_width)
        said = f"scored: holds the true mean in {mine:.1%} of the cells, {100 * np.mean(width):.1f} points wide"
        others = f"a t-interval of each cell: {usual:.1%}, {100 * np.mean(usual_width):.1f} points"
        return f"{said}; {others}; this {is_enough(bool(passes))}"

    return attempted(answer, scored)
