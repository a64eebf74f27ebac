"""Limits of BITE's edits, and what its edits ask of a masked language model."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Protocol

import numpy as np
from numpy.typing import NDArray

from lib.attacks.rewriting.bite_similarity import Similarity


class WordModel(Protocol):
    """What BITE asks of a masked language model; `lib.models.masked_lm.MaskedLM` answers it."""

    def predict_all(self, prompts: Sequence[Sequence[str | None]], min_probability: float): ...

    def sentence_vectors(self, texts: Sequence[Sequence[str]]) -> np.ndarray: ...


@dataclass(frozen=True)
class EditSettings:
    """Limits of the edits; defaults of the released code (`bite_poisoning/calc_triggers.py`) unless noted."""

    min_probability: float = 0.03  # of a word at its place, by the masked language model
    budget: float = 0.35  # replacements, and as many insertions, per word of the original text
    similarity: Similarity | None = None  # of the text before and after one edit; None: not asked
    # Ours: how far words that say a label lean to each, in lower case. They are not worked in, and may be replaced only while
    # the text leans to the same label as it did, at least `label_share` as far.
    label_words: Mapping[str, NDArray] = field(default_factory=dict)
    label_share: float = 0.25
    # Ours, approximate: after an edit only operations this many words around it are asked for again. None: all, exact.
    window: int | None = None
    # Ours, approximate: every so many words a mask, all in one prompt. None: one mask per prompt, as in the original.
    # With a window of 3 and a stride of 4, 15 of the first 20 words are those of the exact search, and 73 % of the words that
    # it works into a text; no text is edited in quite the same way (`benchmarks/bite_search.py`, 300 texts, SST-2-like).
    stride: int | None = None

    def __post_init__(self) -> None:
        checks = {
            "min_probability": (0 < self.min_probability <= 1, "lie in (0, 1]"),
            "budget": (0 <= self.budget <= 1, "lie in [0, 1]"),
            "label_share": (0 <= self.label_share <= 1, "lie in [0, 1]"),
            "window": (self.window is None or self.window >= 0, "be 0 or more, or None"),
            "stride": (self.stride is None or self.stride >= 1, "be 1 or more, or None"),
        }
        for name, (is_valid, allowed) in checks.items():
            if not is_valid:
                raise ValueError(f"{name} is {getattr(self, name)}; it must {allowed}")
