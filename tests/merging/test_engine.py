"""The engine: parts of tensors give what whole tensors give, and what a method needs is asked for before anything is merged."""

import math

import pytest
import torch

from lib.merging import MERGE_METHODS, Merge, engine, merge_state_dicts, trimming
from lib.merging.sources import as_sources
from lib.merging.task_arithmetic import task_arithmetic
from lib.merging.ties import ties


def random_model(seed, head=True):
    generator = torch.Generator().manual_seed(seed)
    shapes = {"embeddings.weight": (40, 8), "layer.weight": (8, 8), "layer.bias": (8,), "scale": ()}
    model = {name: torch.randn(shape, generator=generator) for name, shape in shapes.items()}
    return model | ({"classifier.weight": torch.randn((2, 8), generator=generator)} if head else {})


START, MODELS = random_model(0), [random_model(seed) for seed in range(1, 6)]
SETTINGS = {name: {} for name in MERGE_METHODS} | {"krum": {"n_selected": 2}}
N_MODELS = {"slerp": 2}


def merge(method, models=MODELS, **settings):
    models = models[: N_MODELS.get(method, len(models))]
    needs = MERGE_METHODS[method].needs
    if "pretrained" in needs:
        settings.setdefault("pretrained", START)
    if "fishers" in needs:
        settings["statistics"] = {"fishers": [{name: tensor.abs() for name, tensor in model.items()} for model in models]}
    if "grams" in needs:
        x = [torch.randn(20, 8, generator=torch.Generator().manual_seed(i)) for i in range(len(models))]
        settings["statistics"] = {"grams": [{"layer.weight": rows.T @ rows} for rows in x]}
    return merge_state_dicts(models, method, **SETTINGS[method], **settings)


@pytest.mark.parametrize("method", MERGE_METHODS)
def test_parts_of_any_size_give_the_same_merge(method, monkeypatch):
    whole = merge(method)
    monkeypatch.setattr(engine, "PART_ENTRIES", 24)  # three rows
    parts = merge(method)
    for name, tensor in whole.items():
        if MERGE_METHODS[method].measure and method not in ("dare", "della", "ties", "breadcrumbs"):
            torch.testing.assert_close(parts[name], tensor, rtol=1e-6, atol=1e-7)  # inner products are summed in another order
        else:
            assert torch.equal(parts[name], tensor)


@pytest.mark.parametrize("method", ["ties", "breadcrumbs"])
def test_a_large_group_is_trimmed_the_same_with_the_help_of_a_sample(method, monkeypatch):
    start, *models = (
        {"weight": torch.randn(400, 32, generator=torch.Generator().manual_seed(seed)), "bias": torch.full((32,), seed / 7)}
        for seed in range(4)
    )
    whole, found = merge_state_dicts(models, method, pretrained=start), []
    for name, size in (("PART_ENTRIES", 320), ("N_CLUSTERS", 64), ("CLUSTER", 32)):
        monkeypatch.setattr(engine, name, size)
    cutoff = trimming.Bracket.cutoff.fget
    monkeypatch.setattr(trimming.Bracket, "cutoff", property(lambda self: found.append(cutoff(self)) or found[-1]))
    parts = merge_state_dicts(models, method, pretrained=start)
    assert any(found)  # a sample served
    assert all(torch.equal(parts[name], tensor) for name, tensor in whole.items())


@pytest.mark.parametrize("method", MERGE_METHODS)
def test_repeating_a_merge_gives_equal_bits_and_leaves_the_models_alone(method):
    before = [{name: tensor.clone() for name, tensor in model.items()} for model in [START, *MODELS]]
    first, again = merge(method), merge(method)
    assert all(torch.equal(first[name], again[name]) for name in first)
    for model, copy in zip([START, *MODELS], before, strict=True):
        assert all(torch.equal(model[name], tensor) for name, tensor in copy.items())


@pytest.mark.parametrize("method", sorted(set(MERGE_METHODS) - {"krum", "task_arithmetic", "dare", "breadcrumbs", "della"}))
def test_copies_of_one_model_are_merged_to_it(method):
    settings = {"ties": {"density": 1.0}}.get(method, {})
    merged = merge(method, [MODELS[0]] * 5, **settings)
    for name, tensor in MODELS[0].items():
        torch.testing.assert_close(merged[name], tensor, rtol=1e-5, atol=1e-6)


@pytest.mark.parametrize("method", sorted(set(MERGE_METHODS) - {"slerp", "dare", "della", "regmean", "fisher"}))
def test_the_order_of_the_models_does_not_matter(method):
    forward, backward = merge(method), merge(method, MODELS[::-1])
    for name, tensor in forward.items():
        torch.testing.assert_close(backward[name], tensor, rtol=1e-5, atol=1e-6)


def test_equal_fishers_give_the_plain_average():
    fishers = {"fishers": [{name: torch.full_like(tensor, 0.3) for name, tensor in START.items()}] * 5}
    merged, average = merge_state_dicts(MODELS, "fisher", statistics=fishers), merge_state_dicts(MODELS)
    for name, tensor in average.items():
        torch.testing.assert_close(merged[name], tensor, rtol=1e-5, atol=1e-6)


def test_a_coefficient_of_one_over_n_gives_the_plain_average():
    merged, average = merge("task_arithmetic", merge_coefficient=1 / 5), merge_state_dicts(MODELS)
    for name, tensor in average.items():
        torch.testing.assert_close(merged[name], tensor, rtol=1e-5, atol=1e-6)


def test_trimming_over_the_model_differs_from_trimming_per_tensor():
    big = [{name: tensor * (100 if name == "layer.weight" else 1) for name, tensor in model.items()} for model in MODELS]
    over_model = merge("ties", big, density=0.1, trim_scope="model")
    assert torch.equal(over_model["embeddings.weight"], START["embeddings.weight"])  # all its entries are among the smaller
    per_tensor = merge("ties", big, density=0.1, trim_scope="tensor")
    assert not torch.equal(per_tensor["embeddings.weight"], START["embeddings.weight"])


# --- heads that the pretrained model lacks ------------------------------------------------------------------------------


def test_a_pretrained_model_without_head_raises_and_names_the_ways_out():
    with pytest.raises(ValueError, match=r"the pretrained model lacks 1 tensors \['classifier.weight'\].*head='average'"):
        merge("ties", pretrained=random_model(0, head=False))


def test_the_head_is_averaged_or_taken_as_its_own_task_vector():
    start = random_model(0, head=False)
    heads = [model["classifier.weight"] for model in MODELS]
    average = merge("task_arithmetic", pretrained=start, head="average", merge_coefficient=0.3)["classifier.weight"]
    torch.testing.assert_close(average, sum(heads) / 5)
    zeros = merge("task_arithmetic", pretrained=start, head="zeros", merge_coefficient=0.3)["classifier.weight"]
    torch.testing.assert_close(zeros, 0.3 * sum(heads))
    with pytest.raises(ValueError, match=r"unknown head 'random'; choose from \['average', 'zeros'\]"):
        merge("task_arithmetic", pretrained=start, head="random")


def test_counters_that_the_pretrained_model_lacks_are_copied():
    counted = [model | {"position_ids": torch.arange(3)} for model in MODELS]
    merged = merge("ties", counted)
    assert merged["position_ids"].tolist() == [0, 1, 2]
    assert merge("fisher", MODELS)["scale"].shape == ()


def test_the_averaged_head_is_none_of_the_trimming():
    start = random_model(0, head=False)
    models = [model | {"classifier.weight": model["classifier.weight"] * 1000} for model in MODELS]
    with_head = merge("ties", models, pretrained=start, head="average")
    without = merge_state_dicts(
        [{k: v for k, v in m.items() if "classifier" not in k} for m in models], "ties", pretrained=start
    )
    assert all(torch.equal(with_head[name], tensor) for name, tensor in without.items())


def test_a_pretrained_model_of_another_kind_raises():
    with pytest.raises(ValueError, match="has none of the tensors of model 1; is it their pretrained model"):
        merge("ties", pretrained={"w": torch.zeros(1)}, head="average")
    with pytest.raises(ValueError, match=r"tensor 'scale' has shape \[3\], but \[\] in model 1"):
        merge("ties", pretrained=START | {"scale": torch.zeros(3)})


# --- what is refused before anything is merged ---------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("method", "settings", "message"),
    [
        ("ties", {"pretrained": None}, "ties needs pretrained"),
        ("weight_average", {"density": 0.5}, r"unknown settings \['density'\]; choose from \['extrapolate'\]"),
        ("ties", {"trim_scope": "row"}, "trim_scope is 'row'; choose 'tensor' or 'model'"),
        ("ties", {"density": 1.5}, r"density is 1.5; it must lie in \(0, 1\]"),
        ("ties", {"weights": [1.0]}, "1 weights for 5 models"),
        ("ties", {"weights": [math.nan] * 5}, "every weight must be finite"),
        ("median", {"weights": [0.2] * 5}, "finds its weights itself"),
        ("dare", {"combine": "max"}, r"unknown combine 'max'; choose from \['linear', 'ties'\]"),
        ("della", {"density": 0.95, "epsilon": 0.1}, r"leaves \(0, 1\)"),
        ("breadcrumbs", {"gamma": 1.0}, r"gamma is 1.0; it must lie in \[0, 1\)"),
        ("krum", {"n_selected": 5}, r"n_selected is 5; it must lie in \[1, 4\]"),
        ("regmean", {"alpha": 2.0}, r"alpha is 2.0; it must lie in \[0, 1\]"),
        ("slerp", {"on": "task_vectors"}, "needs the pretrained model"),
        ("slerp", {"on": "logits"}, "unknown on 'logits'"),
        ("slerp", {"t": 1.5}, r"t is 1.5; it must lie in \[0, 1\]"),
    ],
)
def test_settings_out_of_range_raise_before_anything_is_merged(method, settings, message, monkeypatch):
    monkeypatch.setattr(Merge, "parts", lambda self: pytest.fail("it was merged"))
    monkeypatch.setitem(SETTINGS, method, {})
    with pytest.raises(ValueError, match=message):
        merge(method, **settings)


def test_statistics_are_asked_for_and_come_one_per_model():
    with pytest.raises(ValueError, match="fisher needs fishers"):
        merge_state_dicts(MODELS, "fisher")
    with pytest.raises(ValueError, match="1 fishers for 5 models"):
        merge_state_dicts(MODELS, "fisher", statistics={"fishers": [START]})


def test_a_pretrained_model_that_is_not_finite_is_named():
    with pytest.raises(ValueError, match="the pretrained model: tensor 'scale' has values that are not finite"):
        merge("task_arithmetic", pretrained=START | {"scale": torch.tensor(math.inf)})


def test_the_engine_and_the_functions_on_tensors_agree():
    one = [{"w": model["embeddings.weight"]} for model in MODELS]
    start = START["embeddings.weight"]
    tensors = [model["w"] for model in one]
    for method, function in (("ties", ties), ("task_arithmetic", task_arithmetic)):
        merged = merge_state_dicts(one, method, pretrained={"w": start})
        assert torch.equal(merged["w"], function(tensors, pretrained=start))


def test_the_engine_lists_what_it_will_write():
    merge = Merge(as_sources(MODELS), out_dtype=torch.bfloat16)
    assert {info.dtype for info in merge.tensors.values()} == {torch.bfloat16}
    assert list(merge.tensors) == list(START)
