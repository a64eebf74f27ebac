"""Stability is told from losses: what falls and stays down is stable, what strays is not, even if it recovers."""

import math

import numpy as np
import pytest

from lib.models.stability import excess_loss, find_instability

LN2 = math.log(2)
FALLING = list(np.linspace(0.7, 0.1, 30))


@pytest.mark.parametrize(
    "losses",
    [
        FALLING,
        [0.7] * 5 + [0.1] * 10,
        [*FALLING[:10], 0.69, *FALLING[10:]],  # one bad batch is no return to chance
        [0.6, 0.2],
        [],
    ],
)
def test_a_loss_that_falls_and_stays_down_is_stable(losses):
    assert find_instability(losses, LN2) == ""


def test_a_loss_that_returns_to_chance_is_unstable_even_if_it_recovers():
    recovered = [*FALLING, *[0.72] * 10, *FALLING]
    assert find_instability(recovered, LN2).startswith(
        "the training loss returned to chance (0.72 of 0.69) after it had fallen"
    )
    assert "returned to chance" in find_instability([*FALLING, *[0.7] * 10], LN2)


def test_a_loss_that_never_falls_is_unstable_because_nothing_was_learnt():
    assert find_instability([0.69] * 20, LN2) == "the training loss ended at chance (0.69 of 0.69): nothing was learnt"


def test_chance_is_relative_to_the_number_of_labels():
    # 0.7 nats is chance for two labels, and much learnt for four.
    assert find_instability(list(np.linspace(1.4, 0.7, 20)), math.log(4)) == ""
    assert "nothing was learnt" in find_instability([1.35] * 20, math.log(4))


@pytest.mark.parametrize("value", [float("nan"), float("inf")])
def test_a_loss_that_is_not_finite_is_unstable(value):
    assert find_instability([0.7, 0.5, value, 0.3], LN2) == "the training loss is not finite"


def test_the_excess_counts_what_lies_above_guessing_step_by_step():
    assert excess_loss([LN2, 0.3, 0.1], 2) == 0.0
    assert excess_loss([2 * LN2, 0.1, 0.1, 0.1], 2) == pytest.approx(0.25)
    assert excess_loss([1.0, 1.3], 4) == 0.0  # guessing among four costs 1.39 nats
    assert excess_loss([], 2) == 0.0


def test_a_slow_training_is_stable_and_one_thrown_about_before_it_learnt_is_not():
    slow = [LN2] * 40 + FALLING
    assert find_instability(slow, LN2, excess_loss(slow, 2)) == ""
    thrown = [LN2] * 3 + [1.1] * 4 + [LN2] * 20 + FALLING
    assert "above that of guessing" in find_instability(thrown, LN2, excess_loss(thrown, 2))
