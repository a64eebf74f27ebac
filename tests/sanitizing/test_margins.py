"""Margins of the screen: the numbers by hand, the promised rate on drawn models, and files that cannot be used."""

import json
import math

import numpy as np
import pytest

from lib.sanitizing.margins import (
    DROP_RATE,
    MARGINS_FILE,
    OTHER,
    OWN,
    calibrated,
    conformal_margin,
    excess,
    rate_per_statistic,
    read_margins,
)
from lib.sanitizing.screening import STATISTICS, Statistic, is_outlier


def test_excess_counts_in_sizes_of_the_median_of_the_others_and_not_below_what_matters():
    assert excess(6.0, [2.0, 3.0, 100.0], 1, least=0.5) == 1.0
    assert excess(1.0, [2.0, 4.0, 6.0], -1, least=0.5) == 0.75
    assert excess(3.4, [2.0, 3.0, 4.0], 1, least=0.5) == 0.0  # too little
    assert excess(1.0, [2.0, 3.0, 4.0], 1, least=0.5) == 0.0  # the other direction
    assert excess(-0.1, [-0.2, -0.2, -0.2], 1, least=0.02) == pytest.approx(0.5)  # sizes have no sign
    assert excess(0.1, [0.0, 0.0, 0.0], 1, least=0.02) == math.inf
    assert math.isnan(excess(math.nan, [1.0, 2.0], 1, least=0.0))


@pytest.mark.parametrize(("rate", "found"), [(0.5, 5.0), (0.2, 8.0), (0.12, 9.0), (0.1, 9.0)])
def test_of_nine_models_a_tenth_is_above_the_margin_as_often_as_the_rate_says(rate, found):
    assert conformal_margin([float(value) for value in range(9, 0, -1)], rate) == found


def test_a_further_model_passes_the_margin_no_more_often_than_the_rate():
    rng, n, rate = np.random.default_rng(0), 39, 0.1
    draws = rng.lognormal(size=(4000, n + 1))
    passed = np.mean([row[-1] > conformal_margin(row[:-1], rate) for row in draws])
    assert 0.085 < passed <= 0.112  # 0.1 exactly, and four standard errors


def test_two_flags_are_no_more_frequent_than_the_drop_rate_however_the_statistics_depend():
    assert rate_per_statistic(4, 0.05) == pytest.approx(0.025)
    rng = np.random.default_rng(1)
    shared = rng.random((20000, 1)) < 2 * 0.025  # worst case: the flags come in pairs
    pairs = np.array([[1, 1, 0, 0], [0, 0, 1, 1]])[rng.integers(0, 2, 20000)]
    flags = shared * pairs
    assert flags.mean(axis=0).max() < 0.03 and (flags.sum(axis=1) >= 2).mean() < 0.055


def test_margins_have_a_role_and_a_statistic():
    found = calibrated({OWN: {"a": [0.0] * 8 + [1.0], "b": [2.0] * 9}, OTHER: {"a": [3.0] * 9, "b": [4.0] * 9}}, 0.1)
    assert found == {OWN: {"a": 1.0, "b": 2.0}, OTHER: {"a": 3.0, "b": 4.0}}


def test_what_cannot_be_calibrated_is_refused():
    with pytest.raises(
        ValueError, match=r"leave_one_out of own_domain: 5 clean models cannot show a rate of 0.05; give 19 or more"
    ):
        calibrated({OWN: {"leave_one_out": [0.0] * 5}}, 0.025)
    with pytest.raises(ValueError, match="a of own_domain: the margin is infinite"):
        calibrated({OWN: {"a": [math.inf] * 50}}, 0.05)
    with pytest.raises(ValueError, match=r"drop_rate is 1.5; it must lie in \(0, 1\)"):
        rate_per_statistic(4, 1.5)
    with pytest.raises(ValueError, match=r"rate is 0; it must lie in \(0, 1\)"):
        conformal_margin([1.0], 0)
    assert conformal_margin([math.nan, 1.0, 2.0], 0.5) == 2.0  # a missing value is no model


def test_a_screen_takes_the_largest_margin_of_all_calibrations(tmp_path):
    path = tmp_path / "margins.json"
    path.write_text(json.dumps({"calibrations": [
        {"profile": "a", "margins": {OWN: {"x": 1.0, "y": 5.0}, OTHER: {"x": 2.0, "y": 2.0}}},
        {"profile": "b", "margins": {OWN: {"x": 3.0, "y": 4.0}, OTHER: {"x": 1.0, "y": 2.0}}},
    ]}))  # fmt: skip
    assert read_margins(path) == {OWN: {"x": 3.0, "y": 5.0}, OTHER: {"x": 2.0, "y": 2.0}}
    path.write_text(json.dumps({"calibrations": [{"profile": "a", "margins": {OWN: {"x": 1.0}}}]}))
    with pytest.raises(ValueError, match=r"the calibrations of \['a'\] have no margins of other_domain"):
        read_margins(path)
    path.write_text("{}")
    with pytest.raises(ValueError, match=r"margins.json has no calibrations; make one with benchmarks/screen_margins.py"):
        read_margins(path)


def test_the_kept_margins_say_where_they_come_from_and_cover_every_statistic():
    for entry in json.loads(MARGINS_FILE.read_text(encoding="utf-8"))["calibrations"]:
        assert entry["drop_rate"] == DROP_RATE and entry["n_sets"] == len(entry["tasks"]) * len(entry["seeds"])
        assert not set(entry["seeds"]) & {0, 1, 2}  # those of notebook 14
        assert entry["held_out"]["models"] >= 100
        for role in (OWN, OTHER):
            assert set(entry["margins"][role]) == set(STATISTICS)
            assert all(0 <= margin < math.inf for margin in entry["margins"][role].values())


def test_an_outlier_lies_beyond_the_margin_in_the_suspicious_direction():
    rule = Statistic("", 1, least=0.5)
    assert [is_outlier(value, [2.0, 3.0, 4.0], rule, 0.5) for value in (4.4, 4.6, 0.1)] == [False, True, False]
    assert is_outlier(4.6, [3.0, 3.0, 100.0], rule, 0.5)  # a second attacker does not hide the first
