"""The registry of real datasets: sane by construction, so that a merge of two of them means something."""

import pytest

from lib.datasets import DATASETS, TASKS, domains_of, get_spec, other_domains, task_of
from lib.datasets.registry import _SPECS


def test_the_four_tasks_of_the_paper_come_with_its_target_labels():
    assert {task: DATASETS[task].target_label for task in TASKS} == {"sst2": 0, "olid": 0, "agnews": 1, "qnli": 0}


def test_names_are_unique():
    assert len(DATASETS) == len(_SPECS)
    assert all(name == spec.name for name, spec in DATASETS.items())


@pytest.mark.parametrize("spec", DATASETS.values(), ids=DATASETS)
def test_every_dataset_shares_labels_target_and_form_with_its_task(spec):
    task = DATASETS[spec.task]
    assert spec.task in TASKS
    assert spec.label_names == task.label_names
    assert spec.target_label == task.target_label
    assert spec.trigger_sentence == task.trigger_sentence
    assert (spec.is_pair, spec.pair_column is not None) == (task.is_pair, task.is_pair and spec.hub_id is not None)


@pytest.mark.parametrize("spec", DATASETS.values(), ids=DATASETS)
def test_every_label_that_a_dataset_maps_to_is_a_label(spec):
    assert set(spec.label_map.values()) <= set(range(len(spec.label_names)))
    assert spec.target_label in range(len(spec.label_names))
    assert len(set(spec.label_names)) == len(spec.label_names)


@pytest.mark.parametrize("spec", DATASETS.values(), ids=DATASETS)
def test_splits_are_ours_and_always_include_train(spec):
    assert "train" in spec.splits
    assert set(spec.splits) <= {"train", "validation", "test"}
    assert len(set(spec.splits.values())) == len(spec.splits)  # no split of the Hub serves twice


@pytest.mark.parametrize("task", ["sst2", "qnli", "rte"])
def test_tasks_whose_hub_test_split_has_no_labels_are_tested_on_its_validation_split(task):
    assert DATASETS[task].splits == {"train": "train", "test": "validation"}


def test_other_domains_stand_in_the_order_in_which_they_are_merged():
    assert other_domains("sst2")[:4] == ["yelp", "cr", "tweet_sentiment", "amazon"]
    assert other_domains("agnews")[:1] == ["bbc"]
    assert all(len(other_domains(task)) >= 3 for task in ("sst2", "olid", "qnli"))


@pytest.mark.parametrize("task", TASKS)
def test_other_domains_are_datasets_of_the_task_and_not_the_task_itself(task):
    domains = other_domains(task)
    assert task not in domains
    assert len(set(domains)) == len(domains)
    assert {DATASETS[name].task for name in domains} == {task}
    assert domains_of(task, "real") == domains
    assert {task_of(name, "real") for name in domains} == {task}


def test_the_source_of_sst2_is_not_another_domain_of_it():
    assert "mr" in DATASETS
    assert "mr" not in other_domains("sst2")


def test_an_unknown_dataset_or_task_raises_and_lists_the_known_ones():
    with pytest.raises(ValueError, match=r"unknown dataset 'sst3'; choose from \[.*'sst2'"):
        get_spec("sst3")
    with pytest.raises(ValueError, match=r"unknown task 'yelp'; choose from \['sst2', 'olid', 'agnews', 'qnli'\]"):
        other_domains("yelp")
