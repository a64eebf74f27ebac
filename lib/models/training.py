"""Fine-tuning, and what is recorded of it: loss curve, stability, distance from the start."""

from __future__ import annotations

import math
import time
from collections.abc import Callable, Iterator, Sequence
from dataclasses import asdict, dataclass, field
from typing import TYPE_CHECKING, Any

import numpy as np
import pandas as pd
import torch
from torch import Tensor

from lib.merging import StateDict, distance
from lib.models import loop
from lib.models.batches import epochs_of_batches
from lib.models.prediction import tokenize
from lib.models.stability import excess_loss, find_instability
from lib.profiles import TrainingSettings

if TYPE_CHECKING:
    from transformers import PreTrainedModel, PreTrainedTokenizerBase

N_LOGGED = 60  # points of a loss curve; each is the mean over the steps since the last one


@dataclass(frozen=True)
class TrainingRecord:
    """What is kept of a training beside the weights."""

    steps: list[int]
    losses: list[float]  # mean training loss since the previous entry of `steps`, in nats
    epoch_losses: list[float]
    chance_loss: float  # entropy of the training labels: the loss of a model that knows only their shares
    excess_loss: float  # mean share by which the loss lay above that of guessing; see `lib.models.stability`
    instability: str  # what went wrong, or ""
    distance: float  # Euclidean distance from the initial weights, head included
    n_train: int
    seconds: float
    device: str

    def as_dict(self) -> dict[str, Any]:
        """The record as plain JSON values."""
        return asdict(self)


@dataclass
class TrainingLog:
    """Where an attacker's training leaves what a record is made from; of several trainings the last one counts.

    Attributes:
        losses: of each step, per cross-entropy that the loss adds up; empty before a training.
        labels: class ids that were trained on, or None where the loss is no cross-entropy and chance has no meaning.
        epochs: passes over the rows.
    """

    losses: list[float] = field(default_factory=list)
    labels: pd.Series | None = None
    epochs: float = 0.0

    def keep(self, losses: Sequence[float], labels: pd.Series | None, epochs: float, n_terms: int = 1) -> None:
        """Take notice of a training whose loss is the sum of `n_terms` cross-entropies, 1 or more."""
        self.losses, self.labels, self.epochs = [value / n_terms for value in losses], labels, epochs


def fine_tune(
    model: PreTrainedModel,
    tokenizer: PreTrainedTokenizerBase,
    train: pd.DataFrame,
    settings: TrainingSettings,
    seed: int,
    *,
    on_adapted: Callable[[Any], None] | None = None,
) -> TrainingRecord:
    """Fine-tune a classifier in place; the last epoch is kept, and no other data is looked at.

    AdamW, linear schedule with warm-up, gradient clipping, dynamic padding, batches of similar length. Dropout and the order
    of the batches depend on `seed`. With a `lora_rank`, adapters are trained (LoRA, Hu et al. 2022, arXiv 2106.09685; alpha
    is twice the rank) and added to the weights at the end.

    Args:
        model: as from `lib.models.new_classifier`; modified, and moved to a GPU where there is one.
        tokenizer: its tokenizer.
        train: frame with `text`, perhaps `text_pair`, and `label`.
        settings: learning rate, epochs and so on.
        seed: of dropout and of the order of the examples.
        on_adapted: called with the PEFT model when it is trained, before the adapters are added to the weights.
    """
    began, start = time.perf_counter(), weights_of(model)
    losses = optimise(model, tokenizer, train, settings, seed, on_adapted=on_adapted)
    return record_of(model, start, losses, train["label"], settings.epochs, time.perf_counter() - began)


def optimise(
    model: PreTrainedModel,
    tokenizer: PreTrainedTokenizerBase,
    train: pd.DataFrame,
    settings: TrainingSettings,
    seed: int,
    *,
    loss: loop.Loss = loop.classification_loss,
    on_step: Callable[[int, Tensor], bool | None] | None = None,
    on_adapted: Callable[[Any], None] | None = None,
) -> list[float]:
    """The steps of `fine_tune` without a record, for trainings of several stages and with other losses.

    Args:
        model, tokenizer, train, settings, seed: as for `fine_tune`.
        loss, on_step: as for `lib.models.loop.train`.
        on_adapted: as for `fine_tune`.

    Returns:
        The loss of each step.
    """
    batches = batches_of_texts(tokenizer, train, settings.max_length, settings.batch_size, np.random.default_rng(seed))
    n_steps = steps_of(settings, len(train))
    prepare(model, tokenizer)
    with torch.random.fork_rng():
        adapted = with_adapters(model, settings.lora_rank, seed) if settings.lora_rank else None
        torch.manual_seed(seed)
        losses = loop.train(adapted or model, batches, loss, loop_settings(settings, n_steps), on_step=on_step)
        if adapted and on_adapted:
            on_adapted(adapted)
        if adapted:
            adapted.merge_and_unload()  # in place: `model` has the sums now
    return losses


def batches_of_texts(
    tokenizer: PreTrainedTokenizerBase, rows: pd.DataFrame, max_length: int, batch_size: int, rng: np.random.Generator
) -> Iterator[dict[str, Tensor]]:
    """Training batches of a frame with `text`, perhaps `text_pair`, and `label`, without end; tokenised once.

    Args:
        tokenizer, rows: as for `fine_tune`.
        max_length: tokens; longer texts are cut.
        batch_size, rng: as for `lib.models.batches.epochs_of_batches`.
    """
    return epochs_of_batches(tokenizer, tokenize(tokenizer, rows, max_length), rows["label"].tolist(), batch_size, rng)


def prepare(model: PreTrainedModel, tokenizer: PreTrainedTokenizerBase) -> None:
    """Put a network where trainings run, and make its configuration fit for one."""
    from accelerate import PartialState

    model.to(PartialState().device)
    model.config.use_cache = False  # a decoder's keys and values serve generation alone
    model.config.pad_token_id = tokenizer.pad_token_id  # a decoder reads the last piece before the padding


def steps_of(settings: TrainingSettings, n_rows: int) -> int:
    """How many steps a training takes on so many rows."""
    return math.ceil(settings.epochs * math.ceil(n_rows / settings.batch_size))


def weights_of(model: PreTrainedModel) -> StateDict:
    """A copy of the weights, on the CPU."""
    return {key: value.to("cpu", copy=True) for key, value in model.state_dict().items()}


def record_of(
    model: PreTrainedModel, start: StateDict, losses: Sequence[float], labels: pd.Series | None, epochs: float, seconds: float
) -> TrainingRecord:
    """What is kept of a training.

    Args:
        model: after it.
        start: the weights before it.
        losses: of each step.
        labels: class ids that it was trained on, or None if the loss is no cross-entropy: then chance is NaN, and only losses
            that are not finite count as unstable.
        epochs: how often.
        seconds: how long it took.
    """
    n_steps, n_rows = len(losses), 0 if labels is None else len(labels)
    excess = 0.0 if labels is None else excess_loss(losses, model.config.num_labels)
    chance_loss = math.nan if labels is None else _chance_loss(labels)
    steps, losses = _thinned_out(losses)
    return TrainingRecord(
        steps=steps,
        losses=losses,
        epoch_losses=_epoch_losses(steps, losses, n_steps, epochs),
        chance_loss=chance_loss,
        excess_loss=excess,
        instability=find_instability(losses, chance_loss, excess),
        distance=distance({key: value.cpu() for key, value in model.state_dict().items()}, start),
        n_train=n_rows,
        seconds=seconds,
        device=str(model.device),
    )


def _chance_loss(labels: pd.Series) -> float:
    """Entropy of the labels, in nats: the loss of a model that knows only their shares."""
    shares = labels.value_counts(normalize=True).to_numpy()
    return float(-(shares * np.log(shares)).sum())


def with_adapters(model: PreTrainedModel, rank: int, seed: int) -> Any:
    """The model with low-rank adapters on every linear layer; the head is trained whole."""
    from peft import LoraConfig, TaskType, get_peft_model

    torch.manual_seed(seed)
    config = LoraConfig(task_type=TaskType.SEQ_CLS, r=rank, lora_alpha=2 * rank, target_modules="all-linear")
    return get_peft_model(model, config)


def loop_settings(settings: TrainingSettings, n_steps: int) -> loop.LoopSettings:
    """The part of the training settings that the loop needs, for a number of steps."""
    return loop.LoopSettings(
        learning_rate=settings.learning_rate,
        n_steps=n_steps,
        n_warmup=round(settings.warmup_ratio * n_steps),
        weight_decay=settings.weight_decay,
        max_grad_norm=settings.max_grad_norm,
        precision=settings.precision,
    )


def _thinned_out(losses: Sequence[float]) -> tuple[list[int], list[float]]:
    """The last steps of about `N_LOGGED` equal stretches, and the mean loss of each; an incomplete stretch is left out."""
    stretch = max(1, len(losses) // N_LOGGED)
    steps = list(range(stretch, len(losses) + 1, stretch))
    return steps, [float(np.mean(losses[step - stretch : step])) for step in steps]


def _epoch_losses(steps: Sequence[int], losses: Sequence[float], n_steps: int, epochs: float) -> list[float]:
    """Mean loss of each epoch, from the logged stretches that end in it."""
    if not steps:
        return []
    epoch = [min(int((step - 1) * epochs / n_steps), max(0, int(np.ceil(epochs)) - 1)) for step in steps]
    return [float(value) for value in pd.Series(losses, dtype=float).groupby(epoch).mean()]
