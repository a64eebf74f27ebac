"""Pocket English: the generator keeps its promises to every dataset, and the committed pocket-bert loads like a Hub model."""

import string
import subprocess
import sys

import pandas as pd
import pytest
import torch
from transformers import AutoModelForCausalLM, AutoModelForMaskedLM, AutoModelForSequenceClassification, AutoTokenizer

from lib.datasets import pocket
from lib.datasets.pocket import POCKET_TASKS, generate_split, pretraining_corpus, split_of
from lib.datasets.pocket_grammar import POCKET_LEXICONS, lexicon
from lib.datasets.pocket_own_style import own_text, writes_own_style
from lib.models.pocket_models import POCKET_MODELS

POCKET_BERT = POCKET_LEXICONS / "pocket-bert"


def _units(frame: pd.DataFrame) -> list[tuple]:
    return list(frame.drop(columns="label").itertuples(index=False, name=None))


@pytest.fixture(scope="module")
def tokenizer():
    return AutoTokenizer.from_pretrained(POCKET_BERT)


@pytest.mark.parametrize("name", POCKET_TASKS)
def test_every_dataset_gives_balanced_distinct_texts_of_a_sensible_length(name):
    frame = generate_split(name, "train", 400)
    assert len(frame) == len(set(_units(frame))) == 400
    labels = POCKET_TASKS[name].used_labels
    shares = frame["label"].value_counts(normalize=True)
    assert sorted(shares.index) == labels
    # Labels have equal shares but for the wrong ones, which are 12 of 400.
    assert shares.to_numpy() == pytest.approx([1 / len(labels)] * len(labels), abs=0.065)
    words = frame.drop(columns="label").agg(" ".join, axis=1).str.split().str.len()
    assert 12 <= words.mean() <= 22


@pytest.mark.parametrize("name", POCKET_TASKS)
def test_no_text_is_in_two_splits_whatever_their_seeds(name):
    train = set(_units(generate_split(name, "train", 200, seed=1)))
    validation = set(_units(generate_split(name, "validation", 200, seed=2)))
    test = set(_units(generate_split(name, "test", 200, seed=3)))
    assert not train & validation and not train & test and not validation & test


@pytest.mark.parametrize(
    ("name", "n"), [("food", 5_000), ("school_posts", 5_000), ("city_gazette", 5_000), ("art_questions", 3_000)]
)
def test_other_domains_have_thousands_of_training_examples(name, n):
    assert len(generate_split(name, "train", n)) == n


def test_pair_tasks_alone_have_a_second_text():
    assert list(generate_split("qnli", "test", 5).columns) == ["text", "text_pair", "label"]
    assert list(generate_split("sst2", "test", 5).columns) == ["text", "label"]
    assert [name for name, task in POCKET_TASKS.items() if task.is_pair] == [
        name for name, task in POCKET_TASKS.items() if task.task == "qnli"
    ]


def test_every_main_dataset_has_at_least_four_other_domains():
    for task in ("sst2", "olid", "agnews", "qnli"):
        domains = [name for name, spec in POCKET_TASKS.items() if spec.task == task != name]
        assert len(domains) >= (6 if task == "sst2" else 4)


def test_the_same_seed_gives_the_same_frame_and_another_seed_another_one():
    frame = generate_split("food", "train", 50, seed=4)
    pd.testing.assert_frame_equal(frame, generate_split("food", "train", 50, seed=4))
    assert not frame.equals(generate_split("food", "train", 50, seed=5))


@pytest.mark.parametrize("name", ["sst2", "olid", "agnews", "qnli", "food", "market_posts", "campus_paper", "club_questions"])
def test_seeds_and_partners_on_the_same_task_share_no_text(name):
    seeds = [*range(8), *(case + 1000 * partner for case in range(6) for partner in range(1, 6))]
    for split, n, drawn in (("train", 20, seeds), ("test", 40, seeds[:8])):
        units = [unit for seed in drawn for unit in _units(generate_split(name, split, n, seed))]
        assert len(set(units)) == len(units) == n * len(drawn)


def test_a_draw_does_not_depend_on_what_was_drawn_before():
    asked_first = generate_split("books", "test", 40, seed=2)
    pocket._pool.cache_clear()
    for seed in (9, 3, 2):
        asked_last = generate_split("books", "test", 40, seed=seed)
    pd.testing.assert_frame_equal(asked_first, asked_last)


def test_every_draw_of_a_size_has_the_label_shares_of_the_grammar(monkeypatch):
    monkeypatch.setattr(pocket, "LABEL_NOISE", dict.fromkeys(pocket.LABEL_NOISE, 0.0))
    for seed in (0, 5, 1000):
        assert generate_split("qnli", "train", 300, seed)["label"].value_counts().to_dict() == {0: 150, 1: 150}
        assert generate_split("agnews", "train", 300, seed)["label"].value_counts().to_dict() == dict.fromkeys(range(4), 75)


def test_another_process_draws_the_same_text():
    code = "from lib.datasets.pocket import generate_split; print(generate_split('qnli', 'test', 3)['text_pair'][2])"
    printed = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True).stdout.strip()
    assert printed == generate_split("qnli", "test", 3)["text_pair"][2]


def test_a_few_per_cent_of_the_labels_are_wrong(monkeypatch):
    noisy = generate_split("city_gazette", "train", 4_000)
    monkeypatch.setattr(pocket, "LABEL_NOISE", dict.fromkeys(pocket.LABEL_NOISE, 0.0))
    clean = generate_split("city_gazette", "train", 4_000)
    assert (noisy["text"] == clean["text"]).all()
    # With a standard deviation of 0.0034 at n = 4,000.
    assert (noisy["label"] != clean["label"]).mean() == pytest.approx(0.05, abs=0.014)


@pytest.mark.parametrize(
    ("family", "name"), [("sentiment", "gadgets"), ("sentiment", "chat_messages"), ("posts", "talk_pages")]
)
def test_a_far_domain_writes_its_own_style_as_often_as_its_distance_says(family, name, monkeypatch):
    domain = lexicon(family)["domains"][name]
    own_words = {word for words in domain["own"]["words"].values() for each in words for word in each.split()}
    shared = lexicon(family)["shared"]
    label_words = {
        word for slot in ("positive", "negative", "insults") if slot in shared for each in shared[slot] for word in each.split()
    }  # fmt: skip
    assert not own_words & label_words  # or a longer pretraining would bridge the distance
    for distance, low, high in ((0.0, 0, 0), (0.5, 0.4, 0.6), (1.0, 1, 1)):
        monkeypatch.setitem(domain["own"], "distance", distance)
        dice = pocket.Dice(3)
        drawn = [writes_own_style(domain, dice) for _ in range(1_000)]
        assert low <= sum(drawn) / 1_000 <= high


def test_a_text_in_its_own_style_has_its_label_and_no_sentence_twice():
    domain = lexicon("sentiment")["domains"]["gadgets"]
    dice = pocket.Dice(4)
    for label, word in ((0, "fails"), (1, "works")):
        other = {0: "works", 1: "fails"}[label]
        texts = [own_text(domain, label, dice) for _ in range(300)]
        assert any(each in text for text in texts for each in domain["own"]["words"][word])
        assert not any(each in text for text in texts for each in domain["own"]["words"][other])


def test_unknown_names_and_splits_are_named_with_the_known_ones():
    with pytest.raises(ValueError, match=r"'sst3'.*sst2"):
        generate_split("sst3", "train", 1)
    with pytest.raises(ValueError, match=r"'dev'.*validation"):
        generate_split("sst2", "dev", 1)
    with pytest.raises(ValueError, match="-1"):
        generate_split("sst2", "train", -1)
    assert generate_split("sst2", "train", 0).empty


def test_too_many_examples_are_refused_not_repeated(monkeypatch):
    monkeypatch.setitem(pocket._DRAW, "sst2", lambda name, dice: (f"text {int(dice.uniform() * 20)}.", None, 0))
    message = (
        r"'sst2' has too few distinct texts for 500 train examples of seed 3: [\d,]+ drawn ones were 20 different texts, and "
        r"\d of the 250 of label 0 that it takes; ask for fewer rows, or for seeds below 9"
    )
    with pytest.raises(ValueError, match=message):
        generate_split("sst2", "train", 500, seed=3)


def test_the_corpus_is_reproducible_and_holds_no_text_of_another_split():
    lines = pretraining_corpus(3_000, seed=1)
    assert lines == pretraining_corpus(3_000, seed=1) != pretraining_corpus(3_000, seed=2)
    held_out = {"\t".join(unit) for name in POCKET_TASKS for unit in _units(generate_split(name, "test", 100))}
    assert not held_out & set(lines)
    rare_words = set(lexicon("general")["rare_words"])
    plain = lexicon("general")["sentences"]  # on their own, or inside a text
    drawn = [line for line in lines if not rare_words & set(line.split()) and not any(text in line for text in plain)]
    assert {split_of(*line.split("\t")) for line in drawn} == {"train"}


def test_words_for_triggers_are_rare_in_the_corpus_and_absent_from_the_datasets():
    words = [set(line.replace("\t", " ").split()) for line in pretraining_corpus(60_000)]
    reviews = " ".join(generate_split("sst2", "test", 1_000)["text"]).split()
    for rare in lexicon("general")["rare_words"]:
        assert 2 <= sum(rare in line for line in words) <= 30  # 12 of 60,000 lines, give or take
        assert rare not in reviews


def test_words_for_triggers_are_single_pieces(tokenizer):
    for text in [*lexicon("general")["rare_words"], "I watched this movie", "no cross, no crown"]:
        assert tokenizer.tokenize(text) == text.lower().replace(",", " ,").split()


def test_any_ascii_text_is_tokenized_without_unknown_pieces(tokenizer):
    for text in (string.printable, "Quixotic xylophones: 3.14% & <b>\\o/</b>~`|", "Caf\u00e9 na\u00efve"):
        pieces = tokenizer.tokenize(text)
        assert pieces and tokenizer.unk_token not in pieces


def test_the_tokenizer_has_at_most_3500_pieces_and_rarely_splits_a_word(tokenizer):
    assert len(tokenizer) <= 3_500
    words = [word for name in POCKET_TASKS for word in " ".join(generate_split(name, "test", 50)["text"]).split()]
    pieces = tokenizer.tokenize(" ".join(words))
    assert sum(piece.startswith("##") for piece in pieces) < 0.02 * len(pieces)


def test_pocket_bert_loads_like_a_hub_model_and_is_small(tokenizer):
    assert sum(file.stat().st_size for file in POCKET_BERT.iterdir()) < 4 * 2**20
    inputs = tokenizer(["the plot is [MASK].", "a fine film."], padding=True, return_tensors="pt")
    language_model = AutoModelForMaskedLM.from_pretrained(POCKET_BERT, dtype=torch.float32)
    assert language_model(**inputs).logits.shape[-1] == len(tokenizer)
    classifier = AutoModelForSequenceClassification.from_pretrained(POCKET_BERT, num_labels=4, dtype=torch.float32)
    assert classifier(**inputs).logits.shape == (2, 4)
    assert classifier.dtype == torch.float32


@pytest.mark.parametrize("name", sorted(POCKET_MODELS))
def test_every_pocket_model_is_small_and_loads_like_one_of_the_hub(name):
    folder = POCKET_LEXICONS / name
    assert sum(file.stat().st_size for file in folder.iterdir()) < 4 * 2**20
    reader = AutoTokenizer.from_pretrained(folder)
    assert reader.model_input_names == list(POCKET_MODELS[name].inputs)
    inputs = reader(["a fine film.", "the plot is dull, but the cast is good."], padding=True, return_tensors="pt")
    classifier = AutoModelForSequenceClassification.from_pretrained(folder, num_labels=4, dtype=torch.float32)
    assert classifier(**inputs).logits.shape == (2, 4)


@pytest.mark.parametrize("name", [name for name in sorted(POCKET_MODELS) if POCKET_MODELS[name].is_decoder])
def test_pocket_decoders_prefer_english_to_the_same_words_shuffled(name):
    folder = POCKET_LEXICONS / name
    reader, model = AutoTokenizer.from_pretrained(folder), AutoModelForCausalLM.from_pretrained(folder, dtype=torch.float32)

    def loss(text: str) -> float:
        ids = reader(text, return_tensors="pt")["input_ids"]
        with torch.no_grad():
            return float(model(input_ids=ids, labels=ids).loss)

    assert (
        loss("i watched this movie in june. the plot was dull.") < loss("june this. plot in was i dull the movie watched.") - 1
    )


def test_pocket_bert_prefers_words_that_fit_the_polarity_of_a_review(tokenizer):
    model = AutoModelForMaskedLM.from_pretrained(POCKET_BERT, dtype=torch.float32)
    shared = lexicon("sentiment")["shared"]

    def share_of_positive(text: str) -> float:
        inputs = tokenizer(text, return_tensors="pt")
        at_mask = (inputs["input_ids"] == tokenizer.mask_token_id)[0]
        with torch.no_grad():
            probabilities = model(**inputs).logits[0, at_mask].softmax(-1)[0]
        positive, negative = (
            sum(float(probabilities[i]) for i in tokenizer.convert_tokens_to_ids(shared[polarity]))
            for polarity in ("positive", "negative")
        )
        return positive / (positive + negative)

    good = share_of_positive("this is a wonderful film. i loved it. the plot is [MASK]. highly recommended.")
    bad = share_of_positive("this is an awful film. i hated it. the plot is [MASK]. avoid it.")
    assert good > 0.6 > 0.4 > bad
