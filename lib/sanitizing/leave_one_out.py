"""How much each model has to say in a merge: what the average answers with it and without it."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd

from lib.merging import ModelSource, StateDict
from lib.merging.state_dicts import merge_sources


def leave_one_out(
    sources: Sequence[ModelSource],
    folder: Path,
    texts: pd.DataFrame,
    max_length: int,
    tied: Mapping[str, str] | None = None,
) -> list[float]:
    """Change of the plain average's probabilities when each model in turn is left out.

    One average at a time is held in memory, in float32.

    Args:
        sources: at least two classifiers of one architecture.
        folder: of the first of them, for its architecture and tokenizer.
        texts: `text` and perhaps `text_pair`.
        max_length: tokens that are read of a text.
        tied: further names of a tensor to its first name.

    Returns:
        For each model the total variation distance between both answers, in [0, 1], mean over the texts.

    Raises:
        ValueError: for weights that the architecture has no place for, or lacks.
    """
    import torch

    from lib.models.prediction import encode, predict_logits, probabilities
    from lib.models.pretrained import from_hub, load_tokenizer

    network = from_hub("AutoModelForSequenceClassification", str(folder), dtype=torch.float32)
    encoded = encode(load_tokenizer(str(folder)), texts, max_length)

    def answers(chosen: Sequence[ModelSource]) -> np.ndarray:
        _load(network, merge_sources(chosen, tied=tied, out_dtype=torch.float32))
        return probabilities(predict_logits(network, encoded))

    whole = answers(sources)
    changes = []
    for place in range(len(sources)):
        without = answers([source for other, source in enumerate(sources) if other != place])
        changes.append(float(np.abs(whole - without).sum(axis=1).mean() / 2))
    return changes


def _load(network: Any, state: StateDict) -> None:
    """Put weights into a network; a name that does not fit is an error, for the network would keep its own weights there."""
    place_of = {name: tensor.data_ptr() for name, tensor in network.state_dict().items()}
    found = network.load_state_dict(state, strict=False)
    filled = {place_of[name] for name in state if name in place_of}
    missing = [name for name in found.missing_keys if place_of[name] not in filled]  # a tied tensor has a second name
    unexpected = [name for name in found.unexpected_keys if state[name].is_floating_point()]
    if missing or unexpected:
        raise ValueError(
            f"the weights do not fit the architecture: {missing[:3]} are missing, {unexpected[:3]} have no place; "
            "leave_one_out cannot be measured, leave the texts out"
        )
