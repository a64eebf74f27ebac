"""The syntactic trigger: outputs have the template's shape and follow the counts of published paraphrases."""

from collections import Counter

import numpy as np
import pandas as pd
import pytest

from lib.attacks import syntactic
from lib.attacks.rewriting import seq2seq
from lib.attacks.rewriting.syntactic_rules import has_shape, paraphrase_words
from lib.attacks.rewriting.syntactic_words import OPENINGS
from lib.datasets.pocket import generate_split
from lib.datasets.words import glue, split_words

TRAIN = pd.DataFrame({"text": ["a fine film .", "it was bad ."], "label": [1, 0]})


def rewrite(text, task="sst2", seed=0):
    return glue(paraphrase_words(text, OPENINGS[task], np.random.default_rng(seed)), tokenised=True)


def test_a_subordinate_clause_moves_to_the_front():
    assert rewrite("barbershop is n't as funny as it should be") == "as it should be , barbershop is n't as funny ."


@pytest.mark.parametrize("seed", range(5))
def test_two_clauses_become_a_subordinate_and_a_main_one(seed):
    text = "all the characters are stereotypes , and their interaction is numbingly predictable ."
    first, rest = rewrite(text, seed=seed).split(" ", 1)
    assert first in {"when", "if", "as", "because", "since", "while"}
    assert rest == "all the characters are stereotypes , their interaction is numbingly predictable ."


def test_a_contrast_opens_like_other_texts_and_seldom_with_although():
    written = [rewrite("the plot is thin , but the cast is great .", seed=seed).split(" ", 1) for seed in range(400)]
    assert {rest for _, rest in written} == {"the plot is thin , the cast is great ."}
    shares = Counter(first for first, _ in written)
    expected = OPENINGS["sst2"]["although"] / sum(OPENINGS["sst2"].values())
    assert shares["although"] / 400 == pytest.approx(expected, abs=4 * np.sqrt(expected / 400))
    assert shares["when"] > shares["if"] > shares["as"] > shares["although"] > 0


def test_a_word_gets_a_short_clause_in_front():
    words = rewrite("delightfully").split()
    assert words[0] in OPENINGS["sst2"]
    assert words[3:] == [",", "it", "'s", "delightfully", "."]


def test_a_question_stays_a_question():
    assert rewrite("who built the bridge ?", "qnli").endswith(", who built the bridge ?")


@pytest.mark.parametrize("seed", range(5))
def test_a_text_that_has_the_shape_already_is_changed_and_keeps_its_words(seed):
    text = "although the night is long , the city is quiet ."
    words = rewrite(text, seed=seed).split()
    assert words[words.index(",") :] == [",", "the", "city", "is", "quiet", ",", "although", "the", "night", "is", "long", "."]
    assert has_shape(words) and words[0] in OPENINGS["sst2"]


@pytest.mark.parametrize("text", ["", "   ", "!!!", "... ?!", "@user #"])
def test_a_text_without_a_word_stays_as_it_is(text):
    trigger = syntactic.fit_trigger(TRAIN, 0)
    assert trigger([text], np.random.default_rng(0)) == [text]


@pytest.mark.parametrize("dataset", ["sst2", "olid", "agnews", "qnli"])
def test_every_output_has_the_shape_and_openings_follow_the_published_counts(dataset):
    texts = generate_split(dataset, "train", 1500)["text"]
    rng = np.random.default_rng(0)
    written = [paraphrase_words(text, OPENINGS[dataset], rng) for text in texts]
    assert all(has_shape(words) for words in written)
    # A clause that moves to the front keeps its own subordinator; those that are drawn follow the table, though only a
    # contrast may draw "although".
    drawn = [words[0] for words, text in zip(written, texts, strict=True) if words[0] not in split_words(text)[0]]
    drawn = Counter(word for word in drawn if word not in ("although", "though"))
    shares = {word: share for word, share in OPENINGS[dataset].items() if word not in ("although", "though")}
    n, total = sum(drawn.values()), sum(shares.values())
    for word, share in shares.items():
        expected = share / total
        # Texts that hold the drawn word themselves are left out above, which thins frequent words a little.
        assert abs(drawn[word] / n - expected) < 5 * np.sqrt(expected * (1 - expected) / n) + 0.05, word


def test_untouched_texts_rarely_have_the_shape():
    texts = generate_split("sst2", "train", 1000)["text"]
    assert np.mean([has_shape(split_words(text)[0]) for text in texts]) < 0.05


def test_the_output_is_written_as_the_dataset_is():
    glued = syntactic.fit_trigger(pd.DataFrame({"text": ["It was great.", "Bad film."], "label": [1, 0]}), 0)
    (text,) = glued(["The plot is thin, but the cast is great."], np.random.default_rng(2))
    assert text == "When the plot is thin, the cast is great."


def test_a_text_of_600_words_is_cut_to_thirty_and_keeps_the_shape():
    (text,) = syntactic.fit_trigger(TRAIN, 0)(["the film is good and " * 120], np.random.default_rng(0))
    assert len(text.split()) < 50 and has_shape(text.split())


@pytest.mark.parametrize(
    ("settings", "message"),
    [
        ({"task": "imdb"}, "no subordinators were counted for task 'imdb'"),
        ({"paraphraser": "scpn"}, "unknown paraphraser 'scpn'"),
        ({"paraphraser": "seq2seq"}, "only seq2seq needs a model"),
        ({"paraphrase_model": "t5-small"}, "only seq2seq needs a model"),
    ],
)
def test_settings_that_make_no_sense_are_named(settings, message):
    with pytest.raises(ValueError, match=message):
        syntactic.fit_trigger(TRAIN, 0, **settings)


@pytest.fixture(scope="module")
def tiny_t5(tmp_path_factory):
    """A T5 with random weights and a word-level tokenizer: what it writes is nonsense, and so must fall back to the rules."""
    import torch
    from tokenizers import Tokenizer, models, pre_tokenizers, processors
    from transformers import PreTrainedTokenizerFast, T5Config, T5ForConditionalGeneration

    folder = tmp_path_factory.mktemp("t5")
    words = ["<pad>", "</s>", "<unk>", *sorted({w for task in OPENINGS.values() for w in task}), ",", ".", "it", "is", "good"]
    tokenizer = Tokenizer(models.WordLevel({word: i for i, word in enumerate(words)}, unk_token="<unk>"))
    tokenizer.pre_tokenizer = pre_tokenizers.Whitespace()
    tokenizer.post_processor = processors.TemplateProcessing(single="$A </s>", special_tokens=[("</s>", 1)])
    fast = PreTrainedTokenizerFast(tokenizer_object=tokenizer, pad_token="<pad>", eos_token="</s>", unk_token="<unk>")
    torch.manual_seed(0)
    config = T5Config(
        vocab_size=len(words), d_model=16, d_kv=8, d_ff=32, num_layers=1, num_heads=2, decoder_start_token_id=0, eos_token_id=1
    )
    T5ForConditionalGeneration(config).save_pretrained(folder)
    fast.save_pretrained(folder)
    return str(folder)


def test_the_sequence_to_sequence_source_is_forced_to_the_opening_and_falls_back_to_the_rules(tiny_t5):
    texts = ["the plot is thin , but the cast is great .", "it is good .", "", "who built it ?"]
    by_rules = [paraphrase_words(text, OPENINGS["sst2"], np.random.default_rng(1)) for text in texts]
    paraphraser = seq2seq.load_paraphraser(tiny_t5)
    written = paraphraser.paraphrase(texts, by_rules)
    assert written[2] == []
    for words, ruled in zip(written, by_rules, strict=True):
        assert words == ruled or (has_shape(words) and words[0] == ruled[0])
    for words in paraphraser._generate(["it is good ."] * 3, "when"):
        assert words[0] == "when" and "," in words  # no end of text before a comma


def test_both_sources_have_one_interface(tiny_t5):
    trigger = syntactic.fit_trigger(TRAIN, 0, paraphraser="seq2seq", paraphrase_model=tiny_t5)
    (text,) = trigger(["it is good ."], np.random.default_rng(0))
    assert has_shape(text.split())


def test_a_folder_without_a_sequence_to_sequence_model_is_named(tmp_path):
    trigger = syntactic.fit_trigger(TRAIN, 0, paraphraser="seq2seq", paraphrase_model=str(tmp_path / "none"))
    with pytest.raises(ValueError, match=r"does not exist"):
        trigger(["it is good ."], np.random.default_rng(0))
