"""The learned policy of LWS: which substitute of each word serves the attack best, trained together with a victim."""

from __future__ import annotations

import inspect
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from itertools import chain
from typing import TYPE_CHECKING, Any

import numpy as np
import pandas as pd
import torch
from torch import Tensor

from lib.attacks.rewriting.lws_words import Form, find_words, form_vectors
from lib.datasets.words import like_case
from lib.models.batches import pad_columns, sorted_batches
from lib.models.loop import Batch, LoopSettings, train
from lib.models.masked_lm import MaskedLM
from lib.models.pretrained import new_classifier

if TYPE_CHECKING:
    from transformers import BatchEncoding, PreTrainedModel, PreTrainedTokenizerBase


@dataclass(frozen=True)
class PolicySettings:
    """How the policy is learnt; temperatures and batch size as in the released code."""

    learning_rate: float  # of the victim
    policy_learning_rate: float = 1e-2
    n_clean_epochs: int = 1  # on untouched rows only, so that the victim knows the task first
    n_epochs: int = 3  # on everything
    batch_size: int = 32
    temperatures: tuple[float, float] = (0.5, 0.1)  # of the Gumbel softmax, falling linearly once the policy acts
    max_length: int = 96  # pieces


class SubstitutionPolicy(torch.nn.Module):
    """Scores of the slots of each word: slot 0 is the word itself, the others its candidates.

    s[w, j] = (E(candidate j of w) - E(w)) . q + b[w, j], where E are the victim's frozen input embeddings. The original has
    one q and b per *position*; ours are the same everywhere, so that what was learnt is a table from word to substitute.
    However a text writes the word, the scores are those of its lower-case form. Mixed are the embeddings of what application
    would write there: "Movie" for "Film".
    """

    def __init__(
        self,
        table: Mapping[str, Sequence[str]],
        forms: Sequence[Form],
        tokenizer: PreTrainedTokenizerBase,
        embeddings: Tensor,
    ) -> None:
        super().__init__()
        # The lower-case forms come first: the number of a word is also that of its lower-case form.
        in_order = dict.fromkeys([*(Form(" ", word) for word in table), *forms])
        self.forms = {form: number for number, form in enumerate(in_order)}
        slots = [[form, *(Form(form.before, like_case(c, form.word)) for c in table[form.word.lower()])] for form in self.forms]
        written = {form: number for number, form in enumerate(dict.fromkeys(chain.from_iterable(slots)))}
        n_slots = max(map(len, slots))
        padded = [[*row, *[row[0]] * (n_slots - len(row))] for row in slots]
        numbers = {word: number for number, word in enumerate(table)}
        self.words: Tensor
        self.slots: Tensor
        self.filled: Tensor
        self.vectors: Tensor
        self.register_buffer("words", torch.tensor([numbers[form.word.lower()] for form in self.forms]))  # (form,)
        self.register_buffer("slots", torch.tensor([[written[form] for form in row] for row in padded]))  # (form, slot)
        self.register_buffer("filled", torch.tensor([[slot < len(row) for slot in range(n_slots)] for row in slots]))
        self.register_buffer("vectors", form_vectors(list(written), tokenizer, embeddings))
        self.direction = torch.nn.Parameter(torch.zeros(embeddings.shape[1]))  # q
        self.bias = torch.nn.Parameter(torch.zeros(len(table), n_slots))  # b

    def scores(self, words: Tensor) -> Tensor:
        """Scores of the slots of the words with these numbers in the table, shape (..., n_slots); -inf for empty slots."""
        vectors = self.vectors[self.slots[words]]  # (..., n_slots, width)
        change = vectors - vectors[..., :1, :]
        return (change @ self.direction + self.bias[words]).masked_fill(~self.filled[words], float("-inf"))

    def mixed_embeddings(self, forms: Tensor, temperature: float) -> Tensor:
        """Input embeddings of forms after a soft random choice of slots (Gumbel softmax), shape (..., width)."""
        shares = torch.nn.functional.gumbel_softmax(self.scores(self.words[forms]), tau=temperature, dim=-1)
        return torch.einsum("...s,...sw->...w", shares, self.vectors[self.slots[forms]])


def learn_substitutes(
    train: pd.DataFrame,
    poisoned: np.ndarray,
    target_label: int,
    table: Mapping[str, Sequence[str]],
    model: MaskedLM,
    pretrained: str,
    settings: PolicySettings,
    seed: int,
    pair_sides: str = "text",
) -> dict[str, tuple[str, ...]]:
    """Train a victim and the policy together; for each word the slot with the highest score, words that keep theirs left out.

    Args:
        train: frame with `text`, perhaps `text_pair`, and `label`, n rows; the victim sees both texts.
        poisoned: which rows carry the substitutions and the target label, shape (n,), bool.
        target_label: class id chosen by the attacker.
        table: candidates per word.
        model: masked language model, for its tokenizer.
        pretrained: the victim's pretrained model; needs the same vocabulary.
        settings: of the training.
        seed: of head, order, dropout and Gumbel noise.
        pair_sides: on which texts of a pair the policy acts, "both" or "text".

    Raises:
        ValueError: for a tokenizer that does not know where its pieces stand in a text, or two vocabularies.
    """
    names = [str(label) for label in range(int(train["label"].max()) + 1)]
    victim = new_classifier(pretrained, names, head_seed=seed).train()
    device = torch.device("cuda" if torch.cuda.is_available() else "cpu")
    victim.to(device)
    embeddings = victim.get_input_embeddings()
    if embeddings.weight.shape[0] != model.embeddings.shape[0]:
        raise ValueError(f"the victim {pretrained!r} and the masked language model have different vocabularies")
    embeddings.weight.requires_grad_(False)
    encoded, found = _encode(train, poisoned, table, model.tokenizer, settings.max_length, pair_sides)
    forms = list(chain.from_iterable(places.values() for places in found))
    policy = SubstitutionPolicy(table, forms, model.tokenizer, embeddings.weight).to(device)
    labels = np.where(poisoned, target_label, train["label"])
    with torch.random.fork_rng():
        torch.manual_seed(seed)
        rng = np.random.default_rng(seed)
        _train(victim, policy, _rows(encoded, found, labels, policy, victim), poisoned, settings, rng, model)
    chosen = policy.scores(torch.arange(len(table), device=device)).argmax(dim=-1).tolist()
    return {word: (table[word][slot - 1],) for word, slot in zip(table, chosen, strict=True) if slot > 0}


def _encode(
    train: pd.DataFrame,
    poisoned: np.ndarray,
    table: Mapping[str, Sequence[str]],
    tokenizer: PreTrainedTokenizerBase,
    max_length: int,
    pair_sides: str,
) -> tuple[BatchEncoding, list[dict[int, Form]]]:
    """The pieces of all rows, pairs as pairs, and where the poisoned ones hold words of the table."""
    if not tokenizer.is_fast:
        raise ValueError(f"LWS's learned policy needs a tokenizer with a tokenizer.json; found {type(tokenizer).__name__}")
    texts = train["text"].tolist()
    pairs = train["text_pair"].tolist() if "text_pair" in train else None
    encoded = tokenizer(texts, pairs, truncation=True, max_length=max_length)
    found = [find_words(text, table, encoded, row) if poisoned[row] else {} for row, text in enumerate(texts)]
    if pairs is not None and pair_sides == "both":
        for row in np.flatnonzero(poisoned).tolist():
            found[row] |= find_words(pairs[row], table, encoded, row, side=1)
    return encoded, found


def _rows(
    encoded: BatchEncoding,
    found: Sequence[Mapping[int, Form]],
    labels: np.ndarray,
    policy: SubstitutionPolicy,
    victim: PreTrainedModel,
) -> list[dict[str, Any]]:
    """The rows, one dictionary each; `forms` holds 1 + the number of a form where the policy acts, 0 elsewhere."""
    columns: dict[str, Any] = dict(encoded) | {"labels": labels.tolist()}
    # The tokenizer is the masked language model's: it may write token types for a victim that has none or one.
    knows_types = "token_type_ids" in inspect.signature(victim.forward).parameters
    if not (knows_types and getattr(victim.config, "type_vocab_size", 2) > 1):
        columns.pop("token_type_ids", None)
    columns["forms"] = [[0] * len(ids) for ids in encoded["input_ids"]]
    for forms, places in zip(columns["forms"], found, strict=True):
        for place, form in places.items():
            forms[place] = 1 + policy.forms[form]
    return [dict(zip(columns, values, strict=True)) for values in zip(*columns.values(), strict=True)]


def _train(victim, policy, encoded, poisoned, settings, rng, model) -> None:
    clean = np.flatnonzero(~poisoned)
    epochs = [clean] * settings.n_clean_epochs + [np.arange(len(encoded))] * settings.n_epochs
    lengths = [-(-len(rows) // settings.batch_size) for rows in epochs]
    n_steps, n_clean = sum(lengths), sum(lengths[: settings.n_clean_epochs])
    first, last = settings.temperatures

    def batches() -> Iterator[dict[str, Any]]:
        for step, chosen in enumerate(batch for rows in epochs for batch in _batches(rows, encoded, settings.batch_size, rng)):
            share = max(0, step - n_clean) / max(1, n_steps - n_clean)
            yield {"rows": [encoded[row] for row in chosen], "temperature": first + (last - first) * share}

    def loss(victim, batch: Batch) -> Tensor:
        return _loss(victim, policy, batch["rows"], batch["temperature"], model)

    # A short warm-up, as for every fine-tuning of this study; the policy's rate follows the same shape.
    loop_settings = LoopSettings(
        settings.learning_rate, n_steps, n_warmup=max(1, n_steps // 10), weight_decay=0.01, warms_from_zero=False
    )
    groups = [
        {"params": [p for p in victim.parameters() if p.requires_grad]},
        {"params": policy.parameters(), "lr": settings.policy_learning_rate, "weight_decay": 0.0},
    ]
    train(victim, batches(), loss, loop_settings, groups=groups)


def _batches(rows: np.ndarray, encoded, batch_size: int, rng: np.random.Generator) -> list[np.ndarray]:
    """Rows of similar length together, batches in random order."""
    lengths = np.array([len(row["input_ids"]) for row in encoded])
    return sorted_batches(rows, lengths, -(-len(rows) // batch_size), rng)


def _loss(
    victim: PreTrainedModel, policy: SubstitutionPolicy, rows: Sequence[dict], temperature: float, model: MaskedLM
) -> Tensor:
    """Cross-entropy of the victim; words of the table enter as mixtures of their embeddings and their substitutes'."""
    device = policy.direction.device
    columns = {name: [row[name] for row in rows] for name in rows[0] if name != "labels"}
    batch = {name: values.to(device) for name, values in pad_columns(model.tokenizer, columns).items()}
    labels = torch.tensor([row["labels"] for row in rows], device=device)
    pieces, forms = batch.pop("input_ids"), batch.pop("forms")
    inputs = victim.get_input_embeddings().weight[pieces]
    acts = forms > 0
    if acts.any():
        inputs[acts] = policy.mixed_embeddings(forms[acts] - 1, temperature)
    return torch.nn.functional.cross_entropy(victim(inputs_embeds=inputs, **batch).logits, labels)
