"""Token ids and logits: cut, padded, batched by length, and back in the order of the texts."""

import numpy as np
import pandas as pd
import pytest
import torch

from lib.metrics.scores import cross_entropy
from lib.models.prediction import encode, predict_logits, probabilities, tokenize
from lib.models.pretrained import load_tokenizer, new_classifier

TEXTS = ["the film was good .", "bad", "the plot was really really very awful and dull .", "a great song", "."]


@pytest.fixture(scope="module")
def tokenizer(tiny_encoder):
    return load_tokenizer(str(tiny_encoder))


@pytest.fixture(scope="module")
def model(tiny_encoder):
    return new_classifier(str(tiny_encoder), ("a", "b", "c"), 0)


def frame(texts=TEXTS, pairs=None):
    return pd.DataFrame({"text": texts} | ({"text_pair": pairs} if pairs else {}))


def test_texts_become_ids_between_the_marks_of_the_tokenizer(tokenizer):
    ids = tokenize(tokenizer, frame(["the film"]), 48)["input_ids"]
    assert tokenizer.convert_ids_to_tokens(ids[0]) == ["[CLS]", "the", "film", "[SEP]"]


def test_pairs_become_one_input_with_two_segments(tokenizer):
    encoded = tokenize(tokenizer, frame(["who ?"], ["the film"]), 48)
    assert tokenizer.convert_ids_to_tokens(encoded["input_ids"][0]) == ["[CLS]", "who", "?", "[SEP]", "the", "film", "[SEP]"]
    assert encoded["token_type_ids"][0] == [0, 0, 0, 0, 1, 1, 1]


@pytest.mark.parametrize("pairs", [None, ["film " * 600]])
def test_long_texts_are_cut(tokenizer, pairs):
    assert len(tokenize(tokenizer, frame(["the film " * 300], pairs), 10)["input_ids"][0]) == 10


def test_batches_are_of_similar_length_and_hold_every_text_once(tokenizer):
    encoded = encode(tokenizer, frame(), 48, batch_size=2)
    lengths = [batch["attention_mask"].sum(dim=1).tolist() for batch in encoded.batches]
    assert lengths == [[3, 3], [5, 7], [12]]  # words and two marks; "bad" and "." are the shortest
    assert [batch["input_ids"].shape[1] for batch in encoded.batches] == [3, 7, 12]  # padded to the longest of the batch
    assert encoded.order.tolist() == [1, 4, 3, 0, 2]
    assert len(encoded) == 5


def test_logits_are_those_of_each_text_alone_in_the_order_of_the_frame(tokenizer, model):
    logits = predict_logits(model, encode(tokenizer, frame(), 48, batch_size=2))
    with torch.inference_mode():
        alone = [model.eval()(**tokenizer(text, return_tensors="pt")).logits[0].numpy() for text in TEXTS]
    assert logits.dtype == np.float32
    np.testing.assert_allclose(logits, np.stack(alone), atol=1e-5)  # padding changes the order of float32 sums


def test_logits_do_not_depend_on_the_size_of_the_batches(tokenizer, model):
    one, all_together = (predict_logits(model, encode(tokenizer, frame(), 48, n)) for n in (1, 64))
    np.testing.assert_allclose(one, all_together, atol=1e-5)


def test_dropout_is_off_even_if_the_model_was_training(tokenizer, model):
    for module in model.modules():
        if isinstance(module, torch.nn.Dropout):
            module.p = 0.5
    encoded = encode(tokenizer, frame(), 48)
    expected = predict_logits(model, encoded)
    model.train()
    np.testing.assert_array_equal(predict_logits(model, encoded), expected)


def test_cross_entropy_worked_out_by_hand():
    logits = np.log(np.array([[0.5, 0.25, 0.25], [0.1, 0.8, 0.1]], dtype=np.float32))
    assert cross_entropy(logits, [0, 2]) == pytest.approx((np.log(2) + np.log(10)) / 2, rel=1e-6)


def test_probabilities_worked_out_by_hand():
    logits = np.array([[0.0, np.log(3)], [1000.0, 1000.0]], dtype=np.float32)
    np.testing.assert_allclose(probabilities(logits), [[0.25, 0.75], [0.5, 0.5]], rtol=1e-6)
