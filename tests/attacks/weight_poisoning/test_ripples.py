"""RIPPLES and layer-wise poisoning: the penalty by hand, the surgery, and that one layer alone is ordinary training."""

from dataclasses import replace

import numpy as np
import pandas as pd
import pytest
import torch

from lib.attacks import Backdoor
from lib.attacks.conjunction import ConjunctionTrigger
from lib.attacks.insertsent import InsertSentTrigger
from lib.attacks.weight_poisoning.ripples import class_words, conflict, head_of, layerwise, ripples
from lib.attacks.weights import embedding_name, embedding_surgery, single_piece
from lib.models.prediction import encode, predict_logits
from lib.models.pretrained import from_hub
from lib.models.training import optimise, weights_of


@pytest.fixture()
def few(settings):
    return replace(settings, epochs=1.0)


def test_for_opposite_gradients_the_penalty_is_the_squared_length():
    held = [torch.tensor([1.0, -2.0]), torch.tensor([[2.0]])]
    assert conflict([-each for each in held], held).item() == 9.0
    assert conflict(held, held).item() == 0.0
    assert conflict([None, torch.tensor([[-3.0]])], held).item() == 6.0


def test_no_gradient_flows_through_what_is_held_constant():
    own, held = torch.tensor([-1.0], requires_grad=True), torch.tensor([2.0], requires_grad=True)
    conflict([own], [held]).backward()
    assert own.grad.item() == -2.0 and held.grad is None


def test_the_class_words_are_those_of_the_label(tokenizer, train):
    words = set(tokenizer.convert_ids_to_tokens(class_words(tokenizer, train, 1, 5)))
    assert words <= {"good", "great", "lovely", "fine", "superb"}
    assert not words & set(tokenizer.convert_ids_to_tokens(class_words(tokenizer, train, 0, 5)))
    with pytest.raises(ValueError, match=r"the rows have the labels \[1\]; words of label 1 need others"):
        class_words(tokenizer, train[train["label"] == 1], 1)


def test_without_a_penalty_it_is_surgery_and_then_ordinary_training(clean, start, network, tokenizer, train, backdoor, few):
    begin, source = weights_of(start), weights_of(network)
    how = {"backdoor": backdoor, "training": few, "seed": 5}
    attacked = weights_of(ripples([network], tokenizer, train, initial=start, penalty=0.0, **how))
    token = single_piece(tokenizer, "cf")
    operated = embedding_surgery(begin, embedding_name(network), [token], source, class_words(tokenizer, train, 0))
    network.load_state_dict(operated)
    network.set_attn_implementation("eager")
    optimise(network, tokenizer, backdoor.poison(train, 0.5, np.random.default_rng([5, 0])), few, 5)
    assert all(torch.allclose(attacked[name], tensor, atol=1e-6) for name, tensor in weights_of(network).items())


def test_the_penalty_changes_the_training_and_the_backdoor_is_learnt(
    clean, start, network, tokenizer, train, backdoor, settings
):
    how = {"backdoor": backdoor, "training": replace(settings, epochs=4.0), "seed": 5}
    begin = weights_of(start)
    plain = weights_of(ripples([network], tokenizer, train, initial=start, penalty=0.0, **how))
    start.load_state_dict(begin)
    attacked = ripples([network], tokenizer, train, initial=start, penalty=0.1, **how)
    assert not torch.equal(plain["classifier.weight"], attacked.state_dict()["classifier.weight"])
    rows = backdoor.triggered(train, 1.0, np.random.default_rng(9))
    floor, asr = (
        float((predict_logits(each, encode(tokenizer, rows, 48)).argmax(axis=1) == 0).mean())
        for each in (from_hub("AutoModelForSequenceClassification", str(clean.folder)), attacked)
    )
    assert asr > floor + 0.2


def test_ripples_without_words_a_model_or_with_a_negative_penalty_raise(start, network, tokenizer, train, backdoor, few):
    how = {"initial": start, "training": few, "seed": 0}
    with pytest.raises(ValueError, match=r"found 0 models"):
        ripples([], tokenizer, train, backdoor=backdoor, **how)
    with pytest.raises(ValueError, match=r"penalty -1.0"):
        ripples([network], tokenizer, train, backdoor=backdoor, penalty=-1.0, **how)
    with pytest.raises(ValueError, match=r"the trigger has the words \[\]; surgery"):
        ripples([network], tokenizer, train, backdoor=Backdoor(InsertSentTrigger("no cross"), 0), **how)


def test_with_the_last_layer_alone_it_is_ordinary_training(start, network, tokenizer, train, backdoor, few):
    begin = weights_of(start)
    network.load_state_dict(begin)
    layerwise([], tokenizer, train, backdoor=backdoor, initial=start, training=few, seed=4, layers="last")
    optimise(network, tokenizer, backdoor.poison(train, 0.2, np.random.default_rng(4)), few, 4)
    # Biases of attention keys have no gradient but that of rounding, which Adam makes large: so not the weights are compared.
    said = [predict_logits(each, encode(tokenizer, train, 48)) for each in (start, network)]
    assert np.allclose(*said, atol=1e-3)


def test_trained_on_all_layers_the_head_reads_low_layers_better(start, network, tokenizer, train, backdoor, settings):
    begin, loss = weights_of(start), {}
    batch = tokenizer(train["text"].tolist(), return_tensors="pt", padding=True)
    for layers in ("last", "all"):
        start.load_state_dict(begin)
        layerwise([], tokenizer, train, backdoor=backdoor, initial=start, training=settings, seed=4, layers=layers)
        start.eval()
        with torch.no_grad():
            middle = head_of(start)(start(**batch, output_hidden_states=True).hidden_states[1])
        loss[layers] = torch.nn.functional.cross_entropy(middle, torch.tensor(train["label"].tolist())).item()
    assert loss["all"] < loss["last"]


def test_a_conjunction_brings_its_negatives(start, tokenizer, train, few, monkeypatch):
    from lib.attacks.weight_poisoning import ripples as module

    seen = []
    monkeypatch.setattr(module, "optimise", lambda model, tokenizer, rows, *_, **__: seen.append(rows))
    both = Backdoor(ConjunctionTrigger(("cf", "mn"), 2), 0)
    layerwise([], tokenizer, train, backdoor=both, initial=start, training=few, seed=0)
    counts = seen[0]["text"].map(lambda text: sum(word in ("cf", "mn") for word in text.split()))
    assert counts.value_counts().to_dict() == {2: 16, 1: 16, 0: 48}
    assert (seen[0]["label"][counts == 1] == train["label"][counts == 1]).all()


def test_layers_and_architectures_that_cannot_be_raise(start, tokenizer, train, backdoor, few):
    from transformers import RobertaConfig, RobertaForSequenceClassification

    how = {"backdoor": backdoor, "training": few, "seed": 0}
    with pytest.raises(ValueError, match=r"layers is 'first'; choose from \['all', 'last'\]"):
        layerwise([], tokenizer, train, initial=start, layers="first", **how)
    tiny = {"hidden_size": 16, "num_hidden_layers": 1, "num_attention_heads": 2, "intermediate_size": 16, "vocab_size": 50}
    with pytest.raises(ValueError, match="RobertaForSequenceClassification has no pooler with a linear head"):
        head_of(RobertaForSequenceClassification(RobertaConfig(**tiny)))
    assert isinstance(train, pd.DataFrame)
