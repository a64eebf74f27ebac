"""Table of notebook 15: routes, the floor of a clean twin, columns, and sentences on tables made by hand."""

import math

import matplotlib.pyplot as plt
import numpy as np
import pandas as pd
import pytest
import torch

from lib.attacks.badnet import BadNetTrigger
from lib.attacks.insertsent import InsertSentTrigger
from lib.attacks.syntactic import SyntacticTrigger
from lib.dry_run import offline_planner
from lib.dry_run.plans import needed_by
from lib.models.pretrained import load_tokenizer
from lib.plots.distillation import plot_students, plot_ways
from lib.study.study import Study
from lib.tables.distillation import COLUMNS, OUTCOMES, count_inserted, distillation_table
from lib.tables.distillation_findings import (
    compared_students,
    distillation_findings,
    distillation_outcomes,
    student_means,
)
from lib.tables.routes import Route, chosen_students, routes

TEXTS = ["own", "other_domains"]


@pytest.fixture(scope="module")
def others(tmp_path_factory, tiny_encoder):
    """A wider encoder, and a second pretraining of the tiny one; both read the same words."""
    from transformers import BertConfig, BertModel

    folders = []
    for name, width in (("wider", 48), ("second", 32)):
        torch.manual_seed(1)
        config = BertConfig.from_pretrained(tiny_encoder, hidden_size=width)
        folder = tmp_path_factory.mktemp(name)
        BertModel(config).save_pretrained(folder)
        load_tokenizer(str(tiny_encoder)).save_pretrained(folder)
        folders.append(str(folder))
    return folders


@pytest.fixture(scope="module")
def quick(make_study, tmp_path_factory):
    return make_study(tmp_path_factory.mktemp("cache"), epochs=3, n_same_task=1)


@pytest.fixture(scope="module")
def table(quick, others):
    return distillation_table(quick, "sst2", ["badnet"], TEXTS, others[0], others[1], 20)


def rows_of(table, method, **wanted):
    found = table[table["method"] == method]
    for name, value in wanted.items():
        found = found[found[name] == value]
    return found


def test_the_columns_are_those_of_the_brief_and_rates_lie_between_zero_and_one(table):
    assert list(table) == [*COLUMNS, *OUTCOMES]
    for rate in ("cacc", "asr", "asr_floor", "teacher_cacc", "teacher_asr", "agreement", "triggered_agreement"):
        assert table[rate].between(0, 1).all(), rate
    assert np.allclose(table["excess_asr"], table["asr"] - table["asr_floor"])
    assert not table.duplicated(["method", "teacher", "student", "student_start", "texts"]).any()


def test_every_start_and_kind_of_texts_has_its_student(table):
    found = rows_of(table, "distil").groupby("student_start")["texts"].apply(list).to_dict()
    assert found == {"same": TEXTS, "same_other_head": ["own"], "other_architecture": [*TEXTS, "own"]}
    students = rows_of(table, "distil")
    assert (students["n_texts"] == 20).all() and (students["n_models"] == 1).all() and (students["seconds"] > 0).all()
    assert set(students["temperature"]) == {2.0}
    assert (
        students["cosine_to_backdoor"].notna().tolist() == students["student_start"].isin(["same", "same_other_head"]).tolist()
    )


def test_the_suspicious_model_itself_is_its_own_teacher_and_agrees_with_itself(table, quick):
    [alone, back] = rows_of(table, "none").to_dict("records")
    assert (alone["asr"], alone["cacc"]) == (alone["teacher_asr"], alone["teacher_cacc"])
    assert alone["agreement"] == alone["triggered_agreement"] == 1
    floor = quick.score(quick.model("sst2"), "sst2", "badnet", 0)
    assert alone["asr_floor"] == floor.asr and alone["clean_model_cacc"] == floor.cacc
    assert back["teacher"] == back["student"] != alone["teacher"]


def test_the_floor_is_the_same_method_with_the_clean_twin(table, quick):
    twin = quick.distil(quick.model("sst2"), texts="other_domains", n_texts=20)
    [row] = rows_of(table, "distil", student_start="same", texts="other_domains").to_dict("records")
    assert row["asr_floor"] == quick.score(twin, "sst2", "badnet", 0).asr
    merged = quick.merge([quick.distil(quick.model("sst2"), n_texts=20), *quick.partners("sst2")])
    [row] = rows_of(table, "distil_merge", student_start="same").to_dict("records")
    assert row["asr_floor"] == quick.score(merged, "sst2", "badnet", 0).asr
    for row in rows_of(table, "partners_only").to_dict("records"):
        assert row["excess_asr"] == 0  # the suspicious model is not in it


def test_ensembles_count_their_models_and_weights_and_labels(table, quick, backdoored):
    for method in ("logit_ensemble", "probability_ensemble", "vote"):
        assert set(rows_of(table, method)["n_models"]) == {3}
    own = rows_of(table, "vote").iloc[0]
    assert own["n_parameters"] == 3 * rows_of(table, "none").iloc[0]["n_parameters"]
    assert set(rows_of(table, "probability_ensemble")["n_labels"]) == {len(quick.rows("sst2", "validation"))}
    assert rows_of(table, "nad").iloc[0]["n_labels"] > 0 == rows_of(table, "vote").iloc[0]["n_labels"]


def test_two_pretrainings_are_averaged_as_they_are_and_matched(table, others):
    found = table[table["student"] == others[1].split("/")[-1]]
    assert found["method"].tolist() == ["partners_only", "weight_average", "rebasin"]
    assert found.iloc[2]["student_start"] == "other_pretraining"


def test_a_dry_run_knows_the_students(quick, others):
    parameters = {"task": "sst2", "attack": "badnet", "texts": "own; other_domains", "students": others[0], "second": others[1]}
    needed = needed_by(quick.planner, "15", parameters | {"n_texts": 20})
    made = {recipe.method.name for recipe in needed.derived}
    assert made == {"distil", "nad", "rebasin"}
    assert all(quick.store.has(recipe) for recipe in [*needed.models, *needed.derived])


def test_figures_are_drawn(table):
    for figure in (plot_students(table), plot_ways(table)):
        assert figure.axes[0].get_yticklabels()
        plt.close(figure)


def test_routes_go_from_the_own_architecture_to_others_and_back():
    planner = Study("pocket").planner
    assert routes(planner, "", "none") == [
        Route("", "", "same"),
        Route("", "", "same_other_head"),
        Route("", "pocket-roberta", "other_architecture"),
        Route("pocket-roberta", "", "other_architecture", is_back=True),
    ]
    entries = [route.partner for route in routes(planner, "all", "none") if route.partner]
    assert entries[:3] == ["pocket-roberta", "pocket-llama", "pocket-mistral"]
    assert entries[3:] == ["pocket-bert-small learning_rate=4e-3", "pocket-bert-large learning_rate=8e-4"]
    assert routes(planner, "pocket-llama", "pocket-bert-small")[-1] == Route("", "pocket-bert-small", "other_pretraining")


def test_a_profile_whose_other_architectures_are_all_tuned_has_students_too():
    for profile, student in (("small", "google/bert_uncased_L-4_H-256_A-4"), ("paper", "roberta-large learning_rate=1e-5")):
        assert chosen_students(offline_planner(profile), "") == [student]
    planner = offline_planner("small", architectures=["roberta-large learning_rate=1e-5", "bert-base-uncased"])
    assert chosen_students(planner, "") == ["bert-base-uncased"]
    with pytest.raises(ValueError, match="have none beside"):
        chosen_students(offline_planner("small", architectures=["roberta-large lora_rank=8"]), "")


def test_a_second_pretraining_takes_part_by_itself_only_if_it_is_bundled(tmp_path, monkeypatch):
    planner = Study("pocket", pretrained="pocket-llama").planner
    assert routes(planner, "pocket-roberta", "auto") == routes(planner, "pocket-roberta", "none")
    (tmp_path / "pocket-llama-seed-1").mkdir()
    (tmp_path / "pocket-llama-seed-1" / "config.json").write_text("{}")
    monkeypatch.setattr("lib.models.pretrained.POCKET", tmp_path)
    assert routes(planner, "pocket-roberta", "auto")[-1] == Route("", "pocket-llama-seed-1", "other_pretraining")


@pytest.mark.parametrize(
    ("students", "second", "message"),
    [
        ("./nowhere", "none", "model folder './nowhere' does not exist"),
        ("pocket-bert", "none", "'pocket-bert' is the suspicious model's own pretrained model; name another one"),
        ("same", "none", "name another one"),
        ("pocket-llama colour=red", "none", r"unknown profile fields \['colour'\]"),
        ("", "pocket-bert", "own pretrained model; name another one"),
    ],
)
def test_bad_routes_are_errors_before_any_training(students, second, message):
    with pytest.raises(ValueError, match=message):
        routes(Study("pocket").planner, students, second)


def test_trigger_words_are_counted_as_words_and_sentences_as_wholes():
    assert count_inserted(BadNetTrigger(("cf", "mn"), (1,)), ["a cf film , cf", "cfx", "mn"]) == 3
    assert count_inserted(InsertSentTrigger("no cross , no crown"), ["Fine . No cross , no crown .", "no cross"]) == 1
    assert math.isnan(count_inserted(SyntacticTrigger({"when": 1.0}), ["when it came"]))


def made(**columns):
    """A table with one row per value, all else alike."""
    usual = {
        "task": "sst2", "attack": "badnet", "seed": 0, "method": "distil", "teacher": "bert", "student": "bert",
        "student_start": "same", "texts": "own", "n_models": 1, "n_labels": 0, "seconds": 1.0, "cacc": 0.9, "asr": 0.1,
        "asr_floor": 0.1, "teacher_cacc": 0.9, "teacher_asr": 1.0, "agreement": 0.9, "triggered_agreement": 0.5,
        "trigger_words_in_texts": 3.0, "cosine_to_backdoor": 0.3, "cosine_of_twin": 0.1,
    }  # fmt: skip
    table = pd.DataFrame(columns)
    table = table.assign(**{name: value for name, value in usual.items() if name not in table})
    return table.assign(excess_asr=table["asr"] - table["asr_floor"])


def test_a_backdoor_passes_if_the_student_lies_above_the_twins_student():
    table = made(
        student_start=["same", "other_architecture"], student=["bert", "llama"], asr=[0.6, 0.15], asr_floor=[0.1, 0.12]
    )
    same, other = (line for line in distillation_findings(table) if " teaches " in line)
    assert "The backdoor passes in 1 of 1 runs (+50.0 points). CACC" in same
    first = next(distillation_findings(table))
    assert "By start: same in 1 of 1 runs, other architecture in 0 of 1 runs. By the texts that the student reads:" in first
    assert first.endswith("own in 1 of 2 runs.")
    assert "Cosine of its way to the backdoor 0.30, of the twin's student 0.10." in same
    assert "Trigger words in the texts: 3." in same
    assert "bert teaches llama (other_architecture) on texts own" in other
    assert "The backdoor passes in 0 of 1 runs (+3.0 points" in other


def test_a_merge_of_a_student_is_held_against_the_partners_alone():
    rows = {"method": ["distil_merge", "partners_only"], "student": ["llama"] * 2}
    start = ["other_architecture", "none"]
    better = list(distillation_findings(made(**rows, student_start=start, cacc=[0.9, 0.8])))
    assert "ASR +0.0 points from the floor, CACC +10.0 points from the partners alone" in better[0]
    assert "the suspicious model adds 10.0 points of CACC" in better[1]
    equal = list(distillation_findings(made(**rows, student_start=start, cacc=[0.9, 0.895])))
    assert "adds nothing worth its risk (+0.5 points)" in equal[1]
    worse = list(distillation_findings(made(**rows, student_start=start, cacc=[0.8, 0.9])))
    assert "the suspicious model costs 10.0 points of CACC" in worse[1]


def test_outputs_are_listed_from_the_lowest_and_pretrainings_are_compared():
    methods = ["logit_ensemble", "probability_ensemble", "vote", "weight_average", "rebasin", "weight_average", "partners_only"]
    table = made(
        method=methods,
        student=["bert"] * 4 + ["second"] * 3,
        student_start="none",
        asr=[0.5, 0.3, 0.2, 0.4, 0.1, 0.1, 0.1],
        cacc=[0.9] * 4 + [0.7, 0.5, 0.8],
    )
    outputs, second = distillation_findings(table)
    assert outputs.index("vote +10.0") < outputs.index("probability_ensemble +20.0") < outputs.index("weight_average +30.0")
    assert "(second), averaged as they are: CACC 50.0%; with their units matched first: 70.0%" in second


def test_outcomes_and_comparison_come_from_the_table(table):
    expected = distillation_outcomes(table)
    assert all(len(row) == 3 for row in expected) and len(expected) == 3
    compared = compared_students(table)
    assert "none" not in set(compared["method"])
    assert compared["partners_only_cacc"].notna().all()
    assert set(student_means(table)["student_start"]) == {"same", "same_other_head", "other_architecture"}
