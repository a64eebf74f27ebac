"""NAD: cross-entropy and maps of attention of the model's own fine-tuned copy."""

import pytest
import torch

from lib.defenses.clean_data import accuracy
from lib.defenses.fine_tune_clean import fine_tune_clean
from lib.defenses.nad import nad
from lib.models.training import weights_of

FEW = {"n_per_class": 4, "epochs": 2}


def repaired(function, model, tokenizer, clean_rows, training, **settings):
    return weights_of(function([model], tokenizer, clean_rows, training=training, seed=1, **FEW, **settings))


def test_without_maps_it_is_fine_tuning_on_clean_rows(load, backdoored, tokenizer, clean_rows, training):
    nad_, plain = (load(backdoored) for _ in range(2))
    found = repaired(nad, nad_, tokenizer, clean_rows, training, attention_weight=0.0)
    wanted = repaired(fine_tune_clean, plain, tokenizer, clean_rows, training)
    # The last layer is computed at all positions here: sums come in another order.
    assert all(torch.allclose(tensor, wanted[name], atol=1e-3) for name, tensor in found.items())


def test_maps_change_the_model_and_leave_it_a_classifier(load, backdoored, tokenizer, clean_rows, training):
    first, second, plain = (load(backdoored) for _ in range(3))
    found = repaired(nad, first, tokenizer, clean_rows, training, attention_weight=1e5)
    again = repaired(nad, second, tokenizer, clean_rows, training, attention_weight=1e5)
    wanted = repaired(fine_tune_clean, plain, tokenizer, clean_rows, training)
    assert all(torch.equal(tensor, again[name]) for name, tensor in found.items())  # one seed, one result
    assert any(not torch.allclose(tensor, wanted[name], atol=2e-3) for name, tensor in found.items())
    assert accuracy(first, tokenizer, clean_rows, 48) > 0.5


def test_the_study_gives_it_clean_rows_and_no_trigger(study, backdoored, watch, assert_no_peeking, clean_rows):
    calls = watch("nad")
    repaired_model = study.defend("nad", backdoored, n_per_class=3, epochs=1.0)
    assert_no_peeking(calls, [len(clean_rows)])
    assert 0 <= study.score(repaired_model, "sst2", "badnet").asr <= 1


def test_bad_settings_are_errors(suspicious, tokenizer, clean_rows, training):
    for wrong in ({"attention_weight": -1.0}, {"power": 0.0}):
        with pytest.raises(ValueError, match="give 0 or more, and above 0"):
            nad([suspicious], tokenizer, clean_rows, training=training, seed=0, **wrong)
