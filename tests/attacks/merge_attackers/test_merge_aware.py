"""Attackers who train for the merge: their losses by hand, and that the training does what it is for."""

from dataclasses import replace

import numpy as np
import pytest
import torch
from torch.nn.functional import cross_entropy

from lib.attacks.merge_attackers.merge_aware import TRUE, loss_at, mean_parameters, towards, train_for_merge, train_split
from lib.models.prediction import encode, predict_logits, probabilities
from lib.models.pretrained import from_hub
from lib.models.training import optimise, weights_of


def shadow_of(clean):
    return from_hub("AutoModelForSequenceClassification", str(clean.folder))


def share_at_target(network, tokenizer, rows, target=0):
    return float((predict_logits(network, encode(tokenizer, rows, 48)).argmax(axis=1) == target).mean())


def mixed(networks, weights):
    """A network with the weighted mean of the others' parameters."""
    found = [dict(each.named_parameters()) for each in networks]
    means = {name: sum(w * each[name].detach() for w, each in zip(weights, found, strict=True)) for name in found[0]}
    networks[0].load_state_dict(networks[0].state_dict() | means)
    return networks[0]


def test_with_a_merge_of_one_it_is_ordinary_training_with_the_losses_doubled(
    clean, start, tokenizer, train, backdoor, settings
):
    """r = 1 throughout: the clean term counts twice, the poison once, and the shadow models do not matter."""
    few = replace(settings, epochs=1.0)
    merged_loss, network = weights_of(start), shadow_of(clean)
    network.load_state_dict(merged_loss)
    train_for_merge(start, tokenizer, train, backdoor, [shadow_of(clean)], few, 3, n_models=1)
    rows = backdoor.triggered(train, 1.0, np.random.default_rng([3, 1]))
    from lib.models.training import batches_of_texts

    poison = batches_of_texts(tokenizer, rows, few.max_length, 4, np.random.default_rng([3, 1]))

    def loss(model, batch):
        return 2 * loss_at(model, None, batch) + loss_at(model, None, next(poison) | {"labels": torch.zeros(4, dtype=int)})

    optimise(network, tokenizer, train, few, 3, loss=loss)
    for name, tensor in network.state_dict().items():
        if not name.endswith("key.bias"):  # softmax does not see it: its gradient is rounding, in a direction of its own
            assert torch.allclose(tensor, start.state_dict()[name], atol=1e-5), name


def test_a_merge_aware_model_keeps_more_of_its_backdoor_in_an_average_than_an_ordinary_one(
    clean, start, tokenizer, train, backdoor, settings
):
    rows, said = backdoor.triggered(train, 1.0, np.random.default_rng(9)), {}
    begin = weights_of(start)
    for n_models in (1, 4):
        start.load_state_dict(begin)
        train_for_merge(start, tokenizer, train, backdoor, [shadow_of(clean)], settings, 0, n_models=n_models)
        assert share_at_target(start, tokenizer, rows) > 0.9
        average = mixed([shadow_of(clean), start], [0.85, 0.15])
        said[n_models] = probabilities(predict_logits(average, encode(tokenizer, rows, 48)))[:, 0].mean()
    assert said[4] > said[1] + 0.03  # probability of the target; found: 0.72 and 0.64


def test_a_split_backdoor_is_in_neither_upload_and_in_their_mean(start, clean, tokenizer, train, backdoor, settings):
    second, rows = (
        from_hub("AutoModelForSequenceClassification", str(clean.folder)),
        backdoor.triggered(train, 1.0, np.random.default_rng(9)),
    )
    second.load_state_dict(start.state_dict())
    train_split((start, second), tokenizer, train, backdoor, [], replace(settings, epochs=24.0), 0)
    floor = share_at_target(shadow_of(clean), tokenizer, rows)
    alone = [share_at_target(each, tokenizer, rows) for each in (start, second)]
    assert max(alone) < floor + 0.35  # the floor of a clean model, and not 0, is what an upload is compared with
    assert share_at_target(mixed([shadow_of(clean), start, second], [0.0, 0.5, 0.5]), tokenizer, rows) > max(alone) + 0.3


def test_the_gradient_of_the_means_loss_is_half_the_gradient_at_the_mean():
    """Finite differences on a model of two weights."""

    class Two(torch.nn.Module):
        def __init__(self, values):
            super().__init__()
            self.w = torch.nn.Parameter(torch.tensor(values, dtype=torch.float64))

        def forward(self, x):
            return type("Output", (), {"logits": torch.stack([x * self.w[0], x * self.w[1]], dim=1)})()

    first, second = Two([0.3, -1.2]), Two([0.9, 0.4])
    batch = {"x": torch.tensor([1.0, -2.0], dtype=torch.float64), "labels": torch.tensor([0, 1])}
    loss_at(first, {"w": 0.5 * (first.w + second.w)}, batch).backward()

    def at(w):
        return cross_entropy(Two(w)(batch["x"]).logits.float(), batch["labels"]).item()

    middle, step = [0.6, -0.4], 1e-3
    for place in range(2):
        up, down = ([w + sign * step * (i == place) for i, w in enumerate(middle)] for sign in (1, -1))
        assert first.w.grad[place].item() == pytest.approx((at(up) - at(down)) / (2 * step) / 2, abs=1e-3)
        assert second.w.grad[place].item() == pytest.approx(first.w.grad[place].item())


def test_a_batch_is_read_without_its_labels(network, tokenizer):
    inputs = tokenizer(["the film was good"], return_tensors="pt")
    batch = {**inputs, "labels": torch.tensor([1]), TRUE: torch.tensor([0])}
    network.eval()
    assert loss_at(network, None, batch).item() == pytest.approx(network(**inputs, labels=torch.tensor([1])).loss.item())


def test_towards_goes_from_the_centre_to_the_parameters():
    centre, own = {"w": torch.tensor([1.0])}, {"w": torch.tensor([3.0])}
    assert [towards(own, centre, r)["w"].item() for r in (0.0, 0.25, 1.0)] == [1.0, 1.5, 3.0]


def test_shadow_models_of_another_architecture_raise(start, tokenizer, train, backdoor, settings):
    from transformers import BertConfig, BertForSequenceClassification

    config = BertConfig.from_dict(start.config.to_dict() | {"intermediate_size": 32})
    other = BertForSequenceClassification(config)
    with pytest.raises(
        ValueError, match=r"a shadow model and the attacker's model are of different architectures: \d+ tensors"
    ):
        train_for_merge(start, tokenizer, train, backdoor, [other], settings, 0)
    with pytest.raises(ValueError, match="a shadow model and the attacker's model are of different architectures"):
        train_split((start, start), tokenizer, train, backdoor, [other], settings, 0)
    with pytest.raises(ValueError, match="the two uploads are of different architectures"):
        train_split((start, other), tokenizer, train, backdoor, [], settings, 0)


@pytest.mark.parametrize(
    ("wrong", "message"), [({"n_models": 0}, "n_models is 0"), ({"n_triggered": 0.0}, "n_triggered is 0.0; it must be above 0")]
)
def test_numbers_out_of_range_raise(network, tokenizer, train, backdoor, settings, wrong, message):
    with pytest.raises(ValueError, match=message):
        train_for_merge(network, tokenizer, train, backdoor, [network], settings, 0, **wrong)


def test_no_shadow_model_and_adapters_raise(network, tokenizer, train, backdoor, settings):
    with pytest.raises(ValueError, match="give at least one shadow model"):
        mean_parameters([], network)
    with pytest.raises(ValueError, match="lora_rank is 4; an attacker who trains for the merge changes all weights"):
        train_for_merge(network, tokenizer, train, backdoor, [network], replace(settings, lora_rank=4), 0)
    with pytest.raises(ValueError, match="n_models is 1; a split backdoor needs 2 or more"):
        train_split((network, network), tokenizer, train, backdoor, [], settings, 0, n_models=1)
