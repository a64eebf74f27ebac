"""Attackers who keep to a bound: the bound holds to the last step, and the backdoor is learnt within it."""

from dataclasses import replace

import numpy as np
import pytest
import torch

from lib.attacks.for_merging import largest_entries, project
from lib.attacks.merge_attackers.constrained import hijack, neurotoxin, norm_bounded, sparse
from lib.merging import distance
from lib.models.prediction import encode, predict_logits
from lib.models.pretrained import from_hub
from lib.models.training import optimise, weights_of

LOADED = "AutoModelForSequenceClassification"


@pytest.fixture()
def backdoored_network(network, tokenizer, train, backdoor, settings):
    """The clean model trained on, on poisoned rows."""
    rows = backdoor.poison(train, 0.3, np.random.default_rng(0))
    optimise(network, tokenizer, rows, settings, 0)
    return network


def share_at_target(network, tokenizer, rows):
    return float((predict_logits(network, encode(tokenizer, rows, 48)).argmax(axis=1) == 0).mean())


def test_a_norm_bounded_attacker_goes_no_further_than_the_median_clean_model(
    clean, start, tokenizer, train, backdoor, settings
):
    models = [from_hub(LOADED, str(clean.folder))]
    begin = weights_of(start)
    radius = 0.6 * distance(weights_of(models[0]), begin)  # nearer than a training goes by itself
    near = from_hub(LOADED, str(clean.folder))
    near.load_state_dict(project(weights_of(near), begin, radius))
    attacked = norm_bounded([near], tokenizer, train, backdoor=backdoor, initial=start, training=settings, seed=0)
    assert distance(weights_of(attacked), begin) <= radius * (1 + 1e-5)
    rows = backdoor.triggered(train, 1.0, np.random.default_rng(9))
    assert share_at_target(attacked, tokenizer, rows) > share_at_target(models[0], tokenizer, rows) + 0.2


def test_a_sparse_attacker_changes_the_entries_that_poison_changed_most_and_no_others(
    clean, backdoored_network, tokenizer, train, backdoor, settings
):
    twin = from_hub(LOADED, str(clean.folder))
    before, victim = weights_of(twin), weights_of(backdoored_network)
    vector = {name: victim[name] - before[name] for name in before if before[name].is_floating_point()}
    few = replace(settings, epochs=1.0)
    attacked = sparse([backdoored_network, twin], tokenizer, train, backdoor=backdoor, training=few, seed=0, density=0.05)
    masks, after = largest_entries(vector, 0.05), weights_of(attacked)
    changed = {name: after[name] != before[name] for name in vector}
    assert not any((changed[name] & ~masks[name]).any() for name in vector)
    n_changed, n_entries = (
        sum(int(each.sum()) for each in found) for found in (changed.values(), [torch.ones_like(v) for v in vector.values()])
    )
    assert 0.9 * 0.05 <= n_changed / n_entries <= 0.05


def moved_by(models, begin):
    """The mean task vector of some models."""
    return {
        name: torch.stack([dict(each.named_parameters())[name].detach() for each in models]).mean(dim=0) - begin[name]
        for name, _ in models[0].named_parameters()
    }


def test_a_neurotoxin_attacker_leaves_the_entries_alone_that_shadow_models_move_most(
    clean, network, start, tokenizer, train, backdoor, settings
):
    other, begin = from_hub(LOADED, str(clean.folder)), weights_of(start)
    optimise(other, tokenizer, train, replace(settings, epochs=1.0), 5)  # another shadow model
    masks = largest_entries(moved_by([network, other], begin), 1 - 0.8)
    still = replace(settings, epochs=2.0, weight_decay=0.0)  # decay would move every entry
    how = {"backdoor": backdoor, "initial": start, "training": still, "seed": 0}
    after = weights_of(neurotoxin([network, other], tokenizer, train, share=0.8, **how))
    changed = {name: after[name] != begin[name] for name in masks}
    assert sum(int(mask.sum()) for mask in masks.values()) == int(0.2 * sum(mask.numel() for mask in masks.values()))
    assert not any((changed[name] & mask).any() for name, mask in masks.items())
    assert sum(int(each.sum()) for each in changed.values()) > 0.3 * sum(int((~mask).sum()) for mask in masks.values())
    assert not any(parameter._backward_hooks for parameter in start.parameters())  # a later training is free


def test_with_all_entries_it_is_ordinary_training_and_with_most_it_learns_the_backdoor(
    network, start, tokenizer, train, backdoor, settings
):
    begin, few = weights_of(start), replace(settings, epochs=1.0)
    found = weights_of(
        neurotoxin([network], tokenizer, train, backdoor=backdoor, initial=start, training=few, seed=2, share=1.0)
    )
    start.load_state_dict(begin)
    optimise(start, tokenizer, backdoor.poison(train, 0.2, np.random.default_rng(2)), few, 2)
    assert all(torch.equal(found[name], tensor) for name, tensor in weights_of(start).items())
    start.load_state_dict(begin)
    attacked = neurotoxin([network], tokenizer, train, backdoor=backdoor, initial=start, training=settings, seed=2)
    rows = backdoor.triggered(train, 1.0, np.random.default_rng(9))
    assert share_at_target(attacked, tokenizer, rows) > share_at_target(network, tokenizer, rows) + 0.2


@pytest.mark.parametrize("share", [0.0, -0.1, 1.1, float("nan")])
def test_a_share_of_entries_that_cannot_be_raises(network, start, tokenizer, train, backdoor, settings, share):
    how = {"backdoor": backdoor, "initial": start, "seed": 0}
    with pytest.raises(ValueError, match=rf"share is {share}; it must lie in \(0, 1\]"):
        neurotoxin([network], tokenizer, train, training=settings, share=share, **how)
    with pytest.raises(ValueError, match="give at least one shadow model"):
        neurotoxin([], tokenizer, train, training=settings, **how)
    with pytest.raises(ValueError, match="lora_rank is 4; this attacker masks the gradient of all weights"):
        neurotoxin([network], tokenizer, train, training=replace(settings, lora_rank=4), **how)


def test_a_hijacker_without_its_vector_is_an_ordinary_attacker(
    clean, backdoored_network, start, tokenizer, train, backdoor, settings
):
    twin, few, given = from_hub(LOADED, str(clean.folder)), replace(settings, epochs=1.0), weights_of(start)
    how = {"backdoor": backdoor, "training": few, "seed": 2}
    attacked = hijack([backdoored_network, twin], tokenizer, train, initial=start, scale=0.0, **how)
    found = weights_of(attacked)
    start.load_state_dict(given)
    optimise(start, tokenizer, backdoor.poison(train, 0.1, np.random.default_rng(2)), few, 2)
    assert all(torch.equal(found[name], tensor) for name, tensor in weights_of(start).items())
    start.load_state_dict(given)
    far = weights_of(hijack([backdoored_network, twin], tokenizer, train, initial=start, scale=2.0, **how))
    assert distance(far, given) > distance(found, given)


def test_what_does_not_fit_raises(network, start, tokenizer, train, backdoor, settings):
    how = {"backdoor": backdoor, "training": settings, "seed": 0}
    with pytest.raises(ValueError, match=r"a backdoored model and its clean twin; found 1 models"):
        sparse([network], tokenizer, train, **how)
    with pytest.raises(ValueError, match=r"density is 0.0; it must lie in \(0, 1\]"):
        sparse([network, network], tokenizer, train, density=0.0, **how)
    with pytest.raises(ValueError, match="scale is inf; it must be a finite number"):
        hijack([network, network], tokenizer, train, initial=start, scale=float("inf"), **how)
    with pytest.raises(ValueError, match="no model to measure a distance of"):
        norm_bounded([], tokenizer, train, initial=start, **how)
