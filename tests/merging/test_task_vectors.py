"""TIES, DARE, DELLA and Breadcrumbs on small tensors, and against peft's independent implementation."""

import pytest
import torch
from peft.utils import merge_utils

from lib.merging import merge_state_dicts
from lib.merging.breadcrumbs import breadcrumbs
from lib.merging.dare import dare, della, draw_mask, mask_generators
from lib.merging.task_arithmetic import task_arithmetic, task_vector
from lib.merging.ties import disjoint_mean, elect_sign, ties

ZERO = torch.zeros(6)
VECTORS = [torch.tensor([6.0, -5, 4, 1, 0, 2]), torch.tensor([-3.0, -1, 5, 2, 0, 1])]
RANDOM = [torch.randn(40, 25, generator=torch.Generator().manual_seed(seed)) for seed in range(4)]


def test_ties_worked_out_by_hand():
    # Half of six are three: the first keeps 6, -5, 4; the second -3, 5, 2. Sums 3, -5, 9, 2 elect +, -, +, +.
    assert ties(VECTORS, pretrained=ZERO, density=0.5).tolist() == [6, -5, 4.5, 2, 0, 0]


def test_the_steps_of_ties_worked_out_by_hand():
    assert elect_sign(VECTORS).tolist() == [1, -1, 1, 1, 1, 1]
    assert disjoint_mean(VECTORS, elect_sign(VECTORS)).tolist() == [6, -3, 4.5, 1.5, 0, 1.5]


def test_ties_of_density_one_without_conflict_is_the_mean_task_vector():
    start, same_sign = torch.ones(40, 25), [tensor.abs() + 1 for tensor in RANDOM]
    torch.testing.assert_close(ties(same_sign, pretrained=start, density=1.0), sum(same_sign) / 4)


@pytest.mark.parametrize("density", [0.2, 0.5, 0.9])
def test_ties_agrees_with_peft(density):
    ours = ties(RANDOM, pretrained=torch.zeros(40, 25), density=density)
    theirs = merge_utils.ties(RANDOM, torch.ones(4), density)
    torch.testing.assert_close(ours, theirs)


def test_task_arithmetic_agrees_with_peft():
    weights = [0.5, 0.25, 1.0, -0.5]
    ours = task_arithmetic(RANDOM, pretrained=torch.zeros(40, 25), weights=weights)
    torch.testing.assert_close(ours, merge_utils.task_arithmetic(RANDOM, torch.tensor(weights)))


def test_a_negative_coefficient_takes_a_task_away():
    start, finetuned = torch.tensor([1.0, 2.0]), torch.tensor([4.0, 0.0])
    assert task_arithmetic([finetuned], pretrained=start, merge_coefficient=-1.0).tolist() == [-2.0, 4.0]


def test_task_vectors_of_half_precision_are_computed_in_float32():
    finetuned, start = torch.tensor([0.05], dtype=torch.bfloat16), torch.tensor([0.04998779296875])
    assert task_vector(finetuned, start).dtype == torch.float32
    assert task_vector(finetuned, start).item() != 0


# --- DARE: properties of random masks -----------------------------------------------------------------------------------

ONE, START = torch.randn(50, 40, generator=torch.Generator().manual_seed(9)), torch.zeros(50, 40)


def dropped(seed, density=0.5, models=(ONE,), name="w"):
    return merge_state_dicts(
        [{name: tensor} for tensor in models], "dare", pretrained={name: START}, density=density, seed=seed
    )[name]


def test_every_entry_is_dropped_or_divided_by_the_density():
    merged = dropped(0, density=0.25)
    kept = merged != 0
    torch.testing.assert_close(merged[kept], ONE[kept] / 0.25)
    assert 0.2 < float(kept.float().mean()) < 0.3  # 2,000 entries: five standard deviations are 0.05


def test_density_one_changes_nothing():
    assert torch.equal(dropped(0, density=1.0), ONE)


def test_the_mean_and_variance_over_seeds_are_those_of_the_definition():
    draws = torch.stack([dropped(seed) for seed in range(1000)])
    large = ONE.abs() > 0.5
    # Relative to the entry: a mean of 1,000 draws of 0 or 2 has a standard deviation of 0.03, its variance one of 0.001.
    assert float(((draws.mean(dim=0) - ONE) / ONE)[large].abs().max()) < 0.16
    torch.testing.assert_close((draws.var(dim=0) / ONE**2)[large], torch.ones(int(large.sum())), atol=0.05, rtol=0)


def test_the_mask_depends_on_seed_model_and_name_and_on_nothing_else():
    assert torch.equal(dropped(0), dropped(0))
    assert not torch.equal(dropped(0), dropped(1))
    assert not torch.equal(dropped(0), dropped(0, name="v"))
    with_another = dropped(0, models=(ONE, START))  # the second adds nothing
    assert torch.equal(with_another, dropped(0))
    first, second = (draw_mask((2000,), 0.5, generator) for generator in mask_generators(0, 2, "w"))
    assert 0.4 < float((first == second).float().mean()) < 0.6


def test_a_mask_drawn_in_parts_is_the_mask_drawn_at_once():
    [one], [other] = mask_generators(3, 1, "w"), mask_generators(3, 1, "w")
    parts = [draw_mask((n, 7), 0.3, other) for n in (1, 5, 30, 64)]
    assert torch.equal(draw_mask((100, 7), 0.3, one), torch.cat(parts))


def test_dare_with_elected_signs_averages_what_agrees():
    keep = [torch.ones(6), torch.tensor([1.0, 1, 0, 1, 1, 1])]
    merged = dare(VECTORS, pretrained=ZERO, density=0.5, combine="ties", keep_masks=keep)
    assert merged.tolist() == [12, -6, 8, 3, 0, 3]


def test_della_keeps_large_entries_more_often():
    vector = torch.arange(1.0, 101.0).repeat(400, 1)
    kept = della([vector], pretrained=torch.zeros(400, 100), density=0.5, epsilon=0.4) != 0
    assert float(kept[:, :10].float().mean()) < 0.2 < 0.8 < float(kept[:, -10:].float().mean())


# --- Breadcrumbs --------------------------------------------------------------------------------------------------------


def test_breadcrumbs_drop_the_largest_and_the_small_ones():
    merged = breadcrumbs(VECTORS[:1], pretrained=ZERO, density=0.5, gamma=0.2, merge_coefficient=1.0)
    assert merged.tolist() == [0, -5, 4, 0, 0, 2]


def test_without_outliers_nothing_but_the_small_entries_is_dropped():
    # floor(gamma * n) is 0 here; a slice [:-0] would drop the whole tensor.
    merged = breadcrumbs(VECTORS[:1], pretrained=ZERO, density=0.5, gamma=0.01, merge_coefficient=2.0)
    assert merged.tolist() == [12, -10, 8, 0, 0, 0]
