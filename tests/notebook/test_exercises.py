"""Exercise answers: not attempted, correct, or where they differ."""

import pandas as pd
import pytest

from lib.notebook import exercises

MERGES = pd.DataFrame({"n_models": [1, 2, 3, 1, 2, 3], "asr": [1, 0.5, 0.2, 1, 0.3, 0.1], "asr_floor": [0.1] * 6})
TRANSFER = pd.DataFrame(
    {
        "task": "sst2",
        "trained_on": ["sst2", "yelp", "cr", "yelp"],
        "tested_on": ["sst2", "sst2", "sst2", "cr"],
        "cacc": [0.9, 0.8, 0.7, 0.1],
    }
)


@pytest.mark.parametrize(
    ("check", "inputs", "right", "wrong"),
    [
        (exercises.majority_accuracy, ([0, 0, 1, 0],), 0.75, 0.5),
        (exercises.n_poisoned, (2000, 0.2), 400, 2000),
        (exercises.backdoored_share, (5,), 0.2, 0.25),
        (exercises.models_needed, (MERGES,), 3, 2),  # mean ASR 1, 0.4, 0.15; at most 0.1 + 0.1
        (exercises.partner_weight, (0.6, 3), 0.2, 0.6),
        (exercises.replacement_scale, (5,), 5, 0.2),
        (exercises.n_subsets, (3,), 8, 7),
        (exercises.worst_domain, (TRANSFER,), "cr", "yelp"),
        (exercises.seeds_needed, (0.05,), 6, 5),
        (exercises.seeds_needed, (0.3,), 3, 2),
    ],
)
def test_values_are_compared_with_the_library(check, inputs, right, wrong):
    assert check(None, *inputs) == "not attempted"
    assert check(right, *inputs) == "correct"
    assert check(wrong, *inputs) == f"{wrong!r} is not right yet"


def test_three_reductions_want_all_three():
    assert exercises.three_reductions(None) == "not attempted"
    assert exercises.three_reductions([0.5, 0.55, 2 / 3]) == "correct"
    assert exercises.three_reductions([0.5, 0.55, 0.55]) != "correct"
    assert exercises.three_reductions([0.5]) != "correct"


def test_models_needed_is_zero_when_no_number_is_enough():
    assert exercises.models_needed(0, MERGES.assign(asr=0.9)) == "correct"


def hits_over_all_rows(predictions, labels, target_label):
    return (predictions == target_label).mean()


def hits_over_attackable_rows(predictions, labels, target_label):
    return hits_over_all_rows(predictions[labels != target_label], labels, target_label)


@pytest.mark.parametrize(
    ("check", "right", "wrong"),
    [
        (exercises.asr, hits_over_attackable_rows, hits_over_all_rows),
        (exercises.adapter_size, lambda d_in, d_out, rank: rank * d_in + d_out * rank, lambda d_in, d_out, rank: d_in * d_out),
        (
            exercises.factor_error,
            lambda b1, a1, b2, a2: (b1 + b2) @ (a1 + a2) / 4 - (b1 @ a1 + b2 @ a2) / 2,
            lambda b1, a1, b2, a2: b1 @ a2 + b2 @ a1,
        ),
        (exercises.average, lambda ts, ws: sum(w * t for w, t in zip(ws, ts, strict=True)), lambda ts, ws: sum(ts) / len(ts)),
        (exercises.removed, lambda before, after, floor: (before - after) / (before - floor), lambda b, a, f: (b - a) / b),
        (exercises.barrier, lambda a, x: max(x - (1 - a) * x[0] - a * x[-1]), lambda a, x: max(x) - max(x[0], x[-1])),
    ],
)
def test_functions_are_compared_on_inputs_and_the_first_difference_is_shown(check, right, wrong):
    assert check(None) == "not attempted"
    assert check(right) == "correct"
    assert check(wrong).startswith("for the input (")


def test_clipped_lengths_are_those_of_the_bound_or_less():
    assert exercises.clipped_length(lambda norm, bound: min(norm, bound)) == "correct"
    assert exercises.clipped_length(lambda norm, bound: bound) != "correct"
