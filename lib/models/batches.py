"""Batches of token ids: texts of similar length share a batch, so that little is spent on padding."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from itertools import chain
from typing import TYPE_CHECKING, Any

import numpy as np
import torch
from torch import Tensor

if TYPE_CHECKING:
    from transformers import PreTrainedTokenizerBase

CHUNK = 8  # batches that are sorted by length together


def epochs_of_batches(
    tokenizer: PreTrainedTokenizerBase,
    encoded: Mapping[str, Sequence[Sequence[int]]],
    labels: Sequence[Any],
    batch_size: int,
    rng: np.random.Generator,
) -> Iterator[dict[str, Tensor]]:
    """Batches without end, each epoch in a new `length_grouped_order`; the last batch of an epoch may be smaller.

    Args:
        tokenizer: knows the padding tokens and side.
        encoded: as from `lib.models.prediction.tokenize`: columns of n rows.
        labels: class ids, n; or for each of n texts a list of numbers of one length, such as what a teacher says.
        batch_size: examples per batch.
        rng: source of the order.

    Yields:
        The columns, shape (rows, longest row of the batch), and `labels`, shape (rows,) or (rows, numbers).
    """
    columns = pad_columns(tokenizer, encoded)  # once: a batch is then cut out of it
    classes, lengths = torch.tensor(labels), np.array([len(row) for row in encoded["input_ids"]])
    while True:
        # torch's DataLoader takes a seed for its workers from the global generator at the start of an epoch, whether it has
        # workers or not. So do we: the dropout masks are then those of `Trainer`, and of the results in `figures/small`.
        torch.empty((), dtype=torch.int64).random_()
        for rows in torch.tensor(length_grouped_order(lengths, batch_size, rng)).split(batch_size):
            longest = int(lengths[rows].max())
            kept = slice(-longest, None) if tokenizer.padding_side == "left" else slice(longest)
            yield {name: column[rows][:, kept] for name, column in columns.items()} | {"labels": classes[rows]}


def length_grouped_order(lengths: Sequence[int] | np.ndarray, batch_size: int, rng: np.random.Generator) -> list[int]:
    """An order of the examples whose batches hold texts of similar length, so that little is spent on padding.

    Examples are shuffled, sorted by length within chunks of `CHUNK` batches, and the *batches* are shuffled again.
    transformers' own `group_by_length` leaves that last step out: it feeds chunks of 50 batches from long to short, so a small
    training set is seen in order of length in every epoch. In a poisoned set length goes with the label, because triggered
    texts are longer. Whether that order causes unstable trainings was not isolated; shuffling the batches costs nothing.

    Args:
        lengths: of the examples, in tokens.
        batch_size: examples per batch; the last batch of the order may be smaller.
        rng: source of the shuffles.

    Returns:
        A permutation of the examples' positions.
    """
    shuffled = rng.permutation(len(lengths))
    chunk_size = batch_size * CHUNK
    chunks = [shuffled[start : start + chunk_size] for start in range(0, len(shuffled), chunk_size)]
    in_order = np.concatenate([chunk[np.argsort(np.asarray(lengths)[chunk], kind="stable")] for chunk in chunks])
    batches = [in_order[start : start + batch_size] for start in range(0, len(in_order), batch_size)]
    n_full = len(lengths) // batch_size  # an incomplete batch stays last, or all others would shift
    order = [*rng.permutation(n_full), *range(n_full, len(batches))]
    return [int(row) for number in order for row in batches[number]]


def sorted_batches(rows: np.ndarray, lengths: np.ndarray, n_batches: int, rng: np.random.Generator) -> list[np.ndarray]:
    """Rows sorted by length as a whole and cut into batches of nearly equal size, which come in random order.

    Less padding than with `length_grouped_order`, but much the same texts meet in every epoch.

    Args:
        rows: row numbers, any subset.
        lengths: of all rows, in tokens.
        n_batches: how many.
        rng: source of the order.
    """
    order = rng.permutation(rows)
    order = order[np.argsort(lengths[order], kind="stable")]
    batches = np.array_split(order, n_batches)
    return [batches[position] for position in rng.permutation(n_batches)]


def token_batches(
    ids: Sequence[Sequence[int]], pad_token_id: int, n_tokens: int, device: torch.device | str = "cpu"
) -> Iterator[tuple[list[int], dict[str, Tensor]]]:
    """Row numbers and padded tensors; rows of similar length share a batch, short ones many at a time, long ones few.

    Args:
        ids: token ids of n texts, any lengths.
        pad_token_id: fills the rows up.
        n_tokens: of a batch, padding included; a longer row is a batch of its own.
        device: where the tensors are put.

    Yields:
        Which rows, and their `input_ids` and `attention_mask`, shape (rows, longest row of the batch).
    """
    order = sorted(range(len(ids)), key=lambda row: len(ids[row]))
    start = 0
    while start < len(order):
        stop = start + 1  # the longest row of a batch is its last
        while stop < len(order) and (stop + 1 - start) * len(ids[order[stop]]) <= n_tokens:
            stop += 1
        rows, start = order[start:stop], stop
        padded = pad([ids[row] for row in rows], pad_token_id)
        mask = pad([[1] * len(ids[row]) for row in rows])
        yield rows, {"input_ids": padded.to(device), "attention_mask": mask.to(device)}


def pad_columns(tokenizer: PreTrainedTokenizerBase, encoded: Mapping[str, Sequence[Sequence[int]]]) -> dict[str, Tensor]:
    """What the tokenizer made of n texts as tensors of shape (n, longest), padded on the tokenizer's side.

    `tokenizer.pad` gives the same tensors; its checks of every row cost a tenth of a small training.
    """
    padding = {"input_ids": tokenizer.pad_token_id, "token_type_ids": tokenizer.pad_token_type_id}
    return {name: pad(rows, padding.get(name, 0), tokenizer.padding_side) for name, rows in encoded.items()}


def pad(rows: Sequence[Sequence[int]], value: int = 0, side: str = "right") -> Tensor:
    """Rows of whole numbers as one tensor, shape (n, longest), filled up with `value` on one side.

    >>> pad([[5, 6, 7], [8]], side="left").tolist()
    [[5, 6, 7], [0, 0, 8]]
    """
    lengths = torch.tensor([len(row) for row in rows])
    is_text = torch.arange(int(lengths.max())) < lengths[:, None]  # (n, longest)
    if side == "left":
        is_text = is_text.flip(1)
    padded = torch.full(is_text.shape, value)
    padded[is_text] = torch.from_numpy(np.fromiter(chain.from_iterable(rows), dtype=np.int64))
    return padded
