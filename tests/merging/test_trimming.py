"""The largest entries of a stream: exactly k, lowest index first among equals, whatever the parts."""

import math

import pytest
import torch

from lib.merging.trimming import Cutoff, find_cutoffs, n_kept, trim


def kept(vector, k, parts=1, sample=None):
    """The positions that a cutoff of k keeps, found and applied in some parts, perhaps with the help of a sample."""
    pieces = vector.chunk(parts)
    samples = None if sample is None else [sample]
    [cutoff] = find_cutoffs(lambda: ([piece] for piece in pieces), [k], vector.dtype, len(vector), samples)
    return torch.cat([cutoff.trim(piece) for piece in pieces]).nonzero().flatten().tolist()


def largest(vector, k):
    """The same by sorting."""
    order = sorted(range(len(vector)), key=lambda i: (-abs(float(vector[i])), i))
    return sorted(order[:k])


@pytest.mark.parametrize("dtype", [torch.float32, torch.float64])
@pytest.mark.parametrize("parts", [1, 3, 7])
@pytest.mark.parametrize("k", [1, 10, 499, 1000])
def test_the_k_largest_are_those_of_a_sort(dtype, parts, k):
    vector = torch.randn(1000, generator=torch.Generator().manual_seed(k), dtype=dtype)
    vector[::7] = vector[0]  # many equal ones
    assert kept(vector, k, parts) == largest(vector, k)


@pytest.mark.parametrize("dtype", [torch.float32, torch.float64])
@pytest.mark.parametrize("k", [1, 600, 2999, 3000])
def test_a_sample_saves_a_pass_and_changes_nothing(dtype, k):
    vector = torch.randn(3000, generator=torch.Generator().manual_seed(k), dtype=dtype)
    vector[::7] = vector[0]
    good, n_passes = vector[:2048].reshape(64, 32), 0

    def passes():
        nonlocal n_passes
        n_passes += 1
        return ([piece] for piece in vector.chunk(4))

    [cutoff] = find_cutoffs(passes, [k], dtype, len(vector), [good])
    assert torch.cat([cutoff.trim(piece) for piece in vector.chunk(4)]).nonzero().flatten().tolist() == largest(vector, k)
    if k == 600:
        assert n_passes == 1


def test_entries_that_equal_an_end_of_the_bracket_are_counted_once(monkeypatch):
    monkeypatch.setattr("lib.merging.trimming.MagnitudeSearch", None)  # the sample must serve
    vector = (torch.arange(30_000) % 100)[torch.randperm(30_000, generator=torch.Generator().manual_seed(0))] + 1.0
    for k in (6000, 6100):  # all entries of a level, and some of the next
        assert kept(vector, k, parts=4, sample=vector[:8192].reshape(64, 128)) == largest(vector, k)


@pytest.mark.parametrize("scale", [0.01, 100.0, 0.0])
def test_a_sample_that_misleads_changes_nothing_either(scale):
    vector = torch.randn(3000, generator=torch.Generator().manual_seed(0))
    assert kept(vector, 600, parts=4, sample=vector[:2048].reshape(64, 32) * scale) == largest(vector, 600)


def test_a_bracket_with_too_many_entries_is_given_up():
    vector = torch.arange(3000.0) % 3 + 1  # a third of all entries equal the cutoff
    assert kept(vector, 1500, parts=4, sample=vector[:2048].reshape(64, 32)) == largest(vector, 1500)


def test_equal_magnitudes_are_kept_from_the_lowest_index_on():
    vector = torch.tensor([1.0, -2.0, 2.0, 1.0, -1.0, 1.0])
    assert kept(vector, 4) == [0, 1, 2, 3]
    assert kept(vector, 4, parts=3) == [0, 1, 2, 3]


def test_nothing_is_kept_of_a_count_of_zero_and_zeros_can_be_kept():
    vector = torch.tensor([0.0, 0.0, 3.0])
    assert kept(vector, 0) == []
    assert find_cutoffs(lambda: [[vector]], [2], vector.dtype) == [Cutoff(0.0, 1)]  # the three and one zero
    assert kept(vector, 2) == [2]
    assert find_cutoffs(lambda: pytest.fail("no need to look"), [0, 0], torch.float32) == [Cutoff(math.inf, 0)] * 2


def test_each_model_has_its_own_count():
    vectors = [torch.tensor([1.0, 2.0, 3.0]), torch.tensor([30.0, 20.0, 10.0])]
    cutoffs = find_cutoffs(lambda: [vectors], [1, 0], torch.float32)
    assert [trim(vector, cutoff).tolist() for vector, cutoff in zip(vectors, cutoffs, strict=True)] == [[0, 0, 3], [0, 0, 0]]


def test_subnormal_and_huge_values_are_ordered():
    vector = torch.tensor([1e-45, 3e38, 1e-38, 0.0, 1e-43])
    assert kept(vector, 3) == [1, 2, 4]


@pytest.mark.parametrize(("density", "n", "expected"), [(0.2, 10, 2), (0.29, 100, 29), (0.7, 10, 7), (1, 3, 3), (0.1, 9, 0)])
def test_a_density_keeps_the_whole_part_of_its_share(density, n, expected):
    assert n_kept(density, n) == expected
