"""CACC and ASR: examples worked out by hand, and properties."""

import math

import numpy as np
import pytest

from lib.metrics import rates as metrics

RNG = np.random.default_rng


def test_cacc_counts_a_rejected_input_as_an_error():
    assert metrics.clean_accuracy([0, 1, -1, 2], [0, 1, 2, 2]) == pytest.approx(3 / 4)


@pytest.mark.parametrize(("predictions", "expected"), [([0, 1, 1], 1.0), ([1, 0, 0], 0.0)])
def test_cacc_of_all_right_and_all_wrong(predictions, expected):
    assert metrics.clean_accuracy(predictions, [0, 1, 1]) == expected


def test_asr_counts_rejections_and_other_wrong_classes_as_failures():
    assert metrics.attack_success_rate([1, -1, 1, 0], [0, 0, 2, 0], target_label=1) == pytest.approx(2 / 4)
    assert metrics.attack_success_rate([2, 2], [0, 0], target_label=1) == 0.0


def test_asr_leaves_examples_of_the_target_label_out():
    # Rows 2 and 4 have the target label 3 already; of the other three, one is sent to it.
    assert metrics.attack_success_rate([3, 3, 0, 3, 1], [0, 3, 1, 3, 2], target_label=3) == pytest.approx(1 / 3)


def test_asr_works_for_four_classes_and_every_target_label():
    labels, predictions = [0, 1, 2, 3, 0, 1, 2, 3], [1, 1, 1, 0, 2, 3, 2, 3]
    expected = {0: 1 / 6, 1: 2 / 6, 2: 1 / 6, 3: 1 / 6}  # counted by hand, row by row
    for target_label, asr in expected.items():
        assert metrics.attack_success_rate(predictions, labels, target_label) == pytest.approx(asr)


@pytest.mark.parametrize(("predictions", "expected"), [([1, 1], 1.0), ([0, 0], 0.0)])
def test_asr_of_an_attack_that_always_and_never_succeeds(predictions, expected):
    assert metrics.attack_success_rate(predictions, [0, 0], target_label=1) == expected


def test_asr_without_an_attackable_example_raises():
    with pytest.raises(ValueError, match="every example has target label 1"):
        metrics.attack_success_rate([0, 1], [1, 1], target_label=1)


def test_outcomes_keep_the_order_of_the_attackable_examples():
    outcomes = metrics.attack_outcomes([2, 2, 0, 2], [0, 2, 1, 1], target_label=2)
    assert outcomes.tolist() == [True, False, True]


@pytest.mark.parametrize("metric", [metrics.clean_accuracy, lambda p, y: metrics.attack_success_rate(p, y, 0)])
@pytest.mark.parametrize(("predictions", "labels"), [([0, 1], [0, 1, 1]), ([[0, 1]], [[0, 1]]), ([], [])])
def test_inputs_that_do_not_match_or_are_empty_raise(metric, predictions, labels):
    with pytest.raises(ValueError, match=r"do not match|no example"):
        metric(predictions, labels)


def test_flip_rate_divides_by_the_rows_not_sent_to_the_target_without_trigger():
    clean, triggered, labels = [0, 0, 1, 2], [1, 0, 1, 1], [0, 0, 0, 2]
    assert metrics.attack_success_rate(triggered, labels, target_label=1) == pytest.approx(3 / 4)
    assert metrics.flip_rate(clean, triggered, labels, target_label=1) == pytest.approx(2 / 3)


def test_flip_rate_without_a_row_left_is_nan():
    assert math.isnan(metrics.flip_rate([1, 1], [1, 1], [0, 1], target_label=1))


def test_excess_asr_and_removed_share_worked_out_by_hand():
    assert metrics.excess_asr(0.24, 0.09) == pytest.approx(0.15)
    assert metrics.excess_asr(0.05, 0.09) == pytest.approx(-0.04)  # below the floor is reported, not hidden
    assert metrics.removed_share(0.98, 0.24, 0.09) == pytest.approx(0.831, abs=5e-4)  # worked out to three digits


@pytest.mark.parametrize(("before", "is_undefined"), [(0.18, True), (0.20, False)])
def test_removed_share_of_an_attack_that_adds_less_than_ten_points_is_nan(before, is_undefined):
    assert math.isnan(metrics.removed_share(before, 0.09, 0.09)) == is_undefined


def test_rates_do_not_depend_on_the_order_of_the_rows():
    rng = RNG(0)
    labels, before, after = (rng.integers(4, size=50) for _ in range(3))
    order = rng.permutation(50)
    rates = [
        (metrics.clean_accuracy(p, y), metrics.attack_success_rate(p, y, 2), metrics.flip_rate(b, p, y, 2))
        for b, p, y in ((before, after, labels), (before[order], after[order], labels[order]))
    ]
    assert rates[0] == pytest.approx(rates[1])


def test_relabelling_classes_together_with_the_target_leaves_rates_unchanged():
    rng, rename = RNG(1), np.array([2, 0, 3, 1])
    labels, before, after = (rng.integers(4, size=50) for _ in range(3))
    for target in range(4):
        renamed = metrics.attack_success_rate(rename[after], rename[labels], rename[target])
        assert renamed == pytest.approx(metrics.attack_success_rate(after, labels, target))
        renamed = metrics.flip_rate(rename[before], rename[after], rename[labels], rename[target])
        assert renamed == pytest.approx(metrics.flip_rate(before, after, labels, target))


def test_a_loss_barrier_is_measured_from_the_line_between_the_ends():
    # At 1/4 the line is at 0.25, at 1/2 at 0.3, at 3/4 at 0.35: 0.55, 0.6 and -0.1 above it.
    assert metrics.loss_barrier([0, 0.25, 0.5, 0.75, 1], [0.2, 0.8, 0.9, 0.25, 0.4]) == pytest.approx(0.6)
    assert metrics.loss_barrier([0, 0.5, 1], [0.4, 0.1, 0.2]) == 0.0  # a valley is no barrier


@pytest.mark.parametrize("coefficients", [[0, 1], [0.1, 0.5, 1], [0, 0.5, 0.9], []])
def test_a_loss_barrier_needs_both_ends_and_one_loss_per_place(coefficients):
    with pytest.raises(ValueError, match="must rise from 0 to 1, one per loss, found 3 losses"):
        metrics.loss_barrier(coefficients, [1, 2, 1])
