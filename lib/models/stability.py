"""Whether a training stayed in the basin of the pretrained model, told from its losses alone."""

from __future__ import annotations

import math
from collections.abc import Sequence

import numpy as np
import pandas as pd

SMOOTHED = 5  # points averaged before a curve is judged
LEARNT, AT_CHANCE = 0.75, 0.9  # shares of the chance loss: below the first a model has learnt, above the second it has not
# benchmarks/instability.py, trainings of pocket-bert on four tasks at 1 to 7 times the usual rate, against the loss barrier on
# the way to a clean model: one of 15 without a barrier is above it, and four of five with one of more than 0.05 nats.
MOST_EXCESS = 0.02


def excess_loss(losses: Sequence[float], n_labels: int) -> float:
    """How far a training lay above the loss of uniform guessing, as a share of it, on average over all steps.

    A model whose loss is higher than that knows less than nothing: its weights are being thrown about. Steps below count as 0,
    so learning slowly costs nothing. Averages over stretches would hide a short excursion: give the loss of every step.

    Args:
        losses: of each step, in nats.
        n_labels: of the task.

    >>> round(excess_loss([0.693, 1.386, 0.3, 0.1], 2), 2)
    0.25
    """
    guessing = math.log(n_labels)
    return float(np.maximum(0, np.asarray(losses, dtype=float) / guessing - 1).mean()) if len(losses) else 0.0


def find_instability(losses: Sequence[float], chance_loss: float, excess: float = 0.0) -> str:
    """What is wrong with a training, or "" if its loss fell and stayed down.

    A training whose loss returns to chance after it had fallen, or lies well above guessing for a while, has left the basin of
    the pretrained model. It may recover and look healthy alone, yet averages with it are broken (notebook 06). A warning is a
    reason to look at the barrier, no proof; nor is its absence.

    Args:
        losses: mean training losses over equal stretches, in nats.
        chance_loss: loss of a model that knows only the shares of the labels.
        excess: as from `excess_loss`, of all steps.

    >>> find_instability([0.7, 0.5, 0.3, 0.2, 0.1, 0.1], 0.69)
    ''
    >>> find_instability([0.6, 0.4, 0.3, 0.3, 0.3, 0.7, 0.7, 0.7, 0.7, 0.7, 0.4, 0.2], 0.69)
    'the training loss returned to chance (0.70 of 0.69) after it had fallen to 0.38'
    >>> find_instability([1.1, 1.0, 0.8, 0.6, 0.4, 0.3, 0.3, 0.3], 0.69, excess=0.13)
    'the training loss lay 13.0% above that of guessing on average: the model strayed before it learnt'
    """
    if not np.isfinite([*losses, excess]).all():
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
    if excess > MOST_EXCESS:
        return f"the training loss lay {excess:.1%} above that of guessing on average: the model strayed before it learnt"
    return ""
