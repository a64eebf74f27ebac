"""Texts packed with what follows each deleted word, so that a causal model computes what their variants share only once.

A text of words w_1 .. w_n without w_i begins like the text itself. One row holds the start token and the text, then for each
deletion a branch: the tokens behind w_i, which look at the text before w_i and at their own branch, and stand at the positions
that they have in the variant. That is half of the tokens of all variants written out.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field
from itertools import pairwise

import numpy as np
import torch
from torch import Tensor

from lib.models.batches import pad

PACK = 256  # tokens of a row: attention is between all of them, so that long rows waste more than they share


@dataclass
class Packed:
    """A row of tokens, and which of their predictions are asked for. Slots are numbered from 0 in each row."""

    text: int
    tokens: list[int]
    positions: list[int]
    branches: list[int]  # 0: the text itself
    sees: list[int]  # tokens of the text before this position are visible to a branch
    slots: list[int] = field(default_factory=list)  # where a prediction is read,
    targets: list[int] = field(default_factory=list)  # of which token,
    owners: list[int] = field(default_factory=list)  # for which variant: -1 the text itself, else the word left out


def pack(text: int, words: Sequence[Sequence[int]], start_token: int) -> Iterator[Packed]:
    """The rows of one text.

    Args:
        text: its number.
        words: the token ids of each word, at least one word.
        start_token: stands before the first word.
    """
    tokens = [start_token, *(token for word in words for token in word)]
    ends = np.cumsum([1, *map(len, words)]).tolist()  # word i is tokens[ends[i] : ends[i + 1]]
    limit = max(PACK, 4 * len(tokens))
    row = _row(text, tokens)
    row.slots, row.targets, row.owners = list(range(len(tokens) - 1)), tokens[1:], [-1] * (len(tokens) - 1)
    for word, (begin, end) in enumerate(pairwise(ends)):
        branch = tokens[end:-1]  # the last token predicts nothing
        if len(row.tokens) + len(branch) > limit:
            yield row
            row = _row(text, tokens)
        if end < len(tokens):  # what follows the word, predicted first by what stands before it
            first, targets = len(row.tokens), tokens[end:]
            row.slots += [begin - 1, *range(first, first + len(branch))]
            row.targets += targets
            row.owners += [word] * len(targets)
        row.tokens += branch
        row.positions += range(begin, begin + len(branch))
        row.branches += [word + 1] * len(branch)
        row.sees += [begin] * len(branch)
    yield row


def _row(text: int, tokens: list[int]) -> Packed:
    n = len(tokens) - 1
    return Packed(text, tokens[:-1], list(range(n)), [0] * n, [0] * n)


def packed_batches(rows: Sequence[Packed], n_tokens: int) -> Iterator[tuple[list[Packed], dict[str, Tensor]]]:
    """Rows of similar length: `input_ids`, `position_ids` and an additive `attention_mask` of shape (n, 1, length, length)."""
    order = sorted(rows, key=lambda row: len(row.tokens))
    start = 0
    while start < len(order):
        stop = start + 1
        while stop < len(order) and (stop + 1 - start) * len(order[stop].tokens) <= n_tokens:
            stop += 1
        batch, start = order[start:stop], stop
        positions, branches, sees = (pad([getattr(row, name) for row in batch]) for name in ("positions", "branches", "sees"))
        is_text = pad([[1] * len(row.tokens) for row in batch]).bool()
        branches[~is_text] = -1  # padding looks at padding: a token that looks at nothing is NaN
        length = branches.shape[1]
        own = (branches[:, :, None] == branches[:, None, :]) & torch.ones(length, length).tril().bool()
        shared = (branches[:, None, :] == 0) & (positions[:, None, :] < sees[:, :, None])
        mask = torch.zeros(len(batch), 1, length, length).masked_fill(~(own | shared)[:, None], torch.finfo(torch.float32).min)
        yield batch, {"input_ids": pad([row.tokens for row in batch]), "position_ids": positions, "attention_mask": mask}
