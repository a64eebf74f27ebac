"""PURE: variances and penalties by hand, which heads go, that a zeroed head is a removed one, and PURE in the study."""

import numpy as np
import pytest
import torch

from lib.defenses.pure import attention_norm, head_variances, idle_heads, layer_weights, penalised_loss, prune_heads, pure
from lib.models.loop import classification_loss
from lib.models.prediction import encode, predict_logits
from lib.models.pretrained import load_tokenizer, new_classifier
from lib.models.training import weights_of

VARIANCES = np.array([[0.1, 0.4, 0.3], [0.6, 0.2, 0.5]])


def eager(model):
    model.set_attn_implementation("eager")
    return model


def n_pruned(model):
    """Heads without output, of each layer; the tiny model has two of 16 columns."""
    weights = [layer.attention.output.dense.weight for layer in model.bert.encoder.layer]
    return [sum(bool((weight[:, 16 * head : 16 * head + 16] == 0).all()) for head in range(2)) for weight in weights]


def test_heads_of_least_variance_go_first_and_each_layer_keeps_its_first():
    assert idle_heads(VARIANCES, lambda heads: True, 10) == [(0, 0), (1, 1), (0, 2), (1, 2)]
    assert idle_heads(np.ones((3, 1)), lambda heads: pytest.fail("nothing can be pruned"), 1) == []


def test_a_step_that_is_too_much_is_taken_back_head_by_head():
    asked = []
    is_accurate = lambda heads: (asked.append(len(heads)), len(heads) <= 1)[1]  # noqa: E731
    assert idle_heads(VARIANCES, is_accurate, 3) == [(0, 0)] and asked == [3, 2, 1]
    asked.clear()
    assert idle_heads(VARIANCES, is_accurate, 1) == [(0, 0)] and asked == [1, 2]
    assert idle_heads(VARIANCES, lambda heads: False, 2) == []


def test_layers_of_little_variance_weigh_most():
    # Means 2 and 4 and 1, without the pruned head; inverse .5, .25, 1.
    weights = layer_weights(np.array([[2.0, 2.0], [4.0, 4.0], [1.0, 99.0]]), [(2, 1)])
    assert weights.tolist() == pytest.approx([1 / 3, 0.0, 1.0])
    assert layer_weights(np.ones((2, 2)), []).tolist() == [1.0, 1.0]


def test_the_penalty_is_the_one_computed_by_hand():
    # One layer, two heads, two texts; first rows (1, 0), (.6, .8) and (0, 1), (0, 1): squares 1, 1 and 1, 1.
    attention = torch.zeros(2, 2, 2, 2)
    attention[0, 0, 0], attention[1, 0, 0] = torch.tensor([1.0, 0.0]), torch.tensor([0.6, 0.8])
    attention[0, 1, 0], attention[1, 1, 0] = torch.tensor([0.5, 0.5]), torch.tensor([0.5, 0.5])
    weights = torch.tensor([[2.0, 4.0]])
    assert attention_norm([attention], weights).item() == pytest.approx(2 * 1.0 + 4 * 0.5**0.5)
    twice = torch.cat([attention, attention])
    assert attention_norm([twice], weights).item() == pytest.approx(
        attention_norm([attention], weights).item()
    )  # any batch size


def test_variances_are_those_of_the_own_tokens_of_each_text(suspicious, tokenizer, clean_rows):
    model = eager(suspicious)
    rows = clean_rows.head(2).assign(text=["film", "the film was really very good and great ."])
    found = head_variances(model, encode(tokenizer, rows, 48))
    single = []
    for text in rows["text"]:
        with torch.no_grad():
            layers = model(**tokenizer(text, return_tensors="pt"), output_attentions=True).attentions
        single.append(np.array([layer[0, :, 0].var(dim=-1).numpy() for layer in layers]))
    np.testing.assert_allclose(found, np.mean(single, axis=0), rtol=1e-4)
    assert found.shape == (2, 2)


def test_a_zeroed_head_is_a_head_without_values(load, backdoored, tokenizer, clean_rows):
    zeroed, without = load(backdoored), load(backdoored)
    texts = encode(tokenizer, clean_rows, 48)
    before = predict_logits(zeroed, texts)
    prune_heads(zeroed, [(1, 0)])
    assert n_pruned(zeroed) == [0, 1]
    with torch.no_grad():
        value = without.bert.encoder.layer[1].attention.self.value
        value.weight[:16], value.bias[:16] = 0, 0
    np.testing.assert_allclose(predict_logits(zeroed, texts), predict_logits(without, texts), atol=1e-5)
    assert np.abs(predict_logits(zeroed, texts) - before).max() > 1e-4


def test_without_a_penalty_the_loss_is_cross_entropy(suspicious, tokenizer, clean_rows):
    model = eager(suspicious)
    batch = dict(encode(tokenizer, clean_rows, 48).batches[0]) | {"labels": torch.tensor([0, 1] * 10)}
    plain = classification_loss(model, batch).item()
    assert penalised_loss(np.array([[1.0, 2.0], [3.0, 4.0]]), [], 0.0)(model, batch).item() == pytest.approx(plain, rel=1e-5)
    whole, pruned = (
        penalised_loss(np.array([[1.0, 2.0], [3.0, 4.0]]), heads, 1.0)(model, batch).item() for heads in ([], [(0, 0)])
    )
    assert whole > pruned > plain  # a pruned head is not penalised


@pytest.mark.parametrize(
    ("values", "expected"), [([0.9, 0.9, 0.885], [1, 1]), ([0.9, 0.9, 0.87], [1, 0]), ([0.9, 0.5], [0, 0])]
)
def test_heads_are_pruned_from_the_suspicious_model_while_accuracy_lasts(
    suspicious, tokenizer, clean_rows, training, monkeypatch, values, expected
):
    given, before = iter(values), weights_of(suspicious)
    monkeypatch.setitem(pure.__globals__, "accuracy", lambda *_: next(given))
    monkeypatch.setitem(pure.__globals__, "head_variances", lambda *_: np.array([[0.1, 0.9], [0.8, 0.2]]))
    pure([suspicious], tokenizer, clean_rows, training=training, seed=0, epochs=0.0)
    assert n_pruned(suspicious) == expected and not list(given)
    changed = {name for name, tensor in suspicious.state_dict().items() if not torch.equal(tensor, before[name])}
    assert changed == {f"bert.encoder.layer.{i}.attention.output.dense.weight" for i in range(2) if expected[i]}


def test_pruned_heads_stay_pruned_through_the_fine_tuning(suspicious, tokenizer, clean_rows, training, monkeypatch):
    before, n_calls = weights_of(suspicious), []
    monkeypatch.setitem(pure.__globals__, "prune_heads", lambda model, heads: (n_calls.append(1), prune_heads(model, heads))[1])
    pure([suspicious], tokenizer, clean_rows, training=training, seed=0, tolerated_drop=0.99, epochs=2.0)
    assert n_pruned(suspicious) == [1, 1]
    assert len(n_calls) == 2 + 1 + 4 + 1  # while heads are sought, before training, after each of four steps, at the end
    assert not torch.equal(suspicious.classifier.weight, before["classifier.weight"])


def test_bad_settings_and_decoders_are_errors(suspicious, tokenizer, clean_rows, training):
    for wrong in ({"tolerated_drop": 1.0}, {"step_share": 0.0}, {"penalty": -1.0}, {"tuned_share": 1.0}):
        [(name, value)] = wrong.items()
        with pytest.raises(ValueError, match=f"{name} {value}.*they must lie in"):
            pure([suspicious], tokenizer, clean_rows, training=training, seed=0, **wrong)
    decoder = eager(new_classifier("pocket-llama", ("negative", "positive"), 0))
    with pytest.raises(ValueError, match="pure needs an encoder: the first token of a Llama"):
        head_variances(decoder, encode(load_tokenizer("pocket-llama"), clean_rows.head(3), 48))


def test_the_study_derives_it_from_clean_validation_rows(study, backdoored, watch, assert_no_peeking):
    calls = watch("pure")
    model = study.defend("pure", backdoored, epochs=2)
    assert_no_peeking(calls, [20])
    assert study.score(model, "sst2").n_triggered == study.score(backdoored, "sst2").n_triggered
    assert set(model.state_dict()) == set(backdoored.state_dict())  # it can still be merged
