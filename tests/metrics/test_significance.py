"""Exact tests: worked examples, limits of small numbers of seeds, and what they must not depend on."""

import numpy as np
import pytest

from lib.metrics.significance import holm, mcnemar_p_value, sign_flip_p_value


def paired(only_first, only_second, both=3, none=2):
    first = [1] * only_first + [0] * only_second + [1] * both + [0] * none
    second = [0] * only_first + [1] * only_second + [1] * both + [0] * none
    return np.array(first), np.array(second)


def test_mcnemar_is_the_binomial_test_of_what_only_one_model_does():
    assert mcnemar_p_value(*paired(15, 5)) == pytest.approx(0.0414, abs=5e-5)
    assert mcnemar_p_value(*paired(1, 0)) == 1.0
    assert mcnemar_p_value(*paired(6, 0)) == pytest.approx(2 / 2**6)
    assert mcnemar_p_value(*paired(0, 0)) == 1.0


def test_mcnemar_is_symmetric_and_knows_no_order_of_rows():
    first, second = paired(9, 2)
    order = np.random.default_rng(0).permutation(len(first))
    assert mcnemar_p_value(first, second) == mcnemar_p_value(second, first) == mcnemar_p_value(first[order], second[order])


@pytest.mark.parametrize(("first", "second"), [([1, 0], [1]), ([[1]], [[1]])])
def test_outcomes_that_are_not_paired_are_refused(first, second):
    with pytest.raises(ValueError, match=r"outcomes of shapes .* are not paired"):
        mcnemar_p_value(first, second)
    with pytest.raises(ValueError, match=r"must be 0 or 1"):
        mcnemar_p_value([0.5], [1])


@pytest.mark.parametrize("n", [1, 2, 3, 6])
def test_differences_of_one_sign_give_the_smallest_value_that_so_many_seeds_can(n):
    assert sign_flip_p_value([0.1 + i for i in range(n)]) == pytest.approx(2 / 2**n)


def test_the_sign_flip_test_by_hand():
    # |sums| of the four patterns up to sign: 1+2-3=0, 1+2+3=6, 1-2-3=-4, 1-2+3=2 -> all four reach 0, three reach 2.
    assert sign_flip_p_value([1, 2, -3]) == 1.0
    assert sign_flip_p_value([1, -2, 3]) == 0.75
    assert sign_flip_p_value([0, 0, 0]) == 1.0
    assert sign_flip_p_value([-0.1, -0.1, -0.1]) == sign_flip_p_value([0.1, 0.1, 0.1]) == 0.25


@pytest.mark.parametrize("differences", [[], [float("nan")], [0.1] * 21])
def test_differences_that_cannot_be_tested_are_refused(differences):
    with pytest.raises(ValueError, match=r"there must be 1 to 20, all finite"):
        sign_flip_p_value(differences)


def test_holm_adjusts_in_steps_and_keeps_the_order():
    assert holm([0.01, 0.04, 0.03]) == pytest.approx([0.03, 0.06, 0.06])
    assert holm([0.5, 0.9]) == pytest.approx([1.0, 1.0])
    assert holm([]) == []
    with pytest.raises(ValueError, match=r"each must lie in \[0, 1\]"):
        holm([1.2])
