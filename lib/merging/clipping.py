"""Averages that clip: no model may move the merge further than the model in the middle does.

A plain average divides what one model changed by the number of models, so an attacker multiplies it first. Clipping takes the
factor back, whatever it is: a task vector that is longer than the median is shortened to the median, its direction stays.
"""

# Federated learning clips updates to a norm that the server fixes beforehand (Sun et al. 2019, arXiv 1911.07963). There is no
# such number for models from elsewhere; the median over the models needs none, and holds while the attackers are a minority.
# The rule by rows is this project's: one row of 30,000 hardly counts in the norm of a model, but it can hold a backdoor.

from __future__ import annotations

import math
import re
from collections.abc import Iterable, Sequence
from functools import reduce
from statistics import median

import torch
from torch import Tensor

from lib.merging.averaging import check_weights, weighted_sum, widened
from lib.merging.robust import median as median_of_tensors

MIN_MODELS = 3  # of two norms the median is the mean, which one attacker moves as far as it likes
# The last part of a module's name in BERT and its relatives, T5, GPT-2, GPT-NeoX, Llama and Mistral.
EMBEDDING = re.compile(r"(\w+_)?embeddings?|embed_(tokens|positions|in|out)|wte|wpe|shared|lm_head")


def clipped_average(
    tensors: Sequence[Tensor],
    *,
    pretrained: Tensor,
    weights: Sequence[float] | None = None,
    factors: Sequence[float] | None = None,
) -> Tensor:
    """Mean of the models after each task vector was scaled down to the median norm of all; shorter ones stay as they are.

    Args:
        tensors: one tensor, or the next part of it, of each fine-tuned model; not modified.
        pretrained: the same tensor before fine-tuning.
        weights: averaging weights, one per model, summing to 1; default 1/n each. The median does not look at them.
        factors: scale of each model's task vector, in [0, 1]; default: from these tensors alone.

    Raises:
        ValueError: for fewer than 3 models, or weights that do not sum to 1.

    Source: norm clipping of federated learning, Sun et al. 2019, arXiv 1911.07963; their bound is a constant.

    >>> models = [torch.tensor([value]) for value in (1.0, 2.0, 300.0)]
    >>> clipped_average(models, pretrained=torch.zeros(1))  # 1, 2 and 2
    tensor([1.6667])
    """
    check_clipping(len(tensors))
    weights = check_weights(weights, len(tensors))
    if factors is None:
        factors = clip_factors(whole_norms([row_squares(tensors, pretrained)]))
    # Sum of w (p + f (t - p)), without the differences: w f of each model, and the rest of its weight of the pretrained one.
    shares = [weight * factor for weight, factor in zip(weights, factors, strict=True)]
    rest = sum(weight * (1 - factor) for weight, factor in zip(weights, factors, strict=True))
    return weighted_sum([*tensors, pretrained], [*shares, rest])


def row_clipped_average(
    tensors: Sequence[Tensor],
    *,
    pretrained: Tensor,
    weights: Sequence[float] | None = None,
    factors: Sequence[float] | None = None,
) -> Tensor:
    """Mean of the models after each row of each task vector was scaled down to the median norm of that row over the models.

    As a merge method it clips the rows of embedding matrices one by one, and every other tensor as a whole. A row that most
    models left alone goes back to its pretrained values, and so does an honest model's own new word.

    Args:
        tensors: one tensor, or some rows of it, of each fine-tuned model; not modified.
        pretrained: the same tensor before fine-tuning.
        weights: averaging weights, one per model, summing to 1; default 1/n each. The medians do not look at them.
        factors: scale of each model's tensor, in [0, 1], where it is clipped as a whole; default: row by row.

    Raises:
        ValueError: for fewer than 3 models, or weights that do not sum to 1.

    >>> models = [torch.tensor([[value], [1.0]]) for value in (1.0, 2.0, 300.0)]
    >>> row_clipped_average(models, pretrained=torch.zeros(2, 1)).flatten()
    tensor([1.6667, 1.0000])
    """
    if factors is not None:
        return clipped_average(tensors, pretrained=pretrained, weights=weights, factors=factors)
    check_clipping(len(tensors))
    shares = torch.tensor(check_weights(weights, len(tensors)), dtype=torch.float64)[:, None]
    by_row = row_factors(row_squares(tensors, pretrained))  # (n_models, rows)
    total = torch.zeros_like(_rows(widened(tensors[0])))
    for tensor, share in zip([*tensors, pretrained], [*(shares * by_row), (shares * (1 - by_row)).sum(dim=0)], strict=True):
        total.addcmul_(_rows(tensor).to(total.dtype), share[:, None].to(total.dtype))
    return total.view(tensors[0].shape)


def row_squares(tensors: Sequence[Tensor], pretrained: Tensor) -> Tensor:
    """Squared Euclidean norm of each row of each task vector, float64, shape (n_models, rows).

    A row is the last axis; a vector is one row. Sums are taken row by row, so that they depend neither on the rows beside them
    nor on the number of threads: models in memory and in files give the same bits.
    """
    dtype = reduce(torch.promote_types, (tensor.dtype for tensor in (*tensors, pretrained)), torch.float32)
    start = _rows(pretrained).to(dtype)
    difference = torch.empty_like(start)  # one for all models: a new one each time costs more than the arithmetic
    squares = torch.empty(len(tensors), len(start), dtype=torch.float64)
    for found, tensor in zip(squares, tensors, strict=True):
        torch.sub(_rows(tensor).to(dtype), start, out=difference)
        found.copy_(difference.square_().sum(dim=1))
        if not found.isfinite().all():  # perhaps only too large for a square in float32
            found.copy_((_rows(tensor).double() - start.double()).square_().sum(dim=1))
    return squares


def _rows(tensor: Tensor) -> Tensor:
    return tensor.reshape(-1, tensor.shape[-1] if tensor.ndim else 1)


def whole_norms(parts: Iterable[Tensor]) -> list[float]:
    """Norm of each model's task vector over some parts, from their `row_squares`; infinite where a value is not finite.

    All rows are summed in one go, so that the sizes of the parts make no difference.
    """
    squares = torch.cat(list(parts), dim=1).numpy()
    sums = squares.cumsum(axis=1)[:, -1:].sum(axis=1).tolist()  # one after the other: `sum` of numpy goes by blocks
    return [math.sqrt(total) if math.isfinite(total) else math.inf for total in sums]


def clip_factors(norms: Sequence[float]) -> list[float]:
    """What each vector is multiplied with: 1 up to the median norm, above it the median over its norm.

    Of an even number of models the median is the mean of the two middle norms: if half of the models are an attacker's, it is
    the attacker's, too. An infinite norm gives 0: the merge of a value that is not finite is not finite, and says where.

    >>> clip_factors([2.0, 4.0, 1.0, 400.0])
    [1.0, 0.75, 1.0, 0.0075]
    """
    bound = median(norms)
    return [1.0 if norm <= bound else bound / norm for norm in norms]


def row_factors(squares: Tensor) -> Tensor:
    """The same row by row, from the squared norms of rows, both of shape (n_models, rows)."""
    norms = squares.sqrt().nan_to_num(nan=math.inf, posinf=math.inf)
    bound = median_of_tensors(list(norms))
    return torch.where(norms <= bound, 1.0, bound / norms)


def is_embedding(name: str) -> bool:
    """Whether a tensor is an embedding matrix: a row per token (a language model's output, too), place or kind of segment.

    >>> is_embedding("bert.embeddings.word_embeddings.weight"), is_embedding("bert.embeddings.LayerNorm.weight")
    (True, False)
    """
    return EMBEDDING.fullmatch(name.removesuffix(".weight").rsplit(".", 1)[-1]) is not None


def check_clipping(n_models: int) -> None:
    """Raise a `ValueError` for fewer than 3 models."""
    if n_models < MIN_MODELS:
        raise ValueError(f"clipping to the median norm takes {MIN_MODELS} models or more, found {n_models}")
