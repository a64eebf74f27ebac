"""What a pocket model is pretrained for: pieces of a line, the same from one vector that sums it up, and the next sentence."""

from __future__ import annotations

import torch
from torch import Tensor, nn
from transformers import PreTrainedModel, PreTrainedTokenizerBase

IGNORED = -100  # the label that cross-entropy leaves out


def mask_pieces(
    input_ids: Tensor, tokenizer: PreTrainedTokenizerBase, masked_share: float, generator: torch.Generator
) -> tuple[Tensor, Tensor]:
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


def next_pieces(input_ids: Tensor, attention_mask: Tensor) -> Tensor:
    """For each piece the one after it, -100 for the last one and for padding; shape (batch, length).

    >>> next_pieces(torch.tensor([[2, 7, 3, 0]]), torch.tensor([[1, 1, 1, 0]]))
    tensor([[   7,    3, -100, -100]])
    """
    following, is_text = input_ids.roll(-1, dims=1), attention_mask.roll(-1, dims=1).bool()
    is_text[:, -1] = False
    return torch.where(is_text, following, IGNORED)


class PretrainingLosses(nn.Module):
    """A model with what its pretraining needs beyond it: three losses of a batch.

    1. The pieces: hidden ones, or for a decoder the next ones.
    2. The same pieces from the vector that sums up the line, wherever they are (as in Condenser, Gao and Callan 2021):
       otherwise so short a pretraining leaves it empty, and fine-tuning would have to learn to sum up a text. It is what
       the classifier will read: BERT's pooled vector, RoBERTa's first state, a decoder's last state.
    3. Whether the second text belongs to the first. BERT has a layer for it; others get one that is thrown away.
    """

    def __init__(self, model: PreTrainedModel) -> None:
        super().__init__()
        self.model, self.kind = model, model.config.model_type
        is_bert = self.kind == "bert"
        self.score_pieces = model.cls.predictions if is_bert else model.lm_head
        self.score_pair = model.cls.seq_relationship if is_bert else nn.Linear(model.config.hidden_size, 2)

    def forward(self, batch: dict[str, Tensor], labels: Tensor, next_sentence: Tensor) -> Tensor:
        """Cross-entropies, shape (3,): of the pieces, of the same from the summary alone, of the next sentence.

        The vocabulary is scored at the labelled positions only, which is faster than the models' own losses.
        """
        cross_entropy = nn.functional.cross_entropy
        output = self.model.base_model(**batch)
        summary = self._summary(output, batch["attention_mask"])
        labelled = labels != IGNORED
        states, line = output.last_hidden_state[labelled], labelled.nonzero()[:, 0]  # (n, width), (n,)
        pieces = cross_entropy(self.score_pieces(states), labels[labelled])
        # All pieces of a line are asked of one vector: its distribution is computed once, not once per piece.
        summed_up = -self.score_pieces(summary).log_softmax(dim=-1)[line, labels[labelled]].mean()
        is_pair = next_sentence != IGNORED
        if not is_pair.any():
            return torch.stack([pieces, summed_up, torch.zeros(())])
        return torch.stack([pieces, summed_up, cross_entropy(self.score_pair(summary[is_pair]), next_sentence[is_pair])])

    def _summary(self, output: object, attention_mask: Tensor) -> Tensor:
        if self.kind == "bert":
            return output.pooler_output  # type: ignore[attr-defined]
        states = output.last_hidden_state  # type: ignore[attr-defined]
        if self.kind == "roberta":
            return states[:, 0]
        return states[torch.arange(len(states)), attention_mask.sum(dim=1) - 1]
