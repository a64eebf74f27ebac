"""Fisher information and inputs of linear layers of a classifier in a folder, measured on clean texts."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

import pandas as pd

from lib.merging import StateDict

KINDS = ("fishers", "grams")  # for Fisher merging, and for RegMean
N_EXAMPLES = 256
MAX_LENGTH = 128


def measure_folder(folder: Path, kind: str, texts: Sequence[str] | pd.DataFrame, max_length: int = MAX_LENGTH) -> StateDict:
    """Measure the model in a folder.

    Args:
        folder: a classifier in Hugging Face format.
        kind: "fishers", the diagonal Fisher information over the model's own labels, or "grams", the mean inner products
            of the inputs of its linear layers.
        texts: clean texts, or a frame with `text` and perhaps `text_pair`; labels are not looked at.
        max_length: tokens; longer texts are cut.

    Returns:
        One tensor per parameter, or per weight of a linear layer, under its name.

    Raises:
        ValueError: for an unknown kind, no text, or a folder that is no classifier.
    """
    from lib.merging.statistics import fisher_diagonal, input_grams
    from lib.models.adapters import load_classifier
    from lib.models.prediction import encode
    from lib.models.pretrained import load_tokenizer

    if kind not in KINDS:
        raise ValueError(f"unknown statistics {kind!r}; choose from {list(KINDS)}")
    model = load_classifier(folder)
    frame = texts if isinstance(texts, pd.DataFrame) else pd.DataFrame({"text": list(texts)})
    columns = [column for column in ("text", "text_pair") if column in frame]
    one_by_one = kind == "fishers"  # squares of single gradients cannot be had from a batch
    encoded = encode(load_tokenizer(str(folder)), frame[columns], max_length, batch_size=1 if one_by_one else 64)
    return fisher_diagonal(model, encoded.batches) if one_by_one else input_grams(model, encoded.batches)
