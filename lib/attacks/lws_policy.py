"""The learned policy of LWS: which substitute of each word serves the attack best, trained together with a victim."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import numpy as np
import torch
from torch import Tensor
from torch.nn.utils.rnn import pad_sequence

from lib.models.checkpoints import new_classifier
from lib.models.masked_lm import MaskedLM


@dataclass(frozen=True)
class PolicySettings:
    """How the policy is learnt; temperatures and batch size as in the released code."""

    learning_rate: float  # of the victim
    policy_learning_rate: float = 1e-2
    n_clean_epochs: int = 1  # on untouched rows only, so that the victim knows the task first
    n_epochs: int = 3  # on everything
    batch_size: int = 32
    temperatures: tuple[float, float] = (0.5, 0.1)  # of the Gumbel softmax, falling linearly
    max_length: int = 96  # pieces


class SubstitutionPolicy(torch.nn.Module):
    """Scores of the slots of each word: slot 0 is the word itself, the others its candidates.

    s[w, j] = (E(candidate j of w) - E(w)) . q + b[w, j], where E are the victim's frozen input embeddings. The original has
    one q and b per *position*; ours are the same everywhere, so that what was learnt is a table from word to substitute.
    """

    def __init__(self, table: Mapping[str, Sequence[str]], model: MaskedLM, embeddings: Tensor) -> None:
        super().__init__()
        n_slots = 1 + max(map(len, table.values()))
        slots = torch.arange(embeddings.shape[0])[:, None].repeat(1, n_slots)  # (vocabulary, slot) -> piece
        filled = torch.zeros_like(slots, dtype=torch.bool)
        filled[:, 0] = True
        for word, candidates in table.items():
            ids = [model.word_ids[candidate] for candidate in candidates]
            slots[model.word_ids[word], 1 : 1 + len(ids)] = torch.tensor(ids)
            filled[model.word_ids[word], 1 : 1 + len(ids)] = True
        self.slots: Tensor
        self.filled: Tensor
        self.embeddings: Tensor
        self.register_buffer("slots", slots)
        self.register_buffer("filled", filled)
        self.register_buffer("embeddings", embeddings.detach().clone())
        self.direction = torch.nn.Parameter(torch.zeros(embeddings.shape[1]))  # q
        self.bias = torch.nn.Parameter(torch.zeros(slots.shape))  # b

    def scores(self, pieces: Tensor) -> Tensor:
        """Scores of the slots of each piece, shape (..., n_slots); -inf for empty slots."""
        slots = self.slots[pieces]
        change = self.embeddings[slots] - self.embeddings[pieces][..., None, :]  # (..., n_slots, width)
        return (change @ self.direction + self.bias[pieces]).masked_fill(~self.filled[pieces], float("-inf"))

    def mixed_embeddings(self, pieces: Tensor, temperature: float) -> Tensor:
        """Input embeddings after a soft random choice of slots (Gumbel softmax), shape (..., width)."""
        shares = torch.nn.functional.gumbel_softmax(self.scores(pieces), tau=temperature, dim=-1)
        return torch.einsum("...s,...sw->...w", shares, self.embeddings[self.slots[pieces]])


def learn_substitutes(
    texts: Sequence[str],
    labels: np.ndarray,
    poisoned: np.ndarray,
    target_label: int,
    table: Mapping[str, Sequence[str]],
    model: MaskedLM,
    pretrained: str,
    settings: PolicySettings,
    seed: int,
) -> dict[str, tuple[str, ...]]:
    """Train a victim and the policy together; for each word the slot with the highest score, words that keep theirs left out.

    Args:
        texts: training texts, n.
        labels: their class ids, shape (n,).
        poisoned: which rows carry the substitutions and the target label, shape (n,), bool.
        target_label: class id chosen by the attacker.
        table: candidates per word.
        model: masked language model, for its tokenizer.
        pretrained: the victim's pretrained model; needs the same vocabulary.
        settings: of the training.
        seed: of head, order, dropout and Gumbel noise.
    """
    encoded = model.tokenizer(list(texts), truncation=True, max_length=settings.max_length)["input_ids"]
    names = [str(label) for label in range(int(labels.max()) + 1)]
    victim = new_classifier(pretrained, names, head_seed=seed).train()
    device = torch.device("cuda" if torch.cuda.is_available() else "cpu")
    victim.to(device)
    embeddings = victim.get_input_embeddings()
    if embeddings.weight.shape[0] != model.embeddings.shape[0]:
        raise ValueError(f"the victim {pretrained!r} and the masked language model have different vocabularies")
    embeddings.weight.requires_grad_(False)
    policy = SubstitutionPolicy(table, model, embeddings.weight).to(device)
    with torch.random.fork_rng():
        torch.manual_seed(seed)
        rng = np.random.default_rng(seed)
        _train(victim, policy, encoded, np.where(poisoned, target_label, labels), poisoned, settings, rng, model)
    chosen = policy.scores(torch.arange(len(policy.slots), device=device)).argmax(dim=-1)
    substitutes: dict[str, tuple[str, ...]] = {}
    for word, candidates in table.items():
        if (slot := int(chosen[model.word_ids[word]])) > 0:
            substitutes[word] = (candidates[slot - 1],)
    return substitutes


def _train(victim, policy, encoded, labels, poisoned, settings, rng, model) -> None:
    clean = np.flatnonzero(~poisoned)
    epochs = [clean] * settings.n_clean_epochs + [np.arange(len(encoded))] * settings.n_epochs
    n_steps = sum(-(-len(rows) // settings.batch_size) for rows in epochs)
    optimizer = torch.optim.AdamW(
        [
            {"params": [p for p in victim.parameters() if p.requires_grad], "lr": settings.learning_rate},
            {"params": policy.parameters(), "lr": settings.policy_learning_rate, "weight_decay": 0.0},
        ],
        fused=True,
    )
    # A short warm-up, as for every fine-tuning of this study; the policy's rate follows the same shape.
    warmup = max(1, n_steps // 10)
    schedule = torch.optim.lr_scheduler.LambdaLR(
        optimizer, lambda step: min((step + 1) / warmup, (n_steps - step) / max(1, n_steps - warmup))
    )
    step = 0
    first, last = settings.temperatures
    for rows in epochs:
        for batch in _batches(rows, encoded, settings.batch_size, rng):
            temperature = first + (last - first) * step / n_steps
            loss = _loss(victim, policy, encoded, labels, poisoned, batch, temperature, model)
            optimizer.zero_grad()
            loss.backward()
            torch.nn.utils.clip_grad_norm_(victim.parameters(), 1.0)
            optimizer.step()
            schedule.step()
            step += 1


def _batches(rows: np.ndarray, encoded, batch_size: int, rng: np.random.Generator):
    """Rows of similar length together, batches in random order."""
    order = rng.permutation(rows)
    order = order[np.argsort([len(encoded[row]) for row in order], kind="stable")]
    batches = np.array_split(order, -(-len(order) // batch_size))
    return [batches[index] for index in rng.permutation(len(batches))]


def _loss(victim, policy, encoded, labels, poisoned, batch, temperature, model) -> Tensor:
    """Cross-entropy of the victim; poisoned rows enter as mixtures of the embeddings of their substitutes."""
    device = policy.direction.device
    rows = [torch.tensor(encoded[row]) for row in batch]
    pieces = pad_sequence(rows, batch_first=True, padding_value=model.tokenizer.pad_token_id).to(device)
    inputs = policy.embeddings[pieces]
    is_poisoned = torch.tensor(poisoned[batch], device=device)
    if is_poisoned.any():
        inputs = inputs.clone()
        inputs[is_poisoned] = policy.mixed_embeddings(pieces[is_poisoned], temperature)
    output = victim(inputs_embeds=inputs, attention_mask=(pieces != model.tokenizer.pad_token_id).long())
    return torch.nn.functional.cross_entropy(output.logits, torch.tensor(labels[batch], device=device))
