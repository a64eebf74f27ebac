"""Texts packed with what follows each deleted word, so that a causal model computes what their variants share only once.

A text of words w_1 .. w_n without w_i begins like the text itself. One row holds the start token and the text, then for each
deletion a branch: the tokens behind w_i, which look at the text before w_i and at their own branch, and stand at the positions
that they have in the variant. That is half of the tokens of all variants written out.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass

import numpy as np
import torch
from torch import Tensor

PACK = 256  # tokens of a row: attention is between all of them, so that long rows waste more than they share
WHOLE = -1


@dataclass(frozen=True)
class Packed:
    """A row of n tokens, and m of their predictions. Places in the row are called slots; all arrays hold whole numbers."""

    text: int
    tokens: np.ndarray  # (n,)
    positions: np.ndarray  # (n,)
    branches: np.ndarray  # (n,), 0: the text itself
    sees: np.ndarray  # (n,): a branch sees the tokens of the text before this position
    slots: np.ndarray  # (m,): where a prediction is read,
    targets: np.ndarray  # (m,): of which token,
    owners: np.ndarray  # (m,): for which variant: `WHOLE`, or the word left out


def pack(text: int, words: Sequence[Sequence[int]], start_token: int) -> Iterator[Packed]:
    """The rows of one text: most texts have one; each has the text itself and some of the branches.

    Args:
        text: its number.
        words: the token ids of each word, at least one token in all.
        start_token: stands before the first word.
    """
    tokens = np.array([start_token, *(token for word in words for token in word)])
    n = len(tokens) - 1  # the last token predicts nothing
    ends = np.cumsum([1, *map(len, words)])
    begins, ends = ends[:-1], ends[1:]  # word i is tokens[begins[i] : ends[i]]
    lengths = np.maximum(n - ends, 0)  # of the branches
    first = True
    for group in _groups(lengths, max(PACK, 4 * n) - n):
        owners = np.repeat(group, lengths[group])
        offsets = np.arange(len(owners)) - np.repeat(np.cumsum(lengths[group]) - lengths[group], lengths[group])
        sources = ends[owners] + offsets
        followed = group[ends[group] <= n]  # what follows a deleted word is predicted first by what stands before it
        itself = np.arange(n) if first else np.arange(0)
        yield Packed(
            text,
            tokens=np.concatenate([tokens[:-1], tokens[sources]]),
            positions=np.concatenate([np.arange(n), begins[owners] + offsets]),
            branches=np.concatenate([np.zeros(n, dtype=int), owners + 1]),
            sees=np.concatenate([np.zeros(n, dtype=int), begins[owners]]),
            slots=np.concatenate([itself, begins[followed] - 1, n + np.arange(len(owners))]),
            targets=np.concatenate([tokens[itself + 1], tokens[ends[followed]], tokens[sources + 1]]),
            owners=np.concatenate([np.full(len(itself), WHOLE), followed, owners]),
        )
        first = False


def _groups(lengths: np.ndarray, room: int) -> Iterator[np.ndarray]:
    """Words whose branches share a row, in order: together no longer than `room` unless there is only one."""
    start, used = 0, 0
    for word, length in enumerate(lengths.tolist()):
        if used + length > room and word > start:
            yield np.arange(start, word)
            start, used = word, 0
        used += length
    yield np.arange(start, len(lengths))


def packed_batches(rows: Sequence[Packed], n_tokens: int) -> Iterator[tuple[list[Packed], dict[str, Tensor]]]:
    """Rows of similar length: `input_ids`, `position_ids` and an additive `attention_mask` of shape (n, 1, length, length)."""
    order = sorted(rows, key=lambda row: len(row.tokens))
    start = 0
    while start < len(order):
        stop = start + 1
        while stop < len(order) and (stop + 1 - start) * len(order[stop].tokens) <= n_tokens:
            stop += 1
        batch, start = order[start:stop], stop
        tokens, positions, sees = (
            _padded([getattr(row, name) for row in batch], 0) for name in ("tokens", "positions", "sees")
        )
        branches = _padded([row.branches for row in batch], -1)  # padding looks at padding: what looks at nothing is NaN
        length = branches.shape[1]
        own = (branches[:, :, None] == branches[:, None, :]) & torch.ones(length, length).tril().bool()
        shared = (branches[:, None, :] == 0) & (positions[:, None, :] < sees[:, :, None])
        mask = torch.zeros(len(batch), 1, length, length).masked_fill(~(own | shared)[:, None], torch.finfo(torch.float32).min)
        yield batch, {"input_ids": tokens, "position_ids": positions, "attention_mask": mask}


def _padded(rows: Sequence[np.ndarray], value: int) -> Tensor:
    padded = np.full((len(rows), len(rows[-1])), value)  # the last row is the longest
    for place, row in enumerate(rows):
        padded[place, : len(row)] = row
    return torch.from_numpy(padded)
