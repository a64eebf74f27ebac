"""How fast this machine trains and asks an architecture, by a few steps with random weights."""

from __future__ import annotations

import time
from dataclasses import dataclass, replace
from functools import lru_cache
from itertools import pairwise
from pathlib import Path
from statistics import median
from typing import Any

import numpy as np
import torch

from lib.dry_run.estimates import weights_of
from lib.models import loop
from lib.models.prediction import BATCH_SIZE, EncodedTexts, predict_logits
from lib.models.pretrained import load_config, resolve_pretrained
from lib.models.threads import one_thread
from lib.models.training import loop_settings, with_adapters
from lib.profiles import TrainingSettings

N_PIECES = (12, 32)  # of the texts that are tried: a step costs something beside its pieces, so that two lengths are needed
N_STEPS = 2  # that are timed, after one that is not
# More weights that a token is multiplied with are not tried: a few steps would take minutes.
MAX_TRIED = {"cpu": 100_000_000, "cuda": 1_000_000_000}


@dataclass(frozen=True)
class Line:
    """Seconds of a batch: `fixed`, and so many per piece."""

    fixed: float
    per_piece: float

    def seconds(self, n_texts: float, pieces_per_text: float, batch_size: int) -> float:
        """Of so many texts in batches."""
        return n_texts / batch_size * (self.fixed + self.per_piece * batch_size * pieces_per_text)


@dataclass(frozen=True)
class Speed:
    """Of one core, or of one GPU: seconds of a training step, and of asking a batch of `BATCH_SIZE` texts."""

    training: Line
    asking: Line


def measured_speed(pretrained: str, settings: TrainingSettings) -> Speed | None:
    """Try an architecture whose configuration lies in a folder; None for the Hub, or for a network too large for a trial.

    Args:
        pretrained: bundled name, folder or Hub id.
        settings: of the training; epochs and rates do not count.
    """
    counted = replace(settings, learning_rate=1e-5, epochs=1.0, warmup_ratio=0.0, weight_decay=0.01, max_length=0)
    return _measured(resolve_pretrained(pretrained), counted)


@lru_cache(maxsize=32)
def _measured(resolved: str, settings: TrainingSettings) -> Speed | None:
    device = "cuda" if torch.cuda.is_available() else "cpu"
    if not Path(resolved).is_dir() or weights_of(resolved)[1] > MAX_TRIED[device]:
        return None
    from transformers import AutoModelForSequenceClassification

    config = load_config(resolved)
    config.pad_token_id = config.pad_token_id or 0
    with one_thread(), torch.random.fork_rng():
        network = AutoModelForSequenceClassification.from_config(config, dtype=torch.float32).to(device)
        asking = _line(BATCH_SIZE, [_asked(network, n) for n in N_PIECES])
        trained: Any = with_adapters(network, settings.lora_rank, seed=0) if settings.lora_rank else network
        training = _line(settings.batch_size, [_trained(trained, settings, n) for n in N_PIECES])
    return Speed(training, asking)


def _line(batch_size: int, seconds: list[float]) -> Line:
    """Through the seconds of a batch of short and of long texts."""
    per_piece = max(0.0, seconds[1] - seconds[0]) / (batch_size * (N_PIECES[1] - N_PIECES[0]))
    return Line(max(0.0, seconds[0] - per_piece * batch_size * N_PIECES[0]), per_piece)


def _batch(network: Any, n_texts: int, n_pieces: int) -> dict[str, torch.Tensor]:
    """Texts of random pieces, without padding."""
    ids = torch.randint(1, network.config.vocab_size, (n_texts, n_pieces))
    return {"input_ids": ids, "attention_mask": torch.ones_like(ids)}


def _trained(network: Any, settings: TrainingSettings, n_pieces: int) -> float:
    """Seconds of a step."""
    batch = _batch(network, settings.batch_size, n_pieces) | {"labels": torch.zeros(settings.batch_size, dtype=torch.long)}
    times: list[float] = []
    steps = 1 + N_STEPS

    def note(_: int, loss: torch.Tensor) -> None:
        loss.item()  # a GPU works on behind our back until it is asked
        times.append(_clock())

    loop.train(network, [batch] * steps, loop.classification_loss, loop_settings(settings, steps), on_step=note)
    return median(later - earlier for earlier, later in pairwise(times))


def _asked(network: Any, n_pieces: int) -> float:
    """Seconds of a batch of texts."""
    texts = EncodedTexts((_batch(network, BATCH_SIZE, n_pieces),), np.arange(BATCH_SIZE))
    times = []
    for _ in range(1 + N_STEPS):
        began = _clock()
        predict_logits(network, texts)
        times.append(_clock() - began)
    return median(times[1:])


def _clock() -> float:
    """Seconds of the processor, which other work on the machine does not change; beside a GPU those on the clock."""
    return time.perf_counter() if torch.cuda.is_available() else time.process_time()
