"""Give an encoder a masked-LM head: tied to its embeddings, and trained together with the encoder on texts without labels.

The recipe is BERT's (Devlin et al. 2019): pieces are hidden and predicted, 80 % of them as [MASK], 10 % as another piece, 10 %
as they are; the masks are new each time, as in RoBERTa (Liu et al. 2019).
"""

from __future__ import annotations

import math
import time
from collections import deque
from collections.abc import Callable, Mapping, Sequence
from dataclasses import asdict, dataclass, replace
from itertools import chain
from typing import TYPE_CHECKING, Any

import numpy as np
import torch
from torch import Tensor

from lib.models.loop import LoopSettings, train
from lib.models.masked_head import usable_tokenizer, with_masked_lm_head
from lib.models.masked_lines import Line, Measured, lines_of, masked_batches, masked_loss, measure
from lib.models.precision import PRECISIONS, resolved_precision
from lib.models.progress import Progress

if TYPE_CHECKING:
    from transformers import PreTrainedModel, PreTrainedTokenizerBase

N_REPORTS = 20  # of a training, and states that are kept of it
N_MEASURED = 1000  # held-out lines of a dataset that are predicted
MEASURED_DRAW = 0  # which ones: the same whatever the seed
# Of each setting the least and the most that makes sense.
RANGES = {
    "n_steps": (1, math.inf), "batch_size": (1, math.inf), "learning_rate": (1e-8, 1.0), "masked_share": (0.01, 0.9),
    "max_length": (8, math.inf), "n_texts": (1, math.inf), "seed": (0, math.inf),
}  # fmt: skip


@dataclass(frozen=True)
class AdaptingSettings:
    """What determines the result besides the encoder and the texts."""

    n_steps: int = 1500
    batch_size: int = 64  # lines per step, at most
    learning_rate: float = 2e-4  # peak, after the warm-up
    weight_decay: float = 0.01
    warmup_share: float = 0.05  # of the steps
    masked_share: float = 0.2  # of the pieces
    max_length: int = 64  # pieces per line
    n_texts: int = 20_000  # of each dataset at most
    precision: str = "auto"  # "float32", "bfloat16" (autocast), or "auto": see `resolved_precision`
    seed: int = 0

    def __post_init__(self) -> None:
        for name, (least, most) in RANGES.items():
            if not least <= getattr(self, name) <= most:
                raise ValueError(f"{name} is {getattr(self, name)}; it must lie in [{least}, {most}]")
        if self.precision not in ("auto", *PRECISIONS):
            raise ValueError(f"precision is {self.precision!r}; choose from {['auto', *PRECISIONS]}")

    def resolved(self) -> AdaptingSettings:
        """The settings with the precision that "auto" means on this machine."""
        return replace(self, precision=resolved_precision(self.precision))


@dataclass(frozen=True)
class TextsOfDataset:
    """What a language model gets of one dataset."""

    train: Sequence[str]
    held_out: Sequence[str]  # measured, never trained on


def adapt(
    pretrained: str,
    texts: Mapping[str, TextsOfDataset],
    settings: AdaptingSettings,
    report: Callable[[int, float], None] | None = None,
    progress: Progress | None = None,
) -> tuple[PreTrainedModel, dict[str, Any]]:
    """Give an encoder a masked-LM head. Equal settings give equal weights on one machine with one number of threads.

    A line of the training texts that is also a held-out line is not trained on.

    Args:
        pretrained: a folder or Hub id of an encoder without a masked-LM head.
        texts: by dataset.
        settings: as they are; "auto" is resolved.
        report: called about twenty times with the step and the mean training loss since the last call, in nats.
        progress: goes on where a killed training was.

    Returns:
        The model in evaluation mode, and a record: settings, lines of each dataset, held-out loss, top-1 and top-5 accuracy.

    Raises:
        ValueError: for a model or tokenizer that cannot be used, or too few texts; names what was found.
    """
    settings, began = settings.resolved(), time.perf_counter()
    tokenizer = usable_tokenizer(pretrained, settings.max_length)
    model = with_masked_lm_head(pretrained, settings.seed)
    if len(tokenizer) > model.config.vocab_size:
        raise ValueError(f"the tokenizer of {pretrained} has {len(tokenizer)} pieces, its model {model.config.vocab_size}")
    lines, held_out = _lines(tokenizer, texts, settings)
    model.to("cuda" if torch.cuda.is_available() else "cpu")
    first_step, losses = _optimise(model, tokenizer, list(chain(*lines.values())), settings, report, progress)
    measured = {name: measure(model, tokenizer, held_out[name]) for name in texts}
    record = {
        "settings": asdict(settings),
        "texts": {
            name: {"n_lines": len(lines[name]), "n_held_out_lines": len(held_out[name])} | asdict(measured[name])
            for name in texts
        },
        **_together(measured),
        "training_losses": losses,
        "seconds": time.perf_counter() - began,
        "first_step": first_step,  # above 1: a killed training went on, and its seconds before are not known
        "device": str(model.device),
    }
    return model, record


def _lines(
    tokenizer: PreTrainedTokenizerBase, texts: Mapping[str, TextsOfDataset], settings: AdaptingSettings
) -> tuple[dict[str, list[Line]], dict[str, list[Line]]]:
    """Lines to train on and lines to measure with, by dataset; no line is both."""
    rng = np.random.default_rng(settings.seed)
    held_out = {name: lines_of(tokenizer, each.held_out, settings.max_length) for name, each in texts.items()}
    never = set(chain(*held_out.values()))
    lines = {}
    for name, each in texts.items():
        drawn = [each.train[i] for i in rng.permutation(len(each.train))[: settings.n_texts]]
        lines[name] = [line for line in lines_of(tokenizer, drawn, settings.max_length) if line not in never]
        if not lines[name] or not held_out[name]:
            raise ValueError(
                f"{name} has {len(lines[name])} lines to train on and {len(held_out[name])} held-out ones: too few"
            )
        chosen = np.random.default_rng(MEASURED_DRAW).permutation(len(held_out[name]))[:N_MEASURED]
        held_out[name] = [held_out[name][i] for i in chosen]
    return lines, held_out


def _optimise(
    model: PreTrainedModel,
    tokenizer: PreTrainedTokenizerBase,
    lines: Sequence[Line],
    settings: AdaptingSettings,
    report: Callable[[int, float], None] | None,
    progress: Progress | None,
) -> tuple[int, list[float]]:
    """Train the model in place; the first step that was made now, and the mean loss of each twentieth of all steps."""
    stretch, n_steps = math.ceil(settings.n_steps / N_REPORTS), settings.n_steps
    made: list[int] = []
    recent: deque[Tensor] = deque(maxlen=stretch)

    def on_step(step: int, loss: Tensor) -> None:
        made.append(step)
        recent.append(loss)
        if report and (step % stretch == 0 or step == n_steps):
            report(step, torch.stack(list(recent)).mean().item())

    batches = masked_batches(tokenizer, lines, settings.batch_size, settings.masked_share, settings.seed)
    loop_settings = LoopSettings(
        learning_rate=settings.learning_rate,
        n_steps=n_steps,
        n_warmup=round(settings.warmup_share * n_steps),
        weight_decay=settings.weight_decay,
        precision=settings.precision,
    )
    with torch.random.fork_rng():
        torch.manual_seed(settings.seed)
        losses = train(model, batches, masked_loss, loop_settings, on_step=on_step, progress=progress)
    model.eval()
    return made[0], [float(np.mean(losses[start : start + stretch])) for start in range(0, n_steps, stretch)]


def _together(measured: Mapping[str, Measured]) -> dict[str, float]:
    """The measures over all hidden pieces of all datasets."""
    n_pieces = sum(each.n_pieces for each in measured.values())
    measures = (("held_out_loss", "loss"), ("top1", "top1"), ("top5", "top5"))
    means = {name: sum(m.n_pieces * getattr(m, field) for m in measured.values()) / n_pieces for name, field in measures}
    return {"n_pieces": n_pieces} | means
