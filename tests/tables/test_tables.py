"""Tidy tables: the promised columns, and rows that agree with the scores."""

from dataclasses import replace

import numpy as np
import pytest

from lib.study.choices import chosen_attacks, chosen_tasks
from lib.tables.overlap import overlaps
from lib.tables.rows import measured_row

# DESIGN.md section 6: what every reader may rely on.
PROMISED = {
    "tasks": "task source labels n_train n_validation n_test target_label mean_words",
    "attacks": "task attack target_label poisoning_rate seed n_clean n_triggered cacc asr clean_model_cacc asr_floor",
    "merging": "task attack merge_method partners n_models seed cacc asr backdoored_cacc backdoored_asr asr_floor",
    "coefficient": "task attack partners coefficient seed cacc asr",
    "domains": "task attack n_domains domains seed cacc asr",
}
RATES = ("cacc", "asr", "clean_model_cacc", "backdoored_cacc", "backdoored_asr", "asr_floor", "poisoning_rate")


@pytest.mark.parametrize("name", PROMISED)
def test_tables_have_the_promised_columns(frames, name):
    assert set(PROMISED[name].split()) <= set(frames[name])


@pytest.mark.parametrize("name", ["story", "transfer", "attacks", "merging", "coefficient", "domains"])
def test_rates_are_fractions(frames, name):
    columns = [column for column in RATES if column in frames[name]]
    assert columns
    assert frames[name][columns].stack().between(0, 1).all()
    assert not frames[name][columns].isna().any().any()


@pytest.mark.parametrize("name", ["attacks", "merging", "coefficient", "domains"])
def test_rates_are_the_means_of_the_outcomes_beside_them(frames, name):
    for row in frames[name].itertuples():
        assert row.cacc == pytest.approx(np.mean(row.correct))
        assert row.asr == pytest.approx(np.mean(row.hits))


def test_the_table_of_tasks_says_what_was_loaded(frames):
    table = frames["tasks"].set_index("dataset")
    assert list(table.index) == ["sst2", "yelp", "cr"]
    assert (table["task"] == "sst2").all()
    assert (table["source"] == "folder").all()
    assert (table["labels"] == "negative, positive").all()
    assert (table["target_label"] == "negative").all()
    assert table["n_train"].tolist() == [80, 80, 80]
    assert table["n_validation"].tolist() == [20, 10, 10]  # the others have a tenth of their 100 rows carved off
    assert table["n_test"].tolist() == [40, 40, 40]
    assert table["mean_words"].tolist() == pytest.approx([6, 6, 6])  # "the film was very good ."
    assert table["target_share"].tolist() == pytest.approx([0.5, 0.5, 0.5])
    # One seed; it and its partner on the same task have 80 of 100 rows each, and some texts stand there twice.
    assert table["overlap_seeds"].isna().all() and table["overlap_test"].isna().all()
    assert table["overlap_same_task"].isna().tolist() == [False, True, True]
    assert 0.75 <= table.loc["sst2", "overlap_same_task"] < 1


def test_rows_in_common_are_counted(make_study, tmp_path):
    folder, texts = tmp_path / "data" / "sst2", [f"film {i} .\t{i % 2}" for i in range(50)]
    folder.mkdir(parents=True)
    for split, rows in (("train", texts), ("validation", texts[:4]), ("test", texts[:12])):
        (folder / f"{split}.tsv").write_text("\n".join(["text\tlabel", *rows, ""]))

    def shares(**sizes):
        return overlaps(make_study(tmp_path / "cache", data_dir=tmp_path / "data", **sizes), "sst2")

    none = {"overlap_seeds": 0, "overlap_same_task": 0, "overlap_test": 0}
    assert shares(n_seeds=2, n_same_task=1, n_train=8, n_test=6) == none
    few = shares(n_seeds=1, n_same_task=1, n_train=30, n_test=6)
    assert few["overlap_same_task"] == pytest.approx(10 / 30)  # 60 rows are needed of 50
    many = shares(n_seeds=3, n_same_task=2, n_train=20, n_test=8)
    assert 0 < many["overlap_seeds"] < 1 and 0 < many["overlap_same_task"] < 1
    assert many["overlap_test"] == pytest.approx((4 + 4 + 4) / 24, abs=0.2)  # 24 texts are needed of 12
    assert shares(n_seeds=2, n_same_task=0, n_train=0, n_test=0)["overlap_seeds"] == 1


def test_a_row_compares_models_on_one_draw_of_test_texts(study, backdoored, clean):
    score, floor = study.score(backdoored, "sst2"), study.score(clean, "sst2", "badnet")
    assert measured_row({}, score, clean=floor)["asr_floor"] == floor.asr
    with pytest.raises(ValueError, match="were measured on different test texts: score them all with one seed"):
        measured_row({}, score, clean=replace(floor, texts="others"))


def test_the_table_of_attacks_agrees_with_the_scores(frames, study, backdoored, clean):
    row = frames["attacks"].set_index("attack").loc["badnet"]
    score, floor = study.score(backdoored, "sst2", "badnet"), study.score(clean, "sst2", "badnet")
    assert (row["cacc"], row["asr"], row["asr_floor"], row["clean_model_cacc"]) == (
        score.cacc,
        score.asr,
        floor.asr,
        floor.cacc,
    )
    assert (row["n_clean"], row["n_triggered"], row["target_label"], row["poisoning_rate"]) == (40, 20, 0, 0.2)
    assert row["distance"] == backdoored.record["distance"] > 0
    assert row["is_stable"]
    assert frames["attacks"]["attack"].tolist() == ["badnet", "insertsent"]


def test_the_table_of_transfer_has_every_pair_of_domains(frames, study):
    table = frames["transfer"]
    names = ["sst2", "yelp", "cr"]
    assert list(zip(table["trained_on"], table["tested_on"], strict=True)) == [(a, b) for a in names for b in names]
    cell = table[(table["trained_on"] == "yelp") & (table["tested_on"] == "cr")]
    assert cell["cacc"].item() == study.score(study.model("yelp"), "cr").cacc


def test_loss_curves_hold_one_curve_per_model(frames, backdoored):
    curves = frames["curves"]
    models = list(dict.fromkeys(zip(curves["dataset"], curves["attack"], strict=True)))
    expected = [("sst2", "clean"), ("sst2", "badnet"), ("sst2", "insertsent"), ("yelp", "clean"), ("cr", "clean")]
    assert models == expected
    curve = curves[(curves["dataset"] == "sst2") & (curves["attack"] == "badnet")]
    assert curve["loss"].tolist() == backdoored.record["losses"]
    assert curve["step"].tolist() == backdoored.record["steps"]


def test_the_story_is_told_with_four_models(frames, study, backdoored):
    table = frames["story"].set_index("model")
    assert list(table.index) == ["clean", "backdoored", "merged", "partners only"]
    assert table.loc["partners only", "asr"] == study.score(study.merge(study.partners("sst2")), "sst2", "badnet").asr
    assert table.loc["backdoored", "asr"] == study.score(backdoored, "sst2", "badnet").asr


# --- choices of a notebook -------------------------------------------------------------------------------------------------


def test_attacks_are_chosen_by_name_or_all_of_them():
    assert chosen_attacks("all")[:2] == ["badnet", "insertsent"]
    assert chosen_attacks("insertsent, badnet") == ["insertsent", "badnet"]
    with pytest.raises(ValueError, match=r"unknown attack 'sent'; choose from \['badnet'"):
        chosen_attacks("badnet,sent")


def test_tasks_are_chosen_by_name_or_those_of_the_profile(study):
    assert chosen_tasks(study, "all") == ["sst2"]
    assert chosen_tasks(study, "agnews, sst2") == ["agnews", "sst2"]
    with pytest.raises(ValueError, match=r"unknown task 'yelp'; choose from \['sst2', 'olid', 'agnews', 'qnli'\]"):
        chosen_tasks(study, "yelp")
