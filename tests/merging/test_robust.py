"""Robust averages, interpolation by angles, RegMean, soups and adapters: cases worked out by hand."""

import math

import pytest
import torch

from lib.merging import merge_state_dicts
from lib.merging.inner_products import cosines, inner_products, squared_distances
from lib.merging.interpolation import model_stock, model_stock_weights, slerp
from lib.merging.lora import Adapter, lora_average
from lib.merging.regmean import regmean
from lib.merging.robust import geometric_median, krum, median, trimmed_mean
from lib.merging.soup import greedy_soup
from lib.merging.statistics import fisher_diagonal, input_grams
from lib.merging.substitution import guided_module_substitution, module_of

LINE = [torch.tensor([value]) for value in (0.0, 1.0, 2.0, 3.0, 100.0)]


def test_robust_averages_shrug_off_one_far_model():
    assert median(LINE).item() == 2.0
    assert trimmed_mean(LINE, n_byzantine=1).item() == 2.0
    assert krum(LINE).item() in (1.0, 2.0)
    assert krum(LINE, n_selected=2).item() == 1.5
    assert geometric_median(LINE).item() == pytest.approx(2.0, abs=1e-4)  # on a line, the median


def test_the_geometric_median_of_a_triangle_is_its_fermat_point():
    corners = [torch.tensor([0.0, 0]), torch.tensor([1.0, 0]), torch.tensor([0.5, math.sqrt(3) / 2])]
    torch.testing.assert_close(geometric_median(corners), torch.tensor([0.5, math.sqrt(3) / 6]))


def test_distances_far_from_the_origin_are_not_lost_in_rounding():
    far = [torch.full((1000,), 100.0), torch.full((1000,), 100.001)]
    expected = float((far[1] - far[0]).double().square().sum())
    distances = squared_distances(inner_products([far], centred=True))
    assert distances[0, 1].item() == pytest.approx(expected, rel=1e-2)


def test_a_vector_of_no_length_has_no_angle():
    assert cosines(inner_products([[torch.zeros(3), torch.ones(3)]]))[0].tolist() == [0.0, 0.0]


def test_slerp_walks_along_the_circle():
    first, second = torch.tensor([1.0, 0.0]), torch.tensor([0.0, 1.0])
    torch.testing.assert_close(slerp([first, second], t=1 / 3), torch.tensor([math.cos(math.pi / 6), math.sin(math.pi / 6)]))
    assert torch.equal(slerp([first, second], t=0.0), first)


def test_slerp_on_task_vectors_turns_what_was_added():
    start = torch.tensor([10.0, 10.0])
    merged = slerp([start + torch.tensor([1.0, 0]), start + torch.tensor([0, 1.0])], pretrained=start, on="task_vectors")
    torch.testing.assert_close(merged - start, torch.full((2,), math.sqrt(0.5)))


def test_model_stock_goes_back_to_the_start_as_task_vectors_become_orthogonal():
    start, vectors = torch.tensor([5.0, 5.0]), [torch.tensor([1.0, 0.0]), torch.tensor([0.0, 1.0])]
    assert torch.equal(model_stock([start + vector for vector in vectors], pretrained=start), start)
    parallel = model_stock([start + vectors[0], start + 3 * vectors[0]], pretrained=start)
    torch.testing.assert_close(parallel, torch.tensor([7.0, 5.0]))


def test_model_stock_is_clipped_where_angles_are_obtuse():
    gram = inner_products([[torch.tensor([1.0, 0.0]), torch.tensor([-1.0, 0.1])]])
    assert model_stock_weights(gram) == [0.0, 0.0]
    assert model_stock_weights(gram, clip=False)[0] < 0


# --- RegMean and Fisher -------------------------------------------------------------------------------------------------


def test_regmean_solves_the_least_squares_problem():
    generator = torch.Generator().manual_seed(0)
    inputs = [torch.randn(30, 4, generator=generator, dtype=torch.float64) for _ in range(2)]
    weights = [torch.randn(3, 4, generator=generator, dtype=torch.float64) for _ in range(2)]
    merged = regmean(weights, grams=[x.T @ x for x in inputs], alpha=1.0)
    targets = torch.cat([x @ w.T for x, w in zip(inputs, weights, strict=True)])
    expected = torch.linalg.lstsq(torch.cat(inputs), targets).solution.T
    torch.testing.assert_close(merged, expected)


def test_columns_of_inputs_that_are_always_zero_are_averaged():
    grams = [torch.diag(torch.tensor([1.0, 0.0])), torch.diag(torch.tensor([3.0, 0.0]))]
    merged = regmean([torch.tensor([[4.0, 2.0]]), torch.tensor([[0.0, 6.0]])], grams=grams)
    assert merged.tolist() == [[1.0, 4.0]]


def test_singular_inputs_raise_and_say_what_helps():
    gram = torch.ones(2, 2)
    with pytest.raises(ValueError, match=r"singular at alpha 1\.0; give a smaller alpha or more texts"):
        regmean([torch.ones(1, 2)] * 2, grams=[gram, gram], alpha=1.0)


class Tiny(torch.nn.Module):
    """A classifier with a layer per token and a head on their mean over unmasked places."""

    def __init__(self):
        super().__init__()
        self.layer, self.head = torch.nn.Linear(3, 3), torch.nn.Linear(3, 2)

    def forward(self, x, attention_mask):
        hidden = self.layer(x) * attention_mask[..., None]
        pooled = hidden.sum(dim=1) / attention_mask.sum(dim=1, keepdim=True)
        return type("Output", (), {"logits": self.head(pooled)})


def batch(n=4):
    x = torch.randn(n, 5, 3, generator=torch.Generator().manual_seed(1))
    return {"x": x, "attention_mask": torch.tensor([[1.0, 1, 1, 0, 0]] * n)}


def test_inner_products_of_inputs_leave_padding_out():
    one = batch()
    grams = input_grams(Tiny(), [one])
    rows = one["x"][:, :3].reshape(-1, 3)
    torch.testing.assert_close(grams["layer.weight"], rows.T @ rows / len(rows))
    assert grams.keys() == {"layer.weight", "head.weight"}


def test_fisher_is_the_mean_of_squares_and_not_the_square_of_the_mean():
    torch.manual_seed(0)
    model, one = Tiny(), batch()
    examples = [{name: value[i : i + 1] for name, value in one.items()} for i in range(4)]
    whole, parts = fisher_diagonal(model, examples), [fisher_diagonal(model, [example]) for example in examples]
    for name, estimate in whole.items():
        torch.testing.assert_close(estimate, sum(part[name] for part in parts) / 4)
    drawn = fisher_diagonal(model, examples * 300, labels="sample")
    torch.testing.assert_close(drawn["head.weight"], whole["head.weight"], rtol=0.3, atol=1e-4)  # 1,200 draws


def test_bad_arguments_of_statistics_raise():
    with pytest.raises(ValueError, match=r"unknown labels 'argmax'; choose from \['expectation', 'sample', 'given'\]"):
        fisher_diagonal(Tiny(), [], labels="argmax")
    with pytest.raises(ValueError, match="no example"):
        fisher_diagonal(Tiny(), [])
    with pytest.raises(ValueError, match="no text"):
        input_grams(Tiny(), [])


# --- soup, adapters, substitution ---------------------------------------------------------------------------------------


def test_a_soup_has_its_smallest_number_of_ingredients_and_refuses_what_lowers_it():
    alone = [0.9, 0.8, 0.7, 0.95]
    together = {(3, 0): 0.5, (3, 0, 1): 0.6, (3, 0, 1, 2): 0.55}
    assert greedy_soup(alone, lambda chosen: together[tuple(chosen)]) == [3, 0, 1]
    assert greedy_soup(alone, lambda chosen: 0.1, min_ingredients=1) == [3]
    with pytest.raises(ValueError, match=r"min_ingredients is 5; it must lie in \[1, 4\]"):
        greedy_soup(alone, lambda chosen: 0.0, min_ingredients=5)


def adapter(rank, seed, scaling=2.0):
    generator = torch.Generator().manual_seed(seed)
    return Adapter(torch.randn(rank, 5, generator=generator), torch.randn(4, rank, generator=generator), scaling)


def test_adapters_of_different_ranks_are_averaged_exactly():
    adapters = [adapter(2, 0), adapter(3, 1, scaling=0.5)]
    expected = 0.25 * adapters[0].delta + 0.75 * adapters[1].delta
    torch.testing.assert_close(lora_average(adapters, weights=[0.25, 0.75]).delta, expected)
    truncated = lora_average(adapters, weights=[0.25, 0.75], mode="svd", rank=4)
    torch.testing.assert_close(truncated.delta, expected, atol=1e-5, rtol=1e-5)  # no more than 4 rows: exact
    with pytest.raises(ValueError, match=r"rank is 6; it must lie in \[1, 5\]"):
        lora_average(adapters, mode="svd", rank=6)
    with pytest.raises(ValueError, match="unknown mode 'linear'"):
        lora_average(adapters, mode="linear")
    with pytest.raises(ValueError, match="they must be for one layer"):
        lora_average([adapters[0], Adapter(torch.ones(1, 7), torch.ones(4, 1), 1.0)])


def encoder(value):
    modules = ("attention.self.query", "attention.self.key", "attention.output.dense", "intermediate.dense", "output.dense")
    names = [f"bert.encoder.layer.{layer}.{module}.weight" for layer in range(2) for module in modules]
    return {name: torch.full((1,), value) for name in [*names, "bert.embeddings.weight", "classifier.weight"]}


def test_substitution_finds_the_one_module_that_matters():
    victim, proxy = encoder(0.0), encoder(1.0)
    wanted = "bert.encoder.layer.1.attention.self.query.weight"
    # Taking the wanted module from the proxy is worth much, every other one costs a little.
    score = lambda model: 5 * float(model[wanted]) - sum(float(tensor) for tensor in model.values())  # noqa: E731
    found, chosen = guided_module_substitution(victim, proxy, score)
    assert {name for name, tensor in found.items() if tensor.item()} == {wanted}
    assert (chosen.types, chosen.layers) == ({"query"}, {1})
    assert all(tensor.item() == 0.0 for tensor in victim.values())


def test_the_search_may_give_everything_back_and_goes_on_while_scores_rise_again():
    victim, proxy = encoder(0.0), encoder(1.0)
    found, chosen = guided_module_substitution(victim, proxy, lambda model: -sum(float(t) for t in model.values()))
    assert all(tensor.item() == 0.0 for tensor in found.values()) and not (chosen.types and chosen.layers)
    # Scores by the number of substituted tensors: 10 to 8 falls, then it rises, and only 2 is better than 10.
    scores = {10: 9.0, 8: 1.0, 6: 2.0, 4: 3.0, 2: 10.0, 5: 0.0, 3: 0.0, 1: 0.0, 0: 0.0}
    score = lambda model: scores[round(sum(float(t) for t in model.values()))]  # noqa: E731
    found, _ = guided_module_substitution(victim, proxy, score, patience=2)
    assert sum(tensor.item() for tensor in found.values()) == 2
    found, _ = guided_module_substitution(victim, proxy, score, patience=1)
    assert sum(tensor.item() for tensor in found.values()) == 10


def test_modules_are_known_by_type_and_layer_in_encoders_and_decoders():
    assert module_of("roberta.encoder.layer.11.attention.output.dense.bias") == ("attention_output", 11)
    assert module_of("model.layers.3.mlp.gate_proj.weight") == ("feed_forward", 3)
    assert module_of("bert.embeddings.LayerNorm.weight") is None
    with pytest.raises(ValueError, match="no attention or feed-forward modules"):
        guided_module_substitution({"w": torch.ones(1)}, {"w": torch.ones(1)}, lambda model: 0.0)


def test_one_merge_of_models_with_vectors_and_scalars():
    models = [{"scale": torch.tensor(float(i)), "bias": torch.full((3,), float(i))} for i in range(5)]
    assert merge_state_dicts(models, "median")["scale"].item() == 2.0
