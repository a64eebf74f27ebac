"""Attackers who know of the merge: longer vectors, bounded ones, and what does not fit together."""

import re

import pytest
import torch

from lib.attacks.edits import ATTACKER_EDITS, AttackerEdit
from lib.attacks.for_merging import (
    KNOWLEDGE,
    boosted,
    check_alike,
    fitted_scale,
    largest_entries,
    median_distance,
    project,
    scaled,
)
from lib.merging import distance, merge_state_dicts
from lib.paths import ROOT

START = {"w": torch.tensor([[1.0, 2.0], [3.0, 4.0]]), "b": torch.tensor([0.5]), "n": torch.tensor([7])}
MODEL = {"w": torch.tensor([[1.0, 4.0], [0.0, 4.0]]), "b": torch.tensor([-1.5]), "n": torch.tensor([9])}
TWIN = {"w": torch.tensor([[1.0, 3.0], [3.0, 4.0]]), "b": torch.tensor([0.5]), "n": torch.tensor([9])}


def equal(first, second):
    return all(torch.equal(first[name], tensor) for name, tensor in second.items())


def test_with_the_others_at_the_start_a_scale_of_n_gives_the_attackers_own_model():
    start = START | {"n": MODEL["n"]}
    merged = merge_state_dicts([scaled(MODEL, START, 4.0), start, start, start])
    assert equal({name: merged[name] for name in ("w", "b")}, {name: MODEL[name] for name in ("w", "b")})


def test_the_fitted_scale_is_just_below_the_one_that_costs_too_much():
    tried = []

    def accuracy(scale):
        tried.append(scale)
        return 0.9 if scale <= 6.5 else 0.8

    found = fitted_scale(accuracy, most_lost=0.02)
    assert 6.5 / 1.05 <= found <= 6.5 and len(tried) < 12
    assert fitted_scale(lambda scale: 0.9, largest=10) == 10  # nothing is lost up to the largest
    assert 1 <= fitted_scale(lambda scale: 0.9 if scale == 1 else 0.5) < 1.05
    assert fitted_scale(lambda scale: 1.0 - 0.01 * scale, most_lost=0.05, tolerance=0.001) == pytest.approx(6.0, rel=0.002)


def test_a_fit_with_settings_out_of_range_or_an_accuracy_that_is_none_is_refused():
    for wrong in ({"most_lost": 1.0}, {"most_lost": -0.1}, {"largest": 0.5}, {"largest": float("inf")}, {"tolerance": 0.0}):
        with pytest.raises(ValueError, match=r"found most_lost .*; give a number in \[0, 1\)"):
            fitted_scale(lambda scale: 0.9, **wrong)
    with pytest.raises(ValueError, match=r"the accuracy at scale 1 is nan; it must lie in \[0, 1\]"):
        fitted_scale(lambda scale: float("nan"))


def test_scaled_by_hand():
    found = scaled(MODEL, START, 3.0)
    assert found["w"].tolist() == [[1.0, 8.0], [-6.0, 4.0]] and found["b"].tolist() == [-5.5]
    assert found["n"].tolist() == [9]  # counts are not scaled


def test_a_scale_of_one_is_the_model_and_its_input_is_not_modified():
    found = scaled(MODEL, START, 1.0)
    assert equal(found, MODEL) and all(found[name] is not MODEL[name] for name in MODEL)
    found["w"].zero_()
    assert MODEL["w"].tolist() == [[1.0, 4.0], [0.0, 4.0]]


def test_a_boost_of_zero_is_the_clean_twin_and_of_one_the_backdoored_model():
    assert equal(boosted(MODEL, TWIN, 0.0), TWIN)
    assert equal(boosted(MODEL, TWIN, 1.0), MODEL)
    assert boosted(MODEL, TWIN, 3.0)["w"].tolist() == [[1.0, 6.0], [-6.0, 4.0]]


@pytest.mark.parametrize("scale", [float("nan"), float("inf")])
def test_a_scale_that_is_not_finite_raises(scale):
    with pytest.raises(ValueError, match=r"scale is (nan|inf); it must be a finite number"):
        scaled(MODEL, START, scale)


def test_a_scale_beyond_half_precision_raises_and_names_the_tensor():
    model, start = {"w": torch.tensor([2.0], dtype=torch.float16)}, {"w": torch.tensor([1.0], dtype=torch.float16)}
    assert scaled(model, start, 6e4)["w"].dtype == torch.float16
    with pytest.raises(ValueError, match=r"scale 1e\+06 takes w beyond the largest number of torch.float16"):
        scaled(model, start, 1e6)


def test_projecting_puts_a_model_on_the_ball_and_leaves_one_inside_alone():
    far = distance(MODEL, START)
    near = project(MODEL, START, far / 4)
    assert distance(near, START) == pytest.approx(far / 4)
    assert torch.allclose(near["w"] - START["w"], (MODEL["w"] - START["w"]) / 4)
    assert equal(project(MODEL, START, far * 1.01), MODEL)


@pytest.mark.parametrize("radius", [0.0, -1.0, float("nan"), float("inf")])
def test_a_radius_that_cannot_be_raises(radius):
    with pytest.raises(ValueError, match=r"radius is .*; it must be finite and above 0"):
        project(MODEL, START, radius)


def test_the_median_distance_is_the_middle_one():
    models = [scaled(MODEL, START, scale) for scale in (1.0, 10.0, 2.0)]
    assert median_distance(models, START) == pytest.approx(2 * distance(MODEL, START))
    with pytest.raises(ValueError, match="no model to measure"):
        median_distance([], START)


def test_the_largest_entries_are_those_of_the_whole_model():
    vector = {"a": torch.tensor([[0.1, -9.0]]), "b": torch.tensor([3.0, 0.0, 4.0, 0.2])}
    masks = largest_entries(vector, 0.5)
    assert masks["a"].tolist() == [[False, True]] and masks["b"].tolist() == [True, False, True, False]
    for density in (0.0, 1.5):
        with pytest.raises(ValueError, match=r"density is .*; it must lie in \(0, 1\]"):
            largest_entries(vector, density)


def test_models_of_two_architectures_are_told_apart_by_a_tensor():
    with pytest.raises(
        ValueError, match=r"of different architectures: 1 tensors differ, such as w with shapes \(2, 2\) and \(3,\)"
    ):
        check_alike(MODEL, START | {"w": torch.zeros(3)})
    with pytest.raises(ValueError, match=r"such as more with shapes none and \(1,\)"):
        scaled(MODEL, START | {"more": torch.zeros(1)}, 2.0)


def test_every_edit_says_what_its_attacker_must_know():
    assert {edit.knowledge for edit in ATTACKER_EDITS.values()} <= set(KNOWLEDGE) == {0, 1, 2, 3, 4}
    with pytest.raises(ValueError, match=r"knowledge 5; choose from"):
        AttackerEdit(scaled, "merge", 5)
    with pytest.raises(ValueError, match=r"family is 'data'"):
        AttackerEdit(scaled, "data", 1)


def test_the_readme_names_every_attacker_who_changes_weights():
    text = (
        (ROOT / "lib" / "attacks" / "README.md")
        .read_text("utf-8")
        .split("## Attackers who change weights")[1]
        .split("\n## ")[0]
    )
    rows = [line.split(" | ")[0] for line in text.splitlines() if line.startswith("| `")]
    assert {name for row in rows for name in re.findall(r"`(\w+)`", row)} == set(ATTACKER_EDITS)
