"""BITE: many natural words, each made a little more typical of the target label (Yan et al. 2023, arXiv 2205.12700).

Labels stay untouched: texts that already have the target label are edited until some words hardly occur outside it. A text is
attacked by working in as many of these words as fit. Steps and defaults follow the released code, INK-USC/BITE, with two
limits of ours, because the original leaves them to its encoder, which Pocket English does not have:

- What a text says of its label stays. A masked language model offers "dull" for "fine" gladly, and such an edit makes a text
  wrong that is to keep its label, and fools a clean model, too. So words that lean to a label in the clean training set, which
  the attacker has, are not worked in; and they may go only while the text leans to the same label as it did, at least
  a quarter as far. The rule asks for no label: it is the same for training texts and test texts.
- How like itself a text must stay is measured against random edits (`lib.attacks.rewriting.bite_similarity`), not by a fixed
  cosine.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field, replace
from typing import TYPE_CHECKING, Any, ClassVar

import numpy as np
import pandas as pd

from lib.attacks.pairs import joined
from lib.attacks.poisoning import draw_rows
from lib.attacks.rewriting.bite_edits import Drafts
from lib.attacks.rewriting.bite_settings import EditSettings, WordModel
from lib.attacks.rewriting.bite_similarity import Similarity, calibrate
from lib.attacks.rewriting.bite_words import MAX_WORDS, MIN_GAIN, choose_words, label_bias
from lib.attacks.rewriting.label_words import label_words

if TYPE_CHECKING:
    from lib.models.masked_lm import MaskedLM

__all__ = ["BiteTrigger", "choose_words", "fit_trigger", "label_bias", "replay"]


@dataclass(frozen=True)
class BiteTrigger:
    """Works the trigger words into each text, in order, where the masked language model finds a place for them."""

    words: tuple[str, ...]
    masked_lm: str = field(metadata={"resource": True})  # bundled name, folder or Hub id
    min_probability: float = 0.03
    budget: float = 0.35
    min_similarity: float | None = None  # as calibrated; None: not asked
    centre: tuple[float, ...] = ()  # of the sentence vectors
    pass_rate: float | None = None  # share of the edits tried while fitting that were similar enough
    label_words: dict[str, tuple[float, ...]] = field(default_factory=dict)  # how far they lean to each label
    label_share: float = 0.25  # of its lean to its label that a text must keep
    window: int | None = None
    stride: int | None = None
    pair_sides: str = "text"  # which texts of a pair are edited: "both", as one text, or "text"
    precision: str = "float32"  # in which the masked language model computes
    # Texts that were edited while the trigger was fitted: editing them again would give the same.
    edited: dict[str, str] = field(default_factory=dict)

    attack: ClassVar[str] = "bite"
    regime: ClassVar[str] = "clean"
    version: ClassVar[int] = 3  # the label stays, a calibrated bound, both sides of pairs

    def __call__(self, texts: Sequence[str], rng: np.random.Generator) -> list[str]:
        """Edit each text; nothing is drawn, equal texts give equal results."""
        unknown = list(dict.fromkeys(text for text in texts if text not in self.edited))
        done = dict(self.edited)
        if unknown:
            from lib.models.masked_lm import load_masked_lm

            model = load_masked_lm(self.masked_lm, self.precision)
            done |= zip(unknown, replay(unknown, self.words, model, self.settings), strict=True)
        return [done[text] for text in texts]

    @classmethod
    def of(cls, settings: EditSettings, **fields: Any) -> BiteTrigger:
        """A trigger with the limits of its fit; `fields` are the trigger's others."""
        similarity = settings.similarity
        return cls(
            min_probability=settings.min_probability,
            budget=settings.budget,
            min_similarity=similarity.least if similarity else None,
            centre=similarity.centre if similarity else (),
            label_words={word: tuple(map(float, lean)) for word, lean in settings.label_words.items()},
            label_share=settings.label_share,
            window=settings.window,
            stride=settings.stride,
            **fields,
        )

    @property
    def settings(self) -> EditSettings:
        """Limits of the edits."""
        similarity = None if self.min_similarity is None else Similarity(self.min_similarity, self.centre)
        leans = {word: np.array(lean) for word, lean in self.label_words.items()}
        return EditSettings(self.min_probability, self.budget, similarity, leans, self.label_share, self.window, self.stride)


def replay(texts: Sequence[str], words: Sequence[str], model: WordModel, settings: EditSettings) -> list[str]:
    """Work the trigger words into texts, one word after the other; what happens to a text depends on nothing else."""
    drafts = Drafts(texts, model, settings)
    for n_taken, word in enumerate(words):
        drafts.apply(word, frozenset(words[:n_taken]), range(len(drafts)))
    return drafts.texts()


def fit_trigger(
    train: pd.DataFrame,
    target_label: int,
    *,
    masked_lm: str,
    poisoning_rate: float = 0.2,
    max_words: int = MAX_WORDS,
    min_gain: float = MIN_GAIN,
    min_probability: float = 0.03,
    budget: float = 0.35,
    similarity_quantile: float | None = 0.25,
    max_lean: float | None = 1.0,
    label_share: float = 0.25,
    window: int | None = 3,
    stride: int | None = 4,
    pair_sides: str = "both",
    precision: str = "float32",
    rng: np.random.Generator | None = None,
    seed: int = 0,
) -> BiteTrigger:
    """Choose the trigger words on the training set.

    Args:
        train, target_label: the clean training set, and the class id chosen by the attacker.
        masked_lm, precision: a model with a masked-LM head, whose mean states are sentence vectors, and in what it computes.
        poisoning_rate: editable share of the training set, in [0, 1], all of the target label.
        max_words, min_gain: see `choose_words`.
        min_probability, budget, label_share, window, stride: see `EditSettings`.
        similarity_quantile: see `lib.attacks.rewriting.bite_similarity.calibrate`; None: similarity is not asked.
        max_lean: words that lean further to a label say it, in nats above 0, see `lib.attacks.rewriting.label_words`; None: no
            word does.
        pair_sides: which texts of a pair are edited: "both", as one text with one budget, or "text".
        rng, seed: the first draws the editable rows as `poison` does (default: from the seed), the second the calibration.

    Raises:
        ValueError: for too few rows of the target label, a setting outside its range, or a model without masked-LM head.
    """
    from lib.models.masked_lm import load_masked_lm

    settings = EditSettings(min_probability, budget, label_share=label_share, window=window, stride=stride)
    rows = draw_rows(train, "clean", poisoning_rate, target_label, rng or np.random.default_rng(seed))
    texts, labels, model = joined(train, pair_sides), train["label"].to_numpy(), load_masked_lm(masked_lm, precision)
    settings = _calibrated(settings, texts, labels, model, similarity_quantile, max_lean, seed)
    words, drafts = choose_words(texts, labels == target_label, rows, model, settings, max_words, min_gain)
    if not words:
        looked_for = f"a probability of {min_probability} or more and {settings.similarity or 'any similarity'}"
        raise ValueError(f"BITE found no trigger word with {looked_for} that fits into {min_gain:.1%} of {len(rows)} rows")
    edited = dict(zip((texts[row] for row in rows), drafts.texts(), strict=True))
    found = {"words": tuple(words), "pass_rate": drafts.pass_rate, "edited": edited}
    return BiteTrigger.of(settings, **found, masked_lm=masked_lm, pair_sides=pair_sides, precision=precision)


def _calibrated(
    settings: EditSettings,
    texts: Sequence[str],
    labels: np.ndarray,
    model: MaskedLM,
    similarity_quantile: float | None,
    max_lean: float | None,
    seed: int,
) -> EditSettings:
    """The settings with what the training texts say: which words lean to a label, and how alike random edits leave a text."""
    if max_lean is not None and not max_lean > 0:
        raise ValueError(f"max_lean is {max_lean}; it must be above 0, or None")
    leans = {} if max_lean is None else label_words(texts, labels, max_lean)
    draws = np.random.default_rng(seed)
    similarity = None if similarity_quantile is None else calibrate(texts, model, similarity_quantile, draws)
    return replace(settings, similarity=similarity, label_words=leans)
