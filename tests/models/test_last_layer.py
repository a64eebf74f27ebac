"""The last layer at the positions that are looked at: the same logits and gradients, with less work."""

import pytest
import torch
from transformers import (
    BertConfig,
    BertForSequenceClassification,
    DistilBertConfig,
    DistilBertForSequenceClassification,
    LlamaConfig,
    LlamaForSequenceClassification,
    RobertaConfig,
    RobertaForSequenceClassification,
)

from lib.models.last_layer import after_last_attention, first_token_alone, last_layer_at
from lib.models.loop import classification_loss

SIZE = {"vocab_size": 40, "hidden_size": 16, "num_hidden_layers": 2, "num_attention_heads": 2, "intermediate_size": 24}


def classifier(kind):
    torch.manual_seed(0)
    if kind == "bert":
        return BertForSequenceClassification(BertConfig(num_labels=3, **SIZE)).eval()
    if kind == "roberta":
        return RobertaForSequenceClassification(RobertaConfig(num_labels=3, pad_token_id=0, **SIZE)).eval()
    if kind == "distilbert":
        config = DistilBertConfig(vocab_size=40, dim=16, n_layers=2, n_heads=2, hidden_dim=24, num_labels=3)
        return DistilBertForSequenceClassification(config).eval()
    return LlamaForSequenceClassification(LlamaConfig(num_labels=3, pad_token_id=0, **SIZE)).eval()


@pytest.fixture
def batch():
    generator = torch.Generator().manual_seed(1)
    ids = torch.randint(5, 40, (4, 7), generator=generator)
    mask = torch.ones_like(ids)
    ids[2, 5:], mask[2, 5:] = 0, 0
    return {"input_ids": ids, "attention_mask": mask, "labels": torch.tensor([0, 2, 1, 0])}


def gradients(model, batch, loss):
    model.zero_grad()
    value = loss(model, batch)
    value.backward()
    return value.item(), {name: each.grad.clone() for name, each in model.named_parameters() if each.grad is not None}


def all_positions(model, batch):
    inputs = {name: values for name, values in batch.items() if name != "labels"}
    return torch.nn.functional.cross_entropy(model(**inputs).logits, batch["labels"])


@pytest.mark.parametrize("kind", ["bert", "roberta", "distilbert", "llama"])
def test_loss_and_gradients_are_those_of_all_positions(kind, batch):
    model = classifier(kind)
    expected, expected_gradients = gradients(model, batch, all_positions)
    found, found_gradients = gradients(model, batch, classification_loss)
    assert found == pytest.approx(expected, abs=1e-6)  # sums come in another order
    assert found_gradients.keys() == expected_gradients.keys()
    for name, gradient in expected_gradients.items():
        torch.testing.assert_close(found_gradients[name], gradient, atol=1e-6, rtol=1e-4)


@pytest.mark.parametrize(("kind", "n_positions"), [("bert", 1), ("roberta", 1), ("distilbert", 7), ("llama", 7)])
def test_only_the_first_token_passes_the_last_feed_forward_layer_of_those_that_read_it(kind, n_positions, batch):
    model, seen = classifier(kind), []
    last = {
        "bert": lambda: model.bert.encoder.layer[-1].output,
        "roberta": lambda: model.roberta.encoder.layer[-1].output,
        "distilbert": lambda: model.distilbert.transformer.layer[-1].ffn,
        "llama": lambda: model.model.layers[-1].mlp,
    }[kind]()
    last.register_forward_hook(lambda module, inputs, output: seen.append(inputs[0].shape[1]))
    classification_loss(model, batch)
    assert seen == [n_positions]


def test_with_dropout_at_work_every_position_draws_its_mask(batch):
    model, seen = classifier("bert").train(), []
    model.bert.encoder.layer[-1].output.register_forward_hook(lambda _, inputs, output: seen.append(inputs[0].shape[1]))
    classification_loss(model, batch)
    for module in model.modules():
        if isinstance(module, torch.nn.Dropout):
            module.p = 0.0
    classification_loss(model, batch)
    assert seen == [7, 1]


def test_behind_the_context_every_position_is_computed_again(batch):
    model = classifier("bert")
    with pytest.raises(RuntimeError, match="stopped"), first_token_alone(model):
        raise RuntimeError("stopped")
    assert model.bert(batch["input_ids"]).last_hidden_state.shape == (4, 7, 16)


def test_chosen_positions_are_those_of_the_whole_layer(batch):
    model = classifier("roberta")
    whole = model.roberta(batch["input_ids"]).last_hidden_state
    with last_layer_at(model.roberta, lambda states: states[:, 2:4]) as is_cut:
        part = model.roberta(batch["input_ids"]).last_hidden_state
    assert is_cut
    torch.testing.assert_close(part, whole[:, 2:4], atol=1e-6, rtol=1e-5)


def test_of_other_networks_nothing_is_left_out(batch):
    model = classifier("llama")
    assert after_last_attention(model.model) is None
    with last_layer_at(model.model, lambda states: states[:, :1]) as is_cut:
        assert model.model(batch["input_ids"]).last_hidden_state.shape == (4, 7, 16)
    assert not is_cut
