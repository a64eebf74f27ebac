"""Students and ensembles of the study: who teaches, where a student starts, what it reads, and what is an error."""

import dataclasses

import numpy as np
import pandas as pd
import pytest
import torch

from lib.metrics.temperature import fit_temperature
from lib.models.checkpoints import Checkpoint, load_checkpoint
from lib.models.pretrained import load_tokenizer
from lib.study.artifacts import load_texts
from lib.study.distilled import OTHER_HEAD_SEED, plan_distilled
from lib.study.texts import plan_texts


@pytest.fixture(scope="module")
def narrow(tmp_path_factory, tiny_encoder):
    """A pretrained model of another architecture: a decoder that reads the same words."""
    from transformers import AutoTokenizer, LlamaConfig, LlamaForCausalLM

    folder, inputs = tmp_path_factory.mktemp("tiny-llama"), ["input_ids", "attention_mask"]
    tokenizer = AutoTokenizer.from_pretrained(tiny_encoder, model_input_names=inputs)
    torch.manual_seed(0)
    config = LlamaConfig(
        vocab_size=len(tokenizer),
        hidden_size=16,
        num_hidden_layers=1,
        num_attention_heads=2,
        intermediate_size=32,
        pad_token_id=0,
    )
    LlamaForCausalLM(config).save_pretrained(folder)
    tokenizer.save_pretrained(folder)
    return str(folder)


@pytest.fixture(scope="module")
def student(study, backdoored):
    return study.distil(backdoored, epochs=2.0)


def test_a_student_starts_where_its_teacher_started_and_reads_texts_without_labels(study, backdoored, student):
    recipe = student.recipe
    assert recipe.parents == (backdoored.key,) and recipe.method.name == "distil"
    assert recipe.initial == study.planner.initial_recipe(backdoored.recipe)
    assert dict(recipe.method.settings) == {"temperature": 2.0, "epochs": 2.0}
    texts = load_texts(recipe.data, study.locations)
    assert list(texts) == ["text"] and len(texts) == 80
    assert recipe.data.parts[0].seed != backdoored.recipe.seed  # other draws than the teacher's rows
    assert 0 <= study.score(student, "sst2").asr <= 1  # with the trigger of its teacher
    assert study.distil(backdoored, epochs=2.0).key == student.key


def test_what_a_teacher_says_is_stored_once_for_all_its_students(study, backdoored, student):
    before = len(list(study.store.root.glob("*/logits.safetensors")))
    study.distil(backdoored, epochs=1.0)
    assert len(list(study.store.root.glob("*/logits.safetensors"))) == before
    study.distil(backdoored, texts="other_domains", epochs=1.0)
    assert len(list(study.store.root.glob("*/logits.safetensors"))) == before + 1


def test_the_other_start_differs_in_the_head_alone(study, backdoored, student):
    other = study.distil(backdoored, "same_other_head", epochs=0.0)
    untouched = study.distil(backdoored, "same", epochs=0.0)
    assert other.recipe.initial == dataclasses.replace(student.recipe.initial, head_seed=OTHER_HEAD_SEED)
    differing = [n for n, t in other.state_dict().items() if not torch.equal(t, untouched.state_dict()[n])]
    assert "classifier.weight" in differing
    start = study.planner.initial([backdoored]).state_dict()
    assert all(torch.equal(tensor, start[name]) for name, tensor in untouched.state_dict().items())


def test_a_student_of_another_architecture_has_its_own_tokenizer_and_the_head_of_its_partners(study, backdoored, narrow):
    student = study.distil(backdoored, narrow, epochs=1.0)
    assert student.config["model_type"] == "llama" and student.label_names == backdoored.label_names
    assert load_tokenizer(str(student.folder)).model_input_names == ["input_ids", "attention_mask"]
    partners = study.variant(pretrained=narrow).partners("sst2")
    assert student.recipe.initial == study.planner.initial_recipe(partners[0].recipe)
    merged = study.merge([student, *partners])
    assert 0 <= study.score(merged, "sst2", "badnet", 0).cacc <= 1
    with pytest.raises(ValueError, match="only models of one architecture can be merged"):
        study.merge([backdoored, *partners])


def test_a_student_of_copies_is_the_student_of_one(study, backdoored, student):
    of_copies = study.distil([backdoored, backdoored], epochs=2.0)
    assert of_copies.key != student.key
    assert all(torch.allclose(t, student.state_dict()[n], atol=1e-3) for n, t in of_copies.state_dict().items())


def test_a_merge_can_teach(study, backdoored, clean):
    merged = study.merge([backdoored, clean])
    student = study.distil(merged, epochs=1.0)
    assert student.recipe.parents == (merged.key,) and 0 <= study.score(student, "sst2", "badnet", 0).cacc <= 1


def test_texts_come_from_where_they_are_said_to_come(study):
    planner = study.planner
    own, others = (plan_texts(planner, "sst2", kind, 40, 0) for kind in ("own", "other_domains"))
    assert [part.dataset for part in own.parts] == ["sst2"] and own.n == 40
    assert [part.dataset for part in others.parts] == planner.other_domains("sst2") and others.n == 20
    assert [part.dataset for part in plan_texts(planner, "sst2", "cr, yelp", 0, 0).parts] == ["cr", "yelp"]
    read = load_texts(others, study.locations)["text"].tolist()
    assert read == [text for name in study.other_domains("sst2") for text in study.rows(name)["text"].head(20)]


def test_general_texts_of_real_data_are_of_another_task_and_all_rows_are_counted():
    from lib.dry_run import offline_planner

    planner = offline_planner("paper")
    for task, elsewhere, n in (("sst2", "agnews", 120_000), ("agnews", "yelp", 560_000)):
        recipe = plan_texts(planner, task, "general", 0, 0)
        assert ([part.dataset for part in recipe.parts], recipe.n) == ([elsewhere], n)
    assert plan_texts(planner, "sst2", "yelp, cr", 0, 0).n == 3_012  # as many of each as the smaller one has


def test_pretraining_lines_are_texts_of_pocket_english_without_labels():
    from lib.datasets import rows_of_seed
    from lib.study.study import Study

    recipe = plan_texts(Study("pocket", n_train=30).planner, "qnli", "general", 0, 1)
    assert (recipe.parts[0].split, recipe.parts[0].seed, recipe.n) == ("pretraining", 1, 30)
    lines = rows_of_seed("sst2", "pocket", "pretraining", 30, 1)
    assert list(lines) == ["text"] and len(lines) == 30 and not lines["text"].str.contains("\t").any()
    pairs = rows_of_seed("qnli", "pocket", "pretraining", 5, 1)
    assert list(pairs) == ["text", "text_pair"] and len(pairs) == 5
    assert list(rows_of_seed("qnli", "pocket", "pretraining", 5, 1, pair_mode="joined")) == ["text"]
    pd.testing.assert_frame_equal(lines.head(10), rows_of_seed("sst2", "pocket", "pretraining", 10, 1))


@pytest.mark.parametrize(
    ("given", "message"),
    [
        ({"student": "gpt-17"}, r"student is 'gpt-17'; give one of \['same', 'same_other_head'\], or a pretrained model"),
        ({"student": "same x"}, "is not a name followed by field=value"),
        (
            {"texts": "wiki"},
            r"texts is 'wiki'; give one of \['own', 'other_domains', 'general'\], or datasets: unknown dataset",
        ),
        ({"n_texts": 500}, "n_texts is 500, 500 from each of 1 sources; from 1 to 80 are possible: all rows there are"),
        ({"n_texts": 1, "texts": "other_domains"}, "n_texts is 1, 0 from each of 2 sources"),
        ({"temprature": 2.0}, r"unknown settings \['temprature'\]; choose from \['epochs', 'temperature'\]"),
    ],
)
def test_bad_wishes_are_errors_that_say_what_is_allowed(study, backdoored, given, message):
    with pytest.raises(ValueError, match=message):
        study.distil(backdoored, **given)


def test_no_teacher_and_one_of_elsewhere_are_errors(study, backdoored):
    with pytest.raises(ValueError, match="no teacher to learn from; give at least one model"):
        study.distil([])
    with pytest.raises(ValueError, match="not trained in this study: where its student starts is not known"):
        study.distil(load_checkpoint(backdoored.folder))


def test_a_student_is_planned_as_it_is_made(study, backdoored, student):
    planned = plan_distilled(study.planner, [backdoored.key], backdoored.recipe, epochs=2.0)
    assert planned.key == student.key and isinstance(student, Checkpoint)


# --- ensembles --------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("method", ["logit_ensemble", "vote"])
def test_an_ensemble_of_copies_is_the_model(study, backdoored, method):
    copies = study.ensemble([backdoored] * 3, method)
    one, many = study.score(backdoored, "sst2"), study.score(copies, "sst2")
    assert (one.cacc, one.asr, one.correct, one.hits) == (many.cacc, many.asr, many.correct, many.hits)


def test_models_of_two_architectures_answer_together(study, backdoored, narrow):
    others = study.variant(pretrained=narrow).partners("sst2")
    together = study.ensemble([backdoored, *others])
    said = [study.logits(model, "sst2", "badnet", 0) for model in (backdoored, *others)]
    assert study.logits(together, "sst2", "badnet", 0) == pytest.approx(np.mean(said, axis=0))
    assert together.key == study.ensemble([backdoored, *others]).key != study.ensemble([backdoored, *others], "vote").key


def test_temperatures_are_fitted_on_validation_texts_and_named_in_the_key(study, backdoored, clean):
    labels = study.rows("sst2", "validation")["label"]
    said = [study.logits(model, "sst2", None, 0, split="validation") for model in (backdoored, clean)]
    fitted = [round(fit_temperature(logits, labels), 4) for logits in said]
    ours = study.ensemble([backdoored, clean], "probability_ensemble")
    assert ours.key == study.ensemble([backdoored, clean], "probability_ensemble", temperatures=fitted).key
    assert ours.key != study.ensemble([backdoored, clean], "probability_ensemble", temperatures=[1.0, 1.0]).key
    assert ours.key == study.defend("probability_ensemble", backdoored, [clean]).key


def test_ensembles_that_cannot_be_are_errors(study, backdoored):
    with pytest.raises(ValueError, match="an ensemble needs at least one model; found none"):
        study.ensemble([])
    with pytest.raises(ValueError, match="average is a defense of the family merging; one of ensemble is needed"):
        study.ensemble([backdoored], "average")
    elsewhere = load_checkpoint(backdoored.folder)
    with pytest.raises(ValueError, match="say whose by dataset, or give `temperatures`"):
        study.ensemble([elsewhere], "probability_ensemble")
    assert study.ensemble([elsewhere], "probability_ensemble", dataset="sst2").members == (elsewhere,)
