"""Partners: kinds that a profile lacks are left out or refused, distances are counted, and the suspect is thrown away."""

import numpy as np
import pandas as pd
import pytest

from lib.study.distances import distance_from_task
from lib.study.study import Study
from lib.tables import barrier_table
from lib.tables.coefficient import coefficient_table
from lib.tables.collusion import backdoored_table, collusion_table
from lib.tables.compared import compared_means, four_models, model_means, suspect_findings
from lib.tables.domains import domains_table, kinds_findings, partner_kinds_table
from lib.tables.epochs import epochs_table
from lib.tables.merging import merging_table
from lib.tables.methods import VARIANTS, methods_table, n_alone
from lib.tables.partners import kinds_of_partners, left_out_partners
from lib.tables.tasks import tasks_table, transfer_table


@pytest.fixture(scope="module")
def lonely(make_study, study):
    """The shared study and its store without models of the same task."""
    return make_study(study.store.root, n_same_task=0)


@pytest.fixture
def distances(monkeypatch):
    """Yelp is near SST-2, CR is far from it."""
    known = {"yelp": "near", "cr": "far"}
    monkeypatch.setattr("lib.study.distances.distance_of", lambda name, source, folder: known.get(name, ""))


# --- a profile without models of the same task -----------------------------------------------------------------------------


def test_kinds_that_a_profile_lacks_are_named_with_the_reason(study, lonely):
    assert kinds_of_partners(study.planner) == ["same_task", "other_domains"]
    assert kinds_of_partners(lonely.planner) == ["other_domains"]
    assert left_out_partners(study.planner) == "none"
    assert left_out_partners(lonely.planner) == "same_task (n_same_task of the profile is 0; set it to 1 or more)"


def test_tables_leave_out_models_of_the_same_task_where_there_are_none(lonely):
    coefficients = (0, 0.5, 1)
    assert set(merging_table(lonely, ["sst2"], ["badnet"])["partners"]) == {"other_domains"}
    assert set(coefficient_table(lonely, ["sst2"], ["badnet"], coefficients=coefficients)["partners"]) == {"other_domains"}
    with pytest.warns(UserWarning, match="unstable training"):  # at the rate that is meant to leave the basin
        assert set(barrier_table(lonely, "sst2", "badnet", coefficients)["partners"]) == {"other_domains"}
    assert epochs_table(lonely, "sst2", ["badnet"], [1])["merge"].tolist() == [
        "none",
        "uniform",
        "half weight",
        "norm matching",
    ]
    assert set(partner_kinds_table(lonely, ["sst2"], ["badnet"])["partners"]) == {"other_domains"}


def test_asking_for_them_by_name_is_an_error(lonely):
    message = "there are no partners 'same_task': n_same_task of the profile is 0; set it to 1 or more"
    with pytest.raises(ValueError, match=message):
        coefficient_table(lonely, ["sst2"], ["badnet"], ["same_task"])


# --- distances -------------------------------------------------------------------------------------------------------------


def test_tasks_and_transfer_say_how_far_a_domain_is(study, frames, distances):
    assert tasks_table(study, ["sst2"])["domain_distance"].tolist() == ["own", "near", "far"]
    table = transfer_table(study, "sst2")
    assert table.groupby("trained_on")["domain_distance"].unique().map(list).to_dict() == {
        **{"sst2": ["own"], "yelp": ["near"], "cr": ["far"]},
    }
    cell = table.set_index(["trained_on", "tested_on"])
    assert cell["relative_cacc"]["yelp", "sst2"] == pytest.approx(cell["cacc"]["yelp", "sst2"] / cell["cacc"]["sst2", "sst2"])
    assert (table[table["trained_on"] == table["tested_on"]]["relative_cacc"] == 1).all()


def test_averages_count_their_near_and_far_domains(study, frames, distances):
    merging = merging_table(study, ["sst2"], ["badnet"])
    merging = merging[merging["partners"] == "other_domains"]
    assert merging[["n_near", "n_far"]].to_numpy().tolist() == [[0, 0], [1, 0], [1, 1]]
    table = domains_table(study, ["sst2"], ["badnet"]).set_index("domains")
    assert table[["n_near", "n_far"]].to_numpy().tolist() == [[0, 0], [1, 0], [0, 1], [1, 1]]
    kinds = partner_kinds_table(study, ["sst2"], ["badnet"]).set_index("partners")
    assert kinds.loc[["near"], "domains"].tolist() == ["yelp"]
    assert kinds.loc[["far"], "domains"].tolist() == ["cr"]
    assert kinds["asr"]["far"] == table["asr"]["cr"]


def test_distances_that_nobody_measured_are_no_zeros(frames):
    table = frames["merging"]
    table = table[(table["partners"] == "other_domains") & (table["n_models"] > 1)]
    assert table["n_near"].isna().all() and table["n_far"].isna().all()
    assert set(frames["tasks"]["domain_distance"]) == {"own", "unknown"}
    study = Study("pocket")
    assert {distance_from_task(study.planner, name) for name in study.other_domains("agnews")} == {"near", "far"}


# --- the suspect thrown away -----------------------------------------------------------------------------------------------


def test_partners_only_is_the_same_average_without_the_victim(frames, study):
    table = frames["merging"]
    rows = table[(table["attack"] == "badnet") & (table["partners"] == "other_domains")].set_index("n_models")
    yelp, cr = study.model("yelp"), study.model("cr")
    assert np.isnan(rows["partners_only_asr"][1])
    for n, model in ((2, yelp), (3, study.merge([yelp, cr]))):
        score = study.score(model, "sst2", "badnet")
        found = rows.loc[n, [f"partners_only_{rate}" for rate in ("cacc", "asr", "asr_untriggered", "flip_rate")]]
        assert found.tolist() == pytest.approx([score.cacc, score.asr, score.asr_untriggered, score.flip_rate])
    assert rows["cacc_change"].tolist() == pytest.approx((rows["cacc"] - rows["backdoored_cacc"]).tolist())
    assert rows["cacc_change_vs_clean"].tolist() == pytest.approx((rows["cacc"] - rows["clean_model_cacc"]).tolist())
    assert rows["asr_rise"].tolist() == pytest.approx((rows["asr"] - rows["asr_untriggered"]).tolist())


@pytest.mark.parametrize("name", ["coefficient", "domains", "merging"])
def test_every_merge_stands_beside_its_victim_its_partners_and_a_clean_model(frames, name):
    table = frames[name]
    size, alone = {"merging": ("n_models", 1), "domains": ("n_domains", 0), "coefficient": ("coefficient", -1)}[name]
    merges = table[table[size] > alone]
    rates = [f"{model}{rate}" for model in ("backdoored_", "partners_only_") for rate in ("cacc", "asr", "asr_untriggered")]
    rates += ["clean_model_cacc", "asr_floor", "clean_model_asr_untriggered", "asr_untriggered", "asr_rise", "cacc_change"]
    assert not merges[rates].isna().any().any()


def test_the_end_of_the_way_to_the_partner_is_the_partner_only(frames):
    end = frames["coefficient"][frames["coefficient"]["coefficient"] == 1]
    assert end["asr"].tolist() == end["partners_only_asr"].tolist()
    assert end["cacc"].tolist() == end["partners_only_cacc"].tolist()


def test_a_method_without_the_suspect_is_the_same_method_on_the_partners(study):
    table = methods_table(study, "sst2", ["badnet"]).set_index("variant")
    others = study.partners("sst2")
    for name, method, settings in (("weight average", "weight_average", {}), ("TIES", "ties", {"density": 0.2})):
        score = study.score(study.merge(others, method, **settings), "sst2", "badnet")
        assert (table["partners_only_cacc"][name], table["partners_only_asr"][name]) == (score.cacc, score.asr)
    assert table["partners_only_asr"]["SLERP, 2 models"] == study.score(others[0], "sst2", "badnet").asr
    assert np.isnan(table["partners_only_asr"]["median"])  # of two models none is taken
    by_name = {variant.name: variant for variant in VARIANTS}
    assert [n_alone(by_name[name], 5) for name in ("weight average", "SLERP, 2 models", "median", "Krum")] == [4, 1, 4, 0]
    assert [n_alone(by_name[name], 2) for name in ("weight average", "SLERP, 2 models")] == [1, 1]


def test_backdoored_models_are_thrown_away_one_at_a_time(study):
    table = backdoored_table(study, "sst2", ["badnet", "insertsent"])
    pair = table[(table["n_models"] == 2) & table["same_target"]].set_index("scored_attack")
    left = study.score(study.model("sst2", "insertsent"), "sst2", "badnet")
    assert (pair["partners_only_asr"]["badnet"], pair["partners_only_cacc"]["badnet"]) == (left.asr, left.cacc)
    assert table[table["n_models"] == 1]["partners_only_asr"].isna().all()


def test_colluding_models_are_thrown_away_together(study):
    table = collusion_table(study, "sst2", "badnet", n_models=3).set_index(["merge_method", "n_backdoored"])
    # Without any suspect it is the merge itself; of two clean models there is no median; with none left there is nothing.
    assert table["partners_only_asr"]["median", 0] == table["asr"]["median", 0]
    assert table["partners_only_asr"].isna().to_dict() == {
        (method, k): k == 3 or (method, k) == ("median", 1) for method in ("weight_average", "median") for k in range(4)
    }
    last = study.score(study.model("sst2", seed=2000, head_seed=0), "sst2", "badnet")
    assert table["partners_only_asr"]["median", 2] == last.asr


def test_mitigations_are_compared_with_the_same_merge_of_the_partners(study):
    table = epochs_table(study, "sst2", ["badnet"], [1, 2]).set_index(["epochs", "merge"])
    usual, others = study.profile.epochs, study.partners("sst2")
    assert table["partners_only_asr"].groupby("merge", sort=False).nunique().to_dict() == {
        "none": 0, "uniform": 1, "half weight": 1, "norm matching": 1, "more models": 1,
    }  # fmt: skip
    more = study.score(study.merge([*others, *study.partners("sst2", "same_task")]), "sst2", "badnet")
    assert table["partners_only_cacc"][usual, "more models"] == more.cacc


# --- small tables and sentences --------------------------------------------------------------------------------------------


def merges():
    """Largest averages of two tasks and two seeds, rates by hand."""
    row = {"attack": "badnet", "asr_floor": 0.1, "clean_model_cacc": 0.9, "clean_model_asr_untriggered": 0.05}
    row |= {"clean_model_flip_rate": 0.04, "backdoored_asr": 1.0, "backdoored_cacc": 0.88, "backdoored_asr_untriggered": 0.1}
    row |= {"backdoored_flip_rate": 1.0, "asr": 0.3, "asr_untriggered": 0.1, "asr_rise": 0.2, "flip_rate": 0.2}
    row |= {"partners_only_asr": 0.2, "partners_only_asr_untriggered": 0.15, "partners_only_flip_rate": 0.1}
    cells = [("sst2", 0, 0.86, 0.80), ("sst2", 1, 0.88, 0.80), ("agnews", 0, 0.80, 0.70), ("agnews", 1, 0.82, 0.74)]
    return pd.DataFrame(
        [
            row | {"task": task, "seed": seed, "cacc": cacc, "partners_only_cacc": alone}
            | {"cacc_change": cacc - 0.88, "cacc_change_vs_clean": cacc - 0.9}
            for task, seed, cacc, alone in cells
        ]
    )  # fmt: skip


def test_the_four_models_of_a_merge_have_a_row_each():
    four = four_models(merges(), ["task", "attack"])
    assert four["model"].tolist() == ["backdoored model", "merged", "partners only", "clean model"] * 4
    means = model_means(four, ["task"]).set_index(["task", "model"])
    assert means["cacc"]["sst2", "merged"] == pytest.approx(0.87)
    assert means["asr_rise"]["sst2"].tolist() == pytest.approx([0.9, 0.2, 0.05, 0.05])
    assert means["cacc_change"]["agnews"].tolist() == pytest.approx([0, -0.07, -0.16, 0.02])
    assert means["cacc_change_vs_clean"]["agnews"].tolist() == pytest.approx([-0.02, -0.09, -0.18, 0])


def test_small_tables_have_both_changes_and_both_forms_of_the_asr():
    means = compared_means(merges(), ["task"]).set_index("task")
    assert means["cacc_change"].tolist() == pytest.approx([-0.01, -0.07])
    assert means["cacc_change_vs_clean"].tolist() == pytest.approx([-0.03, -0.09])
    assert (means["asr"]["sst2"], means["asr_rise"]["sst2"], means["partners_only_asr"]["sst2"]) == pytest.approx(
        (0.3, 0.2, 0.2)
    )


def test_what_the_suspect_buys_is_said_with_intervals_and_both_forms():
    # Kept minus thrown away: seed 0 gains .06 and .10, seed 1 .08 and .08; both means are .08.
    text = " ".join(suspect_findings(merges()))
    assert "instead of throwing it away: CACC +8.0 points [+8.0, +8.0], ASR +10.0 points [+10.0, +10.0]." in text
    assert "By task, it changes the CACC by: sst2 +7.0 points, agnews +9.0 points." in text
    assert "against that of a clean model: -6.0 points [" in text
    assert "backdoored model 100.0% and +90.0 points, merged 30.0% and +20.0 points" in text
    unknown = merges().assign(asr_untriggered=float("nan"))
    assert "both forms" not in " ".join(suspect_findings(unknown))
    assert "without the trigger" not in " ".join(suspect_findings(unknown))


def test_far_domains_are_compared_with_near_ones_cell_by_cell():
    row = {"task": "sst2", "attack": "badnet", "asr": 0.3, "partners_only_asr": 0.1}
    kinds = pd.DataFrame(
        [
            row | {"partners": kind, "n_partners": n, "seed": seed, "cacc": cacc + 0.01 * n, "partners_only_cacc": alone}
            for kind, cacc, alone in (("same_task", 0.9, 0.9), ("near", 0.88, 0.8), ("far", 0.82, 0.6))
            for n in ((1, 2) if kind != "far" else (1,))
            for seed in (0, 1)
        ]
    )
    first, *kept = kinds_findings(kinds)
    assert first == (
        "Far instead of near domains, at equal number and weight: ASR +0.0 points [+0.0, +0.0], CACC -6.0 points [-6.0, -6.0]."
    )
    assert [text.split(":")[0] for text in kept] == ["Partners same_task", "Partners near", "Partners far"]
    assert "changes CACC by +23.0 points [+23.0, +23.0], ASR by +20.0 points" in kept[2]
    assert len(list(kinds_findings(kinds[kinds["partners"] == "same_task"]))) == 1
