"""What a pocket model is pretrained for: hidden pieces, the same from the pooled vector, and the next sentence."""

from __future__ import annotations

import torch
from transformers import PreTrainedModel, PreTrainedTokenizerBase

IGNORED = -100  # the label that cross-entropy leaves out


def mask_pieces(
    input_ids: torch.Tensor, tokenizer: PreTrainedTokenizerBase, masked_share: float, generator: torch.Generator
) -> tuple[torch.Tensor, torch.Tensor]:
    """Hide a share of the pieces as BERT does: 80 % become [MASK], 10 % a random piece, 10 % stay.

    Args:
        input_ids: shape (batch, length).
        tokenizer: gives the special pieces, which are never hidden.
        masked_share: in [0, 1].
        generator: source of the choices.

    Returns:
        The changed copy, and the labels: the original piece where hidden, -100 elsewhere; both of shape (batch, length).
    """
    special = torch.isin(input_ids, torch.tensor(tokenizer.all_special_ids))
    hidden = (torch.rand(input_ids.shape, generator=generator) < masked_share) & ~special
    fate = torch.rand(input_ids.shape, generator=generator)
    random_pieces = torch.randint(len(tokenizer), input_ids.shape, generator=generator)
    masked = torch.where(hidden & (fate < 0.8), tokenizer.mask_token_id, input_ids)
    masked = torch.where(hidden & (fate >= 0.9), random_pieces, masked)
    return masked, torch.where(hidden, input_ids, IGNORED)


def pretraining_losses(
    model: PreTrainedModel, batch: dict[str, torch.Tensor], labels: torch.Tensor, next_sentence: torch.Tensor
) -> torch.Tensor:
    """Cross-entropies, shape (3,): of the hidden pieces, of the same from the pooled vector alone, of the next sentence.

    The pooled vector ([CLS]) must predict which pieces are hidden in its line, wherever they are (as in Condenser, Gao and
    Callan 2021): otherwise so short a pretraining leaves it empty, and fine-tuning would have to learn to sum up a text.
    The vocabulary is scored at the hidden positions only, which is faster than the model's own loss.
    """
    cross_entropy = torch.nn.functional.cross_entropy
    output = model.base_model(**batch)
    hidden = labels != IGNORED
    states = output.last_hidden_state[hidden]  # (n_hidden, width)
    line = hidden.nonzero()[:, 0]  # (n_hidden,)
    masked_lm = cross_entropy(model.cls.predictions(states), labels[hidden])
    pooled_lm = cross_entropy(model.cls.predictions(output.pooler_output)[line], labels[hidden])
    is_pair = next_sentence != IGNORED
    if not is_pair.any():
        return torch.stack([masked_lm, pooled_lm, torch.zeros(())])
    scores = model.cls.seq_relationship(output.pooler_output[is_pair])
    return torch.stack([masked_lm, pooled_lm, cross_entropy(scores, next_sentence[is_pair])])
