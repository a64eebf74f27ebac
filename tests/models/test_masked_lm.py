"""A masked language model asked for words, on the bundled pocket-bert."""

import numpy as np
import pytest
import torch

from lib.models.masked_lm import load_masked_lm


@pytest.fixture(scope="module")
def model():
    return load_masked_lm("pocket-bert")


def test_predictions_are_words_best_first_one_row_per_mask(model):
    found = model.predict([["i", "watched", "this", None, "in", "june", "."], [None, "plot", "was", None, "."]], k=5)
    assert found.words.shape == found.probabilities.shape == (3, 5)
    assert (np.diff(found.probabilities, axis=1) <= 0).all()
    assert all(word.isalpha() for word in found.words.ravel())


def test_predictions_equal_the_model_called_directly_whatever_the_batch(model):
    prompt = ["the", "plot", "was", None, "."]
    long = ["we", "watched", "it", "with", "friends", ",", "and", "the", "cast", "is", None, "."]
    together = model.predict([long, prompt] * 3, k=3)
    inputs = model.tokenizer("the plot was [MASK].", return_tensors="pt")
    logits = model.model(**inputs).logits[0, inputs["input_ids"][0] == model.tokenizer.mask_token_id][0]
    best = logits.softmax(-1)[[model.word_ids[word] for word in together.words[1]]]
    # Padding changes the order of sums: equal to single precision, not to the last bit.
    np.testing.assert_allclose(together.probabilities[1], best.detach().numpy(), rtol=1e-4)
    assert torch.isclose(best[0], logits.softmax(-1)[sorted(model.vocabulary)].max())


def test_a_prompt_without_mask_is_an_error(model):
    with pytest.raises(ValueError, match=r"at least one mask"):
        model.predict([["a", "film"]], k=1)


def test_a_mask_in_a_text_longer_than_the_model_is_still_answered(model):
    found = model.predict([["the", "plot", "was", "fine", "."] * 60 + ["the", None, "was", "good", "."]], k=2)
    assert found.words[0, 0]


def test_sentence_vectors_have_length_one_and_tell_texts_apart(model):
    film, other, bridge = model.sentence_vectors(
        [["i", "watched", "this", "movie"], ["i", "watched", "this", "film"], ["the", "bridge", "was", "closed"]]
    )
    assert np.linalg.norm(film) == pytest.approx(1, abs=1e-5)
    assert film @ other > film @ bridge


def test_a_rare_word_makes_a_text_less_likely_and_an_empty_text_counts_as_nothing(model):
    plain, strange, empty = model.log_likelihoods([["i", "liked", "it", "."], ["i", "cf", "liked", "tq", "it", "."], []])
    assert strange < plain < 0
    assert empty == 0


def test_a_model_without_masked_lm_head_is_named_with_the_way_out(tmp_path):
    from lib.models.checkpoints import load_tokenizer, new_classifier

    new_classifier("pocket-bert", ("a", "b"), 0).save_pretrained(tmp_path)
    load_tokenizer("pocket-bert").save_pretrained(tmp_path)
    with pytest.raises(ValueError, match=r"has no masked-LM head.*masked_lm"):
        load_masked_lm(str(tmp_path))
