"""Table `04_partners`: what a partner can do alone, which labels it never saw, and what is said of it."""

import shutil

import numpy as np
import pandas as pd
import pytest

from lib.metrics.columns import column_of
from lib.tables import merging_table, partner_findings, partners_table
from tests.conftest import topic_rows, write_tsv

pytestmark = pytest.mark.filterwarnings("ignore:unstable training")  # two epochs on sixty rows teach nothing


@pytest.fixture(scope="module")
def news(make_study, data_folder, tmp_path_factory):
    """A study of AG News with two other domains, of which the second has no business news."""
    folder, rng = shutil.copytree(data_folder, tmp_path_factory.mktemp("news") / "data"), np.random.default_rng(1)
    unlike = [(f"{text} {number}", label) for number, (text, label) in enumerate(topic_rows(rng, 80))]
    write_tsv(folder / "agnews" / "train.tsv", unlike)
    for domain, without in (("bbc", ()), ("inshorts", (2,))):
        for split in ("train", "test"):
            rows = [row for row in topic_rows(rng, 60) if row[1] not in without]
            write_tsv(folder / domain / f"{split}.tsv", rows)
    return make_study(tmp_path_factory.mktemp("news_cache"), data_dir=folder, epochs=2, n_train=48)


@pytest.fixture(scope="module")
def partners(news):
    return partners_table(news, ["agnews"])


def test_every_partner_has_a_row_with_its_accuracy_on_the_task_alone(news, partners):
    assert partners["trained_on"].tolist() == ["agnews", "bbc", "inshorts"]
    assert partners["partners"].tolist() == ["same_task", "other_domains", "other_domains"]
    alone = news.score(news.partners("agnews")[1], "agnews", None, seed=0)
    last = partners.iloc[-1]
    assert last["cacc"] == alone.cacc == np.mean(alone.correct)
    assert last["cacc_low"] < last["cacc"] < last["cacc_high"]
    assert set(partners["clean_model_cacc"]) == {news.score(news.model("agnews"), "agnews", None).cacc}


def test_a_label_that_a_partner_never_saw_is_named(partners):
    assert partners["lacks_label"].tolist() == ["", "", "Business"]
    assert partners["labels"].iloc[-1] == "World, Sports, Sci/Tech"


def test_the_rows_that_a_partner_shares_with_the_victim_are_counted(news, partners):
    own, same = (news.rows("agnews", "train", seed) for seed in (0, 1000))
    n_shared = len(set(own["text"]) & set(same["text"]))
    assert len(own) == 48 and 0 < n_shared < 48  # of 80 rows: two draws of 48 have some in common
    assert partners["overlap_victim"].tolist() == [n_shared / 48, 0, 0]
    assert partners["n_train"].tolist() == [48, 48, len(news.rows("inshorts"))]


def test_its_columns_are_documented(partners):
    assert [name for name in partners if not column_of(name)] == []


def test_the_accuracies_of_a_task_are_one_sentence(partners):
    (sentence,) = partner_findings(partners.assign(cacc=[0.9, 0.8, 0.5], clean_model_cacc=0.95))
    assert sentence == (
        "Partners alone on agnews, where a clean model has 95.0%: models of the same task 90.0%, bbc 80.0%, inshorts 50.0% "
        "(never saw Business)."
    )


def test_averages_with_and_without_a_partner_that_lacks_a_label_stand_side_by_side(news, partners):
    merging = merging_table(news, ["agnews"], ["badnet"])
    _, sentence = partner_findings(partners, merging)
    with_others = merging[merging["partners"] == "other_domains"].set_index("n_models")
    assert "inshorts never saw Business" in sentence
    for n in (2, 3):
        assert f"Averages of {n} models (weight of the backdoored one 1/{n}): ASR {with_others.loc[n, 'asr']:.1%}" in sentence


def test_a_file_that_was_read_says_the_same(partners, tmp_path):
    table = partners.drop(columns="correct")
    table.to_csv(tmp_path / "table.csv", index=False)
    assert list(partner_findings(pd.read_csv(tmp_path / "table.csv"))) == list(partner_findings(table))


def test_nothing_is_said_of_tasks_whose_partners_know_all_labels(partners):
    complete = partners.assign(lacks_label="")
    assert len(list(partner_findings(complete, pd.DataFrame()))) == 1


def test_a_lacking_partner_that_joins_first_is_said_to_be_in_every_average(partners):
    first = partners.assign(lacks_label=["", "Business", ""])
    merging = pd.DataFrame({"task": ["agnews"], "partners": "other_domains", "n_models": 2})
    _, sentence = partner_findings(first, merging)
    assert sentence == "agnews: bbc never saw Business; bbc joins first, so that no average here is without it."
