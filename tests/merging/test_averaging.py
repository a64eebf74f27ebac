"""Weight averaging on tensors: end points, identities, precision, and which weights are refused."""

import numpy as np
import pytest
import torch

from lib.merging import MERGE_METHODS, check_weights, get_merge_method, weight_average

A = torch.tensor([[1.0, -2.0, 3.0], [0.0, 4.0, 8.0]])
B = torch.tensor([[3.0, 2.0, -1.0], [1.0, 0.0, 0.0]])


def assert_equal(tensor, expected):
    torch.testing.assert_close(tensor, torch.as_tensor(expected, dtype=tensor.dtype), rtol=0, atol=0)


def test_uniform_and_weighted_averages_worked_out_by_hand():
    assert_equal(weight_average([A, B]), [[2.0, 0.0, 1.0], [0.5, 2.0, 4.0]])
    assert_equal(weight_average([A, B], weights=[0.75, 0.25]), [[1.5, -1.0, 2.0], [0.25, 3.0, 6.0]])


def test_weights_of_one_and_zero_give_the_end_points():
    assert_equal(weight_average([A, B], weights=[1, 0]), A)
    assert_equal(weight_average([A, B], weights=[0, 1]), B)


@pytest.mark.parametrize("n", [1, 2, 3, 7])
def test_copies_of_one_model_give_it_back(n):
    tensor = torch.from_numpy(np.random.default_rng(0).normal(size=(4, 5))).float()
    # Sums of n products are rounded n times, each by at most half a unit of float32.
    torch.testing.assert_close(weight_average([tensor] * n), tensor, rtol=n * 1e-7, atol=0)


def test_the_order_of_the_models_does_not_matter():
    rng = np.random.default_rng(0)
    tensors, weights = [torch.from_numpy(rng.normal(size=(3, 3))) for _ in range(4)], [0.1, 0.2, 0.3, 0.4]
    forward, backward = weight_average(tensors, weights=weights), weight_average(tensors[::-1], weights=weights[::-1])
    torch.testing.assert_close(forward, backward, rtol=0, atol=1e-15)  # float64: sums in another order
    torch.testing.assert_close(forward.numpy(), np.einsum("i,ijk->jk", weights, np.stack(tensors)), rtol=0, atol=1e-15)


def test_repeating_a_merge_gives_equal_bits():
    tensors = [torch.from_numpy(np.random.default_rng(i).normal(size=100)).float() for i in range(3)]
    assert torch.equal(weight_average(tensors), weight_average(tensors))


@pytest.mark.parametrize("dtype", [torch.float16, torch.bfloat16])
def test_half_precision_is_accumulated_in_float32_and_rounded_once(dtype):
    # The means are exact in half precision; adding term by term would lose those below half its spacing at the sum.
    values = {torch.float16: (2048.0, 1.0, 1.0, 2.0), torch.bfloat16: (1024.0, 2.0, 2.0, 4.0)}[dtype]
    exact = {torch.float16: 513.0, torch.bfloat16: 258.0}[dtype]
    merged = weight_average([torch.tensor([value], dtype=dtype) for value in values])
    assert merged.dtype == dtype
    assert merged.item() == exact


def test_float64_stays_float64():
    third = torch.tensor([1 / 3], dtype=torch.float64)
    assert weight_average([third, third]).dtype == torch.float64
    assert weight_average([third, third]).item() == 1 / 3


def test_the_first_tensor_decides_the_dtype_of_the_result():
    half, single = torch.tensor([1.0], dtype=torch.float16), torch.tensor([1 + 2**-12])
    assert weight_average([half, single]).dtype == torch.float16
    assert weight_average([single, half]).dtype == torch.float32
    assert weight_average([single, half]).item() == 1 + 2**-13


def test_the_tensors_given_are_not_modified():
    first, second = A.clone(), B.clone()
    merged = weight_average([first, second], weights=[1, 0])
    merged += 1
    assert torch.equal(first, A)
    assert torch.equal(second, B)


def test_the_average_of_one_tensor_is_a_copy_and_not_the_tensor():
    first = A.clone()
    weight_average([first]).zero_()
    assert torch.equal(first, A)


@pytest.mark.parametrize(
    ("weights", "message"),
    [
        ([1.0], "1 weights for 2 models; give one per model"),
        ([0.5, 0.3, 0.2], "3 weights for 2 models"),
        ([0.7, 0.7], r"sum to 1.4; they must sum to 1"),
        ([1, 2], r"sum to 3; they must sum to 1"),
        ([0.5, 0.50001], "they must sum to 1"),
        ([float("nan"), 1], "every weight must be finite"),
        ([float("inf"), 0], "every weight must be finite"),
        ([1.5, -0.5], r"outside \[0, 1\] only with extrapolate=True"),
    ],
)
def test_weights_that_make_no_average_raise_and_are_not_renormalised(weights, message):
    with pytest.raises(ValueError, match=message):
        weight_average([A, B], weights=weights)
    with pytest.raises(ValueError, match=message):
        check_weights(weights, 2)


def test_weights_that_sum_to_one_within_rounding_are_taken():
    assert check_weights([0.1] * 10, 10) == [0.1] * 10
    assert check_weights(np.array([0.25, 0.75]), 2) == [0.25, 0.75]
    assert check_weights(None, 4) == [0.25] * 4


def test_extrapolation_goes_beyond_the_models_when_asked_for():
    assert_equal(weight_average([A, B], weights=[1.5, -0.5], extrapolate=True), [[0.0, -4.0, 5.0], [-0.5, 6.0, 12.0]])


def test_no_model_raises():
    with pytest.raises(ValueError, match="no model to merge"):
        weight_average([])


def test_an_unknown_merge_method_raises_and_lists_the_known_ones():
    assert get_merge_method("weight_average") is MERGE_METHODS["weight_average"]
    with pytest.raises(ValueError, match=r"unknown merge method 'wag'; choose from \[.*'weight_average'.*\]"):
        get_merge_method("wag")
