"""The headline: read from what is there, tested as fixed beforehand, and compared with the paper by rules that can fail."""

import matplotlib.pyplot as plt
import pandas as pd
import pytest

from lib.metrics.reduction import most_models, reduction_table
from lib.plots.headline import plot_headline
from lib.tables.headline import CLAIMS, agreement_table, headline_table, tests_table

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
    assert table["attack"].tolist() == ["badnet", "insertsent", "all"]
    assert table["merged_asr"].iloc[-1] == pytest.approx(table["merged_asr"].iloc[:-1].mean())


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


def reductions(merged_asr, cacc=0.9, tasks=("sst2", "olid")):
    """Table `04_reduction_other_domains` of a study in which every victim has an ASR of 1 above a floor of 0.1."""
    outcomes = lambda share: [1] * round(1000 * share) + [0] * round(1000 - 1000 * share)  # noqa: E731
    rows = [
        {
            **{"task": task, "attack": "badnet", "seed": seed, "hits": outcomes(asr), "correct": outcomes(cacc)},
            **{"backdoored_hits": outcomes(1), "backdoored_correct": outcomes(0.9), "floor_hits": outcomes(0.1)},
        }
        for task, asr in zip(tasks, merged_asr, strict=True)
        for seed in (0, 1)
    ]
    return reduction_table(pd.DataFrame(rows))


def verdicts(folder, **tables):
    for name, table in tables.items():
        table.to_csv(folder / f"{name}.csv", index=False)
    return agreement_table(folder).set_index("claim")["verdict"]


def test_what_was_not_run_is_neither_agreement_nor_disagreement(tmp_path):
    table = agreement_table(tmp_path)
    assert len(table) == len(CLAIMS)
    assert set(table["verdict"]) == {"not run"}
    assert table["we_agree_if"].str.len().min() > 10


@pytest.mark.parametrize(
    ("merged", "cacc", "expected"),
    [
        ((0.15, 0.12), 0.90, ["agree", "agree", "agree", "agree", "agree"]),
        ((0.15, 0.60), 0.90, ["disagree", "agree", "agree", "disagree", "disagree"]),
        ((0.15, 0.12), 0.80, ["agree", "disagree", "disagree", "agree", "agree"]),
    ],
)
def test_reductions_are_judged_by_their_rules(tmp_path, merged, cacc, expected):
    found = verdicts(tmp_path, **{"04_reduction_other_domains": reductions(merged, cacc)})
    assert found.iloc[:5].tolist() == expected


def test_backdoored_partners_architectures_and_methods_are_judged_by_their_rules(tmp_path):
    methods = pd.DataFrame({"variant": ["weight average", "Fisher", "TIES"], "asr": [0.10, 0.12, 0.14]})
    together = {"n_models": 5, "same_target": True, "backdoored_asr": 1.0, "asr_floor": 0.1}
    alone = pd.DataFrame([together | {"n_models": 1, "asr": 1.0}, together | {"asr": 0.2}])
    columns = ["architecture", "n_models", "backdoored_asr", "asr", "asr_floor"]
    small = pd.DataFrame([["a", 1, 1.0, 1.0, 0.1], ["a", 3, 1.0, 0.2, 0.1], ["b", 3, 1.0, 0.2, 0.1]], columns=columns)
    tables = {"05_means": methods, "08_backdoored": alone, "11_architectures": small}
    assert verdicts(tmp_path, **tables).iloc[5:].tolist() == ["agree"] * 3
    tables["05_means"] = methods.assign(asr=[0.10, 0.12, 0.20])
    tables["08_backdoored"] = alone.assign(asr=0.6)
    tables["11_architectures"] = small.assign(asr=[1.0, 0.2, 0.9])
    assert verdicts(tmp_path, **tables).iloc[5:].tolist() == ["disagree"] * 3


def test_the_figure_has_a_line_per_cell_and_says_the_mean(merging):
    figure = plot_headline(merging)
    labels = [label.get_text() for label in figure.get_axes()[0].get_yticklabels()]
    assert labels == ["sst2, BadNet", "sst2, InsertSent"]
    largest = most_models(merging, "other_domains")
    assert f"{largest['backdoored_asr'].mean():.1%} to {largest['asr'].mean():.1%}" in figure.get_suptitle()
    plt.close(figure)
