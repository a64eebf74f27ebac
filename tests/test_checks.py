"""Exercise answers: not attempted, correct, or where they differ."""

import pandas as pd
import pytest

from lib import checks

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
        (checks.majority_accuracy, ([0, 0, 1, 0],), 0.75, 0.5),
        (checks.n_poisoned, (2000, 0.2), 400, 2000),
        (checks.backdoored_share, (5,), 0.2, 0.25),
        (checks.models_needed, (MERGES,), 3, 2),  # mean ASR 1, 0.4, 0.15; at most 0.1 + 0.1
        (checks.partner_weight, (0.6, 3), 0.2, 0.6),
        (checks.n_subsets, (3,), 8, 7),
        (checks.worst_domain, (TRANSFER,), "cr", "yelp"),
        (checks.seeds_needed, (0.05,), 6, 5),
        (checks.seeds_needed, (0.3,), 3, 2),
    ],
)
def test_values_are_compared_with_the_library(check, inputs, right, wrong):
    assert check(None, *inputs) == "not attempted"
    assert check(right, *inputs) == "correct"
    assert check(wrong, *inputs) == f"{wrong!r} is not right yet"


def test_three_reductions_want_all_three():
    assert checks.three_reductions(None) == "not attempted"
    assert checks.three_reductions([0.5, 0.55, 2 / 3]) == "correct"
    assert checks.three_reductions([0.5, 0.55, 0.55]) != "correct"
    assert checks.three_reductions([0.5]) != "correct"


def test_models_needed_is_zero_when_no_number_is_enough():
    assert checks.models_needed(0, MERGES.assign(asr=0.9)) == "correct"


def hits_over_all_rows(predictions, labels, target_label):
    return (predictions == target_label).mean()


def hits_over_attackable_rows(predictions, labels, target_label):
    return hits_over_all_rows(predictions[labels != target_label], labels, target_label)


@pytest.mark.parametrize(
    ("check", "right", "wrong"),
    [
        (checks.asr, hits_over_attackable_rows, hits_over_all_rows),
        (checks.adapter_size, lambda d_in, d_out, rank: rank * d_in + d_out * rank, lambda d_in, d_out, rank: d_in * d_out),
        (
            checks.factor_error,
            lambda b1, a1, b2, a2: (b1 + b2) @ (a1 + a2) / 4 - (b1 @ a1 + b2 @ a2) / 2,
            lambda b1, a1, b2, a2: b1 @ a2 + b2 @ a1,
        ),
        (checks.average, lambda ts, ws: sum(w * t for w, t in zip(ws, ts, strict=True)), lambda ts, ws: sum(ts) / len(ts)),
        (checks.removed, lambda before, after, floor: (before - after) / (before - floor), lambda b, a, f: (b - a) / b),
        (checks.barrier, lambda a, x: max(x - (1 - a) * x[0] - a * x[-1]), lambda a, x: max(x) - max(x[0], x[-1])),
    ],
)
def test_functions_are_compared_on_inputs_and_the_first_difference_is_shown(check, right, wrong):
    assert check(None) == "not attempted"
    assert check(right) == "correct"
    assert check(wrong).startswith("for the input (")
