"""CACC, ASR and intervals: hand examples of the brief (defenses.md 12 and 15), and properties."""

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


def test_excess_asr_and_removed_share_of_the_brief():
    assert metrics.excess_asr(0.24, 0.09) == pytest.approx(0.15)
    assert metrics.excess_asr(0.05, 0.09) == pytest.approx(-0.04)  # below the floor is reported, not hidden
    assert metrics.removed_share(0.98, 0.24, 0.09) == pytest.approx(0.831, abs=5e-4)  # the brief gives three digits


@pytest.mark.parametrize(("before", "is_undefined"), [(0.13, True), (0.15, False)])
def test_removed_share_of_an_attack_that_adds_less_than_five_points_is_nan(before, is_undefined):
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


@pytest.mark.parametrize(("successes", "low", "high"), [(0, 0.0, 0.0158), (12, 0.0288, 0.0853)])
def test_wilson_interval_has_the_values_of_the_brief(successes, low, high):
    assert metrics.wilson_interval(successes, 240) == pytest.approx((low, high), abs=5e-5)


@pytest.mark.parametrize(("successes", "n"), [(3, 10), (10, 10), (1, 1), (444, 872)])
def test_wilson_interval_agrees_with_its_formula(successes, n):
    z, share = 1.959963984540054, successes / n  # Wilson 1927
    centre, half = share + z * z / (2 * n), z * math.sqrt(share * (1 - share) / n + z * z / (4 * n * n))
    expected = [(centre - half) / (1 + z * z / n), (centre + half) / (1 + z * z / n)]
    assert metrics.wilson_interval(successes, n) == pytest.approx(expected)


@pytest.mark.parametrize("value", [0, 1])
def test_bootstrap_of_equal_outcomes_has_no_width(value):
    assert metrics.bootstrap_interval([[value] * 20] * 3, RNG(0)) == (value, value)


def test_bootstrap_of_more_rows_is_narrower():
    widths = [np.diff(metrics.bootstrap_interval([[0, 1] * n], RNG(0)))[0] for n in (10, 100, 1000)]
    assert widths[0] > widths[1] > widths[2]


def test_bootstrap_of_one_seed_is_the_normal_interval_of_a_share():
    # 400 rows, half right: 0.5 -+ 1.96 * sqrt(0.25 / 400) = 0.5 -+ 0.049; 20,000 draws leave an error of about 0.001.
    low, high = metrics.bootstrap_interval([[0, 1] * 200], RNG(0), n_draws=20_000)
    assert (low, high) == pytest.approx((0.451, 0.549), abs=0.004)


def test_bootstrap_of_seeds_that_differ_is_wider_than_of_seeds_that_agree():
    alike = metrics.bootstrap_interval([[0, 1] * 50] * 3, RNG(0))
    differing = metrics.bootstrap_interval([[0] * 100, [0, 1] * 50, [1] * 100], RNG(0))
    assert np.diff(differing)[0] > 3 * np.diff(alike)[0]


def test_bootstrap_draws_seeds_first():
    # Two seeds without spread inside: means of two draws from {0, 1} are 0, 1/2 or 1, so the interval spans everything.
    assert metrics.bootstrap_interval([[0] * 5, [1] * 5], RNG(0)) == (0.0, 1.0)


def test_bootstrap_of_shares_agrees_with_that_of_zeros_and_ones():
    # The path for numbers other than 0 and 1 has to find the same interval as the fast one: here one is the other plus 1.
    outcomes = np.array([0, 1] * 100)
    shifted = np.array(metrics.bootstrap_interval([outcomes + 1], RNG(0))) - 1
    assert shifted == pytest.approx(metrics.bootstrap_interval([outcomes], RNG(0)), abs=0.015)  # 2,000 draws


def test_bootstrap_of_the_same_generator_is_the_same_and_a_higher_confidence_is_wider():
    outcomes = [[0, 1, 1, 0, 1, 1, 1]]
    assert metrics.bootstrap_interval(outcomes, RNG(3)) == metrics.bootstrap_interval(outcomes, RNG(3))
    narrow, wide = (metrics.bootstrap_interval(outcomes, RNG(0), confidence) for confidence in (0.5, 0.99))
    assert wide[0] < narrow[0] < narrow[1] < wide[1]


@pytest.mark.parametrize("outcomes", [[], [[]], [[1], []]])
def test_bootstrap_without_outcomes_raises(outcomes):
    with pytest.raises(ValueError, match="at least one"):
        metrics.bootstrap_interval(outcomes, RNG(0))


@pytest.mark.parametrize("confidence", [0, 1, 95])
def test_bootstrap_with_a_confidence_outside_its_range_raises(confidence):
    with pytest.raises(ValueError, match=f"confidence is {confidence}"):
        metrics.bootstrap_interval([[1]], RNG(0), confidence)


@pytest.mark.parametrize(
    ("values", "mean", "half"), [((0.10, 0.14, 0.30), 0.18, 0.263), ((0.62, 0.55, 0.70, 0.48, 0.66), 0.602, 0.109)]
)
def test_seed_interval_has_the_values_of_the_brief(values, mean, half):
    assert metrics.seed_interval(values) == pytest.approx((mean - half, mean + half), abs=5e-4)  # given to three digits


def test_seed_interval_of_one_seed_raises():
    with pytest.raises(ValueError, match="two or more, found 1"):
        metrics.seed_interval([0.5])
