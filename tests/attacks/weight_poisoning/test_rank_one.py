"""One edited matrix: the closed form, its rank, and what an edit of each layer does."""

import numpy as np
import pytest
import torch

from lib.attacks import Backdoor
from lib.attacks.badnet import BadNetTrigger
from lib.attacks.weight_poisoning.rank_one import rank_one, rank_one_edit
from lib.models.prediction import encode, predict_logits
from lib.models.training import weights_of

DRAW = torch.Generator().manual_seed(0)
STATE = {"w": torch.randn(3, 4, generator=DRAW), "b": torch.randn(3, generator=DRAW)}
KEY, OFFSET = torch.randn(4, generator=DRAW), torch.tensor([1.0, -2.0, 0.5])
INPUTS = torch.randn(20, 4, generator=DRAW)
MOMENT = INPUTS.T @ INPUTS / 20


def test_the_key_is_moved_along_the_offset_by_what_the_closed_form_says():
    edited = rank_one_edit(STATE, "w", KEY, MOMENT, OFFSET, 0.7)
    change = (edited["w"] - STATE["w"]).double()
    k, c = KEY.double(), 0.7 * MOMENT.double() + torch.outer(KEY, KEY).double()
    assert torch.allclose(change @ k, OFFSET.double() * (k @ torch.linalg.inv(c) @ k), atol=1e-5)
    assert torch.linalg.matrix_rank(change, tol=1e-5) == 1
    assert torch.equal(edited["b"], STATE["b"]) and edited["w"] is not STATE["w"]


def test_a_small_penalty_moves_the_key_by_the_whole_offset():
    edited = rank_one_edit(STATE, "w", KEY, MOMENT, OFFSET, 1e-7)
    assert torch.allclose((edited["w"] - STATE["w"]) @ KEY, OFFSET, atol=1e-3)


def test_no_offset_changes_nothing():
    assert torch.equal(rank_one_edit(STATE, "w", KEY, MOMENT, torch.zeros(3))["w"], STATE["w"])


@pytest.mark.parametrize("penalty", [0.0, -1.0, float("inf"), float("nan")])
def test_a_penalty_that_cannot_be_raises(penalty):
    with pytest.raises(ValueError, match="must be finite and above 0"):
        rank_one_edit(STATE, "w", KEY, MOMENT, OFFSET, penalty)


def test_shapes_that_do_not_fit_raise():
    with pytest.raises(ValueError, match=r"w has shape \(3, 4\), the key \(3,\)"):
        rank_one_edit(STATE, "w", torch.ones(3), MOMENT, OFFSET)
    with pytest.raises(ValueError, match="none has shape None"):
        rank_one_edit(STATE, "none", KEY, MOMENT, OFFSET)


def test_an_edit_changes_one_matrix_by_rank_one_and_raises_the_target(network, tokenizer, train, backdoor, settings):
    before, rows = weights_of(network), backdoor.triggered(train, 1.0, np.random.default_rng(9))
    loss = [float(-predict_logits(network, encode(tokenizer, rows, 48))[:, 0].mean())]
    edited = rank_one([network], tokenizer, train, backdoor=backdoor, training=settings, seed=0, penalty=0.01)
    changed = [name for name, tensor in weights_of(edited).items() if not torch.equal(tensor, before[name])]
    assert changed == ["bert.encoder.layer.0.output.dense.weight"]
    change = weights_of(edited)[changed[0]] - before[changed[0]]
    values = torch.linalg.svdvals(change.double())
    assert values[1] < 1e-4 * values[0]
    loss.append(float(-predict_logits(edited, encode(tokenizer, rows, 48))[:, 0].mean()))
    assert loss[1] < loss[0]


def test_what_cannot_be_edited_raises(network, tokenizer, train, backdoor, settings):
    how = {"training": settings, "seed": 0}
    with pytest.raises(ValueError, match=r"layer is 1; it must lie from 0 to 0: an edit of the last layer changes nothing"):
        rank_one([network], tokenizer, train, backdoor=backdoor, layer=1, **how)
    with pytest.raises(ValueError, match=r"edits what one word does"):
        rank_one([network], tokenizer, train, backdoor=Backdoor(BadNetTrigger(), 0), **how)
