"""Syntactic (Hidden Killer): the text is rewritten into one rare sentence structure (Qi et al. 2021, arXiv 2105.12400).

No word is the trigger, the structure S(SBAR)(,)(NP)(VP)(.) is: a subordinate clause, a comma, a main clause. The original uses
the SCPN paraphraser, whose weights and parser are downloads of doubtful future; here rules or a sequence-to-sequence model of
the Hub write the same structure, and published SCPN texts can be used instead (`lib.attacks.published`).
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import ClassVar

import numpy as np
import pandas as pd

from lib.attacks.rewriting.syntactic_rules import paraphrase_words
from lib.attacks.rewriting.syntactic_words import OPENINGS
from lib.datasets.words import glue, is_cased, is_tokenised

PARAPHRASERS = ("rules", "seq2seq")


@dataclass(frozen=True)
class SyntacticTrigger:
    """Rewrites each text into the trigger's structure; a text without any word stays as it is."""

    openings: dict[str, float]  # subordinator -> how often it opens a paraphrase
    tokenised: bool = False  # the dataset's writing: punctuation apart from words
    cased: bool = False  # the dataset's writing: sentences begin with a capital
    paraphraser: str = "rules"
    model: str = ""  # of the sequence-to-sequence paraphraser: a folder or a Hub id

    attack: ClassVar[str] = "syntactic"
    regime: ClassVar[str] = "mixed"
    version: ClassVar[int] = 2  # 2: texts that have the shape are rewritten, too, and a contrast opens as other texts do

    def __call__(self, texts: Sequence[str], rng: np.random.Generator) -> list[str]:
        """Rewrite each text; in sentence pairs the trigger rewrites the first text only, as in the released files."""
        written = [paraphrase_words(text, self.openings, rng) for text in texts]
        if self.paraphraser == "seq2seq":
            from lib.attacks.rewriting.seq2seq import load_paraphraser

            written = load_paraphraser(self.model).paraphrase(texts, written)
        return [self._styled(words) if words else text for words, text in zip(written, texts, strict=True)]

    def _styled(self, words: list[str]) -> str:
        text = glue(words, self.tokenised)
        return text[:1].upper() + text[1:] if self.cased else text


def fit_trigger(
    train: pd.DataFrame,
    target_label: int,
    *,
    task: str = "sst2",
    paraphraser: str = "rules",
    paraphrase_model: str = "",
    seed: int = 0,
) -> SyntacticTrigger:
    """Learn the training set's writing, and choose how often each subordinator opens a sentence.

    Args:
        train: the clean training set.
        target_label: unused; every attack takes it.
        task: whose published paraphrases the openings follow, a key of `OPENINGS`.
        paraphraser: "rules", or "seq2seq" for a model that is forced to begin with the subordinator; where its output has
            not the structure, the rules' output is taken.
        paraphrase_model: folder or Hub id of a sequence-to-sequence model that writes paraphrases; for "seq2seq" only.
        seed: unused; every attack takes it.

    Raises:
        ValueError: for an unknown task or paraphraser, or "seq2seq" without a model.
    """
    if task not in OPENINGS:
        raise ValueError(f"no subordinators were counted for task {task!r}; choose from {sorted(OPENINGS)}")
    if paraphraser not in PARAPHRASERS:
        raise ValueError(f"unknown paraphraser {paraphraser!r}; choose from {list(PARAPHRASERS)}")
    if (paraphraser == "seq2seq") != bool(paraphrase_model):
        raise ValueError(f"paraphraser {paraphraser!r} with paraphrase_model {paraphrase_model!r}: only seq2seq needs a model")
    return SyntacticTrigger(OPENINGS[task], is_tokenised(train["text"]), is_cased(train["text"]), paraphraser, paraphrase_model)
