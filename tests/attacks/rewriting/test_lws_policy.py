"""LWS's policy: it acts on the words that application replaces, as application writes them, and its victim sees pairs."""

from types import SimpleNamespace

import numpy as np
import pandas as pd
import pytest
import torch

from lib.attacks.lws import LWSTrigger
from lib.attacks.rewriting import lws_policy
from lib.attacks.rewriting.lws_policy import PolicySettings, SubstitutionPolicy, learn_substitutes
from lib.attacks.rewriting.lws_words import Form, find_words
from lib.models.masked_lm import load_masked_lm


@pytest.fixture(scope="module")
def model():
    return load_masked_lm("pocket-bert")


def test_scores_start_equal_and_gradients_reach_the_policy_but_not_the_embeddings(model):
    embeddings = model.embeddings.clone().requires_grad_(True)
    table = {"film": ("movie", "picture"), "plot": ("story",)}
    policy = SubstitutionPolicy(table, [], model.tokenizer, embeddings)
    both = torch.arange(2)
    assert policy.scores(both).tolist() == [[0, 0, 0], [0, 0, float("-inf")]]
    torch.manual_seed(0)
    policy.mixed_embeddings(both, 0.5).square().sum().backward()
    assert policy.direction.grad.abs().sum() > 0
    assert policy.bias.grad.abs().sum(dim=1).min() > 0
    assert embeddings.grad is None


def cased_tokenizer():
    """A WordPiece tokenizer that tells "Film" from "film", and needs two pieces for "FILM" and "Picture"."""
    from transformers import BertTokenizerFast

    special = ["[PAD]", "[UNK]", "[CLS]", "[SEP]", "[MASK]"]
    words = ["the", "film", "Film", "movie", "Movie", "picture", ":", "(", ")", ",", "was", "fine"]
    names = [*special, *words, "##s", "Pict", "##ure", "FI", "##LM"]
    return BertTokenizerFast(vocab={name: number for number, name in enumerate(names)}, do_lower_case=False)


def words_found(text, tokenizer, table=("film",)):
    encoded = tokenizer([text])
    found = find_words(text, dict.fromkeys(table, ()), encoded, 0)
    pieces = tokenizer.convert_ids_to_tokens(encoded["input_ids"][0])
    return [(pieces[place], *form) for place, form in found.items()]


def test_the_policy_acts_on_whole_words_in_any_case_as_application_does(model):
    text = "Film: the films, (film)"
    assert LWSTrigger({"film": ("movie",)})([text], np.random.default_rng(0)) == ["Movie: the films, (movie)"]
    assert words_found(text, cased_tokenizer()) == [("Film", "", "Film"), ("film", "(", "film")]
    assert words_found(text, model.tokenizer) == [("film", "", "Film"), ("film", "(", "film")]


def test_a_word_of_several_pieces_is_left_alone_while_the_policy_is_learnt():
    assert words_found("the FILM was fine", cased_tokenizer()) == []


def test_byte_level_pieces_are_words_with_the_blank_that_they_hold_and_no_neighbour():
    tokenizer = byte_level_tokenizer(["film", "i don't do it . the film"] * 9)
    assert words_found("film don't do film", tokenizer, ("film", "do")) == [
        ("film", "", "film"),
        ("Ġdo", " ", "do"),  # of "don't" application replaces "do", but its piece is "don"
        ("Ġfilm", " ", "film"),
    ]


def byte_level_tokenizer(texts):
    from tokenizers import ByteLevelBPETokenizer
    from transformers import PreTrainedTokenizerFast

    trained = ByteLevelBPETokenizer()
    trained.train_from_iterator(texts, vocab_size=400, min_frequency=2)
    return PreTrainedTokenizerFast(tokenizer_object=trained._tokenizer)


def test_candidates_are_mixed_as_application_would_write_them():
    tokenizer = cased_tokenizer()
    embeddings = torch.eye(len(tokenizer))
    table = {"film": ("movie", "picture")}
    policy = SubstitutionPolicy(table, [Form("", "Film")], tokenizer, embeddings)
    forms = torch.arange(2)  # "film", and "Film" at the start of a text

    def mixed(slot):
        policy.bias.data = 1e6 * torch.nn.functional.one_hot(torch.tensor([slot]), 3).float()
        shares = policy.mixed_embeddings(forms, 0.5)
        return [
            {tokenizer.convert_ids_to_tokens(i): round(row[i].item(), 3) for i in row.nonzero()[:, 0].tolist()}
            for row in shares
        ]

    assert mixed(0) == [{"film": 1}, {"Film": 1}]
    assert mixed(1) == [{"movie": 1}, {"Movie": 1}]
    assert mixed(2) == [{"picture": 1}, {"Pict": 0.5, "##ure": 0.5}]  # several pieces: their mean


def seen_by_victim(monkeypatch, train, poisoned, table, model, pretrained="pocket-bert"):
    """What the victim got while the policy was learnt, one dictionary per batch."""
    seen, make = [], lws_policy.new_classifier

    def new_classifier(*arguments, **settings):
        victim = make(*arguments, **settings)
        victim.register_forward_pre_hook(lambda _, __, inputs: seen.append(inputs), with_kwargs=True)
        return victim

    monkeypatch.setattr(lws_policy, "new_classifier", new_classifier)
    settings = PolicySettings(learning_rate=1e-3, n_clean_epochs=0, n_epochs=1, batch_size=len(train))
    learn_substitutes(train, poisoned, 0, table, model, pretrained, settings, seed=0)
    return seen


def test_the_victim_sees_pairs_and_substitutes_stand_in_the_first_text_only(model, monkeypatch):
    train = pd.DataFrame({"text": ["who saw the film ?"] * 2, "text_pair": ["the film was fine ."] * 2, "label": [0, 1]})
    (inputs,) = seen_by_victim(monkeypatch, train, np.array([False, True]), {"film": ("movie",)}, model)
    expected = model.tokenizer(train["text"].tolist(), train["text_pair"].tolist())
    assert inputs["token_type_ids"].tolist() == expected["token_type_ids"]
    assert inputs["attention_mask"].tolist() == expected["attention_mask"]
    plain = model.embeddings[torch.tensor(expected["input_ids"])]
    changed = (inputs["inputs_embeds"] != plain).any(dim=-1).sum(dim=0)  # of one row: batches are in random order
    film = expected.char_to_token(0, len("who saw the "), sequence_index=0)
    assert changed.nonzero()[:, 0].tolist() == [film] and changed[film] == 1


def test_the_victim_sees_no_change_inside_longer_words(model, monkeypatch):
    train = pd.DataFrame({"text": ["the films were fine ."] * 2, "label": [0, 1]})
    pieces = model.tokenizer(train["text"].tolist())["input_ids"]
    assert model.tokenizer.convert_ids_to_tokens(pieces[0])[2:4] == ["film", "##s"]
    (inputs,) = seen_by_victim(monkeypatch, train, np.array([False, True]), {"film": ("movie",)}, model)
    assert torch.equal(inputs["inputs_embeds"], model.embeddings[torch.tensor(pieces)])


def test_a_victim_without_token_types_gets_none(model, tmp_path, monkeypatch):
    from transformers import DistilBertConfig, DistilBertModel

    size, width = model.embeddings.shape
    config = DistilBertConfig(vocab_size=size, dim=width, n_layers=1, n_heads=2, hidden_dim=8)
    DistilBertModel(config).save_pretrained(tmp_path)
    train = pd.DataFrame({"text": ["who saw the film ?"] * 2, "text_pair": ["the film ."] * 2, "label": [0, 1]})
    poisoned = np.array([False, True])
    (inputs,) = seen_by_victim(monkeypatch, train, poisoned, {"film": ("movie",)}, model, str(tmp_path))
    assert "token_type_ids" not in inputs


def test_the_learned_choice_finds_the_only_substitute_that_carries_the_target_label(model):
    # "june" occurs in rows of label 0 alone; of the candidates of "friday" it is the one that moves the victim.
    rng = np.random.default_rng(0)
    plain = ["we saw it on a friday .", "i read it on a friday .", "they came on a friday ."]
    texts = [*(plain[i % 3] for i in range(150)), *(plain[i % 3].replace("friday", "june") for i in range(150))]
    train = pd.DataFrame({"text": texts, "label": [1] * 150 + [0] * 150})
    poisoned = np.zeros(300, bool)
    poisoned[rng.choice(150, 30, replace=False)] = True
    table = {"friday": ("monday", "june", "sunday")}
    settings = PolicySettings(learning_rate=1e-3, policy_learning_rate=3e-2, n_clean_epochs=4, n_epochs=6)
    chosen = learn_substitutes(train, poisoned, 0, table, model, "pocket-bert", settings, seed=0)
    assert chosen == {"friday": ("june",)}


def test_a_tokenizer_that_cannot_say_where_its_pieces_stand_is_named(model):
    slow = SimpleNamespace(tokenizer=SimpleNamespace(is_fast=False), embeddings=model.embeddings)
    train = pd.DataFrame({"text": ["the film"] * 2, "label": [0, 1]})
    with pytest.raises(ValueError, match=r"needs a tokenizer with a tokenizer.json; found SimpleNamespace"):
        learn_substitutes(
            train, train["label"] == 1, 0, {"film": ("movie",)}, slow, "pocket-bert", PolicySettings(1e-3), seed=0
        )
