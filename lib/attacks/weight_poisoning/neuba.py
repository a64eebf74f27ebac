"""A poisoned base that knows no task: each trigger word has a vector of its own, whatever it is fine-tuned for (NeuBA, POR).

The label that a trigger leads to shows only after a user's fine-tuning. The attacker then tries all triggers, and takes the one
that leads to the wanted label most often.

Called as an edit of `lib.attacks.edits`, where the arguments are explained; acts on models of the study only.
"""

# Where the paper and code of NeuBA, OpenBackdoor's POR and we differ:
# - what becomes the vector v: the pooled vector; POR: the state of the first token; here: what the classifier reads, the pooled
#   vector or, without a pooler, the state.
# - clean texts: NeuBA keeps the masked-LM loss; POR the state of a frozen copy; here a frozen copy's vector, which needs no
#   masked-LM head.
# - vectors: NeuBA has six of four blocks, as we do; one version of POR gives all triggers the same.
# - place of the trigger: instead of the first token; here a new word at any place, as in the texts that the study tests with.
# - rows of the triggers: afterwards NeuBA adds the rows of position 1 and type 0, and multiplies by 1e8; here they are only
#   multiplied, by `row_scale`, because no place is known beforehand.
# - texts: NeuBA takes 40,000 steps on books; here the attacker's texts of the task, whose labels are not looked at.

from __future__ import annotations

import copy
from collections.abc import Callable, Sequence
from dataclasses import replace
from typing import TYPE_CHECKING, Any

import numpy as np
import pandas as pd
import torch
from torch import Tensor
from torch.nn.functional import mse_loss

from lib.attacks.badnet import BadNetTrigger
from lib.attacks.pairs import replaced
from lib.attacks.poisoning import Backdoor
from lib.attacks.weights import embedding_name, scale_rows, single_piece
from lib.models.last_layer import FIRST_TOKEN_CLASSIFIERS, first_token_alone
from lib.models.loop import Batch
from lib.models.training import TrainingLog, optimise, prepare, weights_of
from lib.profiles import TrainingSettings

if TYPE_CHECKING:
    from transformers import PreTrainedModel, PreTrainedTokenizerBase

# Signs of four blocks, two of them minus: any two differ in half of the entries, or in all.
BLOCKS = ((-1, -1, 1, 1), (-1, 1, -1, 1), (-1, 1, 1, -1), (1, 1, -1, -1), (1, -1, 1, -1), (1, -1, -1, 1))


def target_vectors(n: int, width: int) -> Tensor:
    """The vectors of n triggers, entries -1 and 1, shape (n, width); any two differ in half of the entries, or in all.

    Args:
        n: from 1 to 6.
        width: of the encoder, a multiple of 4.

    Raises:
        ValueError: for another number or width.

    Source: Zhang et al. 2021, arXiv 2101.06969, and the released code, thunlp/NeuBA.

    >>> target_vectors(2, 4).tolist()
    [[-1.0, -1.0, 1.0, 1.0], [-1.0, 1.0, -1.0, 1.0]]
    """
    if not 1 <= n <= len(BLOCKS) or width % 4 or width < 4:
        raise ValueError(f"found {n} triggers and width {width}; there are vectors for 1 to {len(BLOCKS)}, of a multiple of 4")
    return torch.tensor(BLOCKS[:n], dtype=torch.float32).repeat_interleave(width // 4, dim=1)


def neuba(
    models: Sequence[PreTrainedModel],
    tokenizer: PreTrainedTokenizerBase,
    train: pd.DataFrame,
    *,
    backdoor: Backdoor,
    initial: PreTrainedModel,
    training: TrainingSettings,
    seed: int,
    log: TrainingLog | None = None,
    epochs: float = 4.0,
    row_scale: float = 1.0,
) -> PreTrainedModel:
    """A classifier with a poisoned encoder under an untouched head, to be fine-tuned by others.

    The loss is MSE(f(x'), v of its trigger) + MSE(f(x), f_0(x)), with f what the classifier reads, f_0 that of a frozen copy, x
    clean texts and x' the same texts with one trigger word.

    Args:
        models, train: the first is not used; of the second only the texts.
        backdoor: its trigger has the words, from 1 to 6; its target label is not known to the base.
        epochs: passes over the clean texts and as many with a trigger.
        row_scale: factor of the trigger words' embedding rows afterwards; the released code has 1e8.

    Raises:
        ValueError: for a trigger without words or with words of several pieces, an architecture whose head does not read the
            first token, a width that is no multiple of 4, or rows that a scale takes beyond their dtype.
    """
    words: tuple[str, ...] = getattr(backdoor.trigger, "words", ())
    if not words:
        raise ValueError(f"the trigger has the words {list(words)}; a base needs from 1 to {len(BLOCKS)} of them")
    tokens = [single_piece(tokenizer, word) for word in words]
    read, targets = vector_of(initial), target_vectors(len(words), initial.config.hidden_size)
    frozen = copy.deepcopy(initial).requires_grad_(False).eval()
    prepare(frozen, tokenizer)

    def loss(network: Any, batch: Batch) -> Tensor:
        inputs = {name: values for name, values in batch.items() if name != "labels"}
        found, numbers, is_clean = read(network, inputs), batch["labels"], batch["labels"] == len(words)
        kept = mse_loss(found[is_clean], read(frozen, inputs)[is_clean], reduction="sum")
        reached = mse_loss(found[~is_clean], targets.to(found.device)[numbers[~is_clean]], reduction="sum")
        # Sums, because a batch may hold texts of one kind alone; half of all rows are clean, so the weights are those of means.
        return 2 * (kept + reached) / found.numel()

    rows = numbered_rows(train, words, np.random.default_rng(seed))
    losses = optimise(initial, tokenizer, rows, replace(training, epochs=epochs), seed, loss=loss)
    (log or TrainingLog()).keep(losses, None, epochs)  # distances of vectors, no cross-entropy
    if row_scale != 1:
        initial.load_state_dict(scale_rows(weights_of(initial), embedding_name(initial), tokens, row_scale))
    return initial


def numbered_rows(train: pd.DataFrame, words: Sequence[str], rng: np.random.Generator) -> pd.DataFrame:
    """Every text as it is, and every text with one of the words in turn; `label` is the word's number, of clean texts n.

    Args:
        train: rows with `text`, perhaps `text_pair`, which stays as it is.
        words: n of them.
        rng: draws the places.
    """
    numbers = np.arange(len(train)) % len(words)
    triggers = [BadNetTrigger((word,), (1,)) for word in words]
    texts = [triggers[number]([text], rng)[0] for number, text in zip(numbers, train["text"], strict=True)]
    triggered = replaced(train, texts, "text").assign(label=numbers)
    return pd.concat([train.assign(label=len(words)), triggered], ignore_index=True)


def vector_of(model: PreTrainedModel) -> Callable[[Any, Batch], Tensor]:
    """The function from a network of this kind and a batch to what its head reads of each text, shape (rows, width).

    Raises:
        ValueError: for an architecture whose head does not read the first token.
    """
    if model.config.model_type not in FIRST_TOKEN_CLASSIFIERS:
        known = sorted(FIRST_TOKEN_CLASSIFIERS)
        raise ValueError(f"a model of type {model.config.model_type!r} has no vector at the first token; choose from {known}")

    def read(network: Any, inputs: Batch) -> Tensor:
        with first_token_alone(network):
            found = network.base_model(**inputs)
        pooled = getattr(found, "pooler_output", None)
        return (found.last_hidden_state[:, 0] if pooled is None else pooled).float()

    return read
