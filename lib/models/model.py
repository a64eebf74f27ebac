"""What the study calls a model: something with a key, a name and labels that gives logits for texts.

Four kinds: a checkpoint, a merged model (`lib.study.merged`), an ensemble of outputs, and a model behind an input filter. All
are scored by one function. A row that a model rejects is a row of NaN, and counts as prediction -1.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from functools import cached_property
from typing import TYPE_CHECKING, Protocol

import numpy as np
import pandas as pd

if TYPE_CHECKING:
    from lib.models.prediction import Texts

Filtered = tuple[pd.DataFrame, np.ndarray]  # as many rows as came in, in order; which are rejected, bool, shape (n,)
Guard = Callable[[pd.DataFrame], Filtered]


class Model(Protocol):
    """Anything that can be scored."""

    @property
    def key(self) -> str:
        """What identifies it: equal keys, equal logits."""

    @property
    def name(self) -> str:
        """For tables and messages."""

    @property
    def label_names(self) -> tuple[str, ...]:
        """Label names in order."""

    def logits(self, texts: Texts) -> np.ndarray:
        """Logits in float32, shape (n, n_labels), one row per text in order; NaN for a rejected text."""


@dataclass(frozen=True)
class Ensemble:
    """Models whose outputs are combined. Where their logits are stored, it costs nothing."""

    members: tuple[Model, ...]
    combine: Callable[[Sequence[np.ndarray]], np.ndarray]  # from the members' logits to one array of their shape
    key: str
    name: str

    def __post_init__(self) -> None:
        if not self.members:
            raise ValueError("an ensemble needs at least one model")
        for member in self.members[1:]:
            if member.label_names != self.members[0].label_names:
                raise ValueError(
                    f"{member.name} has labels {list(member.label_names)}, but {self.members[0].name} has "
                    f"{list(self.members[0].label_names)}; outputs of other labels cannot be combined"
                )

    @property
    def label_names(self) -> tuple[str, ...]:
        """Label names in order."""
        return self.members[0].label_names

    def logits(self, texts: Texts) -> np.ndarray:
        """What the members say, combined."""
        return self.combine([member.logits(texts) for member in self.members])


@dataclass(frozen=True)
class Guarded:
    """A model behind an input filter. The filter is fitted when the first text comes."""

    model: Model
    fit: Callable[[], Guard]
    key: str
    name: str

    @cached_property
    def guard(self) -> Guard:
        """The fitted filter."""
        return self.fit()

    @property
    def label_names(self) -> tuple[str, ...]:
        """Label names in order."""
        return self.model.label_names

    def logits(self, texts: Texts) -> np.ndarray:
        """What the model says to the purified texts; NaN where the filter rejects one.

        Raises:
            ValueError: for a filter that drops or adds texts: denominators must not change.
        """
        purified, is_rejected = self.guard(texts.frame)
        if len(purified) != len(texts.frame) or len(is_rejected) != len(texts.frame):
            raise ValueError(f"{self.name} returned {len(purified)} texts and {len(is_rejected)} marks for {len(texts.frame)}")
        logits = np.array(self.model.logits(texts.replaced(purified)))
        logits[np.asarray(is_rejected, dtype=bool)] = np.nan
        return logits
