"""Summaries: means and intervals by hand, over seeds first and examples within them."""

import numpy as np
import pandas as pd
import pytest

from lib.metrics.summary import summarise


def run(group, seed, correct, hits, floor):
    return {
        **{"group": group, "seed": seed, "correct": correct, "hits": hits, "asr_floor": floor},
        **{"cacc": np.mean(correct), "asr": np.mean(hits)},
    }


RUNS = pd.DataFrame(
    [
        run("b", 0, [1, 1, 0, 0], [1, 0], 0.1),
        run("b", 0, [1, 1, 0, 0], [0, 0], 0.1),  # another subset of domains on the same test set
        run("b", 1, [1, 1, 1, 1], [1, 1], 0.3),
        run("b", 1, [1, 1, 1, 1], [1, 0], 0.3),
        run("a", 0, [1, 1, 1, 0], [1, 1], 0.0),
    ]
)


def test_a_summary_worked_out_by_hand():
    summary = summarise(RUNS, ["group"]).set_index("group")
    assert list(summary.index) == ["b", "a"]  # the order of the table
    # b: CACC 0.5 and 1; ASR per example [0.5, 0] and [1, 0.5], so 0.25 and 0.75.
    assert summary.loc["b", ["cacc", "asr", "asr_floor", "n_seeds"]].tolist() == pytest.approx([0.75, 0.5, 0.2, 2])
    assert summary.loc["a", ["cacc", "asr", "asr_floor", "n_seeds"]].tolist() == pytest.approx([0.75, 1.0, 0.0, 1])
    # Two seeds: 0.5 -+ 12.706 * sqrt(var(0.25, 0.75) / 2) leaves the scale; one seed with two texts, both hit: 1 -+ 1.96 / 2.
    assert summary.loc["b", ["asr_low", "asr_high"]].tolist() == [0.0, 1.0]
    assert summary.loc["a", ["asr_low", "asr_high"]].tolist() == pytest.approx([1 - 1.959964 / 2, 1.0])


def test_intervals_hold_the_mean_and_repeat_themselves():
    summary = summarise(RUNS, ["group"])
    for rate in ("cacc", "asr"):
        assert (summary[f"{rate}_low"] <= summary[rate]).all()
        assert (summary[rate] <= summary[f"{rate}_high"]).all()
    pd.testing.assert_frame_equal(summary, summarise(RUNS, ["group"]))


def test_rows_of_one_seed_are_averaged_and_not_counted_as_independent():
    once = pd.DataFrame([run("a", 0, [1, 0, 1, 1], [1, 0, 1, 0], 0)])
    twice = pd.concat([once, once], ignore_index=True)
    pd.testing.assert_frame_equal(summarise(twice, ["group"]), summarise(once, ["group"]))


def test_rows_on_other_texts_are_independent_and_every_row_counts_alike():
    alone = pd.DataFrame([run("a", 0, [1, 0] * 50, [1, 0] * 50, 0)]).assign(task="sst2")
    other = pd.DataFrame([run("a", 0, [1] * 40, [1] * 40, 0)]).assign(task="olid")
    row = summarise(pd.concat([alone, other, other]), ["group"]).iloc[0]
    assert row["asr"] == pytest.approx((0.5 + 1 + 1) / 3)
    half = 1.959964 * ((0.25 / 100 + 1 / 100**2) / 9 + 4 / 9 / 40**2) ** 0.5
    assert row["asr_high"] - row["asr"] == pytest.approx(half)


def test_a_rise_is_the_difference_on_the_same_texts():
    rows = [run("a", seed, [1, 1], [1, 1, 1, 0], 0) | {"untriggered_hits": [0, 1, 0, 0]} for seed in range(3)]
    row = summarise(pd.DataFrame(rows), ["group"]).iloc[0]
    assert row["asr_rise"] == pytest.approx(0.5)
    assert -1 <= row["asr_rise_low"] < 0.5 < row["asr_rise_high"] <= 1
    assert "asr_rise" not in summarise(RUNS, ["group"])
    published = pd.DataFrame(rows).assign(untriggered_hits=[None, [0, 1, 0, 0], None])
    assert "asr_rise" not in summarise(published, ["group"])


def test_a_change_is_the_difference_to_the_other_model_on_the_same_texts():
    rows = [run("a", seed, [1, 1, 0, 0], [1, 0], 0) | {"backdoored_correct": [1, 0, 0, 0]} for seed in range(3)]
    row = summarise(pd.DataFrame(rows), ["group"], ["cacc_change"]).iloc[0]
    assert row["cacc_change"] == pytest.approx(0.25)
    assert row["cacc_change_low"] < 0.25 < row["cacc_change_high"]
    assert "cacc_change" not in summarise(pd.DataFrame(rows), ["group"])  # tables keep their columns
    with pytest.raises(KeyError):
        summarise(RUNS, ["group"], ["luck"])


def test_groups_may_be_of_several_columns(frames):
    summary = summarise(frames["merging"], ["partners", "attack", "n_models"])
    assert len(summary) == 10
    assert list(summary)[:3] == ["partners", "attack", "n_models"]
