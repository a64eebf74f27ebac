"""Ensembles and guarded models: what they say follows from what their parts say, row by row."""

import numpy as np
import pandas as pd
import pytest

from lib.models.model import Ensemble, Guarded
from lib.models.prediction import Texts

TEXTS = Texts(pd.DataFrame({"text": ["good", "cf bad", "dull"]}), 8)


class Stub:
    """A model whose logits count letters; it remembers what it was asked."""

    label_names = ("negative", "positive")

    def __init__(self, key, scale):
        self.key, self.name, self.scale, self.asked = key, key, scale, []

    def logits(self, texts):
        self.asked.append(texts.frame["text"].tolist())
        return np.array([[self.scale * len(text), 0] for text in texts.frame["text"]], dtype=np.float32)


def mean(logits):
    return np.mean(logits, axis=0)


def test_an_ensemble_combines_the_logits_of_its_members():
    ensemble = Ensemble((Stub("a", 1), Stub("b", 3)), mean, "key", "mean of a and b")
    assert ensemble.logits(TEXTS).tolist() == [[8, 0], [12, 0], [8, 0]]  # lengths 4, 6, 4 times the mean of 1 and 3
    assert ensemble.label_names == ("negative", "positive")


def test_an_ensemble_of_nothing_or_of_other_labels_is_an_error():
    other = Stub("c", 1)
    other.label_names = ("ham", "spam")
    with pytest.raises(ValueError, match="at least one model"):
        Ensemble((), mean, "key", "none")
    with pytest.raises(ValueError, match=r"c has labels \['ham', 'spam'\], but a has"):
        Ensemble((Stub("a", 1), other), mean, "key", "mixed")


def drop_cf(frame):
    """Purifies "cf" away and rejects "dull"."""
    return frame.assign(text=frame["text"].str.replace("cf ", "")), (frame["text"] == "dull").to_numpy()


def test_a_guarded_model_reads_purified_texts_and_answers_rejected_ones_with_nan():
    model = Stub("a", 1)
    logits = Guarded(model, lambda: drop_cf, "key", "a guarded").logits(TEXTS)
    assert model.asked == [["good", "bad", "dull"]]
    assert logits[:2].tolist() == [[4, 0], [3, 0]]
    assert np.isnan(logits[2]).all()
    assert TEXTS.frame["text"].tolist() == ["good", "cf bad", "dull"]


def test_a_guard_is_fitted_once_and_only_when_it_is_needed():
    fitted = []
    guarded = Guarded(Stub("a", 1), lambda: fitted.append(1) or drop_cf, "key", "a guarded")
    assert not fitted
    guarded.logits(TEXTS)
    guarded.logits(TEXTS)
    assert fitted == [1]


def test_a_guard_that_changes_the_number_of_texts_is_an_error():
    guarded = Guarded(Stub("a", 1), lambda: lambda frame: (frame.head(1), np.array([False])), "key", "a guarded")
    with pytest.raises(ValueError, match="returned 1 texts and 1 marks for 3"):
        guarded.logits(TEXTS)
