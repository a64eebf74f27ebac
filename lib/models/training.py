"""Fine-tuning with `transformers.Trainer`, and what is recorded of it: loss curve, stability, distance from the start."""

from __future__ import annotations

import gc
import tempfile
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import asdict, dataclass
from functools import partial
from typing import TYPE_CHECKING, Any

import numpy as np
import pandas as pd
import torch
from torch import Tensor
from torch.nn.utils.rnn import pad_sequence
from torch.utils.data import Sampler

from lib.merging import distance
from lib.models.checkpoints import quiet_transformers
from lib.models.prediction import tokenize
from lib.profiles import TrainingSettings

if TYPE_CHECKING:
    from transformers import PreTrainedModel, PreTrainedTokenizerBase

N_LOGGED = 60  # points of a loss curve; each is the mean over the steps since the last one
CHUNK = 8  # batches that are sorted by length together
SMOOTHED = 5  # points averaged before a curve is judged
LEARNT, AT_CHANCE = 0.75, 0.9  # shares of the chance loss: below the first a model has learnt, above the second it has not


@dataclass(frozen=True)
class TrainingRecord:
    """What is kept of a training beside the weights."""

    steps: list[int]
    losses: list[float]  # mean training loss since the previous entry of `steps`, in nats
    epoch_losses: list[float]
    chance_loss: float  # entropy of the training labels: the loss of a model that knows only their shares
    instability: str  # what went wrong, or ""
    distance: float  # Euclidean distance from the initial weights, head included
    n_train: int
    seconds: float
    device: str

    def as_dict(self) -> dict[str, Any]:
        """The record as plain JSON values."""
        return asdict(self)


def fine_tune(
    model: PreTrainedModel,
    tokenizer: PreTrainedTokenizerBase,
    train: pd.DataFrame,
    settings: TrainingSettings,
    seed: int,
) -> TrainingRecord:
    """Fine-tune a classifier in place; the last epoch is kept, and no other data is looked at.

    AdamW, linear schedule with warm-up, gradient clipping, dynamic padding, batches of similar length; bfloat16 autocast on
    CUDA, float32 on CPU. Dropout and the order of the batches depend on `seed`. With a `lora_rank`, adapters are trained
    (LoRA, Hu et al. 2022, arXiv 2106.09685; alpha is twice the rank) and added to the weights at the end.

    Args:
        model: as from `lib.models.new_classifier`; modified.
        tokenizer: its tokenizer.
        train: frame with `text`, perhaps `text_pair`, and `label`.
        settings: learning rate, epochs and so on.
        seed: of dropout and of the order of the examples.
    """
    start = {key: value.detach().clone() for key, value in model.state_dict().items()}
    began = time.perf_counter()
    with tempfile.TemporaryDirectory() as folder, torch.random.fork_rng(), quiet_transformers(), _frozen_heap():
        adapted = _with_adapters(model, settings.lora_rank, seed) if settings.lora_rank else None
        trainer = _trainer(adapted or model, tokenizer, train, settings, seed, folder)
        trainer.train()
        if adapted:
            adapted.merge_and_unload()  # in place: `model` has the sums now
    entries = [entry for entry in trainer.state.log_history if "loss" in entry]
    steps, losses = [entry["step"] for entry in entries], [float(entry["loss"]) for entry in entries]
    shares = train["label"].value_counts(normalize=True).to_numpy()
    chance_loss = float(-(shares * np.log(shares)).sum())
    return TrainingRecord(
        steps=steps,
        losses=losses,
        epoch_losses=_epoch_losses(steps, losses, trainer.state.max_steps, settings.epochs),
        chance_loss=chance_loss,
        instability=find_instability(losses, chance_loss),
        distance=distance({key: value.cpu() for key, value in model.state_dict().items()}, start),
        n_train=len(train),
        seconds=time.perf_counter() - began,
        device=str(model.device),
    )


def find_instability(losses: Sequence[float], chance_loss: float) -> str:
    """What is wrong with a loss curve, or "" if it fell and stayed down.

    A training whose loss returns to chance after it had fallen has left the basin of the pretrained model. It may recover and
    look healthy alone, yet averages with it are broken (notebook 06).

    Args:
        losses: mean training losses over equal stretches, in nats.
        chance_loss: loss of a model that knows only the shares of the labels.

    >>> find_instability([0.7, 0.5, 0.3, 0.2, 0.1, 0.1], 0.69)
    ''
    >>> find_instability([0.6, 0.4, 0.3, 0.3, 0.3, 0.7, 0.7, 0.7, 0.7, 0.7, 0.4, 0.2], 0.69)
    'the training loss returned to chance (0.70 of 0.69) after it had fallen to 0.38'
    """
    if not np.isfinite(losses).all():
        return "the training loss is not finite"
    # "same" windows shrink at the ends, so that the first and the last points count too.
    smoothed = pd.Series(losses, dtype=float).rolling(SMOOTHED, center=True, min_periods=1).mean().to_numpy()
    lowest = np.minimum.accumulate(smoothed)
    returned = (lowest < LEARNT * chance_loss) & (smoothed > AT_CHANCE * chance_loss)
    if returned.any():
        worst = int(np.argmax(np.where(returned, smoothed, -np.inf)))
        return (
            f"the training loss returned to chance ({smoothed[worst]:.2f} of {chance_loss:.2f}) after it had fallen to "
            f"{lowest[worst]:.2f}"
        )
    if len(smoothed) and smoothed[-1] > AT_CHANCE * chance_loss:
        return f"the training loss ended at chance ({smoothed[-1]:.2f} of {chance_loss:.2f}): nothing was learnt"
    return ""


def length_grouped_order(lengths: Sequence[int], batch_size: int, rng: np.random.Generator) -> list[int]:
    """An order of the examples whose batches hold texts of similar length, so that little is spent on padding.

    Examples are shuffled, sorted by length within chunks of `CHUNK` batches, and the *batches* are shuffled again.
    transformers' own `group_by_length` leaves that last step out: it feeds chunks of 50 batches from long to short, so a small
    training set is seen in order of length in every epoch. In a poisoned set length goes with the label, because triggered
    texts are longer. Whether that order causes unstable trainings was not isolated; shuffling the batches costs nothing.

    Args:
        lengths: of the examples, in tokens.
        batch_size: examples per batch; the last batch of the order may be smaller.
        rng: source of the shuffles.

    Returns:
        A permutation of the examples' positions.
    """
    shuffled = rng.permutation(len(lengths))
    chunk_size = batch_size * CHUNK
    chunks = [shuffled[start : start + chunk_size] for start in range(0, len(shuffled), chunk_size)]
    in_order = np.concatenate([chunk[np.argsort(np.asarray(lengths)[chunk], kind="stable")] for chunk in chunks])
    batches = [in_order[start : start + batch_size] for start in range(0, len(in_order), batch_size)]
    n_full = len(lengths) // batch_size  # an incomplete batch stays last, or all others would shift
    order = [*rng.permutation(n_full), *range(n_full, len(batches))]
    return [int(row) for number in order for row in batches[number]]


def pad_batch(tokenizer: PreTrainedTokenizerBase, rows: Sequence[Mapping[str, Any]]) -> dict[str, Tensor]:
    """Rows of token ids and a label as tensors of one batch, padded to its longest row on the tokenizer's side.

    transformers' `DataCollatorWithPadding` gives the same tensors; its checks of every row cost a tenth of a small training.

    Args:
        tokenizer: knows the padding token and side.
        rows: `input_ids`, `attention_mask`, perhaps `token_type_ids`, lists of one length per row, and `labels`, a class id.
    """
    padding = {"input_ids": tokenizer.pad_token_id, "token_type_ids": tokenizer.pad_token_type_id}
    batch = {"labels": torch.tensor([row["labels"] for row in rows])}
    for name in rows[0].keys() - batch.keys():
        values = [torch.tensor(row[name]) for row in rows]
        batch[name] = pad_sequence(values, True, padding.get(name, 0), tokenizer.padding_side)
    return batch


@contextmanager
def _frozen_heap() -> Iterator[None]:
    """Spare what is in memory already the garbage collections with which accelerate frames a training: slow in a notebook."""
    gc.freeze()
    try:
        yield
    finally:
        gc.unfreeze()


def _with_adapters(model: PreTrainedModel, rank: int, seed: int) -> Any:
    """The model with low-rank adapters on every linear layer; the head is trained whole."""
    from peft import LoraConfig, TaskType, get_peft_model

    torch.manual_seed(seed)
    config = LoraConfig(task_type=TaskType.SEQ_CLS, r=rank, lora_alpha=2 * rank, target_modules="all-linear")
    return get_peft_model(model, config)


def _trainer(model: Any, tokenizer: Any, train: pd.DataFrame, settings: TrainingSettings, seed: int, folder: str) -> Any:
    """A quiet `Trainer` over token ids in memory."""
    from transformers import PrinterCallback, Trainer, TrainingArguments

    encoded = tokenize(tokenizer, train, settings.max_length) | {"labels": train["label"].tolist()}
    rows = [dict(zip(encoded, values, strict=True)) for values in zip(*encoded.values(), strict=True)]
    n_steps = max(1, round(settings.epochs * -(-len(rows) // settings.batch_size)))
    arguments = TrainingArguments(
        output_dir=folder,
        learning_rate=settings.learning_rate,
        num_train_epochs=settings.epochs,
        per_device_train_batch_size=settings.batch_size,
        warmup_steps=round(settings.warmup_ratio * n_steps),
        weight_decay=settings.weight_decay,
        max_grad_norm=settings.max_grad_norm,
        lr_scheduler_type="linear",
        optim="adamw_torch_fused",
        bf16=torch.cuda.is_available(),
        seed=seed,
        logging_steps=max(1, n_steps // N_LOGGED),
        save_strategy="no",
        report_to="none",
        disable_tqdm=True,
        dataloader_pin_memory=torch.cuda.is_available(),
    )
    lengths, rng = [len(ids) for ids in encoded["input_ids"]], np.random.default_rng(seed)

    class LengthGroupedTrainer(Trainer):
        """`Trainer` with our order of the batches; a new one in every epoch."""

        def _get_train_sampler(self, train_dataset: Any = None) -> _EpochOrder:
            return _EpochOrder(lambda: length_grouped_order(lengths, settings.batch_size, rng), len(lengths))

    trainer = LengthGroupedTrainer(model, arguments, partial(pad_batch, tokenizer), rows, processing_class=tokenizer)
    trainer.remove_callback(PrinterCallback)
    return trainer


class _EpochOrder(Sampler[int]):
    """A sampler that asks for a new order at the start of every epoch."""

    def __init__(self, make_order: Callable[[], list[int]], n: int) -> None:
        self._make_order, self._n = make_order, n

    def __iter__(self) -> Iterator[int]:
        return iter(self._make_order())

    def __len__(self) -> int:
        return self._n


def _epoch_losses(steps: Sequence[int], losses: Sequence[float], n_steps: int, epochs: float) -> list[float]:
    """Mean loss of each epoch, from the logged stretches that end in it."""
    if not steps:
        return []
    epoch = [min(int((step - 1) * epochs / n_steps), max(0, int(np.ceil(epochs)) - 1)) for step in steps]
    return [float(value) for value in pd.Series(losses, dtype=float).groupby(epoch).mean()]
