"""Intervals of one rate and of means over seeds: examples worked out by hand, and properties."""

import math

import numpy as np
import pytest

from lib.metrics import intervals as metrics


@pytest.mark.parametrize(("successes", "low", "high"), [(0, 0.0, 0.0158), (12, 0.0288, 0.0853)])
def test_wilson_interval_has_the_values_worked_out_by_hand(successes, low, high):
    assert metrics.wilson_interval(successes, 240) == pytest.approx((low, high), abs=5e-5)


@pytest.mark.parametrize(("successes", "n"), [(3, 10), (10, 10), (1, 1), (444, 872)])
def test_wilson_interval_agrees_with_its_formula(successes, n):
    z, share = 1.959963984540054, successes / n  # Wilson 1927
    centre, half = share + z * z / (2 * n), z * math.sqrt(share * (1 - share) / n + z * z / (4 * n * n))
    expected = [(centre - half) / (1 + z * z / n), (centre + half) / (1 + z * z / n)]
    assert metrics.wilson_interval(successes, n) == pytest.approx(expected)


@pytest.mark.parametrize(
    ("values", "mean", "half"), [((0.10, 0.14, 0.30), 0.18, 0.263), ((0.62, 0.55, 0.70, 0.48, 0.66), 0.602, 0.109)]
)
def test_seed_interval_has_the_values_worked_out_by_hand(values, mean, half):
    assert metrics.seed_interval(values) == pytest.approx((mean - half, mean + half), abs=5e-4)  # given to three digits


def test_seed_interval_of_one_seed_without_texts_raises():
    with pytest.raises(ValueError, match="two or more, found 1"):
        metrics.seed_interval([0.5])


@pytest.mark.parametrize("confidence", [0, 1, 95])
def test_a_confidence_outside_its_range_raises(confidence):
    with pytest.raises(ValueError, match=f"confidence is {confidence}"):
        metrics.seed_interval([0.1, 0.2], confidence=confidence)


def test_many_means_at_once_are_those_one_by_one():
    values = np.array([[0.10, 0.62], [0.14, 0.55], [0.30, 0.70]])
    low, high = metrics.seed_interval(values)
    for column in range(2):
        assert (low[column], high[column]) == pytest.approx(metrics.seed_interval(values[:, column]))


def test_the_variance_of_a_share_of_texts_is_the_binomial_one_and_one_text_more():
    assert metrics.text_variance([1] * 30 + [0] * 70) == pytest.approx(0.3 * 0.7 / 100 + 1e-4)


def test_the_texts_stand_in_for_seeds_that_differ_less_than_the_texts_alone_would_make_them():
    three = [1.0, 1.0, 1.0]
    low, high = metrics.seed_interval(three, [metrics.text_variance([1] * 250)] * 3)
    half = 4.302653 / 250 / math.sqrt(3)  # t with two degrees of freedom; one text of 250 is the standard error of a seed
    assert (low, high) == pytest.approx((1 - half, 1 + half))
    assert metrics.seed_interval([0.5, 0.7, 0.9], [1e-3] * 3) == pytest.approx(metrics.seed_interval([0.5, 0.7, 0.9]))


def test_one_seed_has_the_normal_interval_of_its_texts():
    # 400 texts, half right: 0.5 -+ 1.96 * sqrt(0.25 / 400 + 1 / 400^2).
    low, high = metrics.seed_interval([0.5], [metrics.text_variance([0, 1] * 200)])
    assert (low, high) == pytest.approx((0.4508, 0.5492), abs=1e-4)
