"""Fine-tuning on a few clean labelled texts: the floor for every repair that sees clean labels."""

# PURE's README calls it FT at a rate of 2e-5, the one of a BERT fine-tuning, and FTH at 5e-5: here factors of 1 and 2.5 of the
# study's own rate, because models of other sizes have other rates.

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING

import pandas as pd

from lib.defenses.clean_data import split_clean, tune
from lib.profiles import TrainingSettings

if TYPE_CHECKING:
    from transformers import PreTrainedModel, PreTrainedTokenizerBase


def fine_tune_clean(
    models: Sequence[PreTrainedModel],
    tokenizer: PreTrainedTokenizerBase,
    clean: pd.DataFrame,
    *,
    training: TrainingSettings,
    seed: int,
    n_per_class: int = 64,
    epochs: float = 3.0,
    learning_rate_factor: float = 1.0,
) -> PreTrainedModel:
    """Go on training the suspicious model on clean rows; the last weights are kept.

    Args:
        models: the suspicious model, modified; others are not used.
        tokenizer: its tokenizer.
        clean: clean labelled validation rows.
        training: how models are fine-tuned in the study.
        seed: draws the rows and their order.
        n_per_class: rows of each label, and never more than half of what there is, as for the repairs that need the others.
        epochs: how often; 0 changes nothing.
        learning_rate_factor: learning rate as a multiple of the study's.

    Raises:
        ValueError: as `split_clean` and `tune`.
    """
    tune(models[0], tokenizer, split_clean(clean, n_per_class, seed)[0], training, seed, epochs, learning_rate_factor)
    return models[0]
