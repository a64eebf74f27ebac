"""What the weights of several models say about which of them is not like the others: one pass over the files."""

from __future__ import annotations

import math
from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass, field

import torch
from torch import Tensor

from lib.merging.clipping import is_embedding, row_squares
from lib.merging.engine import Merge
from lib.merging.inner_products import cosines, inner_products
from lib.merging.sources import ModelSource

OUTPUT = "lm_head"  # rows per token, too, but no text goes in through it


@dataclass(frozen=True)
class WeightMeasures:
    """What a screen needs of the weights of n models; `rows` are those of the word embeddings."""

    row_norms: Tensor  # (n, rows), Euclidean
    gram: Tensor | None = None  # (n, n), inner products of the task vectors; None without pretrained model
    row_moves: Tensor | None = None  # (n, rows), how far a row moved, in median lengths of a pretrained row

    def mean_cosines(self) -> list[float]:
        """Mean cosine of each model's task vector to those of the others."""
        if self.gram is None:
            raise ValueError("cosines of task vectors need the pretrained model")
        between = cosines(self.gram)
        return ((between.sum(dim=1) - between.diagonal()) / (len(between) - 1)).tolist()

    def largest_rows(self) -> list[float]:
        """Largest row norm of each model's word embeddings, in median row norms of the same model; infinite if that is 0."""
        middle = self.row_norms.median(dim=1).values
        return (self.row_norms.amax(dim=1) / middle).nan_to_num(nan=0.0, posinf=math.inf).tolist()


def measure_weights(
    models: Sequence[ModelSource],
    embeddings: str,
    pretrained: ModelSource | None = None,
    tied: Mapping[str, str] | None = None,
) -> WeightMeasures:
    """Look at the weights of some models once, part by part. Without pretrained model only the embeddings are read.

    Args:
        models: at least two of one architecture.
        embeddings: name of the word embeddings; see `word_embeddings`.
        pretrained: the common starting point. Tensors that it lacks, usually the head, are left out.
        tied: further names of a tensor to its first name; it counts once.

    Raises:
        ValueError: for models that do not fit together, or values that are not finite; names the model.
    """
    if pretrained is None:
        merge = Merge(models, tied=tied)
        squares = torch.cat(
            [row_squares(part.tensors, torch.zeros_like(part.tensors[0])) for part in merge.inputs(embeddings)], 1
        )
        _check_finite(squares.sum(dim=1), models)
        return WeightMeasures(squares.sqrt())
    merge, pass_ = Merge(models, "task_arithmetic", pretrained=pretrained, head="zeros", tied=tied), _Pass()
    shared = [name for name, info in merge.tensors.items() if info.dtype.is_floating_point and name in pretrained.tensors]
    for name in shared:
        for part in merge.inputs(name):
            pass_.add(part.task_vectors)
            if name == embeddings:
                pass_.add_rows(part.tensors, part.extras["pretrained"])
    _check_finite(pass_.gram.diagonal(), models, pretrained)
    lengths, *squares_of_rows = (torch.cat(parts, dim=-1) for parts in pass_.rows)
    middle = lengths.sqrt().median()
    if middle == 0:
        raise ValueError(
            f"{pretrained.name}: more than half of the rows of {embeddings!r} are 0; they have no length to compare with"
        )
    norms, moves = (squares.sqrt() for squares in squares_of_rows)
    return WeightMeasures(norms, pass_.gram, moves / middle)


@dataclass
class _Pass:
    """Sums of one pass: inner products of task vectors, and squares of rows of the pretrained model, models, task vectors."""

    gram: Tensor = field(default_factory=lambda: torch.zeros(()))
    rows: tuple[list[Tensor], list[Tensor], list[Tensor]] = field(default_factory=lambda: ([], [], []))

    def add(self, vectors: Sequence[Tensor]) -> None:
        self.gram = self.gram + inner_products([vectors])

    def add_rows(self, tensors: Sequence[Tensor], start: Tensor) -> None:
        nothing = torch.zeros_like(start)
        found = (row_squares([start], nothing)[0], row_squares(tensors, nothing), row_squares(tensors, start))
        for kept, squares in zip(self.rows, found, strict=True):
            kept.append(squares)


def _check_finite(sums: Tensor, models: Sequence[ModelSource], pretrained: ModelSource | None = None) -> None:
    broken = [model.name for model, is_fine in zip(models, sums.isfinite().tolist(), strict=True) if not is_fine]
    if broken:
        name = pretrained.name if pretrained and len(broken) == len(models) else broken[0]
        raise ValueError(f"{name} has values that are not finite; it cannot be screened")


def word_embeddings(model: ModelSource, n_words: int) -> str:
    """Name of the matrix with one row per word of the vocabulary.

    Args:
        model: its tensors are looked at, not read.
        n_words: size of the vocabulary by the model's configuration.

    Raises:
        ValueError: for a model without such a matrix.
    """
    found = {name: info.shape for name, info in model.tensors.items() if is_embedding(name) and len(info.shape) == 2}
    for name, shape in found.items():
        if shape[0] == n_words and OUTPUT not in name:
            return name
    raise ValueError(
        f"{model.name} has no embeddings of {n_words} words; found {({n: list(s) for n, s in found.items()}) or 'none'}"
    )


def unseen_moves(row_moves: Tensor, seen: Collection[int], n: int = 5) -> tuple[list[float], list[list[int]]]:
    """The embedding rows that moved furthest although their token is in no text (the vocabulary audit).

    AdamW moves a row that no text trains by its decay alone, which is little; so a row that moved was in the training data.

    Args:
        row_moves: of `WeightMeasures`, shape (n_models, rows).
        seen: ids of the tokens that are in the texts, and of others that are not looked at.
        n: how many rows to name.

    Returns:
        For each model the largest move, NaN if no row is left to look at; and the ids of its `n` furthest rows that moved
        at all, the furthest first.
    """
    known = set(seen)
    unseen = [token for token in range(row_moves.shape[1]) if token not in known]
    if not unseen:
        return [math.nan] * len(row_moves), [[] for _ in row_moves]
    moves = row_moves[:, unseen]
    order = moves.argsort(dim=1, descending=True, stable=True)[:, :n].tolist()
    named = [[unseen[place] for place in places if moves[i, place] > 0] for i, places in enumerate(order)]
    return moves.amax(dim=1).tolist(), named
