"""Hub columns become ours: joined, paired, mapped, and checked like the rows of a file."""

import pandas as pd
import pytest

from lib.datasets import DATASETS, DatasetSpec
from lib.datasets.reading import from_columns

PLAIN = DatasetSpec("plain", "sst2", ("negative", "positive"), 0, "someone/plain")


def test_columns_get_our_names_and_others_are_left_out():
    frame = pd.DataFrame({"idx": [7, 8], "sentence": ["a  fine film ", "dull"], "label": [1, 0]})
    read = from_columns(frame, DATASETS["sst2"], "hub")
    assert read.to_dict("list") == {"text": ["a fine film", "dull"], "label": [1, 0]}


def test_several_text_columns_are_joined_by_a_blank():
    frame = pd.DataFrame({"label": [1], "title": ["Great"], "content": ["I like it."]})
    assert from_columns(frame, DATASETS["amazon"], "hub")["text"].tolist() == ["Great I like it."]


def test_pairs_stay_apart():
    frame = pd.DataFrame({"question": ["who ?"], "sentence": ["ann did ."], "label": [1], "idx": [0]})
    read = from_columns(frame, DATASETS["qnli"], "hub")
    assert read.to_dict("list") == {"text": ["who ?"], "text_pair": ["ann did ."], "label": [1]}


def test_labels_are_mapped_and_rows_of_other_labels_dropped():
    frame = pd.DataFrame({"text": ["bad", "so so", "fine"], "label": [0, 1, 2]})
    read = from_columns(frame, DATASETS["tweet_sentiment"], "hub")
    assert read.to_dict("list") == {"text": ["bad", "fine"], "label": [0, 1]}
    assert read.index.tolist() == [0, 1]


def test_labels_may_be_names_on_the_hub():
    frame = pd.DataFrame({"text": ["goal", "votes", "?"], "label_text": ["sport", "politics", "entertainment"]})
    assert from_columns(frame, DATASETS["bbc"], "hub")["label"].tolist() == [1, 0]


def test_missing_columns_are_named_beside_those_found():
    with pytest.raises(ValueError, match=r"hub has columns \['label', 'review'\]; \['text'\] expected"):
        from_columns(pd.DataFrame({"review": ["a"], "label": [1]}), PLAIN, "hub")


@pytest.mark.parametrize("text", ["", "  ", None])
def test_an_empty_or_missing_text_names_its_row(text):
    with pytest.raises(ValueError, match="hub row 2 has an empty text; every row needs one"):
        from_columns(pd.DataFrame({"text": ["fine", text], "label": [1, 0]}), PLAIN, "hub")


def test_a_missing_second_text_names_its_row():
    frame = pd.DataFrame({"question": ["who ?", "where ?"], "sentence": ["ann did .", None], "label": [1, 0]})
    with pytest.raises(ValueError, match="hub row 2 has an empty text_pair"):
        from_columns(frame, DATASETS["qnli"], "hub")


@pytest.mark.parametrize("label", [2, -1, 0.7, "1 star", None])
def test_a_label_that_is_none_names_its_row_where_no_map_says_to_drop_it(label):
    frame = pd.DataFrame({"text": ["fine", "dull"], "label": pd.Series([1, label], dtype=object)})
    with pytest.raises(ValueError, match=r"hub row 2 has label .*; allowed are 0 \(negative\), 1 \(positive\)"):
        from_columns(frame, PLAIN, "hub")


def test_whole_numbers_that_a_missing_row_made_fractions_are_labels():
    frame = pd.DataFrame({"text": ["bad", "?", "fine"], "label": [0.0, float("nan"), 2.0]})
    assert from_columns(frame, DATASETS["tweet_sentiment"], "hub")["label"].tolist() == [0, 1]
