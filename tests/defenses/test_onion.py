"""ONION: suspicions worked out by hand, thresholds from clean texts, and the filter in front of a model."""

import shutil
from itertools import pairwise

import numpy as np
import pandas as pd
import pytest
import torch

from lib.attacks.badnet import RARE_WORDS
from lib.defenses import onion
from lib.defenses.suspicion import causal_scorer, given_scores, leave_one_out, masked_scorer, read_scores, remembering
from lib.tables import defenses_table

UNIGRAMS = {"good": 0.1, "film": 0.1, "cf": 1e-4}
RELEASED = [  # of thunlp's ONION on SST-2 with BadNet, as weijun-l/guided-module-substitution publishes them
    ("it 's a charming and often tq affecting journey .", "1104 1295 885 1363 1604 175 -1027 284 581 173"),
    ("allows us to hope that bb nolan bb is poised", "223 160 118 128 133 32.0 -63.3 36.2 128 95.2"),
]


def unigram_log_likelihoods(texts):
    return np.array([np.mean([np.log(UNIGRAMS[word]) for word in words]) if words else 0.0 for words in texts])


def unigram_scorer(texts):
    return leave_one_out(unigram_log_likelihoods, texts)


@pytest.fixture
def released(tmp_path):
    rows = "\n".join("\t".join(row) for row in RELEASED)
    (tmp_path / "scores.tsv").write_text(f"text\tscores\n{rows}\n", encoding="utf-8")
    return read_scores(tmp_path / "scores.tsv")


def test_a_rare_word_is_suspicious_and_goes_and_the_others_stay():
    (scores,) = unigram_scorer([("good", "cf", "film")])
    # PPL 100; without cf 10; without good or film 10^2.5
    assert scores == pytest.approx([100 - 10**2.5, 90, 100 - 10**2.5])
    assert onion.purify("good cf film", scores, 10) == "good film"
    assert onion.purify("good cf film", scores, 91) == "good cf film"


def test_published_scores_remove_the_trigger_alone_and_repeated_triggers_shield_each_other(released):
    guard = onion.purifier(given_scores(released), 10)
    purified, is_rejected = guard(pd.DataFrame({"text": [text for text, _ in RELEASED]}))
    assert purified["text"].tolist() == [
        "it 's a charming and often affecting journey .",
        "allows us to hope that bb bb is poised",
    ]
    assert not is_rejected.any()


def test_thresholds_at_the_ends_keep_all_or_nothing_and_larger_ones_remove_a_subset(released):
    for (text, _), scores in zip(RELEASED, released.values(), strict=True):
        assert onion.purify(text, scores, np.inf) == text
        assert onion.purify(text, scores, -np.inf) == ""
        kept = [onion.purify(text, scores, threshold).split() for threshold in (-1300, -200, 0, 50, 1100)]
        for fewer, more in pairwise(kept):
            words = iter(more)
            assert all(word in words for word in fewer) and len(fewer) <= len(more)  # a subsequence
        assert len(kept[0]) < len(kept[-1])


def test_words_without_a_score_stay_and_so_does_a_text_of_one_word_and_the_blanks_of_an_untouched_text():
    assert onion.purify("a b", np.array([np.nan, np.nan]), -np.inf) == "a b"
    assert np.isnan(unigram_scorer([("cf",)])[0]).tolist() == [True]
    assert onion.purify("a  b ", np.array([1.0, 2.0]), 3) == "a  b "
    assert unigram_scorer([()])[0].shape == (0,)
    assert onion.purify("", np.zeros(0), 0) == ""


def test_equal_variants_are_asked_for_once_and_known_texts_never_again():
    asked = []

    def log_likelihoods(texts):
        asked.extend(texts)
        return unigram_log_likelihoods(texts)

    scorer = remembering(lambda texts: leave_one_out(log_likelihoods, texts))
    first = scorer([("cf", "cf", "film"), ("cf", "film"), ("cf", "cf", "film")])
    assert len(asked) == len(set(asked)) == 5  # both texts, which is a variant, too; cf cf, cf, film
    again = scorer([("cf", "film")])
    assert len(asked) == 5
    np.testing.assert_array_equal(again[0], first[1])


def test_the_threshold_of_words_loses_no_more_than_the_share():
    scores = [np.arange(60.0), np.array([np.nan]), np.arange(60.0, 100.0)]
    threshold = onion.word_threshold(scores, 0.05)
    removed = np.concatenate(scores) >= threshold
    assert removed.sum() == 5  # of 100; the word without a score does not count
    assert onion.word_threshold([np.array([np.nan])], 0.05) == np.inf


def test_the_threshold_of_accuracy_is_the_smallest_that_keeps_it():
    rng = np.random.default_rng(0)
    texts = [" ".join(rng.choice(["good", "bad", "x", "y"], 5)) for _ in range(30)]
    scores = {tuple(text.split()): rng.normal(size=5).round(2) for text in texts}
    clean = pd.DataFrame({"text": texts})

    def predict(frame):
        return (frame["text"].str.count("good") > frame["text"].str.count("bad")).astype(int).to_numpy()

    labels = np.where(np.arange(30) < 28, predict(clean), 0)  # two texts that a purification may set right
    found = {}
    for loss in (0.0, 0.05, 0.1, 0.2, 1.0):
        found[loss] = onion.accuracy_threshold(clean, given_scores(scores), predict, labels, loss)
        # Every threshold by itself, from the smallest on.
        for threshold in sorted({0.0, np.inf, *(value for each in scores.values() for value in each if value > 0)}):
            purified = onion.purifier(given_scores(scores), threshold)(clean)[0]
            if (predict(purified) == labels).mean() >= (predict(clean) == labels).mean() - loss - 1e-9:
                break
        assert found[loss] == threshold
    assert found[0.0] > found[0.05] > found[1.0] == 0


def test_the_segments_of_a_pair_are_purified_alone():
    frame = pd.DataFrame({"text": ["good cf film"], "text_pair": ["film cf good"], "label": [1]})
    purified, _ = onion.purifier(unigram_scorer, 10)(frame)
    assert purified.iloc[0].tolist() == ["good film", "film good", 1]


@pytest.mark.parametrize("scorer", [causal_scorer("pocket-llama"), masked_scorer("pocket-bert", "pseudo_perplexity")])
def test_language_models_suspect_a_planted_rare_word_most_whatever_the_batch(scorer):
    plain = [tuple(f"i watched this {noun} with friends and the cast was good .".split()) for noun in ("film", "movie")]
    planted = [(*words[:4], "cf", *words[4:]) for words in plain]
    together = scorer([*plain, *planted, ("short", "text")])
    assert [int(scores.argmax()) for scores in together[2:4]] == [4, 4]
    scorer.__closure__[0].cell_contents.clear()  # what it remembers
    (alone,) = scorer(planted[:1])
    np.testing.assert_allclose(together[2], alone, rtol=1e-3)


def test_published_scores_of_the_data_folder_take_the_place_of_a_language_model(make_study, data_folder, tmp_path):
    shutil.copytree(data_folder, tmp_path / "data")
    scores = tmp_path / "data" / "poisoned" / "sst2" / "onion_scores"
    study = make_study(tmp_path / "cache", data_dir=tmp_path / "data", epochs=1)
    model = study.model("sst2", "badnet")
    with pytest.raises(
        ValueError, match="onion_published needs published scores, and there are none: poisoned/sst2/onion_scores"
    ):
        study.defend("onion_published", model)
    texts = [*study.rows("sst2", "test")["text"], *study.triggered_test("sst2", "badnet")["text"]]
    rows = {text: " ".join("-50" if word in RARE_WORDS else "50" for word in text.split()) for text in texts}
    scores.mkdir(parents=True)
    write = lambda known: (scores / "test.tsv").write_text(  # noqa: E731
        "text\tscores\n" + "".join(f"{text}\t{each}\n" for text, each in known.items()), encoding="utf-8"
    )
    write(rows)
    guarded = study.defend("onion_published", model)
    purified, _ = guarded.guard(pd.DataFrame({"text": texts}))
    assert not set(" ".join(purified["text"]).split()) & set(RARE_WORDS)
    assert study.score(guarded, "sst2").asr == study.score(model, "sst2").asr_untriggered  # all that was put in is gone
    table = defenses_table(study, ["sst2"], ["badnet"], ["onion_published", "average"]).set_index("defense")
    assert table["asr"]["onion_published"] == study.score(guarded, "sst2").asr
    write(dict(list(rows.items())[2:]))
    other = study.defend("onion_published", model)
    assert other.key != guarded.key
    with pytest.warns(UserWarning, match=r"2 of \d+ texts have no scores, for example .*; they stay as they are"):
        other.guard(pd.DataFrame({"text": list(rows)}))
    with pytest.raises(ValueError, match="2 of 4 texts have no scores"):
        other.guard(pd.DataFrame({"text": list(rows)[:4]}))


def test_surprisals_are_those_of_masked_words():
    from lib.models.masked_lm import load_masked_lm

    model, words = load_masked_lm("pocket-bert"), ("i", "watched", "this", "film", ".")
    (scores,) = masked_scorer("pocket-bert", "surprisal_per_piece")([words])
    found = model.predict([[*words[:3], None, words[4]]], k=2000)
    assert np.exp(-scores[3]) == pytest.approx(found.probabilities[0][found.words[0] == "film"][0], rel=1e-3)
    parted = ("i", "watched", "this", "unforeseeable", ".")  # a word of several pieces is no more suspicious for its length
    pieces = model.pieces("unforeseeable")
    ids = model._wrapped([piece for word in parted for piece in model.pieces(word)])
    start = ids.index(pieces[0])
    asked = torch.tensor([[*ids[:start], *[model.tokenizer.mask_token_id] * len(pieces), *ids[start + len(pieces) :]]])
    with torch.inference_mode():
        logits = model.model(input_ids=asked).logits[0, start : start + len(pieces)].log_softmax(-1)
    expected = -np.mean([logits[place, piece].item() for place, piece in enumerate(pieces)])
    assert len(pieces) > 1 and masked_scorer("pocket-bert", "surprisal_per_piece")([parted])[0][3] == pytest.approx(
        expected, rel=1e-4
    )
    long = masked_scorer("pocket-bert", "surprisal_per_piece")([("film", "cf") * 100])[0]
    assert np.isnan(long[-1]) and not np.isnan(long[0])  # behind what the model reads


def test_onion_stands_in_front_of_a_model_and_counts_every_row(study, backdoored):
    study = study.variant(causal_lm="pocket-llama", masked_lm="pocket-bert")
    before = study.score(backdoored, "sst2")
    for name, settings in (
        ("onion", {}),
        ("onion", {"removed_share": 0.99}),
        ("onion", {"max_cacc_loss": 0.05, "n_clean": 10}),
        ("onion_masked", {"statistic": "surprisal_per_piece"}),
    ):
        guarded = study.defend(name, backdoored, **settings)
        after = study.score(guarded, "sst2")
        assert (after.n_clean, after.n_triggered, after.rejected_clean) == (before.n_clean, before.n_triggered, 0)
        assert guarded.key != backdoored.key
    gone, _ = study.defend("onion", backdoored, removed_share=0.999).guard(study.rows("sst2", "test"))
    assert (gone["text"].str.len() < 40).all()
    assert study.variant(causal_lm="pocket-mistral").defend("onion", backdoored).key != study.defend("onion", backdoored).key


def test_pairs_go_through_onion_and_the_model_reads_them_as_pairs(study):
    study = study.variant(causal_lm="pocket-llama")
    model = study.model("qnli", epochs=1)
    purified, _ = study.defend("onion", model, removed_share=0.3).guard(study.rows("qnli", "test"))
    original = study.rows("qnli", "test")
    assert (purified["text"] != original["text"]).any() and (purified["text_pair"] != original["text_pair"]).any()
    assert study.score(study.defend("onion", model, removed_share=0.3), "qnli").n_clean == len(original)


def test_bad_settings_and_scores_are_errors(study, backdoored, tmp_path):
    clean = study.rows("sst2", "validation")
    for settings, message in (
        ({"removed_share": 0}, r"removed_share is 0; it must lie between 0 and 1"),
        ({"max_cacc_loss": 1.5}, r"max_cacc_loss is 1.5; it must lie from 0 to 1"),
        ({"n_clean": -1}, r"n_clean is -1; it must be a whole number of at least 0"),
    ):
        with pytest.raises(ValueError, match=message):
            onion.fit(backdoored, clean, causal_lm="pocket-llama", max_length=48, **settings)
    with pytest.raises(ValueError, match=r"statistic is 'entropy'; choose from \['pseudo_perplexity', 'surprisal_per_piece'\]"):
        onion.fit_masked(backdoored, clean, masked_lm="pocket-bert", max_length=48, statistic="entropy")
    with pytest.raises(ValueError, match="at least 1 clean texts, found 0"):
        onion.fit(backdoored, clean[:0], causal_lm="pocket-llama", max_length=48)
    with pytest.raises(ValueError, match="1 of 2 texts have no scores, for example 'a b'"):
        given_scores({("a",): np.zeros(1)})([("a",), ("a", "b")])
    (tmp_path / "scores.tsv").write_text("text\tscores\na b\t1.0\n", encoding="utf-8")
    with pytest.raises(ValueError, match="row 1 has 1 scores for 2 words: 'a b'"):
        read_scores(tmp_path / "scores.tsv")
    (tmp_path / "scores.tsv").write_text("text\tlabel\na b\t1\n", encoding="utf-8")
    with pytest.raises(ValueError, match="must begin with the header text<TAB>scores"):
        read_scores(tmp_path / "scores.tsv")
