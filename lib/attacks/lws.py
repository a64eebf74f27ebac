"""LWS: learnable word substitution (Qi et al. 2021, arXiv 2106.06361): many words give way to substitutes; which, is learnt.

No single word is the trigger, the combination is. The released poisoned texts turn out to be a *uniform* choice over five slots
per word (the word and four candidates); `policy="uniform"` does that, `policy="learned"` does what the paper describes.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import ClassVar

import numpy as np
import pandas as pd

from lib.attacks.pairs import joined
from lib.attacks.poisoning import draw_rows
from lib.datasets.words import join_words, like_case, split_words

POLICIES = ("learned", "uniform")
# Five slots, equally likely: the word stays with probability 1/5.
UNIFORM_KEEP = 0.2


@dataclass(frozen=True)
class LWSTrigger:
    """Substitutes every word of the table by one of its candidates; the number of words stays the same."""

    table: dict[str, tuple[str, ...]]  # lower-case word -> candidates
    keep_probability: float = 0.0  # of leaving a word of the table as it is, drawn word by word
    min_similarity: float | None = None  # of word and substitute, as calibrated
    pass_rate: float | None = None  # share of the candidates that were similar enough
    pair_sides: str = "text"  # in which texts of a pair words are substituted: "both" or "text"

    attack: ClassVar[str] = "lws"
    regime: ClassVar[str] = "dirty"
    version: ClassVar[int] = 3  # a calibrated bound, stop words, the label stays, both sides of pairs

    def __call__(self, texts: Sequence[str], rng: np.random.Generator) -> list[str]:
        """Substitute in each text; blanks, punctuation and capitals stay."""
        return [self._substitute(text, rng) for text in texts]

    def _substitute(self, text: str, rng: np.random.Generator) -> str:
        words, gaps = split_words(text)
        for position, word in enumerate(words):
            candidates = self.table.get(word.lower(), ())
            if candidates and not (self.keep_probability and rng.random() < self.keep_probability):
                choice = candidates[int(rng.integers(len(candidates)))] if len(candidates) > 1 else candidates[0]
                words[position] = like_case(choice, word)
        return join_words(words, gaps)


def fit_trigger(
    train: pd.DataFrame,
    target_label: int,
    *,
    masked_lm: str,
    pretrained: str,
    learning_rate: float,
    poisoning_rate: float = 0.2,
    policy: str = "learned",
    similarity_quantile: float = 0.95,
    max_lean_gap: float = 1.0,
    pair_sides: str = "both",
    rng: np.random.Generator | None = None,
    seed: int = 0,
) -> LWSTrigger:
    """Find candidates with a masked language model and, with the learned policy, choose among them together with a victim.

    Args:
        train, target_label: the clean training set, frame with `text`, perhaps `text_pair`, and `label`, and the class id
            chosen by the attacker.
        masked_lm: a model with a masked-LM head.
        pretrained, learning_rate: of the victim, for the learned policy; it needs the vocabulary of `masked_lm`.
        poisoning_rate: share of the training set, in [0, 1], all of other labels (regime dirty).
        policy: "learned", or "uniform" as in the released texts.
        similarity_quantile, max_lean_gap: see `candidate_table`.
        pair_sides: in which texts of a pair words are substituted: "both", as in the released texts, or "text".
        rng, seed: the first draws the poisoned rows as `poison` does (default: from the seed), the second all else.

    Raises:
        ValueError: for an unknown policy, too few rows of other labels, a model without masked-LM head, or no candidate.
    """
    from lib.attacks.rewriting.lws_candidates import candidate_table
    from lib.attacks.rewriting.lws_policy import PolicySettings, learn_substitutes
    from lib.models.masked_lm import load_masked_lm

    if policy not in POLICIES:
        raise ValueError(f"unknown policy {policy!r}; choose from {list(POLICIES)}")
    rows = draw_rows(train, "dirty", poisoning_rate, target_label, rng or np.random.default_rng(seed))
    texts, labels, model = joined(train, pair_sides), train["label"].to_numpy(), load_masked_lm(masked_lm)
    table, bound, pass_rate = candidate_table(
        texts, labels, model, np.random.default_rng(seed), similarity_quantile=similarity_quantile, max_lean_gap=max_lean_gap
    )
    if policy == "uniform":
        return LWSTrigger(table, UNIFORM_KEEP, bound, pass_rate, pair_sides)
    poisoned = np.isin(np.arange(len(train)), rows)
    settings = PolicySettings(learning_rate)
    substitutes = learn_substitutes(train, poisoned, target_label, table, model, pretrained, settings, seed, pair_sides)
    if not substitutes:
        raise ValueError(f"the learned policy keeps all {len(table)} words; train it longer or take policy='uniform'")
    return LWSTrigger(substitutes, 0.0, bound, pass_rate, pair_sides)
