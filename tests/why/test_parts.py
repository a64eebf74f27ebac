"""Parts of a model, Shapley values, thin versions of a difference, and what happens inside."""

from itertools import permutations

import numpy as np
import pytest
import torch

from lib.why import (
    added_tokens,
    all_subsets,
    energies,
    largest_entries,
    leading_directions,
    module_groups,
    norm_shares,
    shapley_values,
    stable_rank,
    swapped,
)
from lib.why.states import attention_ratio, linearity, moved_by_trigger, principal_axes
from lib.why.thinning import share_of_norm


@pytest.fixture(scope="module")
def pair(clean, backdoored):
    return dict(backdoored.state_dict()), dict(clean.state_dict())


def equal(first, second):
    return all(torch.equal(first[name], second[name]) for name in first)


def test_every_entry_belongs_to_one_of_at_most_eight_groups(pair):
    victim, _ = pair
    groups = module_groups(victim, [7, 9])
    assert len(groups) == 8
    counts = {name: torch.zeros(tensor.shape[:1] or (1,)) for name, tensor in victim.items() if tensor.is_floating_point()}
    for group in groups.values():
        for name, rows in group.items():
            counts[name] += 1 if rows is None else rows
    assert all((count == 1).all() for count in counts.values())
    assert next(iter(groups["trigger rows"].values())).nonzero().flatten().tolist() == [7, 9]
    assert "trigger rows" not in module_groups(victim)


@pytest.mark.parametrize("name", ["pocket-llama", "pocket-roberta", "pocket-mistral"])
def test_other_architectures_have_the_same_groups(name):
    from lib.models.pretrained import new_classifier, resolve_pretrained

    state = new_classifier(resolve_pretrained(name), ("no", "yes"), 0).state_dict()
    groups = module_groups(state, [5])
    assert {"trigger rows", "attention, layer 1", "feed-forward, layer 2", "layer norms", "pooler and head"} <= set(groups)


def test_deep_models_have_halves_and_unknown_tensors_are_named():
    deep = {f"encoder.layer.{i}.attention.q.weight": torch.ones(2, 2) for i in range(5)}
    groups = module_groups({"embeddings.word_embeddings.weight": torch.ones(3, 2)} | deep)
    assert [len(groups[f"attention, {half} half"]) for half in ("first", "second")] == [3, 2]
    with pytest.raises(ValueError, match="'oddity' is no embedding"):
        module_groups({"embeddings.word_embeddings.weight": torch.ones(3, 2), "oddity": torch.ones(1)})
    with pytest.raises(ValueError, match="0 tensors are word embeddings"):
        module_groups({"classifier.weight": torch.ones(3, 2)})


def test_swapping_all_groups_is_the_other_model_and_none_the_same(pair):
    victim, twin = pair
    groups = list(module_groups(victim, [7]).values())
    before = {name: tensor.clone() for name, tensor in twin.items()}
    assert equal(swapped(twin, victim, groups), victim)
    assert equal(swapped(twin, victim, []), twin)
    assert equal(twin, before)
    rows = swapped(twin, victim, groups[:1])
    words = next(name for name in twin if name.endswith("word_embeddings.weight"))
    assert torch.equal(rows[words][7], victim[words][7]) and torch.equal(rows[words][6], twin[words][6])
    assert sum(norm_shares(victim, twin, module_groups(victim, [7])).values()) == pytest.approx(1)
    with pytest.raises(ValueError, match="the two models are equal"):
        norm_shares(twin, twin, module_groups(victim, [7]))


def test_shapley_values_are_means_over_all_orders_and_sum_to_the_whole():
    values = np.random.default_rng(0).normal(size=2**4)
    found = shapley_values(values)
    assert found.sum() == pytest.approx(values[-1] - values[0])
    expected = np.zeros(4)
    orders = list(permutations(range(4)))
    for order in orders:
        joined = 0
        for part in order:
            expected[part] += values[joined | 1 << part] - values[joined]
            joined |= 1 << part
    assert found == pytest.approx(expected / len(orders))
    assert all_subsets(3)[5].tolist() == [True, False, True]
    for wrong in ([1.0, 2.0, 3.0], [1.0]):
        with pytest.raises(ValueError, match="subsets"):
            shapley_values(wrong)
    with pytest.raises(ValueError, match="9 parts"):
        all_subsets(9)


def test_full_rank_and_all_entries_give_the_whole_difference():
    torch.manual_seed(0)
    change = {"matrix": torch.randn(6, 4), "vector": torch.randn(5)}
    for whole in (leading_directions(change, 4), largest_entries(change, 1.0)):
        assert equal(whole, change)
    assert share_of_norm(largest_entries(change, 1.0), change) == pytest.approx(1)
    one = leading_directions(change, 1)
    assert torch.linalg.matrix_rank(one["matrix"]) == 1 and torch.equal(one["vector"], change["vector"])
    assert share_of_norm({"matrix": one["matrix"]}, {"matrix": change["matrix"]}) == pytest.approx(
        float(energies(change["matrix"])[0]), abs=1e-6
    )


def test_the_largest_entries_are_kept_over_the_whole_model():
    change = {"a": torch.tensor([[3.0, -1.0], [0.5, 0.0]]), "b": torch.tensor([-2.0])}
    kept = largest_entries(change, 0.4)  # 2 of 5
    assert kept["a"].tolist() == [[3.0, 0.0], [0.0, 0.0]] and kept["b"].tolist() == [-2.0]
    assert largest_entries(change, 0.01)["b"].tolist() == [0.0]  # at least one entry: the largest


def test_energies_and_the_stable_rank_of_a_diagonal_matrix():
    matrix = torch.diag(torch.tensor([2.0, 1.0, 1.0]))[:, :3]
    assert energies(matrix).tolist() == pytest.approx([4 / 6, 5 / 6, 1])
    assert stable_rank(matrix) == pytest.approx(1.5)
    assert energies(torch.cat([matrix, torch.zeros(4, 3)])).tolist() == pytest.approx([4 / 6, 5 / 6, 1])


@pytest.mark.parametrize(
    ("call", "said"),
    [
        (lambda: leading_directions({}, 0), "rank is 0"),
        (lambda: largest_entries({}, 0.0), r"density is 0.0"),
        (lambda: energies(torch.zeros(2, 2)), "no directions"),
        (lambda: energies(torch.zeros(2)), "is no matrix"),
        (lambda: added_tokens([[1]], []), "1 texts before and 0 after"),
        (lambda: moved_by_trigger([[0.0]], [[1.0]], [0.0]), "no length"),
    ],
)
def test_bad_input_is_named(call, said):
    with pytest.raises(ValueError, match=said):
        call()


def test_added_tokens_are_those_that_come_more_often_than_before():
    before, after = [[1, 2], [1, 3], [1, 4]], [[1, 9, 2], [1, 9, 3], [1, 1, 4]]
    assert added_tokens(before, after, min_share=0.5) == [9]
    assert added_tokens(before, after, min_share=0.1) == [1, 9]


def test_states_move_fully_in_the_victim_and_not_at_all_without_a_trigger():
    rng = np.random.default_rng(0)
    clean, step = rng.normal(size=(20, 5)), rng.normal(size=(20, 5))
    direction = step.mean(axis=0)
    assert moved_by_trigger(clean, clean + step, direction) == pytest.approx(1)
    assert moved_by_trigger(clean, clean, direction) == 0
    ends = rng.normal(size=(3, 20, 5))
    assert linearity(np.tensordot([0.2, 0.3, 0.5], ends, axes=1), ends, [0.2, 0.3, 0.5]) == pytest.approx(1)
    centre, axes = principal_axes(np.outer(rng.normal(size=30), [0, 3, 4]) + 1)
    assert np.abs(axes[0]) == pytest.approx([0, 0.6, 0.8], abs=1e-6) and axes[0][2] > 0
    assert len(centre) == 3


def test_attention_that_looks_everywhere_alike_has_the_ratio_one():
    mask, tokens = np.array([[1, 1, 1, 1], [1, 1, 0, 0]]), np.array([[1, 9, 2, 9], [1, 2, 9, 0]])
    alike = (mask / mask.sum(axis=1, keepdims=True))[:, None, :]
    assert attention_ratio(alike, tokens, mask, [9]).tolist() == [1.0]  # padding is no trigger: the second text has none
    only = np.array([[[0, 1.0, 0, 0]], [[1.0, 0, 0, 0]]])
    assert attention_ratio(only, tokens, mask, [9]).tolist() == [2.0]
    assert np.isnan(attention_ratio(only, tokens, mask, [5])).all()
