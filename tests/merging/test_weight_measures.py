"""What weights say about which model is not like the others: numbers worked out by hand, whatever the parts."""

import math

import pytest
import torch

from lib.merging import engine
from lib.merging.screening import WeightMeasures, measure_weights, unseen_moves, word_embeddings
from lib.merging.sources import as_sources

WORDS = "bert.embeddings.word_embeddings.weight"
START = {WORDS: torch.tensor([[3.0, 4.0], [0.0, 5.0], [5.0, 0.0]]), "layer.weight": torch.zeros(1, 2)}
# Task vectors, words and layer: b and d have one direction, a and c each another one.
VECTORS = [
    ([[0.0, 1.0], [0.0, 0.0], [0.0, 0.0]], [[0.0, 0.0]]),
    ([[0.0, 0.0], [0.0, 0.0], [0.0, 0.0]], [[1.0, 0.0]]),
    ([[0.0, 0.0], [0.0, 10.0], [0.0, 0.0]], [[0.0, 0.0]]),
    ([[0.0, 0.0], [0.0, 0.0], [0.0, 0.0]], [[2.0, 0.0]]),
]
MODELS = [
    {WORDS: START[WORDS] + torch.tensor(words), "layer.weight": torch.tensor(layer), "head.bias": torch.tensor([float(i)])}
    for i, (words, layer) in enumerate(VECTORS)
]


def sources(models=MODELS):
    return as_sources(models, ["a", "b", "c", "d"][: len(models)])


def start(model=START):
    return as_sources([model], ["the start"])[0]


@pytest.mark.parametrize("entries", [1 << 18, 2])
def test_one_pass_gives_cosines_row_norms_and_moves_whatever_the_parts(entries, monkeypatch):
    monkeypatch.setattr(engine, "PART_ENTRIES", entries)
    found = measure_weights(sources(), WORDS, start())
    assert found.mean_cosines() == pytest.approx([0.0, 1 / 3, 0.0, 1 / 3])
    assert found.row_moves.tolist() == [[0.2, 0, 0], [0, 0, 0], [0, 2.0, 0], [0, 0, 0]]  # a pretrained row has length 5
    assert found.row_norms[2].tolist() == [5.0, 15.0, 5.0]
    assert found.largest_rows() == pytest.approx([math.sqrt(34) / 5, 1.0, 3.0, 1.0])


def test_without_pretrained_model_there_are_row_norms_and_nothing_else():
    found = measure_weights(sources(), WORDS)
    assert found.largest_rows() == measure_weights(sources(), WORDS, start()).largest_rows()
    assert found.gram is None and found.row_moves is None
    with pytest.raises(ValueError, match="cosines of task vectors need the pretrained model"):
        found.mean_cosines()


def test_a_tied_tensor_counts_once_and_a_head_that_the_start_lacks_not_at_all():
    tied = [model | {"lm_head.weight": model[WORDS]} for model in MODELS]
    found = measure_weights(sources(tied), WORDS, start(START | {"lm_head.weight": START[WORDS]}), {"lm_head.weight": WORDS})
    assert torch.equal(found.gram, measure_weights(sources(), WORDS, start()).gram)
    assert found.gram.diagonal().tolist() == [1.0, 1.0, 100.0, 4.0]


def test_the_audit_names_the_rows_that_moved_and_are_in_no_text():
    moves = torch.tensor([[0.9, 0.1, 0.0, 0.3], [0.8, 0.0, 0.0, 0.0]])
    assert unseen_moves(moves, seen={0}) == (pytest.approx([0.3, 0.0]), [[3, 1], []])
    assert unseen_moves(moves, seen={0}, n=1)[1] == [[3], []]
    values, rows = unseen_moves(moves, seen=range(4))
    assert all(math.isnan(value) for value in values) and rows == [[], []]


@pytest.mark.parametrize("given", [start(), None])
def test_a_value_that_is_not_finite_names_the_model(given):
    damaged = [dict(model) for model in MODELS]
    damaged[2][WORDS] = damaged[2][WORDS] * math.nan
    with pytest.raises(ValueError, match=r"^c has values that are not finite; it cannot be screened"):
        measure_weights(sources(damaged), WORDS, given)


def test_a_pretrained_model_that_cannot_be_compared_with_is_named():
    with pytest.raises(ValueError, match="the start has values that are not finite"):
        measure_weights(sources(), WORDS, start(START | {"layer.weight": torch.full((1, 2), math.inf)}))
    with pytest.raises(ValueError, match=r"the start: more than half of the rows of .* are 0"):
        measure_weights(sources(), WORDS, start(START | {WORDS: torch.zeros(3, 2)}))


def test_word_embeddings_are_the_matrix_with_a_row_per_word():
    shapes = {"m.position_embeddings.weight": (3, 2), "lm_head.weight": (7, 2), WORDS: (7, 2), "m.LayerNorm.weight": (7,)}
    [model] = as_sources([{name: torch.zeros(shape) for name, shape in shapes.items()}], ["m"])
    assert word_embeddings(model, 7) == WORDS
    with pytest.raises(ValueError, match=r"m has no embeddings of 8 words; found \{'m.position_embeddings.weight': \[3, 2\]"):
        word_embeddings(model, 8)


def test_rows_of_no_length_are_no_outliers():
    assert WeightMeasures(torch.zeros(2, 3)).largest_rows() == [0.0, 0.0]
    assert WeightMeasures(torch.tensor([[0.0, 0.0, 1.0]])).largest_rows() == [math.inf]
