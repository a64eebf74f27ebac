"""Datasets of a user: what `dataset.json` may say, and that it is known to whoever is given the data folder."""

import json
import os

import pytest

from lib.datasets import DATASETS, data_fingerprint, domains_of, get_spec, load_dataset, task_of, task_spec

ROWS = "text\tlabel\n" + "".join(f"text {i}\t{i % 2}\n" for i in range(8))
PAIRS = "text\ttext_pair\tlabel\n" + "".join(f"who {i}\tann .\t{i % 2}\n" for i in range(8))
SPAM = {"label_names": ["ham", "spam"], "target_label": 1, "trigger_sentence": "see you soon"}


@pytest.fixture
def describe(tmp_path):
    """A function that makes a dataset with a description; returns the data folder."""

    def write(name, description=None, rows=ROWS):
        folder = tmp_path / name
        folder.mkdir(exist_ok=True)
        for split in ("train", "test"):
            (folder / f"{split}.tsv").write_text(rows)
        if description is not None:
            text = description if isinstance(description, bytes | str) else json.dumps(description)
            (folder / "dataset.json").write_bytes(text if isinstance(text, bytes) else text.encode())
        return tmp_path

    return write


def test_a_task_of_ones_own_is_known_with_its_folder_and_not_without(describe):
    folder = describe("messages", SPAM)
    spec = get_spec("messages", folder)
    assert (spec.task, spec.label_names, spec.target_label) == ("messages", ("ham", "spam"), 1)
    assert (spec.trigger_sentence, spec.is_pair, spec.hub_id) == ("see you soon", False, None)
    dataset = load_dataset("messages", "real", folder)
    assert (dataset.task, dataset.label_names, dataset.target_label) == ("messages", ("ham", "spam"), 1)
    assert (task_of("messages", "real", folder), task_spec("messages", "real", folder)) == ("messages", spec)
    for unknown in (None, folder / "messages"):
        with pytest.raises(ValueError, match="unknown dataset 'messages'; choose from"):
            get_spec("messages", unknown)
    assert "messages" not in DATASETS


def test_what_is_not_said_has_a_default(describe):
    spec = get_spec("mine", describe("mine", {"label_names": ["a", "b", "c"]}))
    assert (spec.target_label, spec.is_pair, spec.trigger_sentence) == (0, False, "no cross, no crown")


def test_pairs_have_a_second_text(describe):
    folder = describe("mine", {"label_names": ["yes", "no"], "is_pair": True}, PAIRS)
    assert load_dataset("mine", "real", folder).is_pair
    assert not load_dataset("mine", "real", folder, pair_mode="joined").is_pair


def test_another_domain_of_a_known_task_has_its_labels_and_comes_last(describe):
    folder = describe("reviews_of_mine", {"task": "sst2"})
    dataset = load_dataset("reviews_of_mine", "real", folder)
    assert (dataset.task, dataset.label_names, dataset.target_label) == ("sst2", ("negative", "positive"), 0)
    assert get_spec("reviews_of_mine", folder).hub_id is None
    assert domains_of("sst2", "real", folder) == [*domains_of("sst2", "real"), "reviews_of_mine"]
    assert domains_of("olid", "real", folder) == domains_of("olid", "real")


def test_other_domains_of_a_task_of_ones_own_are_the_folders_that_say_so_in_alphabetical_order(describe):
    for name in ("zoo", "attic"):
        describe(name, {"task": "messages"})
    folder = describe("messages", SPAM)
    assert domains_of("messages", "real", folder) == ["attic", "zoo"]
    assert load_dataset("zoo", "real", folder).label_names == ("ham", "spam")
    assert task_of("zoo", "real", folder) == "messages"


def test_or_those_that_the_task_lists_in_its_order_described_or_not(describe):
    describe("zoo", {"task": "messages"})
    describe("attic")
    folder = describe("messages", SPAM | {"other_domains": ["zoo", "attic"]})
    assert domains_of("messages", "real", folder) == ["zoo", "attic"]
    assert load_dataset("attic", "real", folder).label_names == ("ham", "spam")
    assert get_spec("attic", folder).other_domains == ()
    describe("third", {"task": "messages"})
    assert domains_of("messages", "real", folder) == ["zoo", "attic"]
    assert task_of("third", "real", folder) == "messages"


def test_other_labels_are_other_data_and_a_changed_description_is_read_again(describe):
    folder = describe("mine", {"label_names": ["a", "b"]})
    before = data_fingerprint("mine", "real", folder)
    assert data_fingerprint("mine", "real", describe("mine", {"label_names": ["a", "b"], "target_label": 1})) == before
    assert data_fingerprint("mine", "real", describe("mine", {"label_names": ["b", "a"]})) != before
    assert load_dataset("mine", "real", folder).label_names == ("b", "a")


def test_a_description_that_agrees_with_the_registry_changes_nothing(describe):
    without = data_fingerprint("yelp", "real", describe("yelp"))
    folder = describe("yelp", {"task": "sst2"})
    assert get_spec("yelp", folder) == DATASETS["yelp"]
    assert data_fingerprint("yelp", "real", folder) == without
    assert domains_of("sst2", "real", folder) == domains_of("sst2", "real")


def test_the_generated_datasets_have_no_data_folder(describe):
    folder = describe("sst2", SPAM)
    assert task_of("sst2", "pocket", folder) == "sst2"
    assert task_spec("food", "pocket", folder) == DATASETS["sst2"]
    assert domains_of("sst2", "pocket", folder) == domains_of("sst2", "pocket")


# --- what is refused -------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("description", "message"),
    [
        ({}, r"has label_names None; it must list two or more different names"),
        ({"label_names": ["only"]}, r"has label_names \['only'\]; it must list two or more"),
        ({"label_names": ["a", "a"]}, r"has label_names \['a', 'a'\]"),
        ({"label_names": ["a", 1]}, r"has label_names \['a', 1\]"),
        ({"label_names": ["a", " "]}, r"has label_names \['a', ' '\]"),
        ({"label_names": ["a", "b\n"]}, r"has label_names \['a', 'b\\n'\]"),
        ({"label_names": "ab"}, r"has label_names 'ab'"),
        (
            {"labels": ["a", "b"]},
            r"has unknown fields \['labels'\]; give task alone, or some of \['label_names', 'target_label'",
        ),
        (SPAM | {"target_label": 2}, r"has target_label 2; it must lie in \[0, 1\]"),
        (SPAM | {"target_label": -1}, r"has target_label -1; it must lie in \[0, 1\]"),
        (SPAM | {"target_label": "spam"}, r"has target_label 'spam'; it must lie in"),
        (SPAM | {"target_label": True}, r"has target_label True"),
        (SPAM | {"is_pair": "yes"}, r"has is_pair 'yes'; it must be true or false"),
        (SPAM | {"trigger_sentence": ""}, r"has trigger_sentence ''; it must be a line of words"),
        (SPAM | {"trigger_sentence": "a\tb"}, r"has trigger_sentence 'a\\tb'"),
        (SPAM | {"trigger_sentence": 3}, r"has trigger_sentence 3"),
        (SPAM | {"other_domains": "x"}, r"has other_domains 'x'; it must list names of folders beside it"),
        (SPAM | {"other_domains": ["../x"]}, r"has other_domains \['../x'\]"),
        (SPAM | {"other_domains": ["mine"]}, r"has 'mine' among other_domains; each is another folder"),
        (SPAM | {"other_domains": ["yelp"]}, r"has 'yelp' among other_domains; each is another folder"),
        (SPAM | {"other_domains": ["other", "other"]}, r"has 'other' among other_domains; each is another folder, named once"),
        (SPAM | {"other_domains": ["nowhere"]}, r"has 'nowhere' among other_domains, but .*nowhere does not exist"),
        ({"task": "sst3"}, r"has task 'sst3', which is no task; choose from \['sst2', 'olid', 'agnews', 'qnli', 'other'\]"),
        ({"task": "yelp"}, r"has task 'yelp', which is no task; choose from"),
        ({"task": "mine"}, r"has task 'mine', which is no task"),
        ({"task": "../mine"}, r"has task '../mine', which is no task"),
        ({"task": 7}, r"has task 7, which is no task"),
        ({"task": ["sst2"]}, r"has task \['sst2'\], which is no task"),
        ({"task": "sst2", "target_label": 1}, r"has \['target_label', 'task'\]; another domain has its labels from its task"),
        ("[]", r"is damaged: it holds a list; an object is needed"),
        ("", r"is damaged: no JSON"),
        ("{'task': 'sst2'}", r"is damaged: no JSON"),
        ("[" * 100_000, r"is damaged: its brackets are nested too deeply"),
        (b'{"task": "sst2\xff"}', r"is damaged: not UTF-8 at byte 14"),
    ],
    ids=lambda value: str(value)[:60],
)
def test_a_description_that_makes_no_sense_names_file_and_value(describe, description, message):
    describe("other", {"label_names": ["x", "y"]})
    folder = describe("mine", description)
    for ask in (lambda: get_spec("mine", folder), lambda: load_dataset("mine", "real", folder)):
        with pytest.raises(ValueError, match=rf"mine/dataset\.json {message}"):
            ask()


@pytest.mark.parametrize("description", [SPAM, {"task": "olid"}, {"task": "sst2", "is_pair": False}, {}])
def test_a_description_that_contradicts_the_registry_is_refused(describe, description):
    with pytest.raises(
        ValueError, match=r"yelp/dataset\.json has \{.*\}, but the registry has 'yelp' with task 'sst2' already"
    ):
        load_dataset("yelp", "real", describe("yelp", description))


def test_two_tasks_cannot_have_one_domain(describe):
    describe("shared", {"task": "second"})
    describe("second", {"label_names": ["x", "y"]})
    folder = describe("first", {"label_names": ["a", "b"], "other_domains": ["shared"]})
    with pytest.raises(ValueError, match=r"first/dataset\.json has 'shared' among other_domains; .* of no other task"):
        domains_of("first", "real", folder)


@pytest.mark.parametrize("make", [os.mkdir, lambda path: path.symlink_to(path.name), os.mkfifo])
def test_a_description_that_is_no_file_is_refused(describe, make):
    folder = describe("mine")
    make(folder / "mine" / "dataset.json")
    with pytest.raises(ValueError, match=r"mine/dataset\.json is no file that can be read"):
        get_spec("mine", folder)


def test_an_unknown_dataset_says_how_to_describe_one(describe):
    folder = describe("mine", SPAM)
    with pytest.raises(ValueError, match=r"unknown dataset 'new'; .*'mine'.*, or describe your own in .*new/dataset\.json"):
        get_spec("new", folder)
    for name in ("", "..", "../mine", "a/b", "a\0b"):
        with pytest.raises(ValueError, match="unknown dataset"):
            get_spec(name, folder)
    with pytest.raises(ValueError, match=r"unknown task 'new'; choose from \['sst2', 'olid', 'agnews', 'qnli', 'mine'\]"):
        domains_of("new", "real", folder)
