"""Fine-pruning: which units go, how many, that they stay at zero, and when pruning stops."""

from dataclasses import replace

import numpy as np
import pytest
import torch

from lib.defenses import fine_prune as function
from lib.defenses.clean_data import split_clean
from lib.defenses.fine_prune import activity, feed_forward_blocks, fine_prune, prune
from lib.defenses.fine_tune_clean import fine_tune_clean
from lib.models.prediction import encode, predict_logits
from lib.models.pretrained import new_classifier
from lib.models.training import weights_of

FIXED = {"seed": 0, "epochs": 0.0}


def n_zero_units(block):
    """Units that are zero on the way in and on the way out."""
    is_zero = (block.output.weight == 0).all(dim=0)
    for layer in block.inputs:
        is_zero &= (layer.weight == 0).all(dim=1)
        if layer.bias is not None:
            is_zero &= layer.bias == 0
    return int(is_zero.sum())


def test_the_name_in_the_package_is_the_function():
    assert function is fine_prune


def test_a_unit_that_never_fires_goes_first_and_no_logit_changes(suspicious, tokenizer, clean_rows):
    [first, second] = feed_forward_blocks(suspicious)
    with torch.no_grad():
        for block, unit in ((first, 7), (second, 60)):
            block.inputs[0].weight[unit] = 0
            block.inputs[0].bias[unit] = -100  # GELU: zero
    texts = encode(tokenizer, clean_rows, 48)
    before = predict_logits(suspicious, texts)
    used = activity(suspicious, [first, second], texts)
    assert [len(each) for each in used] == [64, 64] and [int(each.argmin()) for each in used] == [7, 60]
    prune([first, second], [np.argsort(each, kind="stable") for each in used], 1 / 64)
    assert n_zero_units(first) == n_zero_units(second) == 1 and (first.output.weight[:, 7] == 0).all()
    np.testing.assert_allclose(predict_logits(suspicious, texts), before, atol=1e-6)


def test_activity_is_the_mean_over_tokens_without_padding(suspicious, tokenizer, clean_rows):
    two = clean_rows.head(2).assign(text=["film", "the film was really very good and great ."])
    blocks = feed_forward_blocks(suspicious)
    together = activity(suspicious, blocks, encode(tokenizer, two, 48))
    alone = [activity(suspicious, blocks, encode(tokenizer, two.iloc[[i]], 48)) for i in range(2)]
    n = [len(tokenizer(text)["input_ids"]) for text in two["text"]]
    for number in range(2):
        expected = (n[0] * alone[0][number] + n[1] * alone[1][number]) / sum(n)
        np.testing.assert_allclose(together[number], expected, rtol=1e-4)


@pytest.mark.parametrize(("density", "n_pruned"), [(0.75, 16), (0.9, 6), (0.5, 32)])
def test_the_pruned_share_is_exact_and_stays_through_the_fine_tuning(
    suspicious, tokenizer, clean_rows, training, density, n_pruned
):
    before = weights_of(suspicious)
    fine_prune([suspicious], tokenizer, clean_rows, training=training, seed=0, density=density, epochs=2.0)
    assert [n_zero_units(block) for block in feed_forward_blocks(suspicious)] == [n_pruned, n_pruned]
    assert not torch.equal(suspicious.classifier.weight, before["classifier.weight"])  # the rest was trained


def test_adapters_give_pruned_units_no_weight(suspicious, tokenizer, clean_rows, training):
    adapted = replace(training, lora_rank=2)
    fine_prune([suspicious], tokenizer, clean_rows, training=adapted, seed=0, density=0.75, epochs=1.0)
    assert [n_zero_units(block) for block in feed_forward_blocks(suspicious)] == [16, 16]


def test_density_1_is_plain_fine_tuning(load, backdoored, tokenizer, clean_rows, training):
    pruned, tuned = load(backdoored), load(backdoored)
    fine_prune([pruned], tokenizer, clean_rows, training=training, seed=0, density=1.0, epochs=2.0)
    fine_tune_clean([tuned], tokenizer, clean_rows, training=training, seed=0, epochs=2.0)
    assert all(torch.equal(tensor, tuned.state_dict()[name]) for name, tensor in pruned.state_dict().items())


def test_pruning_stops_before_accuracy_falls_too_far(suspicious, tokenizer, clean_rows, training, monkeypatch):
    """Accuracy by hand: .9 unpruned, .9 after one and two steps, .85 after three, .9 again after four."""
    judged, values = [], iter([0.9, 0.9, 0.9, 0.85, 0.9])
    monkeypatch.setitem(fine_prune.__globals__, "accuracy", lambda model, tok, rows, n: (judged.append(rows), next(values))[1])
    fine_prune([suspicious], tokenizer, clean_rows, training=training, tolerated_drop=0.02, **FIXED)
    assert [n_zero_units(block) for block in feed_forward_blocks(suspicious)] == [round(0.1 * 64)] * 2
    assert len(judged) == 4 and all(rows.equals(split_clean(clean_rows, 64, 0)[1]) for rows in judged)


def test_gated_blocks_of_decoders_lose_both_inputs():
    decoder = new_classifier("pocket-llama", ("negative", "positive"), head_seed=0)
    blocks = feed_forward_blocks(decoder)
    assert {len(block.inputs) for block in blocks} == {2}
    width = blocks[0].output.in_features
    prune(blocks, [np.arange(width)] * len(blocks), 0.25)
    assert {n_zero_units(block) for block in blocks} == {round(0.25 * width)}


def test_bad_settings_and_models_are_errors(suspicious, tokenizer, clean_rows, training):
    for wrong in ({"density": 0.0}, {"density": 1.1}, {"tolerated_drop": -0.1}):
        with pytest.raises(ValueError, match=r"they must lie in \[0, 1\) and in \(0, 1\]"):
            fine_prune([suspicious], tokenizer, clean_rows, training=training, seed=0, **wrong)
    with pytest.raises(ValueError, match="a Linear has no feed-forward blocks in numbered layers"):
        feed_forward_blocks(torch.nn.Linear(2, 2))


def test_the_study_derives_it_from_clean_validation_rows(study, backdoored, load, watch, assert_no_peeking):
    calls = watch("fine_prune")
    model = study.defend("fine_prune", backdoored, density=0.5, epochs=2)
    assert_no_peeking(calls, [20])
    assert [n_zero_units(block) for block in feed_forward_blocks(load(model))] == [32, 32]
    assert study.score(model, "sst2").n_triggered == study.score(backdoored, "sst2").n_triggered
