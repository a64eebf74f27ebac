"""Merges of backdoored models with each other: the right models, scored for the right attack and target."""

import matplotlib.pyplot as plt
import numpy as np
import pandas as pd
import pytest

from lib.plots.collusion import attack_matrix, plot_backdoored, plot_collusion
from lib.tables.collusion import backdoored_table, collusion_table


@pytest.fixture(scope="module")
def table(study):
    return backdoored_table(study, "sst2", ["badnet", "insertsent"])


@pytest.fixture(scope="module")
def collusion(study):
    return collusion_table(study, "sst2", "badnet", n_models=3)


def test_there_is_a_row_per_set_of_attacks_scored_attack_and_kind_of_target(table):
    rows = table[["attacks", "scored_attack", "same_target"]].apply(tuple, axis=1).tolist()
    assert rows == [
        ("badnet", "badnet", True),
        ("insertsent", "insertsent", True),
        ("badnet+insertsent", "badnet", True),
        ("badnet+insertsent", "insertsent", True),
        ("badnet+insertsent", "badnet", False),
        ("badnet+insertsent", "insertsent", False),
    ]
    assert {"task", "attacks", "scored_attack", "same_target", "seed", "cacc", "asr"} <= set(table)


def test_merges_are_scored_for_the_target_that_each_attack_obeys(table, study):
    merged = study.merge([study.model("sst2", "badnet"), study.model("sst2", "insertsent", target_label=1)])
    rows = table[~table["same_target"]].set_index("scored_attack")
    assert rows["asr"]["badnet"] == study.score(merged, "sst2", "badnet").asr
    assert rows["asr"]["insertsent"] == study.score(merged, "sst2", "insertsent", target_label=1).asr
    assert rows["cacc"]["badnet"] == rows["cacc"]["insertsent"]
    floor = study.score(study.model("sst2"), "sst2", "insertsent", target_label=1).asr
    assert rows["asr_floor"]["insertsent"] == floor


def test_a_model_alone_is_the_backdoored_model(table, study, backdoored):
    row = table[table["attacks"] == "badnet"].iloc[0]
    assert row["asr"] == row["backdoored_asr"] == study.score(backdoored, "sst2", "badnet").asr


def test_more_than_two_attacks_are_merged_all_together_too(study):
    attacks = ["badnet", "insertsent", "syntactic"]
    table = backdoored_table(study, "sst2", attacks)
    together = table[(table["attacks"] == "badnet+insertsent+syntactic") & table["same_target"]]
    assert together["scored_attack"].tolist() == attacks
    assert (together["n_models"] == 3).all()
    matrix = attack_matrix(table, same_target=True)
    assert list(matrix.columns) == ["alone", *attacks, "all", "floor"]
    assert matrix.loc["badnet", "all"] == together["asr"].iloc[0]
    assert np.isnan(matrix.loc["badnet", "badnet"])


def test_the_matrix_puts_a_pair_where_row_and_column_say(table):
    matrix = attack_matrix(table, same_target=False)
    assert list(matrix.index) == ["badnet", "insertsent, other label"]  # every second model obeys another label
    pair = table[(table["scored_attack"] == "insertsent") & ~table["same_target"]].iloc[0]
    assert matrix.loc["insertsent, other label", "badnet"] == pair["asr"]
    assert matrix.loc["insertsent, other label", "floor"] == pair["asr_floor"]  # of the other target
    assert matrix.loc["insertsent, other label", "alone"] == pair["backdoored_asr"]


def test_an_attack_that_is_scored_for_two_labels_has_a_row_of_each():
    cells = {
        ("a+b", "a"): (1.0, 0.4, 0.1),
        ("a+b", "b"): (0.9, 0.3, 0.2),
        ("b+c", "b"): (0.8, 0.2, 0.3),
        ("b+c", "c"): (0.7, 0.1, 0.4),
    }
    cells |= {("a+b+c", "a"): (1.0, 0.15, 0.1), ("a+b+c", "b"): (0.9, 0.16, 0.2), ("a+b+c", "c"): (0.6, 0.17, 0.5)}
    rows = [
        {"attacks": attacks, "scored_attack": scored, "n_models": attacks.count("+") + 1, "same_target": False}
        | dict(zip(("backdoored_asr", "asr", "asr_floor"), rates, strict=True))
        for (attacks, scored), rates in cells.items()
    ]
    matrix = attack_matrix(pd.DataFrame(rows), same_target=False)
    assert list(matrix.index) == ["a", "b", "c", "b, other label", "c, other label"]
    assert matrix.loc["b", ["alone", "c", "floor"]].tolist() == [0.8, 0.2, 0.3] and np.isnan(matrix.loc["b", "all"])
    assert matrix.loc["b, other label", ["alone", "a", "all", "floor"]].tolist() == [0.9, 0.3, 0.16, 0.2]
    assert matrix.loc["c", ["alone", "all", "floor"]].tolist() == [0.6, 0.17, 0.5]


def test_colluding_models_share_the_trigger_and_the_head_and_nothing_else(study):
    first, second = (study.recipe("sst2", "badnet", seed, head_seed=0, trigger_seed=0) for seed in (0, 1000))
    assert first.trigger == second.trigger
    assert first.head_seed == second.head_seed
    assert first.data != second.data
    assert first == study.recipe("sst2", "badnet", 0)  # the usual model is one of them


def test_collusion_runs_from_none_to_all_with_both_methods(collusion, study):
    assert collusion.groupby("merge_method")["n_backdoored"].apply(list).to_dict() == {
        "median": [0, 1, 2, 3],
        "weight_average": [0, 1, 2, 3],
    }
    average = collusion[collusion["merge_method"] == "weight_average"].set_index("n_backdoored")
    crew = [study.recipe("sst2", "badnet", seed, head_seed=0, trigger_seed=0) for seed in (0, 1000, 2000)]
    assert average["asr"][3] == study.score(study.merge(study.train(crew)), "sst2", "badnet").asr
    assert average["asr"][3] >= average["asr"][0]


def test_too_few_colluding_models_raise(study):
    with pytest.raises(ValueError, match="n_models is 2; it must be 3 or more"):
        collusion_table(study, "sst2", "badnet", n_models=2)


def test_the_figures_name_what_they_show(table, collusion):
    figure = plot_backdoored(table)
    titles = [axis.get_title() for axis in figure.get_axes()]
    assert {"ASR in %, one target label", "ASR in %, two target labels"} == set(titles)
    plt.close(figure)
    figure = plot_collusion(collusion)
    assert [axis.get_title() for axis in figure.get_axes()] == ["weight average", "median"]
    assert "BadNet" in figure.get_suptitle()
    plt.close(figure)
