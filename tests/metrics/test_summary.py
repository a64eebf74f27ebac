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
    assert summary.loc["a", ["asr_low", "asr_high"]].tolist() == [1.0, 1.0]


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


def test_groups_may_be_of_several_columns(frames):
    summary = summarise(frames["merging"], ["partners", "attack", "n_models"])
    assert len(summary) == 10
    assert list(summary)[:3] == ["partners", "attack", "n_models"]
