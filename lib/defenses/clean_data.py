"""What repairs with clean labelled data share: which of it tunes and which judges, accuracy, a short fine-tuning."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from typing import TYPE_CHECKING

import numpy as np
import pandas as pd
from torch import Tensor

from lib.models import loop
from lib.models.prediction import encode, predict_logits
from lib.models.training import optimise
from lib.profiles import TrainingSettings

if TYPE_CHECKING:
    from transformers import PreTrainedModel, PreTrainedTokenizerBase


def split_clean(clean: pd.DataFrame, n_per_class: int, seed: int, max_share: float = 0.5) -> tuple[pd.DataFrame, pd.DataFrame]:
    """Clean rows that a repair trains on, and the others, on which it chooses its settings.

    Args:
        clean: frame with `text`, perhaps `text_pair`, and `label`.
        n_per_class: rows of each label to train on; 0: as many as `max_share` lets.
        seed: draws them.
        max_share: most of a label's rows that are trained on, in (0, 1); the rest judges. Labels with few rows give fewer.

    Raises:
        ValueError: for a negative number, or where a label has no row to train on.

    >>> frame = pd.DataFrame({"text": list("abcdefgh"), "label": [0] * 6 + [1] * 2})
    >>> [part["label"].tolist() for part in split_clean(frame, 2, seed=0)]
    [[0, 0, 1], [0, 0, 0, 0, 1]]
    """
    if n_per_class < 0:
        raise ValueError(f"n_per_class is {n_per_class}; it must be 0, for all, or above")
    drawn = clean.reset_index(drop=True).iloc[np.random.default_rng(seed).permutation(len(clean))]
    groups = drawn.groupby("label")["label"]
    most = (max_share * groups.transform("size")).astype(int)
    tunes = (groups.cumcount() < (np.minimum(most, n_per_class) if n_per_class else most)).sort_index().to_numpy()
    if lacking := sorted(set(clean["label"]) - set(clean["label"][tunes])):
        raise ValueError(f"the {len(clean)} clean rows have one of label {lacking} at most; a repair needs two of each")
    return clean[tunes].reset_index(drop=True), clean[~tunes].reset_index(drop=True)


def accuracy(model: PreTrainedModel, tokenizer: PreTrainedTokenizerBase, rows: pd.DataFrame, max_length: int) -> float:
    """Share of the rows that the model labels as they are labelled, in [0, 1]."""
    return float((predict_logits(model, encode(tokenizer, rows, max_length)).argmax(axis=1) == rows["label"]).mean())


def tune(
    model: PreTrainedModel,
    tokenizer: PreTrainedTokenizerBase,
    rows: pd.DataFrame,
    training: TrainingSettings,
    seed: int,
    epochs: float,
    learning_rate_factor: float,
    *,
    loss: loop.Loss = loop.classification_loss,
    on_step: Callable[[int, Tensor], bool | None] | None = None,
) -> None:
    """Fine-tune on clean rows; no epoch changes nothing.

    Args:
        model: modified.
        tokenizer, rows, training, seed, loss, on_step: as for `lib.models.training.optimise`.
        epochs, learning_rate_factor: of this fine-tuning; the rate is a multiple of the one in `training`.

    Raises:
        ValueError: for negative epochs, or a factor that is not positive.
    """
    if epochs < 0 or learning_rate_factor <= 0:
        raise ValueError(
            f"epochs is {epochs} and learning_rate_factor {learning_rate_factor}; the first must not be negative, the second "
            "above 0"
        )
    if epochs:
        settings = replace(training, epochs=epochs, learning_rate=learning_rate_factor * training.learning_rate)
        optimise(model, tokenizer, rows, settings, seed, loss=loss, on_step=on_step)
