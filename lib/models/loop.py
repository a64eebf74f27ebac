"""The training loop: a model, batches and a loss. Fine-tuning, the policy of LWS and pretraining differ in these alone.

A loss may be cross-entropy, a negative one (unlearning), a distance to a teacher's logits that came with the batch, or a
penalty on the model's parameters.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from functools import partial
from itertools import islice
from typing import Any

import torch
from torch import Tensor
from torch.nn.functional import cross_entropy
from torch.optim.lr_scheduler import LambdaLR

from lib.models.last_layer import first_token_alone
from lib.models.precision import PRECISIONS
from lib.models.progress import Progress

Batch = Mapping[str, Any]
Loss = Callable[[Any, Batch], Tensor]


@dataclass(frozen=True)
class LoopSettings:
    """How the steps are made: AdamW on a linear schedule with warm-up. `betas`, decay and clipping as in `Trainer`."""

    learning_rate: float  # peak of the schedule
    n_steps: int
    n_warmup: int = 0  # steps in which the learning rate rises
    weight_decay: float = 0.0
    max_grad_norm: float = 1.0  # gradients of the model are clipped to this norm
    betas: tuple[float, float] = (0.9, 0.999)
    precision: str = "float32"  # of the arithmetic: "float32", or "bfloat16" autocast; weights stay as they are
    warms_from_zero: bool = True  # as in transformers: the first step of a warm-up changes nothing; else it counts as one

    def __post_init__(self) -> None:
        if self.precision not in PRECISIONS:
            raise ValueError(f"precision is {self.precision!r}; choose from {PRECISIONS}")
        if self.n_steps < 1:
            raise ValueError(f"a training needs at least one step, found {self.n_steps}")


def train(
    model: torch.nn.Module,
    batches: Iterable[Batch],
    loss: Loss,
    settings: LoopSettings,
    *,
    groups: Sequence[dict[str, Any]] | None = None,
    on_step: Callable[[int, Tensor], bool | None] | None = None,
    progress: Progress | None = None,
) -> list[float]:
    """Train a model in place, on the device where it is; leaves it in training mode.

    Dropout draws from the global generator of torch, which the caller seeds. After `accelerate launch` processes share batches.

    Args:
        model: modified. What the loss needs beyond it (a teacher, a policy) stands on the same device already.
        batches: at least `n_steps` dictionaries; their tensors, one row per example, are moved to the model's device.
        loss, settings: a scalar of the model and a batch; how the steps are made.
        groups: of parameters, as `torch.optim` takes them; default see `parameter_groups`.
        on_step: called after every step with its number, from 1, and its loss, still on the device; True ends the training.
        progress: goes on where a killed training was; given the same batches, it passes over those that were done.

    Returns:
        The loss of each step that was made, before its update. Fewer batches than steps are a `ValueError`.
    """
    from accelerate import Accelerator

    device = next(model.parameters()).device
    optimizer, schedule = _optimizer(groups or parameter_groups(model, settings.weight_decay), settings)
    # accelerate holds one precision per process; ours is one per training, so that the autocast below is torch's. The
    # optimizer is not prepared: that is for scaled losses and accumulated gradients, and costs a little every step.
    accelerator = Accelerator(mixed_precision="no", device_placement=False)
    prepared = accelerator.prepare(model.train())
    state = {"model": model, "optimizer": optimizer, "schedule": schedule}
    done, kept = progress.restore(**state) if progress else (0, None)
    # One tensor for all: a scalar kept of every step would pin the memory round it, gigabytes in a long pretraining.
    losses = torch.zeros(settings.n_steps, device=device) if kept is None else kept.to(device)
    for step, batch in islice(enumerate(_first(batches, settings.n_steps), start=1), done, None):
        with torch.autocast(device.type, torch.bfloat16, enabled=settings.precision == "bfloat16"):
            value = loss(prepared, _placed(batch, device, accelerator))
        accelerator.backward(value)
        accelerator.clip_grad_norm_(model.parameters(), settings.max_grad_norm)
        _update(optimizer, schedule)
        losses[step - 1] = value.detach()
        if progress and step < settings.n_steps:
            progress.keep(step, losses, **state)
        if on_step and on_step(step, losses[step - 1]):
            break
    return accelerator.reduce(losses[:step], "mean").tolist()


def _update(optimizer: torch.optim.Optimizer, schedule: LambdaLR) -> None:
    """One step of the weights and of the learning rate."""
    optimizer.step()
    schedule.step()
    optimizer.zero_grad()


def _first(batches: Iterable[Batch], n_steps: int) -> Iterator[Batch]:
    """As many batches as there are steps; none is taken beyond the last."""
    taken = 0
    for taken, batch in zip(range(1, n_steps + 1), batches, strict=False):  # noqa: B007
        yield batch
    if taken < n_steps:
        raise ValueError(f"the batches ended after {taken} of {n_steps} steps")


def _optimizer(groups: Sequence[dict[str, Any]], settings: LoopSettings) -> tuple[torch.optim.Optimizer, LambdaLR]:
    """AdamW, and the schedule of its learning rates."""
    optimizer = torch.optim.AdamW(
        list(groups), settings.learning_rate, settings.betas, weight_decay=settings.weight_decay, fused=True
    )
    return optimizer, LambdaLR(optimizer, partial(learning_rate_factor, settings=settings))


def classification_loss(model: Any, batch: Batch, reduction: str = "mean") -> Tensor:
    """Cross-entropy of a classifier's logits, in nats; the batch has `labels` and what the model reads.

    With the reduction "none" it is one value per example, shape (rows,).
    """
    return cross_entropy(logits_on(model, batch), batch["labels"], reduction=reduction)


def logits_on(model: Any, batch: Batch) -> Tensor:
    """Logits of a classifier on a training batch, float32, shape (rows, n_labels); its `labels` are not read."""
    inputs = {name: values for name, values in batch.items() if name != "labels"}
    with first_token_alone(model):
        return model(**inputs).logits.float()


def parameter_groups(model: torch.nn.Module, weight_decay: float) -> list[dict[str, Any]]:
    """The trained parameters in two groups: matrices decay, biases and the scales of normalisation layers do not.

    For the models of this study it is the division that `Trainer` makes by names.
    """
    trained = [parameter for parameter in model.parameters() if parameter.requires_grad]
    return [
        {"params": [parameter for parameter in trained if parameter.ndim > 1], "weight_decay": weight_decay},
        {"params": [parameter for parameter in trained if parameter.ndim <= 1], "weight_decay": 0.0},
    ]


def learning_rate_factor(step: int, settings: LoopSettings) -> float:
    """Share of the learning rate after `step` steps: it rises linearly in the warm-up, then falls linearly to 0.

    >>> settings = LoopSettings(1e-3, n_steps=6, n_warmup=2)
    >>> [learning_rate_factor(step, settings) for step in range(6)]
    [0.0, 0.5, 1.0, 0.75, 0.5, 0.25]
    """
    if step < settings.n_warmup:
        return (step if settings.warms_from_zero else step + 1) / settings.n_warmup
    return max(0.0, (settings.n_steps - step) / max(1, settings.n_steps - settings.n_warmup))


def _placed(batch: Batch, device: torch.device, accelerator: Any) -> dict[str, Any]:
    """The batch on the device; of several processes each takes its share of the rows, and never none."""
    n, first = accelerator.num_processes, accelerator.process_index
    return {
        name: value[first % len(value) :: n].to(device, non_blocking=True) if isinstance(value, Tensor) else value
        for name, value in batch.items()
    }
