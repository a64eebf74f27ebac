"""The headline: read from what is there, in three forms, with intervals over seeds, and tested as fixed beforehand."""

import matplotlib.pyplot as plt
import pandas as pd
import pytest

from lib.metrics.reduction import cells_of, most_models
from lib.plots.headline import plot_headline
from lib.tables.headline import headline_table, intervals_table, tests_table

tests_table.__test__ = False  # a table of tests, not a test

PROMISED = ("backdoored_asr", "merged_asr", "asr_floor", "backdoored_cacc", "merged_cacc")


@pytest.fixture
def merging(frames):
    """Three seeds: the tiny study's one, and two that are the same."""
    return pd.concat([frames["merging"].assign(seed=seed) for seed in range(3)], ignore_index=True)


def test_the_headline_has_the_promised_columns_and_a_last_row_for_the_mean(merging):
    table = headline_table(merging, "pocket")
    assert list(table.columns[:3]) == ["profile", "task", "attack"]
    for rate in PROMISED:
        assert (table[f"{rate}_low"] <= table[rate] + 1e-12).all()
        assert (table[rate] <= table[f"{rate}_high"] + 1e-12).all()
    assert table["attack"].tolist() == ["badnet", "insertsent", "all", "badnet", "insertsent", "all"]
    assert table["merged_asr"].iloc[-1] == pytest.approx(cells_of(table)["merged_asr"].mean())


def test_the_headline_has_the_own_reference_beside_the_floor(merging):
    table, largest = headline_table(merging, "pocket").iloc[-1], most_models(merging, "other_domains")
    assert table["merged_asr_rise"] == pytest.approx((largest["asr"] - largest["asr_untriggered"]).mean())
    before = largest["backdoored_asr"] - largest["backdoored_asr_untriggered"]
    assert table["backdoored_asr_rise"] == pytest.approx(before.mean())
    assert 0 <= table["merged_flip_rate"] <= table["backdoored_flip_rate"] <= 1


def test_the_means_have_both_kinds_of_intervals(merging):
    table, mean = intervals_table(merging).set_index("measure"), headline_table(merging, "pocket").iloc[-1]
    assert table.loc["points", "mean_low"] == mean["points_low"]
    assert (table["mean_bootstrap_low"] <= table["mean"] + 0.02).all()
    assert (table["n_seeds"] == 3).all()


def test_the_four_claims_are_differences_of_seeds(merging):
    table = tests_table(merging).set_index("claim")["mean_difference"]
    largest = most_models(merging, "other_domains")
    assert table["merging with other domains lowers the ASR"] == pytest.approx(
        (largest["backdoored_asr"] - largest["asr"]).mean()
    )
    others = merging[merging["partners"] == "other_domains"]
    same = merging[(merging["partners"] == "same_task") & (merging["n_models"] == 2)]
    expected = same["asr"].mean() - others[others["n_models"] == 2]["asr"].mean()
    assert table["as many models of the same task leave another ASR"] == pytest.approx(expected)


def test_three_seeds_cannot_be_significant_and_several_claims_cost(merging):
    table = tests_table(merging)
    assert (table["sign_flip_p"] >= 0.25).all()
    assert (table["holm_p"] >= table["sign_flip_p"]).all()
    assert table["holm_p"].iloc[0] == 1.0  # 4 x 0.25
    # The three seeds are the same one: nothing differs between them.
    assert table["mean_difference_low"].tolist() == pytest.approx(table["mean_difference"].tolist())
    alone = tests_table(merging[merging["seed"] == 0])
    assert alone[["mean_difference_low", "mean_difference_high"]].isna().all(axis=None)


def test_the_figure_has_a_line_per_cell_and_says_the_mean(merging):
    figure = plot_headline(merging)
    labels = [label.get_text() for label in figure.get_axes()[0].get_yticklabels()]
    assert [axis.get_xlabel().split(" (")[0] for axis in figure.get_axes()] == [
        "attack success rate", "ASR above the model's own rate, points", "clean accuracy"
    ]  # fmt: skip
    assert labels == ["SST-2, BadNet", "SST-2, InsertSent"]
    largest = most_models(merging, "other_domains")
    assert f"{largest['backdoored_asr'].mean():.1%} to {largest['asr'].mean():.1%}" in figure.get_suptitle()
    plt.close(figure)


def test_published_texts_have_no_reference_of_their_own_and_no_panel_for_it(merging):
    published = merging.assign(untriggered_hits=None, attackable=None, backdoored_untriggered_hits=None)
    figure = plot_headline(published)
    assert len(figure.get_axes()) == 2
    plt.close(figure)
    assert headline_table(published, "small")[["merged_asr_rise", "merged_flip_rate"]].isna().all(axis=None)
