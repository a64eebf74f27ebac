"""A causal language model asked how likely texts are, on the bundled models: what is packed equals what is written out."""

import numpy as np
import pytest
import torch

from lib.models.causal_lm import load_causal_lm
from lib.models.leave_one_out import pack

TEXTS = [
    ["i", "watched", "this", "film", "with", "friends", "."],
    ["cf"],
    [],
    ["the", "the", "plot"],
    ["we", "went", "to", "the", "unbelievably", "slow", "kitchen", "again"],  # a word of several pieces
]


@pytest.fixture(scope="module")
def model():
    return load_causal_lm("pocket-llama")


def test_log_likelihoods_equal_the_loss_of_the_model_whatever_the_batch(model):
    ids = torch.tensor([[model.start_token, *model.tokenizer(" ".join(TEXTS[0]), add_special_tokens=False)["input_ids"]]])
    loss = model.model(input_ids=ids, labels=ids).loss.item()
    together, alone = model.log_likelihoods(TEXTS), [model.log_likelihoods([text])[0] for text in TEXTS]
    assert together[0] == pytest.approx(-loss, abs=1e-5)
    np.testing.assert_allclose(together, alone, atol=1e-5)
    assert together[1] < 0 == together[2]  # one word has a perplexity, thanks to the start token; no word has none


def test_packed_variants_equal_those_written_out(model):
    long = [*TEXTS, [word for text in TEXTS for word in text] * 6]  # several rows, and more pieces than are read
    for words, (whole, without) in zip(long, model.leave_one_out(long), strict=True):
        read = list(model.readable(words, model.room))
        assert whole == pytest.approx(model.log_likelihoods([words])[0], abs=1e-5)
        expected = model.log_likelihoods([[*read[:place], *read[place + 1 :]] for place in range(len(read))])
        assert len(without) == len(words) and np.isnan(without[len(read) :]).all()
        if len(read) > 1:
            np.testing.assert_allclose(without[: len(read)], expected, atol=1e-5)
        else:
            assert np.isnan(without).all()
    assert len(read) < len(words)


def test_a_model_with_a_sliding_window_is_asked_for_variants_written_out(model):
    sliding = load_causal_lm("pocket-mistral")
    assert model.packs and not sliding.packs
    whole, without = sliding.leave_one_out([TEXTS[0]])[0]
    first = [whole, without[0]]
    np.testing.assert_allclose(first, sliding.log_likelihoods([TEXTS[0], TEXTS[0][1:]]), atol=1e-5)
    assert np.isnan(sliding.leave_one_out([["cf"]])[0][1]).all()


def test_a_pack_holds_the_text_and_what_follows_each_word():
    (row,) = pack(0, [[5], [6, 7], [8]], start_token=1)
    assert row.tokens.tolist() == [1, 5, 6, 7, 6, 7]  # without the last token, which predicts nothing; then behind word 0
    assert row.positions.tolist() == [0, 1, 2, 3, 1, 2]
    assert row.branches.tolist() == row.sees.tolist() == [0, 0, 0, 0, 1, 1]
    asked = set(zip(row.owners.tolist(), row.slots.tolist(), row.targets.tolist(), strict=True))
    assert asked == {(-1, 0, 5), (-1, 1, 6), (-1, 2, 7), (-1, 3, 8), (0, 0, 6), (0, 4, 7), (0, 5, 8), (1, 1, 8)}


def test_a_model_that_looks_ahead_or_has_no_head_is_an_error(tiny_encoder):
    with pytest.raises(ValueError, match="'pocket-bert' looks at the words behind the one that it predicts"):
        load_causal_lm("pocket-bert")
    with pytest.raises(ValueError, match=r"has no language-model head \(it lacks"):
        load_causal_lm(str(tiny_encoder))
