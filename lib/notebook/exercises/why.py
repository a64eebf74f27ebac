"""Exercises of notebook 13: where a text changes sides, what a vote guarantees, how two parts share, and an open prediction."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any

import numpy as np

from lib.notebook.exercises.feedback import exercise, function, value
from lib.notebook.exercises.trying import attempted, comparison
from lib.study.study import Study
from lib.tables import sides_of_ways
from lib.why import vote_certificate


@exercise(
    "The lead of the ensemble is (1 - c) times the one plus c times the other.",
    "The text changes sides where that is 0.",
    "With -a and b it is c = a / (a + b).",
)
def flip_place(answer: float | None, victim_lead: float, partner_lead: float) -> str:
    """Notebook 13: the coefficient at which a text is no longer sent to the target by the ensemble of two models."""
    mistakes = [
        (partner_lead / (partner_lead - victim_lead), "this is the weight of the backdoored model there"),
        (0.5, "the two models are not equally sure"),
    ]
    return value(answer, victim_lead / (victim_lead - partner_lead), mistakes)


@exercise(
    "Every bad model can take one vote from the winner and give it to the other label.",
    "So f bad models close a gap of 2 f.",
    "If the other label wins ties, a gap of exactly 2 f is not enough.",
)
def tolerated(answer: Callable[..., int] | None) -> str:
    """Notebook 13: `answer(winner, other, other_wins_ties)` is how many voters may be bad without changing the answer."""

    def reference(winner: int, other: int, other_wins_ties: bool) -> int:
        votes = [int(other_wins_ties)] * winner + [1 - int(other_wins_ties)] * other
        return int(vote_certificate(np.array(votes)[:, None], 2)[1][0])

    mistakes: list[tuple[Callable[..., Any], str]] = [
        (lambda winner, other, ties: winner - other, "a vote that is taken from the winner also goes to the other label"),
        (lambda winner, other, ties: (winner - other) // 2, "think of a tie: who wins it?"),
        (lambda winner, other, ties: (winner - other - 1) // 2, "ties are not always lost"),
    ]
    return function(answer, reference, [(4, 1, False), (3, 1, True), (4, 1, True), (3, 0, False), (6, 2, True)], mistakes)


@exercise(
    "There are two orders: the first part joins first, or the second does.",
    "In one order the first part adds first - nothing, in the other both - second.",
    "Take the mean of the two; the second part likewise.",
)
def two_shares(answer: Callable[..., Sequence[float]] | None) -> str:
    """Notebook 13: `answer(nothing, first, second, both)` gives the Shapley values of two parts, as a list."""

    def reference(nothing: float, first: float, second: float, both: float) -> list[float]:
        return [(first - nothing + both - second) / 2, (second - nothing + both - first) / 2]

    mistakes: list[tuple[Callable[..., Any], str]] = [
        (lambda n, a, b, both: [a - n, b - n], "this is what each adds alone; what they add together is not shared out"),
        (lambda n, a, b, both: [both - b, both - a], "this is what is lost without each; do the two sum to both - nothing?"),
        (lambda n, a, b, both: [(both - n) / 2] * 2, "equal shares are fair only if both parts do the same"),
    ]
    return function(answer, reference, [(0.0, 1.0, 2.0, 5.0), (1.0, 1.0, 4.0, 2.0)], mistakes)


@exercise(
    "Counting takes the lead (1 - c) * victim + c * partner of each text. Which weight would fit the average of the weights?",
    "The strength that is left falls faster than the weight where the weight is small (P6), and more slowly where it is large.",
    "Replace 1 - c by a weight that does so: a power, or an S-shaped curve. Then count again.",
)
def open_prediction(
    answer: Callable[..., float] | None, study: Study, task: str, attacks: Sequence[str], places: Sequence[float]
) -> str:
    """Notebook 13: `answer(victim, partner, coefficient)` predicts the ASR of an average from the leads of both ends.

    It has to beat the count of leads of the ensemble, over all ways of the attacks, and their places.
    """

    def scored() -> str:
        assert answer is not None
        mine, counted = [], []
        for victim, partner, coefficient, asr, usual in sides_of_ways(study, task, attacks, places):
            mine.append(abs(float(answer(victim.copy(), partner.copy(), coefficient)) - asr))
            counted.append(abs(usual - asr))
        errors = f"mean error {100 * np.mean(mine):.1f} points"
        is_better = bool(np.mean(mine) < np.mean(counted))
        return f"scored: {errors}; {comparison(is_better)} counting, {100 * np.mean(counted):.1f} points"

    return attempted(answer, scored)
