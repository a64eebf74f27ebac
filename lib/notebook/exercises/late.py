"""Exercises of notebooks 10 to 90: lengths of task vectors, adapters, filters, limits, prices, how to speak of a reduction."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any

import numpy as np
import torch

from lib.merging.geometry import norm_matched_weights
from lib.notebook.exercises.feedback import CORRECT, NOT_ATTEMPTED, exercise, function, value


@exercise(
    "By which factor must a vector of length `norms[i]` be multiplied to have the median length?",
    "median / norms[i]; then every model gets one n-th of that.",
)
def norm_matched(answer: Callable[..., Any] | None) -> str:
    """Notebook 10: `answer(norms)` gives every task vector the median length, divided by their number."""
    mistakes = [
        (lambda norms: [np.median(norms) / norm for norm in norms], "divide by the number of models, too"),
        (lambda norms: [np.mean(norms) / norm / len(norms) for norm in norms], "this takes the mean length, not the median"),
        (lambda norms: [norm / np.median(norms) / len(norms) for norm in norms], "this makes long vectors longer"),
    ]
    return function(answer, norm_matched_weights, [([4.0, 2.0, 1.0],), ([3.0, 1.0],), ([5.0] * 4,)], mistakes)


@exercise("Add up all lengths first.", "The long one counts `times`, the n - 1 others 1 each.")
def share_of_length(answer: float | None, times: float, n_models: int) -> str:
    """Notebook 10: which share of the lengths of n task vectors has one that is `times` as long as each other."""
    mistakes = [
        (1 / n_models, "this is its weight; it is longer than the others"),
        (times / n_models, "the sum of the lengths is larger than n"),
        (times / (n_models + times), "the long one is among the n"),
    ]
    return value(answer, times / (times + n_models - 1), mistakes)


@exercise("An adapter is the product of two thin matrices.", "One has d_out x rank weights, the other rank x d_in.")
def adapter_size(answer: Callable[..., int] | None) -> str:
    """Notebook 11: `answer(d_in, d_out, rank)` is the number of weights of a LoRA adapter."""
    mistakes = [
        (lambda d_in, d_out, rank: d_in * d_out, "these are the weights of the layer itself"),
        (lambda d_in, d_out, rank: d_in * d_out * rank, "the two matrices stand side by side: their weights add up"),
    ]
    cases = [(128, 128, 8), (128, 256, 4), (10, 3, 1)]
    return function(answer, lambda d_in, d_out, rank: rank * (d_in + d_out), cases, mistakes)


@exercise(
    "Write down both: the product of the averages, and the average of the products.",
    "`(b1 + b2) / 2 @ ((a1 + a2) / 2)` is the first.",
    "Multiplied out, half of the mixed products b1 a2 and b2 a1 comes in, and half of the own ones is missing.",
)
def factor_error(answer: Callable[..., Any] | None) -> str:
    """Notebook 11: `answer(b1, a1, b2, a2)` is the product of averaged factors minus the average of the products."""
    draw = torch.Generator().manual_seed(0)
    cases = [tuple(torch.randn(shape, generator=draw) for shape in ((3, 2), (2, 4)) * 2) for _ in range(2)]
    mistakes = [
        (lambda b1, a1, b2, a2: (b1 + b2) @ (a1 + a2) / 4, "this is the first half; subtract the average of the products"),
        (lambda b1, a1, b2, a2: (b1 @ a1 + b2 @ a2) / 2, "this is the second half; it is what must be subtracted"),
    ]
    return function(answer, lambda b1, a1, b2, a2: -(b1 - b2) @ (a1 - a2) / 4, cases, mistakes)


@exercise("A rejected text counts as an error.", "Of the right answers, 95 of 100 come through.")
def filtered_cacc(answer: float | None, cacc: float, rejected: float) -> str:
    """Notebook 12: the accuracy on clean texts behind a filter that rejects right and wrong answers alike."""
    mistakes = [
        (cacc - rejected, "the filter also rejects wrong answers: those were errors before"),
        (cacc, "rejected texts count as errors"),
        (100 * cacc * (1 - rejected), "give a fraction, not per cent"),
    ]
    return value(answer, cacc * (1 - rejected), mistakes)


@exercise(
    "A word is suspicious if the text is more usual without it.",
    "More usual means: a lower perplexity. Take the difference.",
)
def suspicion(answer: Callable[..., Any] | None) -> str:
    """Notebook 12: `answer(perplexity, without)` is what each word adds to the perplexity of a text."""
    cases = [(100.0, [10.0, 120.0]), (40.0, [40.0, 35.0, 60.0])]
    arrays = [(whole, np.array(rest)) for whole, rest in cases]
    return function(answer, lambda whole, without: whole - without, arrays)


@exercise("The four others add nothing.", "One n-th of the attacker's vector must be the whole vector.")
def replacement_scale(answer: float | None, n_models: int) -> str:
    """Notebook 14: by what an attacker multiplies a task vector so that the average of n models has all of it."""
    mistakes = [(1 / n_models, "the other way round"), (n_models - 1, "the attacker's model is in the average, too")]
    return value(answer, n_models, mistakes)


@exercise("Two cases: longer than the bound, or not.", "One of Python's built-in functions does both at once.")
def clipped_length(answer: Callable[..., float] | None) -> str:
    """Notebook 14: `answer(norm, bound)` is the length of a vector after clipping it to a bound."""
    mistakes = [
        (lambda norm, bound: bound, "vectors that are short enough must stay as they are"),
        (lambda norm, bound: max(norm, bound), "this makes short vectors longer"),
    ]
    return function(answer, lambda norm, bound: min(norm, bound), [(5.0, 2.0), (1.0, 2.0), (2.0, 2.0)], mistakes)


@exercise(
    "Points: before minus after, of each pair, and then the mean.",
    "Relative: points divided by before, of each pair, and then the mean.",
    "The third takes the means of before and after first, and divides then.",
)
def three_reductions(answer: Sequence[float] | None) -> str:
    """Notebook 90: points, mean relative reduction, and relative reduction of the means, of (1, 0.5) to (0.1, 0.4)."""
    if answer is None:
        return NOT_ATTEMPTED
    expected = [0.5, 0.55, 2 / 3]
    if isinstance(answer, str) or not hasattr(answer, "__len__") or len(answer) != len(expected):
        return f"{answer!r:.80} is not right yet: a list of three numbers is wanted"
    verdicts = [value(given, right) for given, right in zip(answer, expected, strict=True)]
    wrong = [f"number {i}: {verdict}" for i, verdict in enumerate(verdicts, 1) if verdict != CORRECT]
    return wrong[0] if wrong else CORRECT


@exercise(
    "Each seed's difference may have either sign: how many ways are there to give n signs?",
    "The most extreme result and its mirror image are two of 2^n ways.",
)
def seeds_needed(answer: int | None, level: float) -> str:
    """Notebook 90: the smallest number of seeds with which an exact two-sided sign-flip test can go below a level."""
    expected = next(n for n in range(1, 64) if 2 / 2**n < level)
    mistakes = [(expected - 1, "this is enough for a one-sided test, or it reaches the level without going below it")]
    return value(answer, expected, mistakes)


@exercise("The parts add up to the last price.", "What does each step from one price to the next change?")
def parts_of_price(answer: Callable[..., Sequence[float]] | None) -> str:
    """Notebook 17: `answer(strong, matched, domains)` gives the parts of merge, weakness and domain in the last."""
    mistakes = [
        (lambda strong, matched, domains: [strong, matched, domains], "each of these holds the parts before it, too"),
        (
            lambda strong, matched, domains: [strong, matched - strong, domains - strong],
            "the last part begins where the second ends",
        ),
    ]
    cases = [(-0.5, -2.0, -3.0), (0.0, -1.0, -0.5)]
    return function(answer, lambda first, second, third: [first, second - first, third - second], cases, mistakes)


@exercise(
    "Which accuracy lies nearest to the goal, above it or below?",
    "`min(accuracies, key=...)` with the distance to the goal; the fewer rows among equals.",
)
def matching_size(answer: Callable[..., int] | None) -> str:
    """Notebook 17: `answer(accuracies, goal)` gives the number of rows whose models' accuracy is nearest to a goal."""
    cases = [({100: 0.6, 200: 0.75, 400: 0.8}, 0.79), ({100: 0.6, 200: 0.8}, 0.9), ({50: 0.5, 800: 0.9}, 0.1)]
    mistakes = [
        (lambda found, goal: max((a, k) for k, a in found.items() if a <= goal or a == min(found.values()))[1],
         "this never goes above the goal, although a size there may be nearer"),
        (lambda found, goal: max(found), "this takes the largest number of rows"),
    ]  # fmt: skip
    return function(answer, lambda found, goal: min(found, key=lambda k: abs(found[k] - goal)), cases, mistakes)
