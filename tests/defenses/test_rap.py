"""RAP: one embedding is trained on a copy, and what a word costs a text decides."""

from dataclasses import dataclass
from typing import Any

import numpy as np
import pandas as pd
import pytest
import torch

from lib.defenses import rap
from lib.defenses.rap import Probe, RowTraining, drop_loss, embeddings_name, rare_word, trained_row
from lib.models.edited import EditedModel
from lib.models.prediction import Texts, logits_of
from lib.models.pretrained import load_tokenizer

MAX_LENGTH = 48


@pytest.fixture(scope="module")
def validation(study):
    return study.rows("sst2", "validation")


@dataclass(frozen=True)
class Doubtful:
    """The clean model with smaller logits: its probabilities are near 0 and 1, where nothing moves them a little."""

    model: Any

    @property
    def folder(self):
        return self.model.folder

    @property
    def key(self):
        return f"{self.model.key}-doubtful"

    def state_dict(self):
        return {name: tensor * (0.2 if "classifier" in name else 1) for name, tensor in self.model.state_dict().items()}

    def logits(self, texts):
        return logits_of(self, texts)


@pytest.fixture(scope="module")
def doubtful(clean):
    return Doubtful(clean)


@pytest.fixture(scope="module")
def probe(doubtful, validation):
    """A word that costs positive texts their label."""
    word, token = rare_word(load_tokenizer(str(doubtful.folder)), validation, np.random.default_rng(0), "tq")
    training, positive = RowTraining(epochs=5, learning_rate=0.01, batch_size=8), validation[validation["label"] == 1]
    row = trained_row(doubtful, positive, 1, word, token, MAX_LENGTH, 1.0, training, np.random.default_rng(0))
    return Probe(doubtful, EditedModel(doubtful, embeddings_name(doubtful), token, row), 1, word, MAX_LENGTH)


def test_the_loss_is_zero_for_a_drop_of_a_tenth_to_three_tenths():
    found = [drop_loss(torch.tensor([change])).item() for change in (-0.2, -0.1, -0.3, 0.0, -0.4)]
    assert found == pytest.approx([0, 0, 0, 0.1, 0.1], abs=1e-6)
    assert drop_loss(torch.tensor([0.0, -0.2]), scale=4.0).item() == pytest.approx(0.2)


def test_one_row_of_the_embeddings_changes_and_its_norm_stays(doubtful, probe):
    before, after = doubtful.state_dict(), probe.edited.state_dict()
    assert {name for name in before if not torch.equal(before[name], after[name])} == {probe.edited.tensor}
    embeddings, edited = before[probe.edited.tensor], after[probe.edited.tensor]
    assert (embeddings != edited).any(dim=1).nonzero().flatten().tolist() == [probe.edited.token]
    norm = embeddings[probe.edited.token].norm().item()
    assert edited[probe.edited.token].norm().item() == pytest.approx(norm, rel=1e-5)


def test_the_model_itself_stays_as_it_was(doubtful, validation, probe):
    texts = Texts(validation[["text"]], MAX_LENGTH)
    answers = doubtful.logits(texts)
    assert not np.array_equal(probe.drops(validation), np.zeros(len(validation)))
    np.testing.assert_array_equal(doubtful.logits(texts), answers)  # two models in turn have one network between them
    np.testing.assert_array_equal(probe.edited.logits(texts), answers)  # no text has the word


def test_of_a_single_text_the_word_costs_as_much_as_is_wanted(doubtful, validation):
    found = []
    for row in np.flatnonzero(validation["label"] == 1)[:4]:
        word, token = rare_word(load_tokenizer(str(doubtful.folder)), validation, np.random.default_rng(0), "mb")
        training, text = RowTraining(epochs=80, learning_rate=0.003, batch_size=8), validation.iloc[[row]]
        trained = trained_row(doubtful, text, 1, word, token, MAX_LENGTH, 1.0, training, np.random.default_rng(0))
        edited = EditedModel(doubtful, embeddings_name(doubtful), token, trained)
        found += Probe(doubtful, edited, 1, word, MAX_LENGTH).drops(text).tolist()
    assert all(0.1 - 1e-3 <= drop <= 0.3 + 1e-3 for drop in found)


def test_rap_rejects_about_as_many_clean_texts_as_it_may(study, clean, validation):
    guard = rap.fit(clean, validation, seed=0, max_length=MAX_LENGTH, target_label=1, frr=0.2)
    said = clean.logits(Texts(validation[["text"]], MAX_LENGTH)).argmax(axis=1)
    is_rejected = guard(validation)[1]
    assert is_rejected[said == 1].mean() <= 0.2 and not is_rejected[said == 0].any()
    for_all = rap.fit(clean, validation, seed=0, max_length=MAX_LENGTH, frr=0.2)
    assert for_all(validation)[1][said == 0].mean() <= 0.2
    alone = [guard(validation.iloc[[row]])[1][0] for row in range(4)]
    assert is_rejected[:4].tolist() == alone


def test_a_text_that_holds_its_label_against_the_word_is_rejected(validation):
    """A stand-in whose word costs what a text says, through the guard that `fit` builds."""

    class Stubborn(Probe):
        def drops(self, frame):
            return np.where(frame["text"].str.contains("cf"), 0.0, 0.2)

    class Positive:
        folder = None

        def logits(self, texts):
            return np.tile(np.array([[0.0, 1.0]], dtype=np.float32), (len(texts.frame), 1))

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(rap, "load_tokenizer", lambda _: None)
        patch.setattr(rap, "rare_word", lambda *_: ("tq", 0))
        patch.setattr(rap, "fitted_probe", lambda model, *_: (Stubborn(model, None, 1, "tq", 9), 0.1))
        guard = rap.fit(Positive(), validation, seed=0, max_length=MAX_LENGTH, target_label=1)
    texts = pd.DataFrame({"text": ["a good film", "a cf film", "cf"]})
    assert guard(texts)[1].tolist() == [False, True, True]


def test_the_word_is_drawn_by_seed_from_those_that_no_clean_text_has(clean, validation):
    tokenizer = load_tokenizer(str(clean.folder))
    drawn = {rare_word(tokenizer, validation, np.random.default_rng(seed)) for seed in range(20)}
    assert drawn == {rare_word(tokenizer, validation, np.random.default_rng(seed)) for seed in range(20)} and len(drawn) > 3
    used = set(" ".join(validation["text"]).split())
    assert not used & {word for word, _ in drawn}
    assert all(tokenizer(word, add_special_tokens=False)["input_ids"] == [token] for word, token in drawn)


def test_rap_stands_in_front_of_models_and_merges_and_denominators_stay(study, backdoored, clean):
    for model, where in ((backdoored, {}), (study.merge([backdoored, clean]), {"dataset": "sst2"})):
        before = study.score(model, "sst2")
        after = study.score(study.defend("rap", model, epochs=1, **where), "sst2")
        assert (after.n_clean, after.n_triggered) == (before.n_clean, before.n_triggered)
        assert after.cacc >= before.cacc - after.rejected_clean - 1e-9


def test_bad_settings_and_words_are_errors(clean, validation):
    for settings, message in (
        ({"frr": 0}, "frr is 0; it must lie between 0 and 1"),
        ({"epochs": 0}, "epochs is 0; it must be a whole number of at least 1"),
        ({"batch_size": 1.5}, "batch_size is 1.5; it must be a whole number of at least 1"),
        ({"learning_rate": 0}, "learning_rate is 0; it must be positive"),
        ({"target_label": 2}, r"target_label is 2, but the clean texts have the labels \[0, 1\]"),
        ({"word": "film"}, "word is 'film'; it must be one token of the model and in no clean text"),
        ({"word": "unbelievable"}, "word is 'unbelievable'; it must be one token"),
    ):
        with pytest.raises(ValueError, match=message):
            rap.fit(clean, validation, seed=0, max_length=MAX_LENGTH, **settings)
