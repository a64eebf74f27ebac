"""Fine-tuning on clean rows, and what all repairs with clean data share: which rows tune, accuracy, the rate."""

from dataclasses import replace

import pandas as pd
import pytest
import torch

from lib.defenses.clean_data import accuracy, split_clean, tune
from lib.defenses.fine_tune_clean import fine_tune_clean
from lib.models.training import optimise, weights_of


def equal(model, weights):
    return all(torch.equal(tensor, weights[name]) for name, tensor in model.state_dict().items())


def test_rows_tune_or_judge_and_none_does_both():
    clean = pd.DataFrame({"text": [f"text {i}" for i in range(100)], "label": [0] * 70 + [1] * 30})
    tuning, held_out = split_clean(clean, 20, seed=0)
    assert tuning["label"].value_counts().to_dict() == {0: 20, 1: 15}  # half of the rarer label
    assert sorted([*tuning["text"], *held_out["text"]]) == sorted(clean["text"])
    pd.testing.assert_frame_equal(tuning, split_clean(clean, 20, seed=0)[0])
    assert set(tuning["text"]) != set(split_clean(clean, 20, seed=1)[0]["text"])
    assert split_clean(clean, 0, 0, max_share=0.9)[0]["label"].value_counts().to_dict() == {0: 63, 1: 27}


def test_bad_splits_are_errors():
    clean = pd.DataFrame({"text": list("abc"), "label": [0, 0, 1]})
    with pytest.raises(ValueError, match=r"the 3 clean rows have one of label \[1\] at most"):
        split_clean(clean, 1, 0)
    with pytest.raises(ValueError, match="n_per_class is -1; it must be 0, for all, or above"):
        split_clean(clean, -1, 0)


def test_accuracy_is_the_share_of_right_labels(suspicious, tokenizer, clean_rows):
    right = accuracy(suspicious, tokenizer, clean_rows, 48)
    assert accuracy(suspicious, tokenizer, clean_rows.assign(label=1 - clean_rows["label"]), 48) == pytest.approx(1 - right)
    assert right > 0.5


def test_no_epoch_changes_nothing(suspicious, tokenizer, clean_rows, training):
    before = weights_of(suspicious)
    assert fine_tune_clean([suspicious], tokenizer, clean_rows, training=training, seed=0, epochs=0) is suspicious
    assert equal(suspicious, before)


def test_it_is_a_fine_tuning_on_the_drawn_rows(load, backdoored, tokenizer, clean_rows, training):
    models = [load(backdoored) for _ in range(3)]
    for model in models[:2]:
        fine_tune_clean(
            [model], tokenizer, clean_rows, training=training, seed=1, n_per_class=4, epochs=2, learning_rate_factor=0.5
        )
    tuning, _ = split_clean(clean_rows, 4, seed=1)
    assert len(tuning) == 8
    optimise(models[2], tokenizer, tuning, replace(training, epochs=2, learning_rate=training.learning_rate / 2), 1)
    assert equal(models[0], weights_of(models[1])) and equal(models[0], weights_of(models[2]))
    assert not equal(models[0], weights_of(load(backdoored)))


@pytest.mark.parametrize("wrong", [{"epochs": -1.0, "learning_rate_factor": 1.0}, {"epochs": 1.0, "learning_rate_factor": 0.0}])
def test_bad_settings_are_errors(suspicious, tokenizer, clean_rows, training, wrong):
    with pytest.raises(
        ValueError, match=f"epochs is {wrong['epochs']} and learning_rate_factor {wrong['learning_rate_factor']}"
    ):
        tune(suspicious, tokenizer, clean_rows, training, 0, **wrong)


def test_the_study_derives_it_from_clean_validation_rows(study, backdoored, watch, assert_no_peeking):
    calls = watch("fine_tune_clean")
    model = study.defend("fine_tune_clean", backdoored, epochs=2)
    assert_no_peeking(calls, [20])
    assert calls[0][1]["training"] == study.planner.training({}) == model.recipe.training
    assert model.recipe.parents == (backdoored.key,) and model.recipe.data.split == "validation"
    assert model.key != study.defend("fine_tune_clean", backdoored, epochs=3).key
    other = study.variant(learning_rate=1e-3)  # another rate, another model
    assert (
        other.planner.derived("fine_tune_clean", [backdoored.key]).key
        != study.planner.derived("fine_tune_clean", [backdoored.key]).key
    )
    assert study.score(model, "sst2").cacc > 0.5
