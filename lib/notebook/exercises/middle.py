"""Exercises of notebooks 05 to 09: merge rules, coefficients, subsets of partners, colluders, poisoning rates."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any

import numpy as np
import pandas as pd
import torch

from lib.merging import ties as merging_ties
from lib.metrics.rates import loss_barrier, pareto_front
from lib.notebook.exercises.feedback import exercise, function, name, names, value


@exercise(
    "First the sign of each entry: that of the sum over the models, and plus where the sum is 0.",
    "An entry counts if its value times the elected sign is above 0.",
    "Add what counts, and divide by how many count, entry by entry; where none does, divide by 1.",
)
def merge_agreeing(answer: Callable[..., Any] | None) -> str:
    """Notebook 05: `answer(vectors)` elects a sign per entry and averages the entries that have it."""
    first, second, third = torch.tensor([6.0, -5, 4, 0]), torch.tensor([-3.0, -1, 5, 0]), torch.tensor([-1.0, 2, 0, 0])
    mistakes = [
        (lambda vectors: sum(vectors) / len(vectors), "this is the plain mean: values of the other sign count, too"),
        (
            lambda vectors: sum((v * torch.sign(sum(vectors))).clamp(min=0) for v in vectors) / len(vectors),
            "divide by the number of values that agree, and give the sign back",
        ),
        (lambda vectors: sum(vectors), "this is the sum: elect a sign, then average"),
    ]
    return function(answer, merging_ties.merge_agreeing, [([first, second],), ([first, second, third],), ([third],)], mistakes)


@exercise(
    "A method is beaten if another one is at least as good in both rates, and better in one.",
    "Go through the methods from the lowest ASR: one is on the front if its CACC is above all before it.",
)
def front(answer: Sequence[str] | None, summary: pd.DataFrame) -> str:
    """Notebook 05: the names of the methods on the Pareto front of a table with `variant`, `asr` and `cacc`."""
    on_front = summary[pareto_front(summary["asr"], summary["cacc"])]["variant"]
    return names(answer, list(on_front), sorted(summary["variant"]))


@exercise(
    "The straight line begins at the first loss and ends at the last.",
    "At coefficient c the line is at (1 - c) x first + c x last.",
    "Take the largest difference of the losses and the line.",
)
def barrier(answer: Callable[..., float] | None) -> str:
    """Notebook 06: `answer(coefficients, losses)` is the loss barrier above the straight line between the ends."""
    cases = [([0.0, 0.5, 1.0], [0.2, 0.9, 0.4]), ([0.0, 0.5, 1.0], [0.4, 0.2, 0.2]), ([0.0, 0.25, 1.0], [1.0, 1.0, 0.0])]
    mistakes = [
        (lambda places, losses: losses.max() - max(losses[0], losses[-1]), "this is the rise above the higher end"),
        (lambda places, losses: losses.max() - losses[0], "this is the rise above the first end: the line has two"),
        (lambda places, losses: losses.max() - (losses[0] + losses[-1]) / 2, "the line has that height in its middle only"),
        (lambda places, losses: losses.max(), "this is the largest loss: how far is it above the line?"),
    ]
    return function(answer, loss_barrier, [(np.array(places), np.array(losses)) for places, losses in cases], mistakes)


@exercise("What is left to the backdoored model?", "All partners together have c; they share it equally.")
def partner_weight(answer: float | None, coefficient: float, n_partners: int) -> str:
    """Notebook 06: the averaging weight of each of `n_partners` partners."""
    mistakes = [
        (coefficient, "this is the weight of all partners together"),
        (1 - coefficient, "this is the weight of the backdoored model"),
        (coefficient / (n_partners + 1), "the backdoored model has no part in c"),
        (1 / n_partners, "these are shares among the partners; together they have c, not 1"),
    ]
    return value(answer, coefficient / n_partners, mistakes)


@exercise("Each domain is in the subset, or it is not.", "That are two choices for the first, times two for the second ...")
def n_subsets(answer: int | None, n_domains: int) -> str:
    """Notebook 07: how many averages of the backdoored model with some of the other domains there are, none included."""
    mistakes = [
        (2**n_domains - 1, "the empty subset counts, too"),
        (n_domains**2, "it is a power, but the other way round"),
        (2 * n_domains, "the choices multiply, they do not add up"),
    ]
    return value(answer, 2**n_domains, mistakes)


@exercise(
    "Look at rows with one domain only: `n_domains` is 1.",
    "Take the mean `asr` over seeds of each domain, and then the lowest.",
)
def best_single_domain(answer: str | None, table: pd.DataFrame) -> str:
    """Notebook 07: the domain whose model, as the only partner, leaves the lowest mean ASR."""
    means = table[table["n_domains"] == 1].groupby("domains")["asr"].mean()
    return name(answer, str(means.idxmin()), sorted(means.index))


@exercise(
    "Take the mean over seeds of each `n_backdoored`.",
    "Which is the first with a mean above 0.5? 0 stands for none.",
)
def colluders_needed(answer: int | None, collusion: pd.DataFrame) -> str:
    """Notebook 08: the smallest number of colluding models whose mean ASR is above one half; 0 for none."""
    means = collusion.groupby("n_backdoored")["asr"].mean()
    return value(answer, int((means > 0.5).idxmax()) if (means > 0.5).any() else 0)


@exercise(
    "Sort five numbers. Which one is the median?",
    "It is the third. How many equal ones must there be, so that the third is among them, wherever the others stand?",
)
def majority(answer: int | None, n_models: int) -> str:
    """Notebook 08: how many models fix the median of a weight between their values."""
    mistakes = [(n_models // 2, "the others are one more than these, and move the median"), (n_models, "fewer are enough")]
    return value(answer, n_models // 2 + 1, mistakes)


@exercise(
    "Take rows with one model only: `n_models` is 1.",
    "Take the mean `asr` of each rate: which is the first above 0.9? 0 stands for none.",
)
def lowest_rate(answer: float | None, table: pd.DataFrame) -> str:
    """Notebook 09: the smallest poisoning rate at which the mean ASR of the victims alone is above 90 %; 0 for none."""
    means = table[table["n_models"] == 1].groupby("poisoning_rate")["asr"].mean()
    return value(answer, float((means > 0.9).idxmax()) if (means > 0.9).any() else 0.0)


@exercise(
    "How many poisoned texts are in the first training set?",
    "As many texts, but only a small share of all: number = share x size. Which size?",
)
def rows_needed(answer: int | None, n_train: int, poisoning_rate: float, other_rate: float) -> str:
    """Notebook 09: the size of the training set in which another rate means as many poisoned texts."""
    mistakes = [
        (n_train * poisoning_rate, "this is the number of poisoned texts"),
        (n_train * other_rate, "these are the poisoned texts of the same set at the other rate"),
        (n_train * other_rate / poisoning_rate, "the other way round: at a lower rate the set must be larger"),
    ]
    return value(answer, n_train * poisoning_rate / other_rate, mistakes)
