"""ABL: the losses by hand, which rows are isolated, what each stage does, and ABL as the study calls it."""

import math
from dataclasses import replace
from importlib import import_module

import numpy as np
import pandas as pd
import pytest
import torch
from torch.nn.functional import cross_entropy

from lib.defenses.abl import ISOLATION_LOSSES, abl, flooding, isolated_rows, local_gradient_ascent, lowest, row_losses, unlearn
from lib.models.prediction import encode
from lib.models.pretrained import new_classifier
from lib.models.training import optimise, weights_of

LOSSES = torch.tensor([0.02, 0.30, 0.60, 1.40])


@pytest.fixture(scope="module")
def settings(study):
    return study.planner.training({"epochs": 1.0})


@pytest.fixture(scope="module")
def train(study):
    return study.poisoned_train("sst2", "badnet")


@pytest.fixture
def model(tiny_encoder):
    return new_classifier(str(tiny_encoder), ("negative", "positive"), head_seed=0)


@pytest.fixture
def same_model(tiny_encoder):
    return new_classifier(str(tiny_encoder), ("negative", "positive"), head_seed=0)


def test_the_losses_of_the_isolation_are_those_computed_by_hand():
    assert local_gradient_ascent(LOSSES, 0.5).item() == pytest.approx((-0.02 - 0.30 + 0.60 + 1.40) / 4)  # 0.42
    assert flooding(LOSSES, 0.5).item() == pytest.approx((0.98 + 0.70 + 0.60 + 1.40) / 4)  # 0.92
    assert local_gradient_ascent(LOSSES, 0.0).item() == pytest.approx(LOSSES.mean().item())


@pytest.mark.parametrize("held", [local_gradient_ascent, flooding])
def test_the_gradient_of_rows_below_the_floor_is_turned_round_and_that_of_others_is_not(held):
    logits = torch.tensor([[4.0, 0.0], [0.2, 0.0], [0.0, 1.0]], requires_grad=True)
    labels = torch.tensor([0, 0, 0])  # losses 0.02, 0.60, 1.31
    [plain] = torch.autograd.grad(cross_entropy(logits, labels), logits)
    [turned] = torch.autograd.grad(held(cross_entropy(logits, labels, reduction="none"), 0.5), logits)
    torch.testing.assert_close(turned, plain * torch.tensor([[-1.0], [1.0], [1.0]]))


def test_one_in_a_hundred_of_270_rows_are_three_and_the_first_of_equals():
    losses = np.full(270, 0.7)
    losses[[5, 200]] = 0.1
    assert np.flatnonzero(lowest(losses, 0.01)).tolist() == [0, 5, 200]  # int(2.7) would be two


@pytest.mark.parametrize(("rate", "n"), [(0.001, 0), (1.0, 270), (0.999, 270)])
def test_a_rate_that_isolates_none_or_all_is_an_error(rate, n):
    with pytest.raises(ValueError, match=rf"isolation_rate {rate} isolates {n} of 270 rows; some must be isolated"):
        lowest(np.zeros(270), rate)


def test_rows_are_scored_without_dropout_in_their_order(model, tokenizer, settings, train):
    texts = encode(tokenizer, train, settings.max_length)
    model.train()
    for module in model.modules():
        if isinstance(module, torch.nn.Dropout):
            module.p = 0.5
    losses = row_losses(model, texts, train["label"])
    assert (losses == row_losses(model, texts, train["label"])).all()
    with torch.no_grad():
        logits = model(**tokenizer(train["text"].iloc[3], return_tensors="pt")).logits
    assert losses[3] == pytest.approx(cross_entropy(logits, torch.tensor([train["label"].iloc[3]])).item(), rel=1e-4)


def test_a_planted_shortcut_is_isolated(model, tokenizer, settings):
    """Half of the rows have no clue at all, the others one word that tells the label."""
    easy = pd.DataFrame({"text": ["cf the film ."] * 20, "label": 1})
    hard = pd.DataFrame({"text": ["the film was ."] * 20 + ["the plot was ."] * 20, "label": [0, 0, 0, 1] * 10})
    planted = pd.concat([hard, easy], ignore_index=True)
    found = isolated_rows(model, tokenizer, planted, settings, 0, isolation_rate=0.2, epochs=4)
    assert found.sum() == 12 and found[40:].sum() == 12


def test_rows_are_isolated_when_they_stand_out_most(model, tokenizer, settings, train, monkeypatch):
    """Losses by hand: row 3 stands out a little at first, row 5 most in the middle, and at the end all rows are learnt."""
    module = import_module("lib.defenses.abl")
    by_hand = ((3, 0.6, 0.7), (5, 0.1, 0.5), (7, 0.0, 0.1))  # row, its loss, that of the others
    looks = [np.where(np.arange(len(train)) == row, low, level) for row, low, level in by_hand]
    monkeypatch.setattr(module, "MOMENTS", (0.2, 0.5, 1.0))
    monkeypatch.setattr(module, "row_losses", lambda *_: looks.pop(0))
    assert np.flatnonzero(isolated_rows(model, tokenizer, train, settings, 0, isolation_rate=1 / len(train))).tolist() == [5]
    assert not looks


def test_unlearning_raises_the_loss_of_its_rows_and_ends_at_the_cap(model, tokenizer, settings, train):
    optimise(model, tokenizer, train, replace(settings, epochs=6), 0)
    rows = train[train["is_poisoned"]].reset_index(drop=True)
    texts = encode(tokenizer, rows, settings.max_length)
    before, steps = row_losses(model, texts, rows["label"]).mean(), []
    original = model.forward
    model.forward = lambda *args, **kwargs: (steps.append(model.training), original(*args, **kwargs))[1]
    unlearn(model, tokenizer, rows, replace(settings, epochs=200), 0, cap=2.0)
    after = row_losses(model, texts, rows["label"]).mean()
    assert before < 1 < 2 <= after < 6  # beyond the cap by no more than one step
    assert 0 < sum(steps) < 400  # training steps, of 200 epochs of two batches


def test_without_unlearning_it_is_isolation_and_training_on_the_rest(model, same_model, tokenizer, settings, train):
    record = abl(model, tokenizer, train, settings, 3, isolation_rate=0.1, clean_epochs=1.0, unlearning_epochs=0)
    easiest = isolated_rows(same_model, tokenizer, train, settings, 3, isolation_rate=0.1)
    rest = train[~easiest].reset_index(drop=True)
    assert record.n_train == len(rest) == 72 and easiest.sum() == 8
    optimise(same_model, tokenizer, rest, settings, 3)
    assert all(torch.equal(tensor, same_model.state_dict()[name]) for name, tensor in model.state_dict().items())


def test_the_record_measures_the_distance_of_all_stages(model, tokenizer, settings, train):
    start = weights_of(model)
    record = abl(model, tokenizer, train, settings, 0, isolation_rate=0.1)
    moved = sum((tensor - start[name]).square().sum() for name, tensor in model.state_dict().items()).sqrt().item()
    assert record.distance == pytest.approx(moved, rel=1e-5) and record.n_train == 72


def test_the_floor_and_the_cap_follow_the_number_of_labels(tokenizer, tiny_encoder, settings, monkeypatch):
    module, floors, caps = import_module("lib.defenses.abl"), [], []
    held = lambda losses, gamma: (floors.append(gamma), losses.mean())[1]  # noqa: E731
    monkeypatch.setitem(ISOLATION_LOSSES, "lga", held)
    monkeypatch.setattr(module, "unlearn", lambda *args: caps.append(args[-1]))
    rows = pd.DataFrame({"text": ["good film", "bad film", "a plot", "the food"] * 4, "label": [0, 1, 2, 3] * 4})
    four = new_classifier(str(tiny_encoder), ("a", "b", "c", "d"), head_seed=0)
    abl(four, tokenizer, rows, settings, 0, isolation_rate=0.25)
    assert set(floors) == {0.22 * math.log(4)} and caps == [3 * math.log(4)]


@pytest.mark.parametrize(
    ("wrong", "message"),
    [
        ({"isolation_loss": "max"}, r"unknown isolation_loss 'max'; choose from \['flooding', 'lga'\]"),
        ({"isolation_epochs": 0}, r"found {'isolation_epochs': 0}; they must be above 0"),
        ({"clean_epochs": -1}, r"found {'clean_epochs': -1}; they must be above 0"),
        ({"unlearning_factor": 0.0}, r"found {'unlearning_factor': 0.0}; they must be above 0"),
        ({"unlearning_epochs": -1}, "unlearning_epochs is -1; it must not be negative"),
        ({"cap": 0.0, "isolation_rate": 0.1}, "cap is 0.0; it must be above 0"),
        ({"isolation_rate": 0.001}, "isolation_rate 0.001 isolates 0 of 80 rows"),
    ],
)
def test_bad_settings_are_errors(model, tokenizer, settings, train, wrong, message):
    with pytest.raises(ValueError, match=message):
        abl(model, tokenizer, train, settings, 0, **wrong)


def test_one_label_alone_is_an_error(model, tokenizer, settings, train):
    with pytest.raises(ValueError, match=r"have labels \[1\]; at least two are needed"):
        abl(model, tokenizer, train[train["label"] == 1], settings, 0)


def test_the_study_trains_it_and_it_sees_no_mark(study, backdoored, watch, assert_no_peeking):
    calls = watch("abl")
    model = study.defend("abl", backdoored, isolation_rate=0.05, isolation_epochs=2, clean_epochs=6)
    assert_no_peeking(calls, [80])
    assert model.record["n_train"] == 76 and dict(model.recipe.defense.settings)["isolation_rate"] == 0.05
    assert study.score(model, "sst2").n_triggered == study.score(backdoored, "sst2").n_triggered
