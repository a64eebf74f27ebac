"""Verdicts: an interval on the claim's side agrees, one on the other side disagrees, one that reaches over is undecided."""

import numpy as np
import pandas as pd
import pytest

from lib.metrics.intervals import seed_interval
from lib.tables.verdicts import Part, over_seeds, ratio_over_seeds, verdict


def part(low, high, n_seeds=3):
    return Part("", (low + high) / 2, low, high, n_seeds)


@pytest.mark.parametrize(
    ("low", "high", "expected"),
    [
        (0.76, 0.80, "agree"),
        (0.75, 0.80, "agree"),  # the claim is "at least"
        (0.74, 0.80, "undecided"),
        (0.70, 0.75, "undecided"),  # it merely reaches the claim
        (0.70, 0.74, "disagree"),
    ],
)
def test_one_mean_against_a_lower_bound(low, high, expected):
    assert verdict([part(low, high)], at_least=0.75) == expected


@pytest.mark.parametrize(
    ("low", "high", "expected"),
    [(-0.04, 0.04, "agree"), (-0.06, 0.04, "undecided"), (0.06, 0.09, "disagree"), (-0.09, 0.09, "undecided")],
)
def test_one_mean_against_a_range(low, high, expected):
    assert verdict([part(low, high)], -0.05, 0.05) == expected


def test_every_mean_must_agree_and_one_can_refute():
    good, wide, bad = part(0.8, 0.9), part(0.7, 0.9), part(0.10, 0.12)
    assert verdict([good, good], at_least=0.75) == "agree"
    assert verdict([good, wide], at_least=0.75) == "undecided"
    assert verdict([good, wide, bad], at_least=0.75) == "disagree"


def test_one_of_many_must_be_far_on_the_other_side():
    slightly = part(0.70, 0.74)
    assert verdict([slightly], at_least=0.75) == "disagree"
    assert verdict([slightly, *[part(0.8, 0.9)] * 3], at_least=0.75) == "undecided"  # widened: 0.679 to 0.761


def test_a_mean_over_seeds_has_their_t_interval_and_widened_that_of_bonferroni():
    values = pd.Series([0.10, 0.14, 0.30])
    found = over_seeds("a", values)
    assert (found.low, found.high) == pytest.approx(seed_interval(values))
    assert found.widened(1) == pytest.approx((found.low, found.high))
    assert found.widened(5) == pytest.approx(seed_interval(values, confidence=0.99))


def test_one_seed_or_nothing_to_judge_decides_nothing():
    alone = over_seeds("a", pd.Series([0.9]))
    assert np.isnan([alone.low, alone.high]).all()
    assert verdict([alone], at_least=0.75) == verdict([], at_least=0.75) == "undecided"
    assert verdict([part(0.8, 0.9, n_seeds=1)], at_least=0.75) == "undecided"  # an interval over texts
    assert verdict([part(float("nan"), float("nan"))], at_least=0.75) == "undecided"


def test_a_ratio_is_that_of_the_means_and_a_constant_one_is_sure():
    ratio = ratio_over_seeds("a", pd.Series([0.1, 0.5]), pd.Series([0.2, 0.6]))
    assert ratio.value == pytest.approx(0.6 / 0.8)
    sure = ratio_over_seeds("a", pd.Series([0.1, 0.2, 0.3]), pd.Series([0.2, 0.4, 0.6]))
    assert (sure.low, sure.value, sure.high) == pytest.approx((0.5, 0.5, 0.5))
