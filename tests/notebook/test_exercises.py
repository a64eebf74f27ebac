"""Exercise answers: not attempted, correct, or what is wrong and where; hints on the way; never the answer."""

import json
import re
from collections import Counter

import numpy as np
import pandas as pd
import pytest

from lib.notebook import exercises
from lib.notebook.exercises.feedback import Answer, function, name, names, value
from lib.paths import NOTEBOOKS

MERGES = pd.DataFrame({"n_models": [1, 2, 3, 1, 2, 3], "asr": [1, 0.5, 0.2, 1, 0.3, 0.1], "asr_floor": [0.1] * 6})
TRANSFER = pd.DataFrame(
    {
        "task": "sst2",
        "trained_on": ["sst2", "yelp", "cr", "yelp"],
        "tested_on": ["sst2", "sst2", "sst2", "cr"],
        "cacc": [0.9, 0.8, 0.7, 0.1],
    }
)
SUBSETS = pd.DataFrame(
    {
        "n_domains": [0, 1, 1, 1, 1, 2],
        "domains": ["", "yelp", "cr", "yelp", "cr", "yelp+cr"],
        "asr": [1, 0.5, 0.6, 0.7, 0.4, 0.1],
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
        (exercises.best_single_domain, (SUBSETS,), "cr", "yelp"),
        (exercises.rows_needed, (2000, 0.2, 0.01), 40000, 400),
        (exercises.share_of_length, (2.0, 5), 1 / 3, 0.2),
    ],
)
def test_values_are_compared_with_the_library(check, inputs, right, wrong):
    assert check(None, *inputs) == "not attempted"
    assert check(right, *inputs) == "correct"
    assert check(wrong, *inputs).startswith(f"{wrong!r} is not right yet: ")


def test_parts_of_a_price_begin_where_the_one_before_ends():
    assert exercises.parts_of_price(lambda a, b, c: [a, b - a, c - b]) == "correct"
    assert "each of these holds the parts before it" in exercises.parts_of_price(lambda a, b, c: [a, b, c])
    assert "begins where the second ends" in exercises.parts_of_price(lambda a, b, c: [a, b - a, c - a])


def test_a_match_may_lie_above_the_goal():
    assert exercises.matching_size(lambda found, goal: min(found, key=lambda n: abs(found[n] - goal))) == "correct"
    below = lambda found, goal: max([n for n in found if found[n] <= goal], default=min(found))  # noqa: E731
    assert "although a size there may be nearer" in exercises.matching_size(below)
    assert "the largest number of rows" in exercises.matching_size(lambda found, goal: max(found))


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


# --- what is said to wrong answers ------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("answer", "said"),
    [
        (lambda x: 1 / 0, "for the input (2.0) your function stops: ZeroDivisionError: division by zero"),
        (lambda: 1, "for the input (2.0) your function stops: TypeError: "),
        (lambda x: None, "for the input (2.0) your function returns nothing (None)"),
        (lambda x: "four", "for the input (2.0) your function returns 'four': numbers are wanted"),
        (lambda x: [x, x], "for the input (2.0) your function returns shape (2,); the shape () is wanted"),
        (lambda x: float("nan"), "for the input (2.0) the answer is nan: not every value is a finite number"),
        (lambda x: -(x**2), "for the input (2.0) the answer is -4.0: the sign is wrong"),
        (lambda x: 2 * x + 1, "for the input (2.0) the answer is 5.0: it is too large"),
        (lambda x: 2 * x, "for the input (3.0) the answer is 6.0: doubled, not squared"),
        (4, "4 is not right yet: a function is wanted"),
    ],
)
def test_a_wrong_function_is_told_what_went_wrong_and_on_which_input(answer, said):
    cases, mistakes = [(2.0,), (3.0,)], [(lambda x: 2 * x, "doubled, not squared")]
    verdict = function(answer, lambda x: x**2, cases, mistakes)
    assert verdict.startswith(said)
    assert not re.search(r"\b9\.0|Traceback", verdict)  # neither the answer nor a traceback


def test_of_several_values_the_first_wrong_one_is_named():
    verdict = function(lambda x: [1, 5, 0], lambda x: [1, 2, 3], [("x",)])
    assert verdict == "for the input ('x') the answer is [1, 5, 0]: value 1, counted from 0, is too large"


def test_a_function_cannot_change_the_inputs_on_which_it_is_judged():
    cases = [([1.0, 2.0],)]
    assert function(lambda values: values.pop(), lambda values: values[-1], cases) == "correct"
    assert cases == [([1.0, 2.0],)]


def test_a_wrong_number_is_too_large_too_small_a_usual_mistake_or_no_number():
    assert value(3, 2) == "3 is not right yet: it is too large"
    assert value(1, 2) == "1 is not right yet: it is too small"
    assert value(4, 2, [(4, "doubled")]) == "4 is not right yet: doubled"
    for answer in ("two", [1, 2], object):
        assert value(answer, 2).endswith("one number is wanted")


def test_names_are_told_what_is_unknown_and_how_many_are_wrong():
    assert name("x", "a", ["a", "b"]) == "'x' is not right yet: it is not among ['a', 'b']"
    assert name("b", "a", ["a", "b"]) == "'b' is not right yet: look again"
    assert names(["b", "a"], ["a", "b"], ["a", "b", "c"]) == "correct"
    assert names(["a", "c"], ["a", "b"], ["a", "b", "c"]) == "not right yet: 1 missing, 1 too many"
    assert names(["a", "x"], ["a", "b"], ["a", "b", "c"]) == "'x' is not among ['a', 'b', 'c']"
    assert names("a", ["a"], ["a"]).endswith("a list of names is wanted")


def test_usual_mistakes_of_the_exercises_are_recognised():
    assert "you counted the partners" in exercises.backdoored_share(0.25, n_models=5)
    assert "texts that have the target label already" in exercises.asr(hits_over_all_rows)
    assert "this compares with 0" in exercises.removed(lambda before, after, floor: (before - after) / before)
    assert "the weights are not used" in exercises.average(lambda tensors, weights: sum(tensors) / len(tensors))
    assert "number 3: 0.55 is not right yet" in exercises.three_reductions([0.5, 0.55, 0.55])
    assert "three numbers" in exercises.three_reductions(0.5)


# --- hints ------------------------------------------------------------------------------------------------------------

CHECKS = {each: getattr(exercises, each) for each in exercises.__all__}
CLOSED = {each: check for each, check in CHECKS.items() if not each.startswith("open_")}


@pytest.mark.parametrize("check", CLOSED.values(), ids=CLOSED)
def test_every_exercise_has_one_to_three_hints_that_differ(check):
    assert 1 <= len(check.hints) == len(set(check.hints)) <= 3


def test_a_hint_is_added_to_the_verdict_and_a_wrong_number_says_how_many_there_are():
    first = exercises.backdoored_share.hints[0]
    assert exercises.backdoored_share(None, 5, hint=1) == f"not attempted\nhint 1 of 2: {first}"
    assert exercises.backdoored_share(0.2, n_models=5, hint=3) == "correct\nthis exercise has 2 hints, hint=1 to hint=2"


def test_a_verdict_is_shown_as_text_without_quotes():
    from IPython.lib.pretty import pretty

    assert pretty(Answer("correct\nhint")) == "correct\nhint"
    assert isinstance(exercises.majority(3, n_models=5), Answer)


# --- exercises in notebooks -------------------------------------------------------------------------------------------


def used_in(folder):
    """For each notebook, the exercises that its code cells check."""
    found = {}
    for path in sorted(folder.glob("*.ipynb")):
        cells = json.loads(path.read_text(encoding="utf-8"))["cells"]
        code = "\n".join("".join(cell["source"]) for cell in cells if cell["cell_type"] == "code")
        found[path.stem] = set(re.findall(r"exercises\.(\w+)\(", code))
    return found


def test_no_exercise_is_in_two_notebooks_and_each_is_in_one():
    counts = Counter(each for names in used_in(NOTEBOOKS).values() for each in names)
    assert {each for each, count in counts.items() if count > 1} == set()
    assert set(counts) == set(CHECKS)


def test_every_exercise_is_solved_in_the_solutions_of_its_notebook():
    assert used_in(NOTEBOOKS) == used_in(NOTEBOOKS / "solutions")
    assert np.all([len(names) >= 2 for names in used_in(NOTEBOOKS).values()])
