"""Lines of texts with hidden pieces: cut, batched with new masks every time, predicted to measure a masked language model."""

from __future__ import annotations

import math
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np
import torch
from torch import Tensor

from lib.models.batches import pad, sorted_batches, token_batches
from lib.models.last_layer import logits_at
from lib.models.loop import Batch
from lib.models.pretraining_losses import IGNORED, mask_pieces

if TYPE_CHECKING:
    from transformers import PreTrainedModel, PreTrainedTokenizerBase

Line = tuple[int, ...]  # token ids, special pieces at the ends

MIN_PIECES = 2  # that can be hidden: a lone piece has nothing to be predicted from
# How models are measured, whatever they were trained with: numbers of different settings can be compared.
MEASURED_SHARE, MEASURED_SEED, TOKENS_PER_BATCH = 0.15, 0, 4096


@dataclass(frozen=True)
class Measured:
    """How well hidden pieces are predicted."""

    n_pieces: int
    loss: float  # mean cross-entropy, in nats
    top1: float  # share of the pieces that are the model's first guess, in [0, 1]
    top5: float  # among the first five


def lines_of(tokenizer: PreTrainedTokenizerBase, texts: Sequence[str], max_length: int) -> list[Line]:
    """Texts cut into lines of at most `max_length` pieces, each line once, without lines that have almost no piece to hide.

    Args:
        tokenizer: a fast one; it keeps the length that it cut at, so save it before.
        texts: any number.
        max_length: pieces, special ones included.
    """
    special = frozenset(tokenizer.all_special_ids)
    cut = tokenizer(list(texts), truncation=True, max_length=max_length, return_overflowing_tokens=True)["input_ids"]
    lines = dict.fromkeys(map(tuple, cut))
    return [line for line in lines if sum(piece not in special for piece in line) >= MIN_PIECES]


def masked_batches(
    tokenizer: PreTrainedTokenizerBase, lines: Sequence[Line], batch_size: int, masked_share: float, seed: int
) -> Iterator[Batch]:
    """Batches without end, with new masks every time.

    Args:
        tokenizer: knows the special pieces.
        lines: as from `lines_of`, at least one.
        batch_size: lines per batch, at most; lines of similar length share a batch.
        masked_share: of the pieces, hidden as BERT does (80 % become [MASK], 10 % another piece, 10 % stay).
        seed: of the order and of the masks.

    Yields:
        `input_ids`, `attention_mask` and `labels`, shape (lines, longest line of the batch).
    """
    rng, generator = np.random.default_rng(seed), torch.Generator().manual_seed(seed)
    lengths = np.array([len(line) for line in lines])
    while True:
        for chosen in sorted_batches(np.arange(len(lines)), lengths, math.ceil(len(lines) / batch_size), rng):
            whole = pad([lines[i] for i in chosen], tokenizer.pad_token_id)
            masked, labels = mask_pieces(whole, tokenizer, masked_share, generator)
            while (labels == IGNORED).all():  # a few short lines: a mean over no piece would be no number
                masked, labels = mask_pieces(whole, tokenizer, masked_share, generator)
            yield {"input_ids": masked, "attention_mask": pad([[1] * len(lines[i]) for i in chosen]), "labels": labels}


def masked_loss(model: PreTrainedModel, batch: Batch) -> Tensor:
    """Mean cross-entropy of the hidden pieces, in nats."""
    is_hidden = batch["labels"] != IGNORED
    return torch.nn.functional.cross_entropy(_scores(model, batch, is_hidden), batch["labels"][is_hidden])


@torch.inference_mode()
def measure(model: PreTrainedModel, tokenizer: PreTrainedTokenizerBase, lines: Sequence[Line]) -> Measured:
    """Predict some of the pieces of lines, the same ones for every model with this tokenizer.

    Every chosen piece is [MASK] here, as where attacks and defenses ask: none is given away, none is another piece.

    Raises:
        ValueError: if no piece was chosen, as in very few short lines, or if the scores are no numbers.
    """
    model.eval()
    generator, losses, ranks = torch.Generator().manual_seed(MEASURED_SEED), [], []
    for _, batch in token_batches(lines, tokenizer.pad_token_id, TOKENS_PER_BATCH):
        _, labels = mask_pieces(batch["input_ids"], tokenizer, MEASURED_SHARE, generator)
        is_hidden = labels != IGNORED
        batch["input_ids"][is_hidden] = tokenizer.mask_token_id
        placed = {name: values.to(model.device) for name, values in batch.items()}
        scores, truth = _scores(model, placed, is_hidden.to(model.device)), labels[is_hidden].to(model.device)
        losses.append(torch.nn.functional.cross_entropy(scores, truth, reduction="none"))
        ranks.append((scores > scores.gather(1, truth[:, None])).sum(dim=1))  # pieces that are thought more probable
    loss, rank = torch.cat(losses), torch.cat(ranks)
    if not len(rank):
        raise ValueError(f"no piece of {len(lines)} lines was hidden; give more held-out texts")
    if not loss.isfinite().all():  # no piece is more probable than NaN: every guess would count as right
        raise ValueError("the model's scores are no numbers: its training diverged; take a lower learning rate")
    top1, top5 = ((rank < k).float().mean().item() for k in (1, 5))
    return Measured(len(rank), loss.mean().item(), top1, top5)


def _scores(model: PreTrainedModel, batch: Batch, at: Tensor) -> Tensor:
    """Logits of the hidden pieces in float32, shape (n hidden, vocabulary size)."""
    return logits_at(model, {name: batch[name] for name in ("input_ids", "attention_mask")}, at).float()
