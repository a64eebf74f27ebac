"""Leads, and propositions P1 to P6 on models small enough to be worked out."""

import numpy as np
import pytest
import torch
import transformers

from lib.why import (
    cantelli,
    counted_asr,
    curvature_bounds,
    ensemble,
    fitted_exponent,
    fitted_share,
    gaussian_asr,
    guaranteed_asr,
    lead,
    strength_left,
)
from lib.why.derivatives import LayerNormInSteps, along, as_function, directional, path_derivatives
from lib.why.margins import explained


@pytest.fixture
def rng():
    return np.random.default_rng(0)


def affine_leads(rng, n_models=4, n_texts=50, width=7):
    """Leads of affine models on some texts: of each model alone, of the mean of the weights, and their averaging weights."""
    x, models = rng.normal(size=(n_texts, width)), rng.normal(size=(n_models, width, 2))
    weights = rng.dirichlet(np.ones(n_models))
    labels = np.zeros(n_texts, dtype=int)
    alone = np.stack([lead(x @ model, labels, 1) for model in models])
    return alone, lead(x @ np.tensordot(weights, models, axes=1), labels, 1), weights


def test_an_average_of_affine_models_is_their_ensemble(rng):
    alone, averaged, weights = affine_leads(rng)
    assert averaged == pytest.approx(ensemble(alone, weights), abs=1e-6)


def test_p1_the_lead_of_an_ensemble_is_the_reserve_minus_the_weight_times_the_strength(rng):
    alone, averaged, weights = affine_leads(rng)
    twin = rng.normal(size=alone.shape[1])
    reserve = weights[0] * twin + ensemble(alone[1:], weights[1:])
    assert averaged == pytest.approx(reserve - weights[0] * (twin - alone[0]), abs=1e-6)
    uniform = ensemble(alone, [0.25] * 4)
    reserve = 0.25 * twin + 0.25 * alone[1:].sum(axis=0)
    assert ((uniform < 0) == (twin - alone[0] > 4 * reserve)).all()  # the target wins if the strength is n times the reserve


@pytest.mark.parametrize("kind", ["Bert", "Llama", "Mistral"])
def test_networks_of_every_kind_are_differentiated_twice_along_a_line(kind):
    torch.manual_seed(0)
    sizes = {"vocab_size": 20, "hidden_size": 16, "num_hidden_layers": 2, "num_attention_heads": 2, "intermediate_size": 32}
    config = getattr(transformers, f"{kind}Config")(pad_token_id=0, attn_implementation="eager", **sizes)
    config.num_key_value_heads = 2
    network = getattr(transformers, f"{kind}ForSequenceClassification")(config).eval().double()
    batch = {"input_ids": torch.randint(1, 20, (4, 7)), "attention_mask": torch.ones(4, 7, dtype=torch.long)}
    before = network(**batch).logits.detach()
    start = {name: tensor.detach().clone() for name, tensor in network.state_dict().items()}
    end = {name: tensor + 0.1 * torch.randn_like(tensor) for name, tensor in start.items() if tensor.is_floating_point()}
    f, line, step = as_function(network, [batch]), along(start, start | end), 1e-2
    torch.testing.assert_close(f(start), before)
    value, slope, bend = path_derivatives(f, start, start | end, [0.5])[:, 0]
    below, above = (f(line(torch.tensor(0.5 + side * step))).detach() for side in (-1, 1))
    torch.testing.assert_close(slope, (above - below) / (2 * step), rtol=1e-2, atol=1e-3)
    torch.testing.assert_close(bend, (above - 2 * value + below) / step**2, rtol=1e-2, atol=1e-2)
    assert bend.abs().max() > 0.1


@pytest.mark.parametrize("affine", [True, False])
def test_a_layer_norm_in_steps_is_the_same_function(affine):
    torch.manual_seed(0)
    layer, x = torch.nn.LayerNorm((3, 5), elementwise_affine=affine), torch.randn(4, 3, 5)
    for weights in layer.parameters():
        torch.nn.init.normal_(weights)
    torch.testing.assert_close(LayerNormInSteps(layer)(x), layer(x))


def test_p2_bounds_the_distance_of_average_and_ensemble_for_a_smooth_function():
    torch.manual_seed(0)
    names = ("a", "b", "c")
    start, end = ({name: torch.randn(6, 6, dtype=torch.float64) for name in names} for _ in range(2))
    x = torch.randn(20, 6, dtype=torch.float64)

    def f(weights):
        hidden = torch.sin(x @ weights["a"])
        return torch.tanh(hidden @ weights["b"]) @ weights["c"][:, :2]

    places = np.linspace(0, 1, 201)
    values, _, bends = path_derivatives(f, start, end, places).numpy()
    leads, second = values[..., 0] - values[..., 1], bends[..., 0] - bends[..., 1]
    for place in (40, 100, 160):
        c = places[place]
        delta = leads[place] - (1 - c) * leads[0] - c * leads[-1]
        bound = curvature_bounds(second, places, c)
        assert (np.abs(delta) <= bound * (1 + 1e-3)).all()
        assert np.abs(delta).max() > 1e-3  # something had to be bounded
    assert curvature_bounds(second, places, 0.0) == pytest.approx(np.zeros(20))


def test_derivatives_along_a_path_are_those_of_a_polynomial():
    start, end = {"w": torch.tensor([[1.0]]), "n": torch.tensor(3)}, {"w": torch.tensor([[3.0]]), "n": torch.tensor(3)}
    value, slope, bend = path_derivatives(lambda weights: weights["w"] ** 2, start, end, [0.0, 0.5])
    assert value.flatten().tolist() == [1.0, 4.0]  # (1 + 2 t)^2
    assert slope.flatten().tolist() == [4.0, 8.0]
    assert bend.flatten().tolist() == [8.0, 8.0]
    assert along(start, end)(torch.tensor(0.25))["n"] == 3
    here, slopes = directional(lambda weights: weights["w"] ** 2, start, [{"w": torch.tensor([[5.0]])}])
    assert (here.item(), slopes.item()) == (1.0, 10.0)
    with pytest.raises(ValueError, match="no direction"):
        directional(lambda weights: weights["w"], start, [])


def test_p3_promises_no_less_than_what_happens(rng):
    reserve, strength, error = rng.normal(3, 1, 400), rng.gamma(8, 1, 400), rng.gamma(1, 0.2, 400)
    for weight in (0.05, 0.2, 0.5):
        worst = (reserve - weight * strength - error <= 0).mean()
        assert guaranteed_asr(reserve, strength, error, weight) >= worst
    assert guaranteed_asr(reserve, strength, error, 0.05) < 0.3
    assert guaranteed_asr(reserve, strength, error, 1.0) == 1.0
    # By hand: every reserve is 2, every strength 5, no error; below a weight of 2/5 nothing can happen.
    assert guaranteed_asr([2.0] * 4, [5.0] * 4, [0.0] * 4, 0.39) == 0.0
    assert guaranteed_asr([2.0] * 4, [5.0] * 4, [0.0] * 4, 0.41) == 1.0


def test_p5_cantelli_lies_above_what_is_counted(rng):
    for sample in (rng.normal(1, 1, 500), rng.exponential(1, 500) - 0.3, rng.choice([-4.0, 1.0], 500, p=[0.1, 0.9])):
        assert (sample <= 0).mean() <= cantelli(sample)
    assert cantelli([0.0] * 3 + [2.0] * 7) == pytest.approx(0.3)  # two values: here the bound is exact
    assert cantelli([-1.0, 0.5]) == 1.0


@pytest.mark.parametrize(("shared", "expected"), [(0.0, 0.04), (0.5, 0.12), (1.0, 0.20)])
def test_p6_is_what_two_layers_of_five_models_do(rng, shared, expected):
    width, n = 12, 5
    u = rng.normal(size=width)  # the direction that the backdoor writes to
    victim = rng.normal(size=width)
    beside = rng.normal(size=width)
    beside -= (beside @ u) / (u @ u) * u  # what else a clean head reads: nothing of u
    clean = beside + shared * (victim @ u) / (u @ u) * u
    head = (victim + (n - 1) * clean) / n
    left = (head @ (u / n)) / (victim @ u)  # the averaged head reads what the averaged first layer writes
    assert left == pytest.approx(strength_left(1 / n, shared), abs=1e-9)
    assert left == pytest.approx(expected, abs=1e-9)


def test_fits_find_the_exponent_and_the_shared_part_again():
    weights = np.linspace(0.1, 0.9, 9)
    assert fitted_exponent(weights, weights**1.7) == pytest.approx(1.7)
    assert fitted_share(weights, strength_left(weights, 0.3)) == pytest.approx(0.3)
    assert np.isnan(fitted_exponent([0.5], [0.25]))


def test_the_gaussian_prediction_is_right_for_normal_leads(rng):
    both = rng.multivariate_normal([-3, 2], [[1, 0.3], [0.3, 2]], 200_000)
    for c in (0.3, 0.6, 0.8):
        counted = ((1 - c) * both[:, 0] + c * both[:, 1] < 0).mean()
        assert gaussian_asr(both[:, 0], both[:, 1], c) == pytest.approx(counted, abs=0.005)  # two standard errors
    assert gaussian_asr([-1.0, -1.0], [1.0, 1.0], 0.2) == 1.0


def test_leads_refuse_texts_of_the_target_and_other_shapes():
    assert lead([[[1.0, 2.0, 5.0]]], [2], 0).tolist() == [[4.0]]
    with pytest.raises(ValueError, match="1 texts have the target label 1"):
        lead([[0.0, 1.0], [0.0, 1.0]], [0, 1], 1)
    with pytest.raises(ValueError, match="do not match"):
        lead([[0.0, 1.0]], [0, 0], 1)
    with pytest.raises(ValueError, match="2 models have 3 weights"):
        ensemble([[1.0], [2.0]], [1, 0, 0])
    with pytest.raises(ValueError, match=r"coefficient 0.3 is not among the places"):
        curvature_bounds([[0.0], [0.0]], [0, 1], 0.3)
    assert counted_asr([[0.0, 1.0], [1.0, 0.0]], 1) == 0.5


def test_what_a_prediction_explains():
    assert explained([0.0, 1.0, 2.0], [1.0, 1.0, 1.0]) == 0.0
    assert np.isnan(explained([1.0, 1.0], [1.0, 1.0]))
