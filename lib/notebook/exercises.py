"""Exercise answers compared with the library: "not attempted", "correct", or the first input on which they differ."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any

import numpy as np
import pandas as pd
import torch

from lib.attacks import bite
from lib.merging import ties as merging_ties
from lib.merging import weight_average
from lib.merging.geometry import norm_matched_weights
from lib.metrics.rates import attack_success_rate, loss_barrier, pareto_front, removed_share

NOT_ATTEMPTED, CORRECT = "not attempted", "correct"


def majority_accuracy(answer: float | None, labels: Sequence[int]) -> str:
    """Notebook 01: the accuracy of a model that always gives the most frequent label."""
    return _value(answer, float(pd.Series(labels).value_counts(normalize=True).max()))


def worst_domain(answer: str | None, transfer: pd.DataFrame) -> str:
    """Notebook 01: the domain whose model does worst on the task's own test set."""
    task = transfer["task"].iloc[0]
    on_task = transfer[(transfer["tested_on"] == task) & (transfer["trained_on"] != task)]
    return _name(answer, str(on_task.loc[on_task["cacc"].idxmin(), "trained_on"]))


def clean_label_share(answer: float | None, poisoning_rate: float, target_share: float) -> str:
    """Notebook 02: share of the target label's rows that an attack of regime clean edits."""
    return _value(answer, poisoning_rate / target_share)


def label_bias(answer: Callable[..., Any] | None) -> str:
    """Notebook 02: `answer(n_target, n_other, p)` is the z-score of words' bias towards the target label."""
    cases = [([2.0], [0.0], 2 / 3), ([1.0, 30.0], [1.0, 10.0], 0.5), ([5.0], [20.0], 0.25)]
    return _function(answer, bite.label_bias, [(np.array(target), np.array(other), p) for target, other, p in cases])


def merge_agreeing(answer: Callable[..., Any] | None) -> str:
    """Notebook 05: `answer(vectors)` elects a sign per entry and averages the entries that have it."""
    first, second, third = torch.tensor([6.0, -5, 4, 0]), torch.tensor([-3.0, -1, 5, 0]), torch.tensor([-1.0, 2, 0, 0])
    return _function(answer, merging_ties.merge_agreeing, [([first, second],), ([first, second, third],), ([third],)])


def front(answer: Sequence[str] | None, summary: pd.DataFrame) -> str:
    """Notebook 05: the names of the methods on the Pareto front of a table with `variant`, `asr` and `cacc`."""
    on_front = summary[pareto_front(summary["asr"], summary["cacc"])]["variant"]
    return _name(None if answer is None else ", ".join(sorted(answer)), ", ".join(sorted(on_front)))


def colluders_needed(answer: int | None, collusion: pd.DataFrame) -> str:
    """Notebook 08: the smallest number of colluding models whose mean ASR is above one half; 0 for none."""
    means = collusion.groupby("n_backdoored")["asr"].mean()
    return _value(answer, int((means > 0.5).idxmax()) if (means > 0.5).any() else 0)


def majority(answer: int | None, n_models: int) -> str:
    """Notebook 08: how many models fix the median of a weight between their values."""
    return _value(answer, n_models // 2 + 1)


def asr(answer: Callable[..., float] | None) -> str:
    """Notebook 03: `answer(predictions, labels, target_label)` is the attack success rate."""
    cases = [([1, 1, 0], [0, 0, 0], 1), ([1, 1, 0, 1], [0, 0, 0, 1], 1), ([2, 0, 2, 2], [0, 1, 2, 3], 2)]
    arrays = [(np.array(predictions), np.array(labels), target) for predictions, labels, target in cases]
    return _function(answer, attack_success_rate, arrays)


def n_poisoned(answer: int | None, n_train: int, poisoning_rate: float) -> str:
    """Notebook 03: how many training rows carry the trigger."""
    return _value(answer, round(poisoning_rate * n_train))


def average(answer: Callable[..., Any] | None) -> str:
    """Notebooks 00 and 04: `answer(tensors, weights)` is their weighted mean."""
    tensors = [torch.tensor([1.0, 2.0]), torch.tensor([3.0, -2.0]), torch.tensor([0.0, 9.0])]
    cases = [(tensors[:2], [0.5, 0.5]), (tensors, [0.2, 0.3, 0.5]), (tensors[:1], [1.0])]
    return _function(answer, lambda given, weights: weight_average(given, weights=weights), cases)


def backdoored_share(answer: float | None, n_models: int) -> str:
    """Notebook 00: the backdoored model's weight in a uniform average of `n_models`."""
    return _value(answer, 1 / n_models)


def removed(answer: Callable[..., float] | None) -> str:
    """Notebook 04: `answer(asr_before, asr_after, asr_floor)` is the share of the removable ASR that is gone."""
    return _function(answer, removed_share, [(1.0, 0.5, 0.0), (0.98, 0.24, 0.09), (0.9, 0.9, 0.2)])


def models_needed(answer: int | None, table: pd.DataFrame) -> str:
    """Notebook 04: the smallest `n_models` whose mean ASR is at most 10 points above the floor; 0 if there is none."""
    means = table.groupby("n_models")[["asr", "asr_floor"]].mean()
    enough = means.index[means["asr"] <= means["asr_floor"] + 0.1]
    return _value(answer, int(enough.min()) if len(enough) else 0)


def partner_weight(answer: float | None, coefficient: float, n_partners: int) -> str:
    """Notebook 06: the averaging weight of each of `n_partners` partners."""
    return _value(answer, coefficient / n_partners)


def barrier(answer: Callable[..., float] | None) -> str:
    """Notebook 06: `answer(coefficients, losses)` is the loss barrier above the straight line between the ends."""
    cases = [([0.0, 0.5, 1.0], [0.2, 0.9, 0.4]), ([0.0, 0.5, 1.0], [0.4, 0.2, 0.2]), ([0.0, 0.25, 1.0], [1.0, 1.0, 0.0])]
    return _function(answer, loss_barrier, [(np.array(places), np.array(losses)) for places, losses in cases])


def lowest_rate(answer: float | None, table: pd.DataFrame) -> str:
    """Notebook 09: the smallest poisoning rate at which the mean ASR of the victims alone is above 90 %; 0 for none."""
    means = table[table["n_models"] == 1].groupby("poisoning_rate")["asr"].mean()
    return _value(answer, float((means > 0.9).idxmax()) if (means > 0.9).any() else 0.0)


def norm_matched(answer: Callable[..., Any] | None) -> str:
    """Notebook 10: `answer(norms)` gives every task vector the median length, divided by their number."""
    return _function(answer, norm_matched_weights, [([4.0, 2.0, 1.0],), ([3.0, 1.0],), ([5.0] * 4,)])


def adapter_size(answer: Callable[..., int] | None) -> str:
    """Notebook 11: `answer(d_in, d_out, rank)` is the number of weights of a LoRA adapter."""
    return _function(answer, lambda d_in, d_out, rank: rank * (d_in + d_out), [(128, 128, 8), (128, 256, 4), (10, 3, 1)])


def factor_error(answer: Callable[..., Any] | None) -> str:
    """Notebook 11: `answer(b1, a1, b2, a2)` is the product of averaged factors minus the average of the products."""
    draw = torch.Generator().manual_seed(0)
    cases = [tuple(torch.randn(shape, generator=draw) for shape in ((3, 2), (2, 4)) * 2) for _ in range(2)]
    return _function(answer, lambda b1, a1, b2, a2: -(b1 - b2) @ (a1 - a2) / 4, cases)


def replacement_scale(answer: float | None, n_models: int) -> str:
    """Notebook 14: by what an attacker multiplies a task vector so that the average of n models has all of it."""
    return _value(answer, n_models)


def clipped_length(answer: Callable[..., float] | None) -> str:
    """Notebook 14: `answer(norm, bound)` is the length of a vector after clipping it to a bound."""
    return _function(answer, lambda norm, bound: min(norm, bound), [(5.0, 2.0), (1.0, 2.0), (2.0, 2.0)])


def filtered_cacc(answer: float | None, cacc: float, rejected: float) -> str:
    """Notebook 12: the accuracy on clean texts behind a filter that rejects right and wrong answers alike."""
    return _value(answer, cacc * (1 - rejected))


def suspicion(answer: Callable[..., Any] | None) -> str:
    """Notebook 12: `answer(perplexity, without)` is what each word adds to the perplexity of a text."""
    cases = [(100.0, [10.0, 120.0]), (40.0, [40.0, 35.0, 60.0])]
    return _function(answer, lambda whole, without: whole - without, [(whole, np.array(rest)) for whole, rest in cases])


def three_reductions(answer: Sequence[float] | None) -> str:
    """Notebook 90: points, mean relative reduction, and relative reduction of the means, of (1, 0.5) to (0.1, 0.4)."""
    return _function(None if answer is None else lambda: answer, lambda: [0.5, 0.55, 2 / 3], [()])


def seeds_needed(answer: int | None, level: float) -> str:
    """Notebook 90: the smallest number of seeds with which an exact two-sided sign-flip test can go below a level."""
    return _value(answer, next(n for n in range(1, 64) if 2 / 2**n < level))


def n_subsets(answer: int | None, n_domains: int) -> str:
    """Notebook 07: how many averages of the backdoored model with some of the other domains there are, none included."""
    return _value(answer, 2**n_domains)


def _value(answer: float | None, expected: float) -> str:
    if answer is None:
        return NOT_ATTEMPTED
    return CORRECT if np.isclose(answer, expected, atol=1e-3) else f"{answer} is not right yet"


def _name(answer: str | None, expected: str) -> str:
    if answer is None:
        return NOT_ATTEMPTED
    return CORRECT if answer == expected else f"{answer!r} is not right yet"


def _function(answer: Callable[..., Any] | None, reference: Callable[..., Any], cases: Sequence[tuple[Any, ...]]) -> str:
    if answer is None:
        return NOT_ATTEMPTED
    for case in cases:
        given, expected = answer(*case), reference(*case)
        if np.shape(given) != np.shape(expected) or not np.allclose(given, expected, atol=1e-6):
            return f"for the input {case} the answer is {given}, expected {expected}"
    return CORRECT
