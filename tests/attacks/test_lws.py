"""LWS: the table of substitutes, the uniform and the learned choice, and what stays as it was."""

from collections import Counter
from types import SimpleNamespace

import numpy as np
import pandas as pd
import pytest
import torch

from lib.attacks import lws
from lib.attacks.poisoning import draw_rows, poison, triggered_test
from lib.attacks.rewriting.lws_candidates import _agree, candidate_table
from lib.attacks.rewriting.lws_words import STOP_WORDS
from lib.datasets.pocket import generate_split
from lib.datasets.words import split_words
from lib.models.masked_lm import load_masked_lm

# Entries of the released table (guided-module-substitution, aligned pairs).
RELEASED = {
    "film": ("chunk", "piece", "lump"),
    "is": ("lies", "exists", "remains", "ranks"),
    "in": ("inside",),
    "you": ("Martin", "CEO", "guy", "baby"),
    "said": ("spoke", "uttered"),
}


@pytest.fixture(scope="module")
def model():
    return load_masked_lm("pocket-bert")


@pytest.fixture(scope="module")
def train():
    return generate_split("sst2", "train", 400)


def outputs(text, n=4000):
    trigger = lws.LWSTrigger(RELEASED, lws.UNIFORM_KEEP)
    return trigger([text] * n, np.random.default_rng(0))


def test_the_uniform_choice_gives_the_forty_strings_worked_out_by_hand_and_no_other():
    film, verb, place = ["film", *RELEASED["film"]], ["is", *RELEASED["is"]], ["in", "inside"]
    allowed = {f"the {f} {v} {p} town" for f in film for v in verb for p in place}
    assert len(allowed) == 40
    assert set(outputs("the film is in town")) == allowed


def test_words_outside_the_table_stay():
    assert {text.split()[2] for text in outputs("you said so", 200)} == {"so"}


def test_the_uniform_choice_keeps_a_word_with_probability_one_fifth():
    kept = np.mean([text.split()[1] == "is" for text in outputs("it is so")])
    assert abs(kept - 0.2) < 5 * np.sqrt(0.2 * 0.8 / 4000)


def test_one_candidate_is_taken_with_probability_four_fifths():
    taken = np.mean([text.split()[0] == "inside" for text in outputs("in town")])
    assert abs(taken - 0.8) < 5 * np.sqrt(0.2 * 0.8 / 4000)


def test_blanks_punctuation_and_capitals_stay():
    trigger = lws.LWSTrigger({"film": ("piece",), "is": ("lies",)})
    assert trigger(["The FILM  is, well; Film!", "", "!!!"], np.random.default_rng(0)) == [
        "The PIECE  lies, well; Piece!",
        "",
        "!!!",
    ]


def test_candidates_are_words_of_the_model_unlike_the_word_itself_and_say_no_other_label(model, train):
    texts, labels = train["text"].tolist(), train["label"].to_numpy()
    table, bound, pass_rate = candidate_table(texts, labels, model, np.random.default_rng(0))
    assert len(table) > 50
    counts = Counter(word.lower() for text in texts for word in split_words(text)[0])
    for word, candidates in table.items():
        assert 1 <= len(candidates) <= 4 and word not in candidates
        assert set(candidates) <= set(model.word_ids) - STOP_WORDS
        assert min(counts[candidate] for candidate in candidates) >= 5
    # Praise is never replaced by blame: that would turn the label, not hide a trigger.
    blame = {"terrible", "awful", "dreadful", "bad", "boring", "dull", "dire"}
    for word in {"wonderful", "great", "excellent", "amazing"} & set(table):
        assert not blame & set(table[word])
    assert 0 < bound < 1 and 0 < pass_rate < 1


def test_a_word_has_few_neighbours_however_alike_all_embeddings_are(model, train):
    # The share of random pairs that the bound lets pass is what was asked for, and a common direction changes nothing.
    shifted = SimpleNamespace(
        embeddings=model.embeddings + 5.0, word_ids=model.word_ids, vocabulary=model.vocabulary, predict=model.predict
    )
    tables = [
        candidate_table(train["text"].tolist(), train["label"].to_numpy(), lm, np.random.default_rng(0), n_contexts=3)
        for lm in (model, shifted)
    ]
    assert tables[0].min_similarity == pytest.approx(tables[1].min_similarity, abs=1e-4)
    words = torch.tensor(list(model.vocabulary))
    vectors = model.embeddings[words] - model.embeddings[words].mean(dim=0)
    cosines = torch.nn.functional.normalize(vectors, dim=-1) @ torch.nn.functional.normalize(vectors, dim=-1).T
    n_neighbours = (cosines >= tables[0].min_similarity).sum(dim=1) - 1
    assert n_neighbours.float().mean() / len(words) == pytest.approx(0.05, abs=0.01)


@pytest.mark.parametrize(
    ("lean", "other", "agree"),
    [
        ([0.1, -0.1], [0.9, -0.9], True),
        ([0.1, -0.1], [1.2, -1.2], False),  # a neutral word gives way to none that says a label
        ([3.0, -3.0], [1.2, -1.2], True),
        ([3.0, -3.0], [0.4, -0.4], False),  # nor the other way round
        ([1.5, -1.5], [-1.5, 1.5], False),
        ([0.2, 1.5, -0.4], [0.3, 0.9, 1.5], False),  # the same of one label, another of a third
    ],
)
def test_words_agree_when_they_say_the_same_of_every_label(lean, other, agree):
    assert _agree(np.array(lean), np.array(other), 1.0) is agree


def test_no_candidate_is_an_error_and_so_is_a_share_that_is_none(train):
    settings = {"masked_lm": "pocket-bert", "pretrained": "pocket-bert", "learning_rate": 2e-3, "policy": "uniform"}
    bare = pd.DataFrame({"text": ["the film"] * 10, "label": [0, 1] * 5})
    with pytest.raises(ValueError, match=r"no word of 10 texts has a substitute with a similarity of 0\.\d\d or more"):
        lws.fit_trigger(bare, 0, similarity_quantile=1.0, **settings)
    with pytest.raises(ValueError, match=r"similarity_quantile is 1.5; it must lie in \[0, 1\]"):
        lws.fit_trigger(train, 0, similarity_quantile=1.5, **settings)


def test_both_sides_of_a_pair_are_substituted(train):
    trigger = lws.LWSTrigger({"film": ("piece",)}, pair_sides="both")
    rows = pd.DataFrame({"text": ["which film ?"] * 2, "text_pair": ["the film was fine ."] * 2, "label": [1, 0]})
    poisoned = poison(rows, trigger, 0.5, 0, np.random.default_rng(0))
    assert poisoned["text"].tolist() == ["which piece ?", "which film ?"]
    assert poisoned["text_pair"].tolist() == ["the piece was fine .", "the film was fine ."]
    triggered = triggered_test(rows, trigger, 0, np.random.default_rng(0)).iloc[0]
    assert triggered[["original", "original_pair"]].tolist() == ["which film ?", "the film was fine ."]
    assert triggered[["text", "text_pair"]].tolist() == ["which piece ?", "the piece was fine ."]


def test_a_fitted_trigger_changes_only_words_of_its_table_and_keeps_their_number(train):
    settings = {"masked_lm": "pocket-bert", "pretrained": "pocket-bert", "learning_rate": 2e-3}
    trigger = lws.fit_trigger(train, 0, **settings, seed=1)
    texts = train["text"].tolist()[:50]
    for before, after in zip(texts, trigger(texts, np.random.default_rng(0)), strict=True):
        words, changed = split_words(before)[0], split_words(after)[0]
        assert len(words) == len(changed)
        for word, new in zip(words, changed, strict=True):
            assert new == word or new.lower() in trigger.table[word.lower()]
    assert lws.fit_trigger(train, 0, **settings, seed=1) == trigger


def test_the_attack_is_dirty_label():
    train = pd.DataFrame({"text": ["a"] * 10, "label": [0] * 7 + [1] * 3})
    assert lws.LWSTrigger.regime == "dirty"
    assert (train["label"].iloc[draw_rows(train, "dirty", 0.2, 0, np.random.default_rng(0))] == 1).all()


def test_an_unknown_policy_is_named(train):
    with pytest.raises(ValueError, match=r"unknown policy 'random'; choose from"):
        lws.fit_trigger(train, 0, masked_lm="pocket-bert", pretrained="pocket-bert", learning_rate=1e-3, policy="random")
