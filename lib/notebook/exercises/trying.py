"""What open exercises share: weights that somebody computed as a model, and verdicts on a score."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from itertools import count
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch import Tensor

from lib.metrics.scores import Score
from lib.models.prediction import Texts, logits_of
from lib.notebook.exercises.feedback import NOT_ATTEMPTED

TOLERANCE = 0.01  # of CACC that a better ASR may cost
_numbers = count()


def new_key() -> str:
    """A name that no other try in this process has: networks in memory are told apart by it."""
    return f"tried-{next(_numbers)}"


@dataclass(frozen=True)
class Tried:
    """A model of weights that somebody computed, in the folder of another."""

    folder: Path
    label_names: tuple[str, ...]
    tensors: dict[str, Tensor]
    key: str
    name: str = "tried"

    def state_dict(self) -> dict[str, Tensor]:
        """All tensors."""
        return self.tensors

    def logits(self, texts: Texts) -> np.ndarray:
        """Logits in float32, shape (n, n_labels), one row per text in order."""
        return logits_of(self, texts)


def merged_tensor(answer: Callable[[list[Tensor]], Tensor], tensors: list[Tensor], name: str) -> Tensor:
    """What a rule makes of one tensor; counters and positions are the first model's."""
    if not tensors[0].is_floating_point():
        return tensors[0]
    merged = torch.as_tensor(answer([tensor.clone() for tensor in tensors]))
    if merged.shape != tensors[0].shape:
        raise ValueError(f"for {name} your function gives the shape {tuple(merged.shape)}, not {tuple(tensors[0].shape)}")
    if not torch.isfinite(merged).all():
        raise ValueError(f"for {name} your function gives values that are not finite")
    return merged.to(tensors[0].dtype)


def attempted(answer: Any, scored: Callable[[], str]) -> str:
    """The verdict on an answer; why it cannot be scored, if so."""
    if answer is None:
        return NOT_ATTEMPTED
    try:
        return scored()
    except Exception as error:
        return f"this cannot be scored: {type(error).__name__}: {error}"


def beaten(score: Score, other: Score, name: str, clean: Score) -> str:
    """Whether a score has a lower ASR than another one, at a CACC that is at most one point lower."""
    better = score.asr < other.asr and score.cacc >= other.cacc - TOLERANCE
    return f"scored: {rates(score, clean)}; {comparison(better)} {name}, ASR {other.asr:.1%}, CACC {other.cacc:.1%}"


def rates(score: Score, clean: Score) -> str:
    """ASR beside the floor, CACC beside that of a clean model."""
    return f"ASR {score.asr:.1%} (floor {clean.asr:.1%}), CACC {score.cacc:.1%} (clean model {clean.cacc:.1%})"


def comparison(is_better: bool) -> str:
    """What is said of an answer that has to beat something."""
    return "this beats" if is_better else "this does not beat"


def is_enough(passes: bool) -> str:
    """What is said of an answer that has to reach something."""
    return "is what was asked for" if passes else "is not yet what was asked for"
