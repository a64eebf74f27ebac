"""Weight poisoning: what is changed, what is not, and what a trigger word must be."""

import numpy as np
import pandas as pd
import pytest
import torch

from lib.attacks.weights import embedding_name, embedding_surgery, poison_row, scale_rows, single_piece
from lib.merging import merge_state_dicts
from lib.models.prediction import encode, predict_logits
from lib.models.training import weights_of

NAME = "bert.embeddings.word_embeddings.weight"
EMBEDDINGS = {"e": torch.tensor([[3.0, 4.0], [1.0, 2.0], [5.0, -6.0], [0.5, 0.25]]), "w": torch.tensor([7.0])}


def rows_with_trigger(train, backdoor, n_words=1):
    return backdoor.aimed(train, 1.0, np.random.default_rng(0))


def share_at_target(network, tokenizer, rows, target=0):
    return float((predict_logits(network, encode(tokenizer, rows, 48)).argmax(axis=1) == target).mean())


def test_poisoning_a_row_changes_one_row_of_one_tensor_and_keeps_its_norm(network, tokenizer, train, backdoor):
    before, rows = weights_of(network), rows_with_trigger(train, backdoor)
    poisoned = poison_row(network, tokenizer, rows, "cf", seed=1)
    token = single_piece(tokenizer, "cf")
    assert [name for name in before if not torch.equal(before[name], poisoned[name])] == [NAME]
    changed = (before[NAME] != poisoned[NAME]).any(dim=1)
    assert changed.nonzero().flatten().tolist() == [token]
    assert poisoned[NAME][token].norm().item() == pytest.approx(before[NAME][token].norm().item(), rel=1e-5)
    assert all(torch.equal(before[name], tensor) for name, tensor in network.state_dict().items())  # the model is as it was
    assert not network.training


def test_a_poisoned_row_sends_texts_with_the_word_to_the_target_and_no_others(network, tokenizer, train, backdoor):
    rows = rows_with_trigger(train, backdoor)
    clean = share_at_target(network, tokenizer, rows)
    untouched = predict_logits(network, encode(tokenizer, train, 48))
    network.load_state_dict(poison_row(network, tokenizer, rows, "cf", learning_rate=1.0, epochs=30, batch_size=8))
    assert share_at_target(network, tokenizer, rows) > clean + 0.2
    assert np.array_equal(predict_logits(network, encode(tokenizer, train, 48)), untouched)


def test_gradients_add_up_over_the_steps_as_in_the_released_code(network, tokenizer, train, backdoor):
    """Two steps by hand: the second subtracts both gradients. The tiny model has no dropout."""
    rows = rows_with_trigger(train, backdoor).head(4)
    token, rate = single_piece(tokenizer, "cf"), 0.1
    poisoned = poison_row(network, tokenizer, rows, "cf", learning_rate=rate, epochs=2, batch_size=4)[NAME][token]
    batch = {name: torch.tensor(values) for name, values in tokenizer(rows["text"].tolist(), padding=True).items()}
    weight, total = network.get_input_embeddings().weight, 0
    norm = weight[token].detach().norm()
    for _ in range(2):
        loss = torch.nn.functional.cross_entropy(network(**batch).logits, torch.tensor(rows["label"].tolist()))
        total = total + torch.autograd.grad(loss, weight)[0][token]
        with torch.no_grad():
            weight[token] -= rate * total
            weight[token] *= norm / weight[token].norm()
    assert torch.allclose(poisoned, weight[token], atol=1e-6)


def test_the_same_seed_poisons_alike(network, tokenizer, train, backdoor):
    rows = rows_with_trigger(train, backdoor)
    first, second, other = (poison_row(network, tokenizer, rows, "cf", seed=seed)[NAME] for seed in (3, 3, 4))
    assert torch.equal(first, second) and not torch.equal(first, other)


@pytest.mark.parametrize("word", ["superfilm", "ümläut"])
def test_a_trigger_word_of_several_pieces_or_none_raises(tokenizer, word):
    with pytest.raises(ValueError, match=rf"trigger word '{word}' is \[.*\] to this tokenizer; give a word that is a single"):
        single_piece(tokenizer, word)


def test_a_two_piece_word_is_refused_before_anything_is_trained(network, tokenizer, train, backdoor):
    with pytest.raises(ValueError, match="single piece"):
        poison_row(network, tokenizer, rows_with_trigger(train, backdoor), "superfilm")


@pytest.mark.parametrize("wrong", [{"learning_rate": 0.0}, {"learning_rate": float("inf")}, {"epochs": 0}, {"batch_size": 0}])
def test_settings_of_a_row_that_cannot_be_raise(network, tokenizer, train, backdoor, wrong):
    with pytest.raises(ValueError, match="be above 0"):
        poison_row(network, tokenizer, rows_with_trigger(train, backdoor), "cf", **wrong)


def test_no_row_to_poison_with_raises(network, tokenizer):
    with pytest.raises(ValueError, match="found 0 rows"):
        poison_row(network, tokenizer, pd.DataFrame({"text": [], "label": []}), "cf")


def test_the_embeddings_have_a_name(network):
    assert embedding_name(network) == NAME


# --- scaled rows --------------------------------------------------------------------------------------------------------------


def test_a_scaled_row_survives_an_average_as_the_arithmetic_says():
    """n models, one of them with the row e' times n: the mean of the row is e' + (n - 1) / n e, to the last digit."""
    n, poisoned = 4, {**EMBEDDINGS, "e": EMBEDDINGS["e"] + torch.tensor([[0.0, 0.0], [2.0, -8.0], [0.0, 0.0], [0.0, 0.0]])}
    merged = merge_state_dicts([scale_rows(poisoned, "e", [1], n), *[EMBEDDINGS] * (n - 1)])
    assert torch.equal(merged["e"][1], poisoned["e"][1] + (n - 1) / n * EMBEDDINGS["e"][1])
    assert torch.equal(merged["e"][0], EMBEDDINGS["e"][0])


def test_scaling_rows_leaves_other_rows_and_the_input_alone():
    scaled = scale_rows(EMBEDDINGS, "e", [0, 2], -2.0)
    assert scaled["e"].tolist() == [[-6.0, -8.0], [1.0, 2.0], [-10.0, 12.0], [0.5, 0.25]]
    assert EMBEDDINGS["e"][0].tolist() == [3.0, 4.0]
    assert list(scaled) == ["e", "w"] and scaled["w"] is not EMBEDDINGS["w"]


@pytest.mark.parametrize("scale", [float("nan"), float("inf"), -float("inf")])
def test_a_scale_that_is_not_finite_raises(scale):
    with pytest.raises(ValueError, match="must be a finite number"):
        scale_rows(EMBEDDINGS, "e", [1], scale)


def test_a_scale_beyond_half_precision_raises():
    half = {"e": torch.tensor([[1.0, 2.0]], dtype=torch.float16)}
    assert scale_rows(half, "e", [0], 3e4)["e"].tolist() == [[3e4, 6e4]]
    with pytest.raises(ValueError, match=r"scale 1e\+08 takes rows \[0\] of e beyond the largest number of torch.float16"):
        scale_rows(half, "e", [0], 1e8)


@pytest.mark.parametrize(("name", "rows"), [("none", [0]), ("w", [0]), ("e", []), ("e", [4]), ("e", [-1])])
def test_an_unknown_tensor_or_row_raises(name, rows):
    with pytest.raises(ValueError, match=r"no matrix of the model|rows are"):
        scale_rows(EMBEDDINGS, name, rows, 2.0)


# --- embedding surgery --------------------------------------------------------------------------------------------------------


def test_surgery_puts_the_mean_row_of_the_class_words_in_the_place_of_every_trigger_row():
    source = {"e": 10 * EMBEDDINGS["e"]}
    edited = embedding_surgery(EMBEDDINGS, "e", [1, 3], source, [0, 2])
    assert edited["e"][1].tolist() == edited["e"][3].tolist() == [40.0, -10.0]
    assert torch.equal(edited["e"][[0, 2]], EMBEDDINGS["e"][[0, 2]])


def test_surgery_without_words_of_the_class_raises():
    with pytest.raises(ValueError, match="give at least one"):
        embedding_surgery(EMBEDDINGS, "e", [1], EMBEDDINGS, [])
