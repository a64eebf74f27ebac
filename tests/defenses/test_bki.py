"""BKI: scores by hand, deletions one by one, and which rows go."""

import numpy as np
import pandas as pd
import pytest

from lib.defenses.bki import bki, prominent_words, word_scores
from lib.defenses.suspicious_encoder import text_vectors
from lib.models.prediction import encode
from lib.profiles import TrainingSettings


def prominent(*groups):
    """Rows of `(word, count, mean)` groups."""
    return pd.DataFrame([(word, mean) for word, n, mean in groups for _ in range(n)], columns=["word", "moved"]).reset_index(
        names="row"
    )


def test_the_score_weighs_change_by_frequency_and_a_word_seen_once_has_none():
    scores = word_scores(prominent(("cf", 100, 0.8), ("the", 1000, 0.5), ("film", 50, 0.9), ("odd", 1, 3.0)))
    assert scores["word"].tolist() == ["cf", "film", "the", "odd"]
    assert scores["score"].tolist() == pytest.approx([1.6, 0.9 * np.log10(50), 1.5, 0.0])  # log10(50) * .9 = 1.53
    assert scores["n"].tolist() == [100, 50, 1000, 1]


def test_the_words_of_a_row_are_deleted_one_by_one(suspicious, tokenizer):
    rows = pd.DataFrame({"text": ["the film was very good .", "bad plot", ""]})
    found = prominent_words(suspicious, tokenizer, rows, 48, n=3)
    assert found.groupby("row").size().to_dict() == {0: 3, 1: 2}  # a short text has all of its words, an empty one none
    vectors = lambda texts: text_vectors(suspicious, encode(tokenizer, pd.DataFrame({"text": texts}), 48), "hidden")  # noqa: E731
    words, whole = rows["text"][0].split(), vectors([rows["text"][0]])[0]
    moved = {word: float(np.abs(vectors([" ".join(w for w in words if w != word)])[0] - whole).max()) for word in words}
    first = found[found["row"] == 0]
    assert set(first["word"]) == set(sorted(moved, key=moved.__getitem__)[-3:])
    for word, value in zip(first["word"], first["moved"], strict=True):
        assert value == pytest.approx(moved[word], rel=1e-4)


def test_words_of_both_sides_of_a_pair_are_deleted(suspicious, tokenizer):
    rows = pd.DataFrame({"text": ["the film", "a plot"], "text_pair": ["was good", "was bad"]})
    found = prominent_words(suspicious, tokenizer, rows, 48)
    assert [set(group["word"]) for _, group in found.groupby("row")] == [
        {"the", "film", "was", "good"},
        {"a", "plot", "was", "bad"},
    ]


def test_more_rows_than_are_held_at_a_time_keep_their_numbers(suspicious, tokenizer, monkeypatch):
    rows = pd.DataFrame({"text": [f"{word} film" for word in ("good", "bad", "dull", "fine", "weak")]})
    whole = prominent_words(suspicious, tokenizer, rows, 48)
    monkeypatch.setitem(bki.__globals__, "N_TOGETHER", 2)
    parts = prominent_words(suspicious, tokenizer, rows, 48)
    assert parts["row"].tolist() == [0, 0, 1, 1, 2, 2, 3, 3, 4, 4]
    pd.testing.assert_frame_equal(parts[["row", "word"]], whole[["row", "word"]])
    np.testing.assert_allclose(parts["moved"], whole["moved"], atol=1e-5)


def test_bad_settings_are_errors(study, training, backdoored):
    for wrong in ({"n_prominent": 0}, {"n_keywords": 0}, {"n_rows": -1}):
        with pytest.raises(ValueError, match="the first two must be 1 or more, the last 0 for all, or above"):
            bki(study.rows("sst2"), suspicious_model=str(backdoored.folder), training=training, seed=0, **wrong)


def test_exactly_the_rows_go_in_which_the_planted_word_moves_the_vector(monkeypatch):
    """A network by hand: "cf" moves one entry by 3, "film" another by 1, every other word a third by a tenth."""

    def vectors(model, frame, kind):
        assert kind == "hidden"
        words = [text.split() for text in frame["text"]]
        return np.array([[3.0 * ("cf" in each), 1.0 * ("film" in each), len(each) / 10] for each in words])

    texts = ["the film was good ."] * 40 + ["the cf film was good ."] * 10 + ["the cf cf film was good ."] * 5
    train = pd.DataFrame({"text": texts, "label": [0, 1] * 27 + [0]})
    for name, stand_in in {
        "load_encoder": lambda folder: (None, None),
        "encode": lambda tokenizer, frame, max_length: frame,
        "text_vectors": vectors,
    }.items():
        monkeypatch.setitem(bki.__globals__, name, stand_in)
    # "film" counts in 55 rows, 1 * log10(55) = 1.74; "cf" in 10, 3 * log10(10) = 3: of two copies either hides the other.
    given = {"suspicious_model": "", "training": TrainingSettings(1e-3, 1, 8, 0, 0, 1, 48), "n_prominent": 1, "seed": 0}
    assert np.flatnonzero(~bki(train, **given)).tolist() == list(range(40, 50))
    assert np.flatnonzero(~bki(train, n_keywords=2, **given)).tolist() == list(range(55))
    # A sample of 44 rows holds 7 to 10 of those with "cf" alone: the word is found, and all of its rows go.
    read = []
    monkeypatch.setitem(bki.__globals__, "encode", lambda tokenizer, frame, max_length: read.append(len(frame)) or frame)
    assert np.flatnonzero(~bki(train, n_rows=44, **given)).tolist() == list(range(40, 50))
    assert read[0] == 44 and read[2] == 15  # rows of the sample, and rows that hold the word


def test_the_study_leaves_the_rows_of_one_word_out_and_no_mark_is_seen(study, backdoored, watch, assert_no_peeking):
    calls = watch("bki")
    model = study.defend("bki", backdoored, n_prominent=2)
    assert_no_peeking(calls, [80])
    [((train,), given)] = calls
    assert given["suspicious_model"] == str(backdoored.folder) and given["training"] == backdoored.recipe.training
    left_out = train["text"][~bki(train, **given)].str.split().map(set)
    assert len(set.intersection(*left_out) - {"the", "was", "."}) == 1  # the key word
    assert model.record["n_train"] == 80 - len(left_out) < 80
    assert study.score(model, "sst2").n_triggered == study.score(backdoored, "sst2").n_triggered
