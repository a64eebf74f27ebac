"""Averages by number, weight and choice of partners: the right models are merged, and choices look at validation texts only."""

from dataclasses import replace

import numpy as np
import pandas as pd
import pytest

from lib.tables.coefficient import chosen_coefficients, coefficient_table, task_arithmetic_table
from lib.tables.domains import partner_kinds_table
from lib.tables.merging import averages


def test_the_table_of_merges_counts_the_backdoored_model(frames):
    table = frames["merging"]
    steps = table.groupby(["attack", "partners"], sort=False)["n_models"].apply(list).to_dict()
    assert steps == {
        ("badnet", "same_task"): [1, 2],
        ("badnet", "other_domains"): [1, 2, 3],
        ("insertsent", "same_task"): [1, 2],
        ("insertsent", "other_domains"): [1, 2, 3],
    }
    alone = table[table["n_models"] == 1]
    assert alone["asr"].tolist() == alone["backdoored_asr"].tolist()
    assert alone["cacc"].tolist() == alone["backdoored_cacc"].tolist()
    assert table["excess_asr"].tolist() == pytest.approx((table["asr"] - table["asr_floor"]).tolist())


def test_the_table_of_merges_agrees_with_the_merged_models(frames, study, backdoored):
    table = frames["merging"]
    row = table[(table["attack"] == "badnet") & (table["partners"] == "other_domains") & (table["n_models"] == 3)]
    merged = study.merge([backdoored, study.model("yelp"), study.model("cr")], weights=[1 / 3] * 3)
    score = study.score(merged, "sst2", "badnet")
    assert (row["cacc"].item(), row["asr"].item()) == (score.cacc, score.asr)


def test_coefficients_go_from_the_backdoored_model_to_its_partner(frames, study, backdoored):
    table = frames["coefficient"]
    table = table[table["attack"] == "badnet"].set_index(["partners", "coefficient"])
    partner = study.partners("sst2", "same_task")[0]
    domains = study.merge([study.model("yelp"), study.model("cr")])
    for kind in ("same_task", "other_domains"):
        ends = {0: backdoored, 1: partner if kind == "same_task" else domains}
        for coefficient, model in ends.items():
            score = study.score(model, "sst2", "badnet")
            assert table.loc[(kind, coefficient), "cacc"] == pytest.approx(score.cacc)
            assert table.loc[(kind, coefficient), "asr"] == pytest.approx(score.asr)
            assert table.loc[(kind, coefficient), "clean_loss"] == pytest.approx(score.clean_loss, rel=1e-4)


def test_other_training_settings_are_the_victims_alone(frames, study):
    table = coefficient_table(study, ["sst2"], ["badnet"], ["same_task"], (0, 1), learning_rate=2e-3).set_index("coefficient")
    usual = frames["coefficient"]
    usual = usual[(usual["attack"] == "badnet") & (usual["partners"] == "same_task")].set_index("coefficient")
    assert table.loc[0, "distance"] < usual.loc[0, "distance"]
    assert table.loc[1, "clean_loss"] == pytest.approx(usual.loc[1, "clean_loss"], rel=1e-6)


def test_every_subset_of_the_other_domains_is_merged_once(frames, study, backdoored):
    table = frames["domains"]
    table = table[table["attack"] == "badnet"].set_index("domains")
    assert list(table.index) == ["none", "yelp", "cr", "yelp+cr"]
    assert table["n_domains"].tolist() == [0, 1, 1, 2]
    score = study.score(study.merge([backdoored, study.model("cr")]), "sst2", "badnet")
    assert (table.loc["cr", "cacc"], table.loc["cr", "asr"]) == (score.cacc, score.asr)


RULES = {"highest accuracy": 0.5, "no worse than the suspect": 0.5}  # of paths whose best is in the middle


def path(validation, kind="other_domains", n=100, suspect=0.95):
    coefficients = np.linspace(0, 1, len(validation))
    return pd.DataFrame(
        {
            **{"task": "sst2", "partners": kind, "attack": "badnet", "seed": 0, "coefficient": coefficients},
            **{"validation_cacc": validation, "suspect_validation_cacc": suspect, "n_validation": n, "asr": 1 - coefficients},
        }
    )


def test_a_defender_takes_the_highest_validation_accuracy_or_goes_one_standard_error_further():
    # The standard error of 0.90 on 100 texts is 0.03.
    chosen = chosen_coefficients(path([0.80, 0.88, 0.90, 0.88, 0.86])).set_index("choice")["coefficient"]
    assert chosen.to_dict() == {**RULES, "within one standard error": 0.75}
    away = chosen_coefficients(path([0.80, 0.88, 0.90, 0.88, 0.86]), furthest="smallest").set_index("choice")["coefficient"]
    assert away.to_dict() == {**RULES, "within one standard error": 0.25}


def test_a_defender_who_wants_no_worse_than_the_suspect_goes_as_far_as_that_allows():
    for suspect, furthest in ((0.86, 1.0), (0.87, 0.75), (0.89, 0.5), (0.99, 0.5)):
        chosen = chosen_coefficients(path([0.80, 0.88, 0.90, 0.88, 0.86], suspect=suspect)).set_index("choice")["coefficient"]
        assert chosen["no worse than the suspect"] == furthest


def test_equal_accuracies_go_to_the_coefficient_furthest_from_the_victim():
    table = path([0.9, 0.9, 0.9])
    assert set(chosen_coefficients(table)["coefficient"]) == {1.0}
    assert set(chosen_coefficients(table, furthest="smallest")["coefficient"]) == {0.0}


def test_each_path_has_its_own_choice_and_the_attack_is_not_looked_at():
    table = pd.concat([path([0.9, 0.5, 0.5], "same_task"), path([0.5, 0.9, 0.5])])
    chosen = chosen_coefficients(table)
    assert chosen.groupby("partners")["coefficient"].unique().map(list).to_dict() == {
        "other_domains": [0.5],
        "same_task": [0.0],
    }
    blind = chosen_coefficients(table.assign(asr=table["asr"].iloc[::-1].to_numpy()))
    assert blind["coefficient"].tolist() == chosen["coefficient"].tolist()
    with pytest.raises(ValueError, match=r"furthest is 'left'; choose from \['largest', 'smallest'\]"):
        chosen_coefficients(table, furthest="left")


def test_validation_accuracy_stands_beside_every_coefficient(frames, study, backdoored):
    table = frames["coefficient"]
    row = table[(table["attack"] == "badnet") & (table["coefficient"] == 0)].iloc[0]
    score = study.score(backdoored, "sst2", split="validation")
    assert (row["validation_cacc"], row["suspect_validation_cacc"], row["n_validation"]) == (score.cacc, score.cacc, 20)
    merged = study.merge([backdoored, study.model("yelp"), study.model("cr")], weights=[0.5, 0.25, 0.25])
    row = table[(table["attack"] == "badnet") & (table["partners"] == "other_domains") & (table["coefficient"] == 0.5)]
    assert row["validation_cacc"].item() == study.score(merged, "sst2", split="validation").cacc
    assert row["suspect_validation_cacc"].item() == score.cacc


def test_task_arithmetic_at_one_over_n_is_the_uniform_average(frames, study):
    table = task_arithmetic_table(study, ["sst2"], ["badnet"], coefficients=(0.1, 1 / 3))
    uniform = frames["merging"][(frames["merging"]["attack"] == "badnet") & (frames["merging"]["n_models"] == 3)].iloc[0]
    row = table.iloc[1]
    assert (row["cacc"], row["asr"], row["asr_floor"]) == (uniform["cacc"], uniform["asr"], uniform["asr_floor"])
    assert table["coefficient"].tolist() == [0.1, 1 / 3]


def test_partners_of_the_same_task_are_compared_with_as_many_other_domains(frames, study, backdoored):
    kinds = partner_kinds_table(study, ["sst2"], ["badnet", "insertsent"], frames["domains"])
    assert kinds.groupby(["attack", "partners"])["domains"].apply(list).to_dict() == {
        (attack, kind): names
        for attack in ("badnet", "insertsent")
        for kind, names in (("other_domains", ["yelp", "cr"]), ("same_task", ["same task"]))
    }
    assert set(kinds["n_partners"]) == {1}
    merged = study.merge([backdoored, *study.partners("sst2", "same_task")[:1]])
    row = kinds[(kinds["attack"] == "badnet") & (kinds["partners"] == "same_task")]
    assert row["asr"].item() == study.score(merged, "sst2", "badnet").asr


def test_models_of_unstable_trainings_are_counted_where_they_enter_the_average(study, backdoored, monkeypatch):
    others = study.partners("sst2")
    unstable = replace(others[1], name="unstable")
    monkeypatch.setattr(
        type(backdoored), "record", property(lambda model: {"instability": "left" if model.name == "unstable" else ""})
    )
    rows = list(averages(study, ("sst2", "badnet", 0), backdoored, [others[0], unstable]))
    assert [row["n_unstable"] for row in rows] == [0, 0, 1]
