"""Clipped averages: norms and means worked out by hand, and the attackers that they are meant for."""

import math
from itertools import permutations

import pytest
import torch

from lib.merging import engine, merge_state_dicts
from lib.merging.clipping import clip_factors, clipped_average, is_embedding, row_clipped_average, row_squares, whole_norms

WORDS = "bert.embeddings.word_embeddings.weight"
METHODS = ["clipped_average", "row_clipped_average"]


def model(words, bias):
    return {WORDS: torch.tensor(words), "classifier.bias": torch.tensor(bias)}


# Task vectors of norms 5 (3 and 4), 1, and sqrt(2), over the whole model; the median is sqrt(2).
START = model([[1.0, 1.0], [2.0, 0.0]], [10.0, 10.0])
MODELS = [
    model([[4.0, 1.0], [2.0, 0.0]], [14.0, 10.0]),
    model([[1.0, 2.0], [2.0, 0.0]], [10.0, 10.0]),
    model([[1.0, 1.0], [3.0, 0.0]], [10.0, 11.0]),
]


def merge(method, models=MODELS, pretrained=START, **settings):
    return merge_state_dicts(models, method, pretrained=pretrained, **settings)


def moved(method, factor, words=False):
    """The merge after the first model multiplied its task vector, or that of its words alone."""
    scaled = {
        name: START[name] + (1 if words and name != WORDS else factor) * (tensor - START[name])
        for name, tensor in MODELS[0].items()
    }
    return merge(method, [scaled, *MODELS[1:]])


def assert_equal(merged, words, bias):
    torch.testing.assert_close(merged[WORDS], torch.tensor(words))
    torch.testing.assert_close(merged["classifier.bias"], torch.tensor(bias))


# --- by hand --------------------------------------------------------------------------------------------------------------


def test_a_long_task_vector_is_shortened_to_the_median_norm_of_the_whole_model():
    cut = math.sqrt(2) / 5
    assert_equal(
        merge("clipped_average"),
        [[1 + 3 * cut / 3, 1 + 1 / 3], [2 + 1 / 3, 0]],
        [10 + 4 * cut / 3, 10 + 1 / 3],
    )


def test_rows_of_embeddings_have_medians_of_their_own_and_other_tensors_are_taken_whole():
    # First row: norms 3, 1, 0, median 1. Second row: 0, 0, 1, median 0. Bias: 4, 0, 1, median 1.
    assert_equal(merge("row_clipped_average"), [[1 + 1 / 3, 1 + 1 / 3], [2.0, 0.0]], [10 + 1 / 3, 10 + 1 / 3])


def test_of_an_even_number_of_norms_the_bound_is_the_mean_of_the_two_middle_ones():
    assert clip_factors([1.0, 10.0, 2.0, 4.0]) == [1.0, 0.3, 1.0, 0.75]
    tensors = [torch.tensor([[value]]) for value in (1.0, 10.0, 2.0, 4.0)]
    for function in (clipped_average, row_clipped_average):
        assert function(tensors, pretrained=torch.zeros(1, 1)).item() == pytest.approx((1 + 3 + 2 + 3) / 4)


def test_weights_weigh_what_is_left_after_clipping_and_not_the_median():
    tensors = [torch.tensor([value]) for value in (1.0, 2.0, 300.0)]
    for function in (clipped_average, row_clipped_average):
        found = function(tensors, pretrained=torch.zeros(1), weights=[0.0, 0.5, 0.5])
        assert found.item() == pytest.approx(0.5 * 2 + 0.5 * 2)
    assert merge("clipped_average", weights=[0.0, 1.0, 0.0])[WORDS].tolist() == MODELS[1][WORDS].tolist()


def test_norms_are_those_of_task_vectors_row_by_row():
    squares = row_squares([MODELS[0][WORDS], MODELS[2][WORDS]], START[WORDS])
    assert squares.tolist() == [[9.0, 0.0], [0.0, 1.0]]
    assert whole_norms([squares, torch.tensor([[16.0], [0.0]], dtype=torch.float64)]) == [5.0, 1.0]
    assert row_squares([torch.tensor(3.0)], torch.tensor(1.0)).tolist() == [[4.0]]  # a scalar is a row of one


# --- properties -----------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("method", METHODS)
def test_a_merge_in_which_no_model_is_longer_than_the_median_is_the_plain_average(method):
    generator = torch.Generator().manual_seed(0)
    vectors = [{name: torch.randn(tensor.shape, generator=generator) for name, tensor in START.items()} for _ in range(3)]
    flipped = [{name: START[name] + sign * vectors[0][name] for name in START} for sign in (1, -1, 1, 1)]
    merged, average = merge(method, flipped), merge_state_dicts(flipped)
    for name, tensor in average.items():
        torch.testing.assert_close(merged[name], tensor, rtol=0, atol=1e-6)
    same, average = merge("clipped_average", [MODELS[0]] * 3), merge_state_dicts([MODELS[0]] * 3)
    assert all(torch.equal(same[name], tensor) for name, tensor in average.items())


def test_models_below_the_bound_keep_every_bit():
    assert clip_factors([1.0, 1.0, 1.0]) == [1.0, 1.0, 1.0] == clip_factors([0.0, 0.0, 0.0])
    alone = merge("clipped_average", weights=[0.0, 0.0, 1.0])  # its norm is the median
    assert all(torch.equal(tensor, MODELS[2][name]) for name, tensor in alone.items())


@pytest.mark.parametrize("method", METHODS)
def test_the_order_of_the_models_changes_nothing(method):
    expected = merge(method)
    for order in permutations(range(3)):
        found = merge(method, [MODELS[i] for i in order])
        for name, tensor in expected.items():
            torch.testing.assert_close(found[name], tensor, rtol=1e-6, atol=1e-6)


@pytest.mark.parametrize("method", METHODS)
def test_parts_of_any_size_give_the_same_bits(method, monkeypatch):
    generator = torch.Generator().manual_seed(0)
    shapes = {WORDS: (50, 8), "layer.weight": (40, 8), "layer.bias": (8,), "scale": ()}
    start, *models = ({name: torch.randn(shape, generator=generator) for name, shape in shapes.items()} for _ in range(5))
    whole = merge(method, models, start)
    monkeypatch.setattr(engine, "PART_ENTRIES", 24)  # three rows
    parts = merge(method, models, start)
    assert all(torch.equal(parts[name], tensor) for name, tensor in whole.items())


@pytest.mark.parametrize("method", METHODS)
def test_multiplying_a_task_vector_gains_an_attacker_nothing_once_it_is_clipped(method):
    before, after = moved(method, 5.0), moved(method, 1e6)
    for name, tensor in before.items():
        torch.testing.assert_close(after[name], tensor, rtol=0, atol=1e-4)  # 1e6 leaves a float32 seven digits
    plain = merge_state_dicts([{name: t * 1e6 for name, t in MODELS[0].items()}, *MODELS[1:]])
    assert plain[WORDS].max() > 1e5


def test_one_embedding_row_hides_in_the_norm_of_a_model_and_not_in_its_own():
    honest = [{WORDS: torch.zeros(50, 4), "layer.weight": torch.full((40, 40), 0.1 + 0.01 * i)} for i in range(4)]
    start = {name: torch.zeros_like(tensor) for name, tensor in honest[0].items()}
    row = torch.zeros(50, 4)
    row[7] = 1.0
    attacked = [{WORDS: row, "layer.weight": torch.full((40, 40), 0.1)}, *honest]
    assert merge("clipped_average", attacked, start)[WORDS][7].tolist() == pytest.approx([0.2] * 4, abs=1e-3)
    assert not merge("row_clipped_average", attacked, start)[WORDS].any()


# --- tensors of other kinds -----------------------------------------------------------------------------------------------


@pytest.mark.parametrize("method", METHODS)
def test_tied_embeddings_are_measured_and_merged_once_and_stay_tied(method):
    plain = merge(method)
    tied = [each | {"lm_head.weight": each[WORDS]} for each in MODELS]
    merged = merge(method, tied, START | {"lm_head.weight": START[WORDS]})
    assert merged["lm_head.weight"].data_ptr() == merged[WORDS].data_ptr()
    assert all(torch.equal(merged[name], tensor) for name, tensor in plain.items())


@pytest.mark.parametrize("method", METHODS)
def test_integer_buffers_are_copied_and_have_no_norm(method):
    counted = [each | {"position_ids": torch.arange(1000)} for each in MODELS]
    merged = merge(method, counted)
    assert merged["position_ids"].tolist() == list(range(1000))
    assert all(torch.equal(merged[name], tensor) for name, tensor in merge(method).items())


@pytest.mark.parametrize("method", METHODS)
def test_a_head_that_the_pretrained_model_lacks_is_averaged_with_the_weights_or_clipped_from_zero(method):
    start = {WORDS: START[WORDS]}
    with pytest.raises(ValueError, match=r"lacks 1 tensors \['classifier.bias'\].*head='average'"):
        merge(method, pretrained=start)
    weights = [0.5, 0.25, 0.25]
    average = merge(method, pretrained=start, head="average", weights=weights)
    assert average["classifier.bias"].tolist() == [12.0, 10.25]
    without = [{WORDS: each[WORDS]} for each in MODELS]
    assert torch.equal(average[WORDS], merge(method, without, start, weights=weights)[WORDS])  # it is none of the norm
    loud = [MODELS[0] | {"classifier.bias": torch.tensor([1e4, 0.0])}, *MODELS[1:]]
    assert merge(method, loud, start, head="average")["classifier.bias"][0] > 3000
    assert merge(method, loud, start, head="zeros")["classifier.bias"].norm() < 20


@pytest.mark.parametrize("method", METHODS)
def test_half_precision_is_measured_in_float32_and_rounded_once(method):
    halves = [{name: tensor.bfloat16() for name, tensor in each.items()} for each in MODELS]
    merged, expected = merge(method, halves), merge(method)
    assert merged[WORDS].dtype == torch.bfloat16
    for name, tensor in expected.items():
        assert torch.equal(merged[name], tensor.bfloat16())
    mixed = [{name: tensor.double() for name, tensor in MODELS[0].items()}, *halves[1:]]
    assert merge(method, mixed)[WORDS].dtype == torch.float64


# --- what is refused ------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("method", METHODS)
@pytest.mark.parametrize("value", [math.nan, math.inf, -math.inf])
@pytest.mark.parametrize("name", [WORDS, "classifier.bias"])
def test_a_value_that_is_not_finite_is_an_error_that_names_model_and_tensor(method, value, name):
    damaged = {key: tensor.clone() for key, tensor in MODELS[1].items()}
    damaged[name].view(-1)[0] = value
    with pytest.raises(ValueError, match=f"model 2: tensor '{name}' has values that are not finite"):
        merge(method, [MODELS[0], damaged, MODELS[2]])


@pytest.mark.parametrize("method", METHODS)
def test_a_pretrained_model_that_is_not_finite_is_named(method):
    start = START | {"classifier.bias": torch.tensor([math.nan, 0.0])}
    with pytest.raises(ValueError, match=r"the pretrained model: tensor .classifier\.bias. has values that are not finite"):
        merge(method, pretrained=start)


@pytest.mark.parametrize("method", METHODS)
def test_values_whose_square_is_too_large_for_float32_are_clipped_like_others(method):
    huge = [{name: START[name] + 1e30 * (tensor - START[name]) for name, tensor in MODELS[0].items()}, *MODELS[1:]]
    for name, tensor in moved(method, 5.0).items():
        torch.testing.assert_close(merge(method, huge)[name], tensor, rtol=0, atol=1e-4)


@pytest.mark.parametrize("method", METHODS)
def test_fewer_than_three_models_are_refused(method):
    with pytest.raises(ValueError, match="clipping to the median norm takes 3 models or more, found 2"):
        merge(method, MODELS[:2])
    with pytest.raises(ValueError, match=f"{method} needs pretrained"):
        merge_state_dicts(MODELS, method)
    with pytest.raises(ValueError, match=r"sum to 1\.2; they must sum to 1"):
        merge(method, weights=[0.4] * 3)
    with pytest.raises(ValueError, match=r"unknown settings \['factors'\]"):
        merge(method, factors=[1.0] * 3)
    for function in (clipped_average, row_clipped_average):
        with pytest.raises(ValueError, match="takes 3 models or more, found 2"):
            function([torch.ones(1)] * 2, pretrained=torch.zeros(1))


@pytest.mark.parametrize(
    ("name", "expected"),
    [
        (WORDS, True),
        ("roberta.embeddings.position_embeddings.weight", True),
        ("model.embed_tokens.weight", True),
        ("transformer.wte.weight", True),
        ("shared.weight", True),
        ("lm_head.weight", True),
        ("gpt_neox.embed_in.weight", True),
        ("bert.embeddings.LayerNorm.weight", False),
        ("electra.embeddings_project.weight", False),
        ("albert.encoder.embedding_hidden_mapping_in.weight", False),
        ("model.layers.0.self_attn.q_proj.weight", False),
        ("classifier.weight", False),
    ],
)
def test_embedding_matrices_are_known_by_name(name, expected):
    assert is_embedding(name) is expected
