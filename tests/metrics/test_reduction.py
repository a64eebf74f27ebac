"""The three headline numbers: worked examples, cells of equal weight, and intervals that hold what they should."""

import numpy as np
import pandas as pd
import pytest

from lib.metrics.intervals import seed_interval
from lib.metrics.rates import removed_share
from lib.metrics.reduction import (
    MEASURES,
    NAMES,
    RATES,
    cells_of,
    interval_table,
    means_by,
    most_models,
    reduction_table,
)


def outcomes(share, n=100):
    return [1] * round(share * n) + [0] * (n - round(share * n))


def run(task, attack, seed, before, after, floor, cacc=(0.9, 0.9), n=100):
    return {
        **{"task": task, "attack": attack, "seed": seed},
        **{"backdoored_hits": outcomes(before, n), "hits": outcomes(after, n), "floor_hits": outcomes(floor, n)},
        **{"backdoored_correct": outcomes(cacc[0]), "correct": outcomes(cacc[1]), "clean_correct": outcomes(0.95)},
    }


def test_accuracy_changes_against_the_victim_and_against_a_clean_model():
    rows = pd.DataFrame([run("sst2", "badnet", 0, 0.98, 0.24, 0.09, cacc=(0.9, 0.92))])
    total = reduction_table(rows).iloc[-1]
    assert (total.cacc_change, total.cacc_change_vs_clean) == (pytest.approx(0.02), pytest.approx(-0.03))
    unknown = reduction_table(rows.drop(columns="clean_correct")).iloc[-1]
    assert unknown.cacc_change == pytest.approx(0.02) and pd.isna(unknown.cacc_change_vs_clean)


def test_points_relative_and_removed_share_by_hand():
    table = reduction_table(pd.DataFrame([run("sst2", "badnet", 0, 0.98, 0.24, 0.09, cacc=(0.9, 0.92))]))
    assert table[["task", "attack"]].to_numpy().tolist() == [
        ["sst2", "badnet"],
        ["sst2", "all"],
        ["all", "badnet"],
        ["all", "all"],
    ]
    for _, row in table.iterrows():
        assert row[["points", "relative", "removed_share"]].tolist() == pytest.approx([0.74, 0.755, 0.831], abs=5e-4)
        assert row["removed_share"] == pytest.approx(removed_share(0.98, 0.24, 0.09))
        assert row[list(RATES)].tolist() == pytest.approx([0.98, 0.24, 0.09, 0.9, 0.92])
        assert row["cacc_change"] == pytest.approx(0.02)


def test_cells_count_alike_whatever_their_number_of_texts_and_both_means_of_ratios_are_named():
    runs = [run("sst2", "badnet", 0, 1.0, 0.1, 0.0, n=1000), run("olid", "badnet", 0, 0.5, 0.4, 0.0, n=10)]
    mean = reduction_table(pd.DataFrame(runs)).iloc[-1]
    # before (1, .5), after (.1, .4): the mean of ratios is (.9 + .2) / 2, the ratio of means 1 - .25 / .75.
    assert mean[["points", "relative", "relative_of_means"]].tolist() == pytest.approx([0.50, 0.55, 2 / 3])
    floored = [row | {"floor_hits": outcomes(floor, len(row["hits"]))} for row, floor in zip(runs, (0.1, 0.2), strict=True)]
    mean = reduction_table(pd.DataFrame(floored)).iloc[-1]
    assert mean[["removed_share", "removed_share_of_means"]].tolist() == pytest.approx([(1 + 1 / 3) / 2, 1.0 / 1.2])


def test_a_cell_with_too_little_to_remove_leaves_the_ratios_and_is_counted():
    runs = [run("sst2", "badnet", 0, 1.0, 0.2, 0.0), run("sst2", "bite", 0, 0.84, 0.83, 0.75)]
    table = reduction_table(pd.DataFrame(runs)).set_index(["task", "attack"])
    ratios = ["relative", "relative_of_means", "removed_share", "removed_share_of_means"]
    assert table.loc[("sst2", "bite"), ratios].isna().all()
    assert table.loc[("all", "all"), ratios].tolist() == pytest.approx([0.8] * 4)
    assert table.loc[("all", "all"), ["n_cells", "n_ratio_cells"]].tolist() == [2, 1]
    assert table.loc[("all", "all"), "points"] == pytest.approx(0.405)  # of both
    only = reduction_table(pd.DataFrame(runs[1:]))
    assert only[ratios].isna().all(axis=None)
    assert only["points"].notna().all()


def test_the_rule_looks_at_the_mean_of_the_cell_and_not_at_single_seeds():
    # Removable: .05, .25, .15 over three seeds; the mean of .15 keeps the cell, and no seed is dropped or blows the ratio up.
    runs = [run("sst2", "a", seed, before, before - 0.1, 0.2) for seed, before in enumerate((0.25, 0.45, 0.35))]
    row = reduction_table(pd.DataFrame(runs)).iloc[0]
    assert (row["n_seeds"], row["n_ratio_cells"]) == (3, 1)
    assert row["removed_share"] == pytest.approx(0.1 / 0.15)
    assert row["relative"] == pytest.approx(0.1 / 0.35)
    kept = reduction_table(pd.DataFrame([run("sst2", "a", 0, 0.3, 0.25, 0.2)])).iloc[0]  # exactly ten points
    assert kept["removed_share"] == pytest.approx(0.5)


def test_means_of_tasks_and_attacks_are_rows_of_their_own():
    rates = {("sst2", "a"): 0.1, ("sst2", "b"): 0.3, ("olid", "a"): 0.5, ("olid", "b"): 0.7}
    runs = [run(*cell, seed, 1.0, rate, 0.0) for cell, rate in rates.items() for seed in (0, 1)]
    table = reduction_table(pd.DataFrame(runs))
    assert len(cells_of(table)) == 4
    assert means_by(table, "task").set_index("task")["merged_asr"].to_dict() == pytest.approx({"sst2": 0.2, "olid": 0.6})
    assert means_by(table, "attack").set_index("attack")["merged_asr"].to_dict() == pytest.approx({"a": 0.3, "b": 0.5})
    assert table.iloc[-1][["task", "attack"]].tolist() == ["all", "all"]
    assert table["n_cells"].tolist() == [1] * 4 + [2] * 4 + [4]


def test_seeds_are_averaged_last_and_tested_exactly():
    runs = [run("sst2", "badnet", seed, 1.0, after, 0.0) for seed, after in enumerate((0.1, 0.3, 0.2))]
    row = reduction_table(pd.DataFrame(runs)).iloc[0]
    assert row["points"] == pytest.approx(0.8)
    assert (row["n_seeds"], row["sign_flip_p"]) == (3, 0.25)
    low, high = seed_interval([0.9, 0.7, 0.8])
    assert high > 1  # and is clipped
    assert row[["points_low", "points_high"]].tolist() == pytest.approx([low, 1.0])
    assert row["mcnemar_p"] < 1e-10
    same = reduction_table(pd.DataFrame([run("sst2", "badnet", seed, 1.0, 1.0, 0.0) for seed in range(3)])).iloc[0]
    assert (same["mcnemar_p"], same["sign_flip_p"], same["points"]) == (1.0, 1.0, 0.0)


def test_intervals_hold_their_means_and_narrow_with_texts():
    def runs(n):
        return pd.DataFrame([run("sst2", attack, seed, 0.9, 0.3, 0.1, n=n) for attack in "ab" for seed in range(3)])

    few, many = reduction_table(runs(50)), reduction_table(runs(5000))
    for name in (*RATES, *MEASURES):
        assert (few[f"{name}_low"] <= few[name] + 1e-12).all()
        assert (few[name] <= few[f"{name}_high"] + 1e-12).all()
    assert (many["points_high"] - many["points_low"] < few["points_high"] - few["points_low"]).all()
    # Cells on different texts average out: the mean of two is surer than each.
    width = few["points_high"] - few["points_low"]
    assert width.iloc[-1] < width.iloc[:2].min()


def test_rates_and_differences_stay_in_their_ranges():
    runs = [run("sst2", "a", seed, before, 0.0, 0.0, n=40) for seed, before in enumerate((1.0, 0.9, 1.0))]
    row = reduction_table(pd.DataFrame(runs)).iloc[0]
    assert (row["backdoored_asr_high"], row["merged_asr_low"], row["points_high"], row["relative_high"]) == (1, 0, 1, 1)
    assert row["merged_asr_high"] > 0.01  # three seeds without a hit are no proof


def test_examples_stay_paired():
    # The floor's hits are the merged model's: whatever texts are drawn, what is removed is all that is removable.
    runs = pd.DataFrame([run("sst2", "badnet", seed, 0.9, 0.3, 0.3, n=4000) for seed in range(2)])
    row = reduction_table(runs).iloc[0]
    assert row["removed_share"] == pytest.approx(1.0)
    assert row["removed_share_high"] - row["removed_share_low"] < 0.2 * (row["points_high"] - row["points_low"])
    row = interval_table(runs).set_index("measure").loc["removed_share"]
    assert row[["mean_bootstrap_low", "mean_bootstrap_high"]].tolist() == pytest.approx([1.0, 1.0])


def test_seeds_are_shared_by_all_cells():
    # What one cell gains with a seed the other loses: the mean over cells is the same whichever seeds are drawn.
    after = {("a", 0): 0.0, ("a", 1): 1.0, ("b", 0): 1.0, ("b", 1): 0.0}
    runs = pd.DataFrame([run("sst2", attack, seed, 1.0, rate, 0.0, n=500) for (attack, seed), rate in after.items()])
    table = reduction_table(runs).set_index("attack")
    assert table.iloc[-1][["points_low", "points_high"]].tolist() == pytest.approx([0.5, 0.5], abs=0.03)
    assert table.loc["a", ["points_low", "points_high"]].to_numpy()[0].tolist() == pytest.approx([-1.0, 1.0])
    row = interval_table(runs).set_index("measure").loc["points"]
    assert row[["mean_bootstrap_low", "mean_bootstrap_high"]].tolist() == pytest.approx([0.5, 0.5])


def test_the_two_kinds_of_intervals_stand_side_by_side_for_every_measure():
    rng = np.random.default_rng(0)
    runs = [run("sst2", attack, seed, 0.9, rng.uniform(0.1, 0.4), 0.1) for attack in "abcd" for seed in range(3)]
    table, mean = interval_table(pd.DataFrame(runs)), reduction_table(pd.DataFrame(runs)).iloc[-1]
    assert table["measure"].tolist() == list(NAMES)
    known = table.set_index("measure").dropna()
    assert set(NAMES) - set(known.index) == set(NAMES[5:9])  # without untriggered texts no model has a reference of its own
    for name, row in known.iterrows():
        assert row[["mean", "mean_low", "mean_high"]].tolist() == mean[[name, f"{name}_low", f"{name}_high"]].tolist()
    row = known.loc["merged_asr"]
    assert row["mean_bootstrap_high"] - row["mean_bootstrap_low"] < row["mean_high"] - row["mean_low"]
    pd.testing.assert_frame_equal(table, interval_table(pd.DataFrame(runs)))


def test_each_model_has_its_own_reference():
    known = {"attackable": list(range(100)), "untriggered_hits": outcomes(0.2), "backdoored_untriggered_hits": outcomes(0.1)}
    row = reduction_table(pd.DataFrame([run("sst2", "a", seed, 1.0, 0.6, 0.1) | known for seed in (0, 1)])).iloc[0]
    assert row[["backdoored_asr_rise", "merged_asr_rise"]].tolist() == pytest.approx([0.9, 0.4])
    # After: 60 hits, 20 of them on texts that go to the target anyway: 40 of 80 are flipped.
    assert row[["backdoored_flip_rate", "merged_flip_rate"]].tolist() == pytest.approx([1.0, 0.5])


def test_incomplete_cells_are_refused():
    with pytest.raises(ValueError, match=r"no row"):
        reduction_table(pd.DataFrame())
    runs = [run("sst2", "a", 0, 1, 0, 0), run("sst2", "a", 1, 1, 0, 0), run("sst2", "b", 0, 1, 0, 0)]
    with pytest.raises(ValueError, match=r"\('sst2', 'b'\) has seeds \[0\]; every cell must have each of \[0, 1\] once"):
        reduction_table(pd.DataFrame(runs))


def test_the_reduction_of_a_study_is_that_of_its_largest_averages(frames):
    rows = most_models(frames["merging"], "other_domains")
    assert rows["n_models"].tolist() == [3, 3]
    table = cells_of(reduction_table(rows)).set_index("attack")
    for row in rows.itertuples():
        found = table.loc[row.attack]
        assert found[["backdoored_asr_rise", "merged_asr_rise"]].tolist() == pytest.approx(
            [row.backdoored_asr - row.backdoored_asr_untriggered, row.asr - row.asr_untriggered]
        )
        assert found[["backdoored_flip_rate", "merged_flip_rate"]].tolist() == pytest.approx(
            [row.backdoored_flip_rate, row.flip_rate]
        )
        assert found[["backdoored_asr", "merged_asr"]].tolist() == pytest.approx([row.backdoored_asr, row.asr])
        assert found["asr_floor"] == pytest.approx(row.asr_floor)
        assert found["cacc_change"] == pytest.approx(row.cacc - row.backdoored_cacc)
