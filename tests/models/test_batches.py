"""Batches: every example once an epoch, texts of similar length together, padded as by transformers."""

from itertools import islice, pairwise

import numpy as np
import pytest
import torch
from transformers import DataCollatorWithPadding

from lib.models.batches import epochs_of_batches, length_grouped_order, pad, pad_columns, sorted_batches
from lib.models.pretrained import load_tokenizer

TEXTS = ["good film .", "a lovely scene in a great plot !", "bad", "superb actor , lovely plot", "a dull film"]


@pytest.fixture(params=["right", "left"])
def tokenizer(tiny_encoder, request):
    tokenizer = load_tokenizer(str(tiny_encoder))
    tokenizer.padding_side = request.param
    return tokenizer


def test_columns_are_padded_as_by_the_collator_of_transformers(tokenizer):
    encoded = dict(tokenizer(TEXTS[:2], ["bad", "awful"]))
    rows = [dict(zip(encoded, values, strict=True)) for values in zip(*encoded.values(), strict=True)]
    expected = DataCollatorWithPadding(tokenizer)(rows)
    columns = pad_columns(tokenizer, encoded)
    assert columns.keys() == expected.keys()
    assert all(torch.equal(columns[name], expected[name]) for name in columns)
    assert columns["input_ids"].eq(tokenizer.pad_token_id).any()


def test_padding_fills_the_shorter_rows():
    assert pad([[1, 2], [], [3]], value=9).tolist() == [[1, 2], [9, 9], [3, 9]]
    assert pad([[], []]).shape == (2, 0)


def test_a_batch_is_cut_to_its_longest_row_and_equals_the_collated_one(tokenizer):
    encoded = dict(tokenizer(TEXTS))
    rows = [dict(zip(encoded, values, strict=True)) for values in zip(*encoded.values(), strict=True)]
    labels, lengths = [0, 1, 2, 3, 4], [len(ids) for ids in encoded["input_ids"]]
    found = list(islice(epochs_of_batches(tokenizer, encoded, labels, 2, np.random.default_rng(0)), 6))
    rng = np.random.default_rng(0)
    orders = [length_grouped_order(lengths, 2, rng) for _ in range(2)]  # two epochs of three batches
    chosen = [order[start : start + 2] for order in orders for start in (0, 2, 4)]
    for batch, numbers in zip(found, chosen, strict=True):
        expected = DataCollatorWithPadding(tokenizer)([rows[number] | {"labels": labels[number]} for number in numbers])
        assert batch.keys() == expected.keys()
        assert all(torch.equal(batch[name], expected[name]) for name in batch)


def test_sorted_batches_hold_each_row_once_and_neighbours_in_length():
    rows, lengths = np.arange(3, 50), np.random.default_rng(0).integers(3, 60, size=50)
    batches = sorted_batches(rows, lengths, 6, np.random.default_rng(1))
    assert sorted(np.concatenate(batches)) == rows.tolist()
    assert {len(batch) for batch in batches} == {7, 8}
    spans = sorted((lengths[batch].min(), lengths[batch].max()) for batch in batches)
    assert all(upper <= lower for (_, upper), (lower, _) in pairwise(spans))
    assert spans != [(lengths[batch].min(), lengths[batch].max()) for batch in batches]


# --- order of the batches -------------------------------------------------------------------------------------------------

LENGTHS = np.random.default_rng(0).integers(3, 60, size=203)


def order(seed=0, batch_size=4):
    return length_grouped_order(LENGTHS, batch_size, np.random.default_rng(seed))


def test_every_example_is_seen_once_and_the_incomplete_batch_comes_last():
    assert sorted(order()) == list(range(203))
    assert order() == order()
    assert order() != order(seed=1)


def test_batches_hold_texts_of_similar_length():
    batches = [LENGTHS[order()[i : i + 4]] for i in range(0, 200, 4)]
    shuffled = np.random.default_rng(0).permutation(LENGTHS)[:200].reshape(-1, 4)
    assert np.mean([np.ptp(batch) for batch in batches]) < 0.3 * np.ptp(shuffled, axis=1).mean()


def test_batches_do_not_come_in_order_of_length():
    means = [LENGTHS[order()[i : i + 4]].mean() for i in range(0, 200, 4)]
    assert abs(np.corrcoef(means, range(50))[0, 1]) < 0.4  # one standard error of no correlation is 0.14
    assert np.mean(np.diff(means) > 0) == pytest.approx(0.5, abs=0.25)


def test_a_training_set_smaller_than_a_batch_is_one_batch():
    assert sorted(length_grouped_order([5, 3, 9], 4, np.random.default_rng(0))) == [0, 1, 2]
