"""ABL, anti-backdoor learning (Li et al. 2021, arXiv 2110.11571): isolate what is learnt first, train on the rest, unlearn."""

# Where paper, released code and ours differ:
# - Loss of the isolation. Paper: local gradient ascent, of each example. `bboylyg/ABL` (`config.py`, `backdoor_isolation.py`)
#   runs flooding by default, and takes the sign of the mean of a batch, which does not stop a fast minority of poisoned rows.
#   Ours: local gradient ascent of each example, as in BackdoorBox (`core/defenses/ABL.py`); "flooding" on request.
# - BackdoorBox scores rows in training mode, where dropout scrambles the ranking. Ours scores in evaluation mode.
# - gamma is 0.5 nats for ten classes, 22 % of guessing's loss ln 10. Of ln 2 it is 72 %, and clean rows would be held back,
#   too; so ours is 0.22 ln K.
# - Both codes train on the rest and then unlearn; the paper has both in one loss. Ours follows the codes.
# - The loss of unlearning has no upper bound: ascent without a cap destroys the classifier. Ours ends at a mean of 3 ln K.
# - `int(rate * n)` rows are isolated in the code, the nearest whole number here.
# - Epochs are those of a fine-tuning, 1 and 2, not the 20 and 80 of networks trained from nothing. Unlearning lasts 5 at most,
#   as in `config.py`: a hundredth of a small training set is one step per epoch.
# - When to isolate. The paper does it after a fixed number of epochs. A fine-tuning has learnt all rows by then, and all lie at
#   the floor. Ours looks at the losses several times in the first stage, and takes the moment at which the easiest rows lie
#   farthest below the median: a choice by the training loss alone.

from __future__ import annotations

import math
import time
from collections.abc import Callable
from dataclasses import replace
from typing import TYPE_CHECKING, Any

import numpy as np
import pandas as pd
import torch
from torch import Tensor
from torch.nn.functional import cross_entropy

from lib.models.loop import Batch, classification_loss
from lib.models.prediction import EncodedTexts, encode, predict_logits
from lib.models.training import TrainingRecord, optimise, record_of, weights_of
from lib.profiles import TrainingSettings

if TYPE_CHECKING:
    from transformers import PreTrainedModel, PreTrainedTokenizerBase

GAMMA, CAP = 0.22, 3.0  # shares of ln K, the loss of guessing among K labels
MOMENTS = (0.15, 0.3, 0.5, 1.0)  # of the first stage, at which the losses of all rows are looked at


def abl(
    model: PreTrainedModel,
    tokenizer: PreTrainedTokenizerBase,
    train: pd.DataFrame,
    settings: TrainingSettings,
    seed: int,
    *,
    isolation_rate: float = 0.01,
    gamma: float | None = None,
    isolation_loss: str = "lga",
    isolation_epochs: float = 1.0,
    clean_epochs: float = 2.0,
    unlearning_epochs: float = 5.0,
    unlearning_factor: float = 0.25,
    cap: float | None = None,
) -> TrainingRecord:
    """Fine-tune in three stages: hold the loss at a floor, train on all rows but the easiest, unlearn the easiest.

    Args:
        model, tokenizer, train, settings, seed: as for `lib.models.training.fine_tune`, but for the epochs.
        isolation_rate: share of the rows that is isolated; the paper assumes that more are poisoned.
        gamma: floor of the loss in the first stage, in nats; default 0.22 ln K.
        isolation_loss: a key of `ISOLATION_LOSSES`.
        isolation_epochs, clean_epochs: of the first and the second stage.
        unlearning_epochs: of the third, at most; 0 leaves it out.
        unlearning_factor: learning rate of the third stage as a share of that of the others.
        cap: mean loss of the isolated rows, in nats, at which unlearning ends; default 3 ln K.

    Returns:
        The record of the second stage, with the distance of all three from the start, their seconds, and the number of rows
        of the second.

    Raises:
        ValueError: for an unknown loss, a rate that isolates no row or all, a setting that is not positive, or one label.
    """
    positive = {"isolation_epochs": isolation_epochs, "clean_epochs": clean_epochs, "unlearning_factor": unlearning_factor}
    if wrong := {name: value for name, value in positive.items() if value <= 0}:
        raise ValueError(f"found {wrong}; they must be above 0")
    if unlearning_epochs < 0:
        raise ValueError(f"unlearning_epochs is {unlearning_epochs}; it must not be negative")
    began, start = time.perf_counter(), weights_of(model)
    easiest = isolated_rows(model, tokenizer, train, settings, seed, isolation_rate, gamma, isolation_loss, isolation_epochs)
    rest = train[~easiest].reset_index(drop=True)
    losses = optimise(model, tokenizer, rest, replace(settings, epochs=clean_epochs), seed)
    if unlearning_epochs:
        slower = replace(settings, epochs=unlearning_epochs, learning_rate=unlearning_factor * settings.learning_rate)
        limit = CAP * math.log(model.config.num_labels) if cap is None else cap
        unlearn(model, tokenizer, train[easiest].reset_index(drop=True), slower, seed, limit)
    return record_of(model, start, losses, rest["label"], clean_epochs, time.perf_counter() - began)


def isolated_rows(
    model: PreTrainedModel,
    tokenizer: PreTrainedTokenizerBase,
    train: pd.DataFrame,
    settings: TrainingSettings,
    seed: int,
    isolation_rate: float = 0.01,
    gamma: float | None = None,
    isolation_loss: str = "lga",
    epochs: float = 1.0,
) -> np.ndarray:
    """The first stage: train with the loss held at a floor, and mark the rows of lowest loss when they stand out most.

    The losses of all rows are looked at after each of the shares `MOMENTS` of the stage.

    Args:
        model: modified.
        tokenizer, train, settings, seed, isolation_rate, gamma, isolation_loss, epochs: as for `abl`.

    Returns:
        bool, shape (n,). How many of them are poisoned only an oracle knows; near the poisoning rate, the stage has failed.
    """
    if isolation_loss not in ISOLATION_LOSSES:
        raise ValueError(f"unknown isolation_loss {isolation_loss!r}; choose from {sorted(ISOLATION_LOSSES)}")
    if train["label"].nunique() < 2:
        raise ValueError(f"the training rows have labels {sorted(set(train['label']))}; at least two are needed")
    lowest(np.zeros(len(train)), isolation_rate)  # an impossible rate is told before the training, not after it
    floor, held = GAMMA * math.log(model.config.num_labels) if gamma is None else gamma, ISOLATION_LOSSES[isolation_loss]

    def loss(model: Any, batch: Batch) -> Tensor:
        return held(classification_loss(model, batch, "none"), floor)

    encoded = encode(tokenizer, train, settings.max_length)
    n_steps = math.ceil(epochs * math.ceil(len(train) / settings.batch_size))
    moments, seen = {math.ceil(share * n_steps) for share in MOMENTS}, list[np.ndarray]()

    def look(step: int, _: Tensor) -> None:
        if step in moments:
            seen.append(row_losses(model, encoded, train["label"]))
            model.train()

    optimise(model, tokenizer, train, replace(settings, epochs=epochs), seed, loss=loss, on_step=look)
    return lowest(max(seen, key=lambda losses: np.median(losses) - np.quantile(losses, isolation_rate)), isolation_rate)


def unlearn(
    model: PreTrainedModel,
    tokenizer: PreTrainedTokenizerBase,
    rows: pd.DataFrame,
    settings: TrainingSettings,
    seed: int,
    cap: float,
) -> None:
    """Gradient ascent on some rows until their mean loss reaches a cap; the last weights are kept.

    Args:
        model: modified.
        tokenizer, settings, seed: as for `abl`; `settings.epochs` is the most.
        rows: to be unlearnt.
        cap: in nats; above 0.

    Raises:
        ValueError: for a cap that is not positive.
    """
    if cap <= 0:
        raise ValueError(f"cap is {cap}; it must be above 0")
    encoded = encode(tokenizer, rows, settings.max_length)

    def has_forgotten(step: int, loss: Tensor) -> bool:
        mean = row_losses(model, encoded, rows["label"]).mean()
        model.train()
        return bool(mean >= cap)

    optimise(
        model,
        tokenizer,
        rows,
        settings,
        seed,
        loss=lambda model, batch: -classification_loss(model, batch),
        on_step=has_forgotten,
    )


def row_losses(model: PreTrainedModel, texts: EncodedTexts, labels: pd.Series) -> np.ndarray:
    """Cross-entropy of every row in evaluation mode, in nats, shape (n,)."""
    logits = torch.from_numpy(predict_logits(model, texts))
    return cross_entropy(logits, torch.tensor(labels.to_numpy()), reduction="none").numpy()


def lowest(losses: np.ndarray, rate: float) -> np.ndarray:
    """Marks of the `round(rate * n)` rows of lowest loss, the first among equals, bool, shape (n,).

    Raises:
        ValueError: for a rate at which no row is marked, or all are.

    >>> lowest(np.array([0.3, 0.1, 0.2, 0.1]), 0.25)
    array([False,  True, False, False])
    """
    n_lowest = round(rate * len(losses))
    if not 0 < n_lowest < len(losses):
        raise ValueError(
            f"isolation_rate {rate} isolates {n_lowest} of {len(losses)} rows; some must be isolated, and some left"
        )
    return np.isin(np.arange(len(losses)), np.argsort(losses, kind="stable")[:n_lowest])


def local_gradient_ascent(losses: Tensor, gamma: float) -> Tensor:
    """Mean of `sign(loss - gamma) * loss`: a row below the floor climbs back to it.

    Args:
        losses: of the examples of a batch, shape (n,).
        gamma: the floor, in nats.

    >>> round(local_gradient_ascent(torch.tensor([0.02, 0.30, 0.60, 1.40]), 0.5).item(), 6)
    0.42
    """
    return (torch.sign(losses.detach() - gamma) * losses).mean()


def flooding(losses: Tensor, level: float) -> Tensor:
    """Mean of `|loss - level| + level`; its gradient is that of `local_gradient_ascent`.

    Source: Ishida et al. 2020, arXiv 2002.08709, who flood the mean of a batch; here it is each example.

    >>> round(flooding(torch.tensor([0.02, 0.30, 0.60, 1.40]), 0.5).item(), 6)
    0.92
    """
    return ((losses - level).abs() + level).mean()


ISOLATION_LOSSES: dict[str, Callable[[Tensor, float], Tensor]] = {"lga": local_gradient_ascent, "flooding": flooding}
