"""A masked language model asked for words, on the bundled pocket-bert."""

import numpy as np
import pytest
import torch

from lib.models.masked_lm import MaskedLM, load_masked_lm


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


def test_all_words_of_a_least_probability_are_those_that_the_best_words_begin_with(model):
    prompts = [["the", "plot", "was", None, "."], ["a", None, "film", "with", None, "."], ["the", None, "."]]
    best, likely = model.predict(prompts, k=100), model.predict_all(prompts, 0.01)
    fits = best.probabilities >= 0.01
    assert 4 < fits.sum() < fits.size
    expected = {(mask, best.words[mask, place]): best.probabilities[mask, place] for mask, place in np.argwhere(fits)}
    assert dict(zip(zip(likely.masks, likely.words, strict=True), likely.probabilities, strict=True)) == expected
    nothing = model.predict_all(prompts, 1.0)
    assert len(nothing.masks) == len(nothing.words) == len(nothing.probabilities) == 0


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
    from lib.models.pretrained import load_tokenizer, new_classifier

    new_classifier("pocket-bert", ("a", "b"), 0).save_pretrained(tmp_path)
    load_tokenizer("pocket-bert").save_pretrained(tmp_path)
    with pytest.raises(ValueError, match=r"has no masked-LM head.*masked_lm"):
        load_masked_lm(str(tmp_path))


def test_a_folder_without_a_tokenizer_is_no_language_of_unknown_words(tmp_path, model):
    model.model.save_pretrained(tmp_path)
    with pytest.raises(ValueError, match=r"has none of \['tokenizer.json'"):
        load_masked_lm(str(tmp_path))


def sentencepiece_tokenizer(normalizer=None):
    """A Unigram tokenizer that marks the pieces that begin a word with "▁", as those of XLM-R, ALBERT and T5 do."""
    from tokenizers import Tokenizer, models, pre_tokenizers
    from transformers import PreTrainedTokenizerFast

    names = ["<unk>", "<pad>", "<mask>", "▁", "▁film", "▁films", "▁Film", "film", "s", "▁,", ",", "▁a", "▁9"]
    tokenizer = Tokenizer(models.Unigram([(name, -float(i)) for i, name in enumerate(names)], unk_id=0))
    if normalizer is None:
        tokenizer.pre_tokenizer = pre_tokenizers.Metaspace()
    else:
        tokenizer.normalizer = normalizer
    return PreTrainedTokenizerFast(tokenizer_object=tokenizer, unk_token="<unk>", pad_token="<pad>", mask_token="<mask>")


def test_words_of_a_sentencepiece_vocabulary_are_the_pieces_that_begin_a_word():
    model = MaskedLM(torch.nn.Module(), sentencepiece_tokenizer())
    assert model.vocabulary == {4: "film", 5: "films", 6: "Film", 11: "a"}
    assert model.word_ids["film"] == 4  # not 7, the piece inside a word
    assert [model.pieces(word) for word in ("film", "filmfilm", ",")] == [[4], [4, 7], [9]]


def test_a_tokenizer_that_puts_a_blank_in_front_itself_gets_no_second_one():
    # As older conversions of SentencePiece models do; a blank of ours would become a piece of its own.
    from tokenizers import normalizers

    tokenizer = sentencepiece_tokenizer(normalizers.Sequence([normalizers.Prepend("▁"), normalizers.Replace(" ", "▁")]))
    model = MaskedLM(torch.nn.Module(), tokenizer)
    assert model.pieces("film") == [4]
    assert model.vocabulary == {4: "film", 5: "films", 6: "Film", 11: "a"}


def test_a_mark_that_is_only_a_character_of_the_vocabulary_marks_nothing():
    from transformers import BertTokenizerFast

    names = ["[PAD]", "[UNK]", "[CLS]", "[SEP]", "[MASK]", "film", "##film", "a", "Ġ", "▁"]
    tokenizer = BertTokenizerFast(vocab={name: i for i, name in enumerate(names)})
    assert MaskedLM(torch.nn.Module(), tokenizer).vocabulary == {5: "film", 7: "a"}


def test_in_bfloat16_it_says_nearly_the_same_in_float32_numbers(model):
    rough = load_masked_lm("pocket-bert", "bfloat16")
    prompts, texts = [["the", "film", "was", None, "."], ["i", None, "the", "plot"]], [["a", "fine", "film"]]
    exact, found = model.predict(prompts, 5), rough.predict(prompts, 5)
    assert found.probabilities.dtype == np.float32
    assert not np.array_equal(exact.probabilities, found.probabilities)
    np.testing.assert_allclose(found.probabilities, exact.probabilities, atol=0.02)  # bfloat16 has three digits
    vectors = rough.sentence_vectors(texts)
    assert vectors.dtype == np.float32 and (vectors * model.sentence_vectors(texts)).sum() > 0.999
    assert {weight.dtype for weight in rough.model.parameters()} == {torch.float32}
