"""Which factor a rate follows: shares and differences worked out by hand."""

import numpy as np
import pandas as pd
import pytest
from scipy.stats import ttest_rel

from lib.metrics.variation import explained_shares, paired_difference


def layout(values, task="a"):
    """A panel of weights (rows) and numbers (columns)."""
    cells = [(weight, number, rate) for weight, row in enumerate(values) for number, rate in enumerate(row)]
    return pd.DataFrame(cells, columns=["w", "n", "asr"]).assign(task=task)


def shares(table):
    return explained_shares(table, "asr", ("w", "n"), ["task"])


def test_a_factor_that_decides_alone_explains_all():
    assert shares(layout([[0.1, 0.1], [0.7, 0.7]])) == pytest.approx({"w": 1, "n": 0, "rest": 0})
    assert shares(layout([[0.1, 0.7], [0.1, 0.7]])) == pytest.approx({"w": 0, "n": 1, "rest": 0})


def test_sums_of_squares_by_hand():
    # Mean .4; rows .2 and .6: 2 x 2 x .2^2 = .16; columns .3 and .5: 2 x 2 x .1^2 = .04; the rest is 4 x .1^2 = .04.
    assert shares(layout([[0.0, 0.4], [0.6, 0.6]])) == pytest.approx({"w": 0.16 / 0.24, "n": 0.04 / 0.24, "rest": 0.04 / 0.24})


def test_panels_count_by_their_variation_and_rows_of_a_cell_are_averaged():
    large, small = layout([[0.0, 0.0], [0.8, 0.8]]), layout([[0.1, 0.3], [0.1, 0.3]], "b")
    assert shares(pd.concat([large, small])) == pytest.approx({"w": 0.64 / 0.68, "n": 0.04 / 0.68, "rest": 0})
    spread = pd.concat([large.assign(asr=large["asr"] + 0.1), large.assign(asr=large["asr"] - 0.1)])
    assert shares(spread) == pytest.approx({"w": 1, "n": 0, "rest": 0})


def test_a_layout_with_holes_or_one_value_is_left_out_and_nothing_else_is_nothing():
    full = layout([[0.1, 0.1], [0.7, 0.7]])
    holes, one = layout([[0.0, 0.9], [0.2, 0.4]], "b")[:3], layout([[0.0], [0.9]], "c")
    assert shares(pd.concat([full, holes, one])) == pytest.approx({"w": 1, "n": 0, "rest": 0})
    assert all(np.isnan(share) for share in shares(one).values())
    assert all(np.isnan(share) for share in shares(layout([[0.5, 0.5], [0.5, 0.5]])).values())


def test_a_difference_is_paired_by_cell_and_its_interval_is_students_over_seeds():
    rng = np.random.default_rng(0)
    first = pd.DataFrame([{"task": task, "seed": seed, "asr": rng.random()} for seed in range(4) for task in "ab"])
    second = first.assign(asr=rng.random(len(first)))
    found = paired_difference(first, second, "asr", ["task"])
    by_seed = [table.groupby("seed")["asr"].mean() for table in (second, first)]
    expected = ttest_rel(*by_seed).confidence_interval(0.95)
    assert (found.mean, found.n_seeds) == (pytest.approx((by_seed[0] - by_seed[1]).mean()), 4)
    assert (found.low, found.high) == (pytest.approx(expected.low), pytest.approx(expected.high))


def test_cells_of_one_table_only_are_left_out_and_one_seed_has_no_interval():
    first = pd.DataFrame({"task": ["a", "b"], "seed": 0, "asr": [0.1, 0.9]})
    second = pd.DataFrame({"task": ["a", "c"], "seed": 0, "asr": [0.3, 0.0]})
    found = paired_difference(first, second, "asr", ["task"])
    assert str(found) == "+20.0 points (one seed)"
    with pytest.raises(ValueError, match=r"the tables share no cell of \['seed', 'task'\] with a asr"):
        paired_difference(first[1:], second, "asr", ["task"])
