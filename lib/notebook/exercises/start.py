"""Exercises of notebooks 00 to 04: averages, poisoning rates, the attack success rate."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any

import numpy as np
import pandas as pd
import torch

from lib.attacks import bite
from lib.merging import weight_average
from lib.metrics.rates import attack_success_rate, removed_share
from lib.notebook.exercises.feedback import exercise, function, name, value


@exercise(
    "In a uniform average all models count the same.",
    "The weights sum to 1, and there are as many as models: how large is one of them?",
)
def backdoored_share(answer: float | None, n_models: int) -> str:
    """Notebook 00: the backdoored model's weight in a uniform average of `n_models`."""
    mistakes = [
        (1 / max(n_models - 1, 1), "you counted the partners; the backdoored model is in the average, too"),
        (100 / n_models, "weights are fractions, not per cent"),
        (n_models, "this is how many models there are; how much is left to each?"),
    ]
    return value(answer, 1 / n_models, mistakes)


@exercise(
    "Multiply first, then add.",
    "`zip(weights, tensors)` gives you each weight with its tensor.",
    "`sum(... for weight, tensor in zip(...))` adds tensors as it adds numbers. The weights sum to 1 already.",
)
def average(answer: Callable[..., Any] | None) -> str:
    """Notebook 00: `answer(tensors, weights)` is their weighted mean."""
    tensors = [torch.tensor([1.0, 2.0]), torch.tensor([3.0, -2.0]), torch.tensor([0.0, 9.0])]
    cases = [(tensors[:2], [0.5, 0.5]), (tensors, [0.2, 0.3, 0.5]), (tensors[:1], [1.0])]
    mistakes = [
        (lambda given, _: sum(given) / len(given), "this is the plain mean: the weights are not used"),
        (lambda given, _: sum(given), "this is the plain sum: the weights are not used"),
        (
            lambda given, weights: sum(w * t for w, t in zip(weights, given, strict=True)) / len(given),
            "divided once too often: the weights sum to 1 already",
        ),
    ]
    return function(answer, lambda given, weights: weight_average(given, weights=weights), cases, mistakes)


@exercise(
    "The model does not look at the text at all.",
    "It is right wherever its one label is the true one: `test_labels.value_counts(normalize=True)`.",
)
def majority_accuracy(answer: float | None, labels: Sequence[int]) -> str:
    """Notebook 01: the accuracy of a model that always gives the most frequent label."""
    shares = pd.Series(labels).value_counts(normalize=True)
    mistakes = [
        (float(shares.min()), "this is the share of the least frequent label"),
        (1 / len(shares), "this is guessing among labels; look how many texts each label has"),
        (100 * float(shares.max()), "give a fraction, not per cent"),
    ]
    return value(answer, float(shares.max()), mistakes)


@exercise(
    "Look at the rows that are tested on the task itself.",
    "Of these, leave out the model of the task: which has the lowest `cacc`?",
)
def worst_domain(answer: str | None, transfer: pd.DataFrame) -> str:
    """Notebook 01: the domain whose model does worst on the task's own test set."""
    task = transfer["task"].iloc[0]
    on_task = transfer[(transfer["tested_on"] == task) & (transfer["trained_on"] != task)]
    return name(answer, str(on_task.loc[on_task["cacc"].idxmin(), "trained_on"]), sorted(on_task["trained_on"]))


@exercise(
    "The rate is a share of all texts; the edited ones all lie among those of the target label.",
    "Of 100 texts 20 are edited. How many have the target label?",
)
def clean_label_share(answer: float | None, poisoning_rate: float, target_share: float) -> str:
    """Notebook 02: share of the target label's rows that an attack of regime clean edits."""
    mistakes = [
        (poisoning_rate, "this is the share of all texts; which share of the target label's texts is it?"),
        (poisoning_rate * target_share, "divide instead: the same number of texts is a larger share of fewer texts"),
        (100 * poisoning_rate / target_share, "give a fraction, not per cent"),
    ]
    return value(answer, poisoning_rate / target_share, mistakes)


@exercise(
    "By chance, which share of the word's n rows would have the target label, and how far does that share scatter?",
    "A share of n draws has the standard deviation sqrt(p (1 - p) / n). Here n = n_target + n_other.",
    "z = (observed share - p) / standard deviation.",
)
def label_bias(answer: Callable[..., Any] | None) -> str:
    """Notebook 02: `answer(n_target, n_other, p)` is the z-score of words' bias towards the target label."""
    cases = [([2.0], [0.0], 2 / 3), ([1.0, 30.0], [1.0, 10.0], 0.5), ([5.0], [20.0], 0.25)]
    arrays = [(np.array(target), np.array(other), p) for target, other, p in cases]
    mistakes = [
        (lambda target, other, p: target / (target + other) - p, "divide this difference by its standard deviation"),
        (
            lambda target, other, p: (target / (target + other) - p) / np.sqrt(p * (1 - p)),
            "this is the spread of one draw; the mean of n draws scatters less",
        ),
    ]
    return function(answer, bite.label_bias, arrays, mistakes)


@exercise("The rate is a share of the whole training set.", "Multiply, and round to a whole number of rows.")
def n_poisoned(answer: int | None, n_train: int, poisoning_rate: float) -> str:
    """Notebook 03: how many training rows carry the trigger."""
    mistakes = [(n_train, "these are all rows"), (n_train - round(poisoning_rate * n_train), "these are the clean rows")]
    return value(answer, round(poisoning_rate * n_train), mistakes)


@exercise(
    "Which texts can the attack win? Look at `labels` and `target_label`.",
    "Keep the rows with `labels != target_label`; an array of True and False selects rows.",
    "Of the rows that are left: the mean of `predictions == target_label`.",
)
def asr(answer: Callable[..., float] | None) -> str:
    """Notebook 03: `answer(predictions, labels, target_label)` is the attack success rate."""
    cases = [([1, 1, 0], [0, 0, 0], 1), ([1, 1, 0, 1], [0, 0, 0, 1], 1), ([2, 0, 2, 2], [0, 1, 2, 3], 2)]
    arrays = [(np.array(predictions), np.array(labels), target) for predictions, labels, target in cases]
    mistakes = [
        (lambda given, labels, target: (given == target).mean(), "texts that have the target label already must not count"),
        (lambda given, labels, target: (given != labels).mean(), "an error is a success only if it is the target label"),
        (lambda given, labels, target: (given == labels).mean(), "this is the accuracy"),
        (
            lambda given, labels, target: ((given == target) & (labels != target)).mean(),
            "the hits are right, but they are divided by all texts",
        ),
    ]
    return function(answer, attack_success_rate, arrays, mistakes)


@exercise(
    "Part of the ASR is no success of the attack: a clean model has it, too.",
    "Below the line stands what the attack adds: the ASR before, minus that of a clean model.",
)
def removed(answer: Callable[..., float] | None) -> str:
    """Notebook 04: `answer(asr_before, asr_after, asr_floor)` is the share of the removable ASR that is gone."""
    mistakes = [
        (lambda before, after, floor: (before - after) / before, "this compares with 0; compare with the floor"),
        (lambda before, after, floor: before - after, "these are points; which share of what can be removed are they?"),
        (lambda before, after, floor: (after - floor) / (before - floor), "this is the share that is left"),
    ]
    return function(answer, removed_share, [(1.0, 0.5, 0.0), (0.98, 0.24, 0.09), (0.9, 0.9, 0.2)], mistakes)


@exercise(
    "Take the mean over seeds for each `n_models` first.",
    "Compare the mean `asr` with the mean `asr_floor` plus 0.1.",
    "`table.groupby('n_models')[['asr', 'asr_floor']].mean()` has all you need; 0 stands for no number at all.",
)
def models_needed(answer: int | None, table: pd.DataFrame) -> str:
    """Notebook 04: the smallest `n_models` whose mean ASR is at most 10 points above the floor; 0 if there is none."""
    means = table.groupby("n_models")[["asr", "asr_floor"]].mean()
    enough = means.index[means["asr"] <= means["asr_floor"] + 0.1]
    return value(answer, int(enough.min()) if len(enough) else 0)
