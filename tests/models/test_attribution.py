"""What each word adds to an answer: the same as asking for every shortened text by itself."""

import numpy as np
import pandas as pd
import pytest

from lib.models.attribution import word_attributions
from lib.models.model import Guarded
from lib.models.prediction import Texts, probabilities


class Counter:
    """Two labels; each "cf" adds 3 to the logit of the second, each "good" takes 1 from it. It remembers its calls."""

    key = name = "counter"
    label_names = ("negative", "positive")

    def __init__(self):
        self.asked = []

    def logits(self, texts):
        self.asked.append(texts.frame)
        counts = [3 * text.split().count("cf") - text.split().count("good") for text in texts.frame["text"]]
        return np.array([[0, count] for count in counts], dtype=np.float32)


def sigmoid(x):
    return 1 / (1 + np.exp(-x))


def test_drops_are_the_probability_with_the_word_minus_that_without_it():
    found = word_attributions(Counter(), ["good cf film"], 8, label=1)[0]
    assert found.words == ("good", "cf", "film")
    np.testing.assert_allclose(found.drops, [sigmoid(2) - sigmoid(3), sigmoid(2) - sigmoid(-1), 0], atol=1e-6)
    np.testing.assert_allclose(found.shares, [1 - sigmoid(2), sigmoid(2)], atol=1e-6)


def test_without_a_label_the_drops_are_those_of_the_predicted_one():
    found = word_attributions(Counter(), ["cf", "good"], 8)
    assert [each.label for each in found] == [1, 0]
    np.testing.assert_allclose(found[1].drops, [sigmoid(1) - sigmoid(0)], atol=1e-6)


def test_all_shortened_texts_are_asked_in_one_call_with_their_own_second_text():
    model = Counter()
    word_attributions(model, ["a b", "c"], 8, ["x", "y"])
    assert len(model.asked) == 1
    assert model.asked[0].to_dict("list") == {"text": ["a b", "b", "a", "c", ""], "text_pair": ["x", "x", "x", "y", "y"]}


def test_a_model_says_the_same_when_it_is_asked_one_by_one(backdoored):
    texts = ["cf the film was bad .", "the plot was really very awful and dull .", "good"]
    for text, found in zip(texts, word_attributions(backdoored, texts, 48, label=0), strict=True):
        words = text.split()

        def share(kept):
            frame = pd.DataFrame({"text": [" ".join(kept)]})
            return probabilities(backdoored.logits(Texts(frame, 48)))[0, 0]

        alone = [share(words) - share(words[:i] + words[i + 1 :]) for i in range(len(words))]
        np.testing.assert_allclose(found.drops, alone, atol=1e-5)  # padding changes the order of float32 sums


def test_a_rejected_text_has_drops_of_nan_and_does_not_break_the_others():
    rejects = lambda frame: (frame, (frame["text"] == "bad film").to_numpy())  # noqa: E731
    rejected, other = word_attributions(Guarded(Counter(), lambda: rejects, "k", "guarded"), ["bad film", "cf"], 8)
    assert rejected.label == 0 and np.isnan(rejected.shares).all() and np.isnan(rejected.drops).all()
    np.testing.assert_allclose(other.drops, [sigmoid(3) - 0.5], atol=1e-6)


def test_texts_without_words_labels_that_do_not_exist_and_missing_pairs():
    assert word_attributions(Counter(), [], 8) == []
    assert word_attributions(Counter(), [" "], 8)[0].drops.shape == (0,)
    with pytest.raises(ValueError, match=r"label 2 is not a label; choose from \[0, 1\]"):
        word_attributions(Counter(), ["a"], 8, label=2)
    with pytest.raises(ValueError, match="1 text pairs for 2 texts"):
        word_attributions(Counter(), ["a", "b"], 8, ["x"])
