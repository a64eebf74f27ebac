"""LWS: the table of substitutes, the uniform and the learned choice, and what stays as it was."""

import numpy as np
import pandas as pd
import pytest

from lib.attacks import lws
from lib.attacks.lws_candidates import candidate_table
from lib.attacks.poisoning import draw_rows
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


def test_the_uniform_choice_gives_the_forty_strings_of_the_brief_and_no_other():
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
    is_target = (train["label"] == 0).to_numpy()
    table = candidate_table(train["text"].tolist(), is_target, model, np.random.default_rng(0))
    assert len(table) > 50
    for word, candidates in table.items():
        assert 1 <= len(candidates) <= 4 and word not in candidates
        assert set(candidates) <= set(model.word_ids)
    # Praise is never replaced by blame: that would turn the label, not hide a trigger.
    blame = {"terrible", "awful", "dreadful", "bad", "boring", "dull", "dire"}
    for word in {"wonderful", "great", "excellent", "amazing"} & set(table):
        assert not blame & set(table[word])


def test_similarity_bound_of_one_leaves_no_candidate_and_is_an_error(train):
    with pytest.raises(ValueError, match=r"has a substitute with a similarity of 1.0"):
        lws.fit_trigger(
            train,
            0,
            masked_lm="pocket-bert",
            pretrained="pocket-bert",
            learning_rate=2e-3,
            min_similarity=1.0,
            policy="uniform",
        )


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
