"""Re-basin: a permuted copy is the same function, is found by matching, and averages to the original."""

import numpy as np
import pytest
import torch
from transformers import BertConfig, BertForSequenceClassification

from lib.merging.rebasin import match_weights, permuted, plan_of
from lib.merging.state_dicts import distance, merge_state_dicts
from lib.models.rebasin import rebasin

N_HEADS = 2


def network(seed):
    torch.manual_seed(seed)
    config = BertConfig(
        vocab_size=40, hidden_size=16, num_hidden_layers=2, num_attention_heads=N_HEADS, intermediate_size=24,
        max_position_embeddings=12, initializer_range=0.3, num_labels=3,
    )  # fmt: skip
    model = BertForSequenceClassification(config).eval()
    with torch.no_grad():  # biases and normalisations of a fresh network are all alike: nothing would tell units apart
        for parameter in model.parameters():
            parameter.add_(0.1 * torch.randn_like(parameter))
    return model


@pytest.fixture(scope="module")
def model():
    return network(0)


@pytest.fixture
def orders(model):
    """A random order of every group of units that keeps heads together."""
    rng = np.random.default_rng(1)
    found = {"hidden": rng.permutation(16), "pooled": rng.permutation(16)}
    for layer in "01":
        heads = np.array([1, 0] if layer == "0" else [0, 1])
        for kind in ("query", "value"):
            found[f"{kind} {layer}"] = np.concatenate([8 * head + rng.permutation(8) for head in heads])
        found[f"units {layer}"] = rng.permutation(24)
    return found


def logits(model, weights):
    copy = network(5)
    copy.load_state_dict(weights)
    ids = torch.randint(0, 40, (4, 9), generator=torch.Generator().manual_seed(0))
    mask = torch.tensor([[1] * 9, [1] * 6 + [0] * 3] * 2)
    with torch.no_grad():
        return copy(input_ids=ids, attention_mask=mask).logits


def test_a_permuted_copy_is_the_same_function_is_found_and_averages_to_the_original(model, orders):
    weights = model.state_dict()
    plan = plan_of(weights, N_HEADS)
    copy = permuted(weights, orders, plan)
    assert distance(weights, copy) > 5
    assert torch.allclose(logits(model, copy), logits(model, weights), atol=1e-5)
    blind = merge_state_dicts([weights, copy])
    assert not torch.allclose(logits(model, blind), logits(model, weights), atol=0.1)
    found, n_rounds = match_weights(weights, copy, plan)
    assert n_rounds < 20
    average = merge_state_dicts([weights, permuted(copy, found, plan)])
    assert distance(average, weights) < 1e-5
    assert torch.allclose(logits(model, average), logits(model, weights), atol=1e-5)


def test_matching_another_model_brings_it_nearer_and_keeps_its_function(model):
    other = network(1)
    before, said = distance(model.state_dict(), other.state_dict()), logits(other, other.state_dict())
    rebasin([other, model], None, None, seed=0)
    assert distance(model.state_dict(), other.state_dict()) < before - 0.5
    assert torch.allclose(logits(other, other.state_dict()), said, atol=1e-5)


def test_a_head_stays_one(model):
    """Channels of two heads must not be mixed, or attention would be another function."""
    other = network(2)
    plan = plan_of(model.state_dict(), N_HEADS)
    found, _ = match_weights(model.state_dict(), other.state_dict(), plan)
    for kind in ("query", "value"):
        heads = found[f"{kind} 0"].reshape(N_HEADS, 8) // 8
        assert (heads == heads[:, :1]).all()
    assert (found["query 0"].reshape(N_HEADS, 8)[:, 0] // 8 == found["value 0"].reshape(N_HEADS, 8)[:, 0] // 8).all()


def test_what_cannot_be_matched_is_an_error(model):
    with pytest.raises(ValueError, match=r"tensor 'lstm\.weight' is none of a BERT classifier"):
        plan_of({"lstm.weight": torch.zeros(2, 2)}, 1)
    with pytest.raises(ValueError, match="16 channels, which 3 heads cannot share equally"):
        plan_of(model.state_dict(), 3)
    with pytest.raises(ValueError, match="needs a model and a reference; found 1 models"):
        rebasin([model], None, None, seed=0)
    wider = BertForSequenceClassification(BertConfig(vocab_size=40, hidden_size=24, num_hidden_layers=1, num_attention_heads=2))
    with pytest.raises(ValueError, match="equal names and shapes of tensors"):
        rebasin([model, wider], None, None, seed=0)
