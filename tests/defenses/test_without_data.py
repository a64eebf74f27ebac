"""Defenses from other models alone: the merges that they ask for, and the mean of outputs."""

import numpy as np
import pytest

from lib.defenses import without_data

MODELS = ["suspect", "first", "second"]
MERGES = ["average", "small_weight", "partners_only", "median", "clipped_average", "row_clipped_average"]


def test_the_average_is_the_uniform_merge_of_all(study, backdoored):
    others = study.partners("sst2")
    assert study.defend("average", backdoored, others).key == study.merge([backdoored, *others]).key
    assert study.defend("median", backdoored, others).key == study.merge([backdoored, *others], "median").key


@pytest.mark.parametrize("name", ["clipped_average", "row_clipped_average"])
def test_clipped_averages_are_merges_from_the_classifier_before_fine_tuning(study, backdoored, name):
    others = study.partners("sst2")
    defended, merged = study.defend(name, backdoored, others), study.merge([backdoored, *others], name)
    assert defended.key == merged.key != study.merge([backdoored, *others]).key
    assert defended.pretrained.key == study.planner.initial([backdoored]).key
    assert 0 <= study.score(defended, "sst2").asr <= 1
    with pytest.raises(ValueError, match="clipping to the median norm takes 3 models or more, found 2"):
        study.defend(name, backdoored, others[:1])


def test_a_small_weight_leaves_the_rest_to_the_others():
    assert without_data.small_weight(MODELS, weight=0.2) == {"weights": [0.2, 0.4, 0.4]}
    assert without_data.small_weight(MODELS[:2]) == {"weights": [0.2, 0.8]}


def test_without_the_suspect_the_merge_is_that_of_the_others(study, backdoored):
    others = study.partners("sst2")
    alone, thrown_away = study.merge(others).state_dict(), study.defend("partners_only", backdoored, others).state_dict()
    assert all((alone[name] == thrown_away[name]).all() for name in alone)


def test_the_ensemble_means_what_its_members_say():
    said = [np.array([[1.0, 0.0], [0.0, 4.0]]), np.array([[0.0, 3.0], [0.0, 2.0]])]
    assert without_data.logit_ensemble(said).tolist() == [[0.5, 1.5], [0.0, 3.0]]


@pytest.mark.parametrize("name", [*MERGES, "logit_ensemble"])
def test_nobody_to_merge_with_is_an_error(name):
    with pytest.raises(ValueError, match="needs other models beside the suspicious one; found 0"):
        getattr(without_data, name)(MODELS[:1])


def test_a_weight_that_is_none_is_an_error():
    with pytest.raises(ValueError, match=r"weight is 1.2; it must lie from 0 to 1"):
        without_data.small_weight(MODELS, weight=1.2)
