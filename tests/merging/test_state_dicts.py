"""Merges of whole models: what must agree, what is copied, what is refused, and the distance between models."""

import pytest
import torch

from lib.merging import check_mergeable, distance, merge_state_dicts
from lib.merging.sources import as_sources

NAMES = ["victim", "partner"]


def model(value=1.0, **others):
    return {"encoder.weight": torch.full((2, 3), value), "classifier.bias": torch.tensor([value, -value]), **others}


def merge(*state_dicts, **settings):
    return merge_state_dicts(state_dicts, settings.pop("method", "weight_average"), NAMES[: len(state_dicts)], **settings)


def test_every_tensor_is_averaged_in_the_order_of_the_first_model():
    second = dict(reversed(model(3.0).items()))
    merged = merge(model(1.0), second)
    assert list(merged) == ["encoder.weight", "classifier.bias"]
    assert merged["encoder.weight"].tolist() == [[2.0] * 3] * 2
    assert merged["classifier.bias"].tolist() == [2.0, -2.0]


def test_settings_reach_the_method():
    assert merge(model(1.0), model(5.0), weights=[0.25, 0.75])["classifier.bias"].tolist() == [4.0, -4.0]


def test_a_model_merged_with_itself_is_itself():
    merged = merge(model(0.1), model(0.1))
    assert all(torch.equal(merged[name], tensor) for name, tensor in model(0.1).items())


@pytest.mark.parametrize("buffer", [torch.tensor([[0, 1, 2]]), torch.tensor([True, False]), torch.tensor(7, dtype=torch.int32)])
def test_equal_integer_and_boolean_buffers_are_copied_from_the_first_model(buffer):
    first = model(position_ids=buffer.clone())
    merged = merge(first, model(position_ids=buffer.clone()))
    assert torch.equal(merged["position_ids"], buffer)
    assert merged["position_ids"].dtype == buffer.dtype
    merged["position_ids"].zero_()
    assert torch.equal(first["position_ids"], buffer)


def test_different_integer_buffers_raise():
    with pytest.raises(ValueError, match="partner: integer tensor 'steps' differs from victim; it cannot be averaged"):
        merge(model(steps=torch.tensor(1)), model(steps=torch.tensor(2)))


def test_missing_and_extra_tensors_are_named_five_at_most():
    partner = model()
    del partner["classifier.bias"]
    partner |= {f"extra.{i}": torch.zeros(1) for i in range(7)}
    message = (
        r"partner and victim have different tensors: 1 missing \['classifier.bias'\], "
        r"7 extra \['extra.0', 'extra.1', 'extra.2', 'extra.3', 'extra.4'\]; only models of one architecture"
    )
    with pytest.raises(ValueError, match=message):
        merge(model(), partner)


def test_different_shapes_raise_and_name_the_tensor_and_both_shapes():
    partner = model() | {"encoder.weight": torch.zeros(3, 2)}
    with pytest.raises(ValueError, match=r"partner: tensor 'encoder.weight' has shape \[3, 2\], but \[2, 3\] in victim"):
        merge(model(), partner)


def test_a_floating_and_an_integer_tensor_do_not_fit():
    with pytest.raises(ValueError, match=r"partner: tensor 'scale' is torch.int64, but torch.float32 in victim"):
        merge(model(scale=torch.ones(2)), model(scale=torch.ones(2, dtype=torch.int64)))


def test_quantised_weights_raise():
    packed = torch.ones(2).to(torch.float8_e4m3fn)
    with pytest.raises(ValueError, match=r"tensor 'scale' is quantised \(torch.float8_e4m3fn\); dequantise the model first"):
        merge(model(scale=packed), model(scale=packed))


def test_packed_integer_matrices_raise_as_quantised():
    packed = torch.ones(2, 2, dtype=torch.int8)
    with pytest.raises(ValueError, match=r"tensor 'w' is quantised \(torch.int8\)"):
        merge(model(w=packed), model(w=packed))


def test_running_statistics_raise_unless_they_are_asked_for():
    models = [model(**{"norm.running_var": torch.full((2,), value)}) for value in (1.0, 3.0)]
    with pytest.raises(ValueError, match=r"victim: 'norm.running_var' is a running statistic of a normalisation layer"):
        merge(*models)
    assert merge(*models, running_statistics=True)["norm.running_var"].tolist() == [2.0, 2.0]


def test_another_dtype_of_the_result_is_rounded_once():
    # In float16 the mean would be 1; float32 keeps the difference.
    models = [{"w": torch.tensor([1.0], dtype=torch.float16)}, {"w": torch.tensor([1 + 2**-10], dtype=torch.float16)}]
    assert merge(*models, out_dtype=torch.float32)["w"].tolist() == [1 + 2**-11]


def test_tied_tensors_are_merged_once_and_stay_tied():
    shared = [torch.randn(4, 3, generator=torch.Generator().manual_seed(seed)) for seed in range(3)]
    start, *models = [{"embeddings": tensor, "decoder": tensor} for tensor in shared]
    merged = merge(*models, method="dare", pretrained=start, density=0.5)  # two masks would give two tensors
    assert merged["embeddings"] is merged["decoder"]


def test_models_that_disagree_on_a_tied_tensor_raise():
    tied = torch.ones(2, 2)
    with pytest.raises(ValueError, match="partner: 'decoder' and 'embeddings' are one tensor in victim, but differ here"):
        merge({"embeddings": tied, "decoder": tied}, {"embeddings": tied.clone(), "decoder": torch.zeros(2, 2)})


@pytest.mark.parametrize("value", [float("nan"), float("inf"), -float("inf")])
@pytest.mark.parametrize("place", [0, 1])
def test_a_value_that_is_not_finite_names_the_model_and_the_tensor(value, place):
    models = [model(), model()]
    models[place]["classifier.bias"][1] = value
    with pytest.raises(ValueError, match=f"{NAMES[place]}: tensor 'classifier.bias' has values that are not finite"):
        merge(*models)


def test_a_merge_that_overflows_is_blamed_on_the_merge_and_not_on_a_model():
    big = {"w": torch.tensor([60000.0], dtype=torch.float16)}
    with pytest.raises(ValueError, match=r"the merged tensor 'w' has values that are not finite in torch.float16"):
        merge(big, {"w": -big["w"]}, weights=[1.5, -0.5], extrapolate=True)


def test_the_models_given_are_not_modified():
    models = [model(1.0, ids=torch.tensor([1, 2])), model(3.0, ids=torch.tensor([1, 2]))]
    merged = merge(*models)
    for tensor in merged.values():
        tensor.zero_()
    for state_dict, value in zip(models, (1.0, 3.0), strict=True):
        expected = model(value, ids=torch.tensor([1, 2]))
        assert list(state_dict) == list(expected)
        assert all(torch.equal(state_dict[name], tensor) for name, tensor in expected.items())


def test_no_model_raises():
    with pytest.raises(ValueError, match="no model to merge"):
        merge()
    with pytest.raises(ValueError, match="no model to merge"):
        check_mergeable([])


def test_models_without_names_are_numbered():
    with pytest.raises(ValueError, match="model 2 and model 1 have different tensors"):
        merge_state_dicts([model(), {}])


def test_a_wrong_third_model_is_found():
    with pytest.raises(ValueError, match=r"c: tensor 'encoder.weight' has shape"):
        check_mergeable(as_sources([model(), model(), model() | {"encoder.weight": torch.zeros(1)}], ["a", "b", "c"]))


def test_the_distance_of_two_models_is_euclidean_over_their_common_floating_tensors():
    first = {"w": torch.tensor([[1.0, 2.0]]), "b": torch.tensor([2.0]), "ids": torch.tensor([5])}
    second = {"w": torch.tensor([[1.0, 5.0]]), "b": torch.tensor([-2.0]), "ids": torch.tensor([9]), "head": torch.ones(3)}
    assert distance(first, second) == pytest.approx(5.0)
    assert distance(second, first) == pytest.approx(5.0)
    assert distance(first, first) == 0.0


def test_the_distance_of_many_small_half_precision_changes_is_computed_in_float64():
    first = {"w": torch.zeros(10_000, dtype=torch.float16)}
    second = {"w": torch.full((10_000,), 2.0**-14, dtype=torch.float16)}  # its square underflows in float16
    assert distance(first, second) == pytest.approx(100 * 2.0**-14)
