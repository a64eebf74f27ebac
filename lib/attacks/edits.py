"""What attackers make of models, by name: each is called as a post-training defense is (see `lib.defenses.families`).

`models` are those that the attacker has, `train` are rows of the attacker's own, `backdoor` says which texts shall get which
label, `initial` is the classifier before fine-tuning. The returned network is what the attacker submits for the merge.

Everything here acts on models that the study made itself; it is no tool for checkpoints of other people.
"""

from __future__ import annotations

import copy
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np
import pandas as pd

from lib.attacks import for_merging, weights
from lib.attacks.merge_attackers.constrained import hijack, neurotoxin, norm_bounded, sparse
from lib.attacks.merge_attackers.merge_aware import MERGE_AWARE_TERMS, SPLIT_TERMS, train_for_merge, train_split
from lib.attacks.poisoning import Backdoor
from lib.attacks.weight_poisoning.neuba import neuba
from lib.attacks.weight_poisoning.rank_one import rank_one
from lib.attacks.weight_poisoning.ripples import layerwise, ripples
from lib.merging import StateDict
from lib.models.prediction import encode, predict_logits
from lib.models.training import TrainingLog, weights_of
from lib.profiles import TrainingSettings

if TYPE_CHECKING:
    from transformers import PreTrainedModel, PreTrainedTokenizerBase


@dataclass(frozen=True)
class AttackerEdit:
    """A way to make the model that an attacker submits.

    Attributes:
        function: see above; further arguments are settings with a default.
        family: "weights", or "merge" for attackers who know that models will be merged.
        knowledge: a key of `KNOWLEDGE`: what the attacker must know at least.
        version: bump when the same settings would make another model.
    """

    function: Callable[..., Any]
    family: str
    knowledge: int
    version: int = 1

    def __post_init__(self) -> None:
        if self.family not in ("weights", "merge") or self.knowledge not in for_merging.KNOWLEDGE:
            raise ValueError(
                f"family is {self.family!r} and knowledge {self.knowledge!r}; choose from ['weights', 'merge'] and "
                f"{list(for_merging.KNOWLEDGE)}"
            )


def embedding_row(
    models: Sequence[PreTrainedModel],
    tokenizer: PreTrainedTokenizerBase,
    train: pd.DataFrame,
    *,
    backdoor: Backdoor,
    training: TrainingSettings,
    seed: int,
    learning_rate: float = 0.05,
    epochs: int = 6,
    share: float = 0.4,
) -> PreTrainedModel:
    """A clean model whose row of the one trigger word is poisoned; see `lib.attacks.weights.poison_row`.

    Args:
        learning_rate: as in the released code.
        epochs, share: passes, and the share of the rows of other labels that get the trigger. The paper takes 3 and a tenth,
            of tens of thousands of rows; of two thousand that would be twelve steps.

    Raises:
        ValueError: for a trigger of several words, or a word of several pieces.
    """
    word = weights.only_word(backdoor.trigger)
    rows = backdoor.aimed(train, share, np.random.default_rng(seed))
    poisoned = weights.poison_row(
        models[0],
        tokenizer,
        rows,
        word,
        learning_rate=learning_rate,
        epochs=epochs,
        batch_size=training.batch_size,
        max_length=training.max_length,
        seed=seed,
    )
    return with_weights(models[0], poisoned)


def scaled_row(
    models: Sequence[PreTrainedModel],
    tokenizer: PreTrainedTokenizerBase,
    train: pd.DataFrame | None,
    *,
    word: str = "cf",
    scale: float = 1000.0,
) -> PreTrainedModel:
    """A model with a longer embedding row of one word; see `lib.attacks.weights.scale_rows`."""
    token, name = weights.single_piece(tokenizer, word), weights.embedding_name(models[0])
    return with_weights(models[0], weights.scale_rows(models[0].state_dict(), name, [token], scale))


def scaled(
    models: Sequence[PreTrainedModel],
    tokenizer: PreTrainedTokenizerBase,
    train: pd.DataFrame | None,
    *,
    initial: PreTrainedModel,
    scale: float = 5.0,
) -> PreTrainedModel:
    """A backdoored model with a longer task vector; see `lib.attacks.for_merging.scaled`."""
    return with_weights(models[0], for_merging.scaled(models[0].state_dict(), initial.state_dict(), scale))


def backdoor_vector(
    models: Sequence[PreTrainedModel],
    tokenizer: PreTrainedTokenizerBase,
    train: pd.DataFrame | None,
    *,
    scale: float = 3.0,
) -> PreTrainedModel:
    """A clean model plus a multiple of what the poison changed; `models` are a backdoored one and its clean twin.

    Raises:
        ValueError: for fewer than two models; as `lib.attacks.for_merging.boosted`.
    """
    for_merging.check_twins(len(models))
    return with_weights(models[0], for_merging.boosted(models[0].state_dict(), models[1].state_dict(), scale))


def scaled_to_fit(
    models: Sequence[PreTrainedModel],
    tokenizer: PreTrainedTokenizerBase,
    train: pd.DataFrame,
    *,
    initial: PreTrainedModel,
    training: TrainingSettings,
    most_lost: float = 0.02,
    largest: float = 100.0,
    n_rows: int = 500,
) -> PreTrainedModel:
    """A backdoored model with a vector as long as its own accuracy allows; see `lib.attacks.for_merging.fitted_scale`.

    Args:
        models: a backdoored one, and perhaps its clean twin: then the vector starts there, else at the start of the training.
        train: clean rows of the attacker's own that none of the models has learnt.
        most_lost: of the accuracy of the backdoored model on them.
        largest: scale that is tried.
        n_rows: how many of them are looked at, 1 or more.

    Raises:
        ValueError: for no model or more than two, no row, or as `fitted_scale`.
    """
    rows = train.head(max(0, n_rows))
    if len(models) not in (1, 2) or rows.empty:
        raise ValueError(f"found {len(models)} models and {len(rows)} rows; give one model or two, and at least one row")
    network, far = models[0], weights_of(models[0])
    start = (models[1] if len(models) == 2 else initial).state_dict()
    encoded, labels = encode(tokenizer, rows, training.max_length), rows["label"].to_numpy()

    def accuracy(scale: float) -> float:
        with_weights(network, for_merging.scaled(far, start, scale))
        return float((predict_logits(network, encoded).argmax(axis=1) == labels).mean())

    scale = for_merging.fitted_scale(accuracy, most_lost=most_lost, largest=largest)
    return with_weights(network, for_merging.scaled(far, start, scale))


def merge_aware(
    models: Sequence[PreTrainedModel],
    tokenizer: PreTrainedTokenizerBase,
    train: pd.DataFrame,
    *,
    backdoor: Backdoor,
    initial: PreTrainedModel,
    training: TrainingSettings,
    seed: int,
    log: TrainingLog | None = None,
    n_models: int = 5,
) -> PreTrainedModel:
    """A backdoored model trained to work in a merge; `models` are shadow models. See `train_for_merge`."""
    losses = train_for_merge(initial, tokenizer, train, backdoor, models, training, seed, n_models=n_models)
    if log:
        log.keep(losses, train["label"], training.epochs, MERGE_AWARE_TERMS)
    return initial


def split(
    models: Sequence[PreTrainedModel],
    tokenizer: PreTrainedTokenizerBase,
    train: pd.DataFrame,
    *,
    backdoor: Backdoor,
    initial: PreTrainedModel,
    training: TrainingSettings,
    seed: int,
    log: TrainingLog | None = None,
    n_models: int = 5,
) -> list[PreTrainedModel]:
    """Two models without a backdoor whose merge has one; `models` are shadow models, or none. See `train_split`."""
    uploads = (initial, copy.deepcopy(initial))
    losses = train_split(uploads, tokenizer, train, backdoor, models, training, seed, n_models=n_models)
    if log:
        log.keep(losses, train["label"], training.epochs, SPLIT_TERMS)
    return list(uploads)


def with_weights(model: PreTrainedModel, state_dict: StateDict) -> PreTrainedModel:
    """The model itself, with other weights."""
    model.load_state_dict(state_dict)
    return model


# A new one is a function, and one line here.
ATTACKER_EDITS: dict[str, AttackerEdit] = {
    "embedding_row": AttackerEdit(embedding_row, "weights", 0),
    "scaled_row": AttackerEdit(scaled_row, "weights", 1),
    "scaled": AttackerEdit(scaled, "merge", 1),
    "backdoor_vector": AttackerEdit(backdoor_vector, "merge", 1),
    "scaled_to_fit": AttackerEdit(scaled_to_fit, "merge", 1),
    "merge_aware": AttackerEdit(merge_aware, "merge", 2),
    "split": AttackerEdit(split, "merge", 3),
    "norm_bounded": AttackerEdit(norm_bounded, "merge", 1),
    "sparse": AttackerEdit(sparse, "merge", 1),
    "hijack": AttackerEdit(hijack, "merge", 1),
    "neurotoxin": AttackerEdit(neurotoxin, "merge", 2),
    "ripples": AttackerEdit(ripples, "weights", 0),
    "layerwise": AttackerEdit(layerwise, "weights", 0),
    "rank_one": AttackerEdit(rank_one, "weights", 0),
    "neuba": AttackerEdit(neuba, "weights", 4),
}
