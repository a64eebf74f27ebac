"""The three headline numbers: worked examples, cells of equal weight, and intervals that hold what they should."""

import numpy as np
import pandas as pd
import pytest

from lib.metrics.rates import removed_share
from lib.metrics.reduction import MEASURES, RATES, most_models, reduction_table


def outcomes(share, n=100):
    return [1] * round(share * n) + [0] * (n - round(share * n))


def run(task, attack, seed, before, after, floor, cacc=(0.9, 0.9), n=100):
    return {
        **{"task": task, "attack": attack, "seed": seed},
        **{"backdoored_hits": outcomes(before, n), "hits": outcomes(after, n), "floor_hits": outcomes(floor, n)},
        **{"backdoored_correct": outcomes(cacc[0]), "correct": outcomes(cacc[1])},
    }


def test_points_relative_and_removed_share_by_hand():
    table = reduction_table(pd.DataFrame([run("sst2", "badnet", 0, 0.98, 0.24, 0.09, cacc=(0.9, 0.92))]))
    assert table["task"].tolist() == ["sst2", "all"]
    for _, row in table.iterrows():
        assert row[["points", "relative", "removed_share"]].tolist() == pytest.approx([0.74, 0.755, 0.831], abs=5e-4)
        assert row["removed_share"] == pytest.approx(removed_share(0.98, 0.24, 0.09))
        assert row[list(RATES)].tolist() == pytest.approx([0.98, 0.24, 0.09, 0.9, 0.92])
        assert row["cacc_change"] == pytest.approx(0.02)


def test_cells_count_alike_whatever_their_number_of_texts():
    runs = [run("sst2", "badnet", 0, 1.0, 0.1, 0.0, n=1000), run("olid", "badnet", 0, 0.5, 0.4, 0.0, n=10)]
    mean = reduction_table(pd.DataFrame(runs)).iloc[-1]
    # before (1, .5), after (.1, .4): the mean of ratios is .55; a ratio of means would be .667.
    assert mean[["points", "relative"]].tolist() == pytest.approx([0.50, 0.55])


def test_a_cell_without_anything_to_remove_has_no_removed_share_and_does_not_count():
    runs = [run("sst2", "badnet", 0, 1.0, 0.2, 0.0), run("sst2", "bite", 0, 0.84, 0.83, 0.81)]
    table = reduction_table(pd.DataFrame(runs)).set_index("attack")
    assert np.isnan(table.loc["bite", "removed_share"])
    assert table.loc["all", "removed_share"] == pytest.approx(0.8)
    only = reduction_table(pd.DataFrame(runs[1:]))
    assert only["removed_share"].isna().all()
    assert only["points"].notna().all()


def test_seeds_are_averaged_last_and_tested_exactly():
    runs = [run("sst2", "badnet", seed, 1.0, after, 0.0) for seed, after in enumerate((0.1, 0.3, 0.2))]
    row = reduction_table(pd.DataFrame(runs)).iloc[0]
    assert row["points"] == pytest.approx(0.8)
    assert (row["n_seeds"], row["sign_flip_p"]) == (3, 0.25)
    assert row["mcnemar_p"] < 1e-10
    same = reduction_table(pd.DataFrame([run("sst2", "badnet", seed, 1.0, 1.0, 0.0) for seed in range(3)])).iloc[0]
    assert (same["mcnemar_p"], same["sign_flip_p"], same["points"]) == (1.0, 1.0, 0.0)


def test_intervals_hold_their_means_repeat_themselves_and_narrow_with_texts():
    def runs(n):
        return pd.DataFrame([run("sst2", attack, seed, 0.9, 0.3, 0.1, n=n) for attack in "ab" for seed in range(3)])

    few, many = reduction_table(runs(50)), reduction_table(runs(5000))
    pd.testing.assert_frame_equal(few, reduction_table(runs(50)))
    for name in (*RATES, *MEASURES):
        assert (few[f"{name}_low"] <= few[name] + 1e-12).all()
        assert (few[name] <= few[f"{name}_high"] + 1e-12).all()
    assert (many["points_high"] - many["points_low"] < few["points_high"] - few["points_low"]).all()
    # Independent cells average out: the mean of two is surer than each.
    width = few["points_high"] - few["points_low"]
    assert width.iloc[-1] < width.iloc[:-1].min()


def test_examples_stay_paired():
    # The floor's hits are the merged model's: whatever texts are drawn, nothing removable is left, and the share is exactly 1.
    row = reduction_table(pd.DataFrame([run("sst2", "badnet", seed, 0.9, 0.3, 0.3) for seed in range(2)])).iloc[0]
    assert (row["removed_share_low"], row["removed_share_high"]) == pytest.approx((1.0, 1.0))


def test_seeds_are_drawn_for_all_cells_together():
    # What one cell gains with a seed the other loses: the mean over cells is the same whichever seeds are drawn.
    after = {("a", 0): 0.0, ("a", 1): 1.0, ("b", 0): 1.0, ("b", 1): 0.0}
    runs = [run("sst2", attack, seed, 1.0, rate, 0.0) for (attack, seed), rate in after.items()]
    table = reduction_table(pd.DataFrame(runs)).set_index("attack")
    assert table.loc["all", ["points_low", "points_high"]].tolist() == pytest.approx([0.5, 0.5])
    assert table.loc["a", ["points_low", "points_high"]].tolist() == pytest.approx([0.0, 1.0])


def test_incomplete_cells_are_refused():
    with pytest.raises(ValueError, match=r"no row"):
        reduction_table(pd.DataFrame())
    runs = [run("sst2", "a", 0, 1, 0, 0), run("sst2", "a", 1, 1, 0, 0), run("sst2", "b", 0, 1, 0, 0)]
    with pytest.raises(ValueError, match=r"\('sst2', 'b'\) has seeds \[0\]; every cell must have each of \[0, 1\] once"):
        reduction_table(pd.DataFrame(runs))


def test_the_reduction_of_a_study_is_that_of_its_largest_averages(frames):
    rows = most_models(frames["merging"], "other_domains")
    assert rows["n_models"].tolist() == [3, 3]
    table = reduction_table(rows).set_index("attack")
    for row in rows.itertuples():
        found = table.loc[row.attack]
        assert found[["backdoored_asr", "merged_asr"]].tolist() == pytest.approx([row.backdoored_asr, row.asr])
        assert found["asr_floor"] == pytest.approx(row.asr_floor)
        assert found["cacc_change"] == pytest.approx(row.cacc - row.backdoored_cacc)
