"""How suspicious each word of a text is: what a language model gains when it goes. ONION's scores, from any language model."""

from __future__ import annotations

import warnings
from collections.abc import Callable, Mapping, Sequence
from functools import lru_cache
from pathlib import Path

import numpy as np
import pandas as pd

Words = tuple[str, ...]
Scorer = Callable[[Sequence[Words]], list[np.ndarray]]  # texts to the suspicion of each word, NaN where nothing is known
STATISTICS = ("pseudo_perplexity", "surprisal_per_piece")


@lru_cache(maxsize=2)
def causal_scorer(causal_lm: str) -> Scorer:
    """The suspicion of words to a causal language model. It remembers: victims and merges are asked about the same texts."""
    from lib.models.causal_lm import load_causal_lm

    language_model = load_causal_lm(causal_lm)

    def score(texts: Sequence[Words]) -> list[np.ndarray]:
        return [_suspicion(whole, without) for whole, without in language_model.leave_one_out(texts)]

    return remembering(score)


@lru_cache(maxsize=2)
def masked_scorer(masked_lm: str, statistic: str) -> Scorer:
    """The suspicion of words to a masked language model; remembers, as `causal_scorer`."""
    from lib.models.masked_lm import load_masked_lm

    language_model = load_masked_lm(masked_lm)

    def score(texts: Sequence[Words]) -> list[np.ndarray]:
        read = [tuple(language_model.readable(words, language_model.room)) for words in texts]
        if statistic == "surprisal_per_piece":
            found = [
                np.where(len(words) > 1, each, np.nan)
                for words, each in zip(read, language_model.surprisals(read), strict=True)
            ]
        else:
            found = leave_one_out(language_model.log_likelihoods, read)
        # What the model does not read has no score.
        return [
            np.concatenate([each, np.full(len(words) - len(each), np.nan)]) for words, each in zip(texts, found, strict=True)
        ]

    return remembering(score)


def forget() -> None:
    """Let the scorers forget what they remember: who measures time asks them as if for the first time."""
    causal_scorer.cache_clear()
    masked_scorer.cache_clear()


def leave_one_out(log_likelihoods: Callable[[Sequence[Words]], np.ndarray], texts: Sequence[Words]) -> list[np.ndarray]:
    """Suspicions from any language model: the variants of all texts go to it at once, equal ones once.

    Args:
        log_likelihoods: per piece, in nats, shape (n,).
        texts: words of each text.
    """
    variants = [[words, *(words[:place] + words[place + 1 :] for place in range(len(words)))] for words in texts]
    unique = list(dict.fromkeys(variant for each in variants for variant in each))
    known = dict(zip(unique, log_likelihoods(unique), strict=True))
    return [_suspicion(known[each[0]], np.array([known[variant] for variant in each[1:]])) for each in variants]


def _suspicion(whole: float, without: np.ndarray) -> np.ndarray:
    """From log-likelihoods; the only word of a text has none, nor has one at which a perplexity is beyond all numbers."""
    if len(without) < 2:
        return np.full(len(without), np.nan)
    with np.errstate(over="ignore", invalid="ignore"):
        found = np.exp(-whole) - np.exp(-without)
    return np.where(np.isfinite(found), found, np.nan)


def remembering(scorer: Scorer) -> Scorer:
    """A scorer that is asked about each text once."""
    known: dict[Words, np.ndarray] = {}

    def score(texts: Sequence[Words]) -> list[np.ndarray]:
        if new := [words for words in dict.fromkeys(texts) if words not in known]:
            known.update(zip(new, scorer(new), strict=True))
        return [known[words] for words in texts]

    return score


def given_scores(scores: Mapping[Words, np.ndarray], min_known: float = 1.0) -> Scorer:
    """Suspicions that somebody computed, in the place of a language model.

    Args:
        scores: of the words of each text.
        min_known: share of the texts asked about that must have scores, else a `ValueError`; the others have none, with a
            warning.
    """

    def score(texts: Sequence[Words]) -> list[np.ndarray]:
        if unknown := [" ".join(words) for words in texts if words not in scores]:
            found = f"{len(unknown)} of {len(texts)} texts have no scores, for example {unknown[0]!r:.80}"
            if len(unknown) > (1 - min_known) * len(texts):
                raise ValueError(found)
            warnings.warn(f"{found}; they stay as they are", stacklevel=2)
        return [scores.get(words, np.full(len(words), np.nan)) for words in texts]

    return score


def read_scores(path: str | Path) -> dict[Words, np.ndarray]:
    """Published scores by text: words -> suspicions, in our sign; see `read_scored_texts` for the file and the errors."""
    return dict(read_scored_texts(path))


def read_scored_texts(path: str | Path) -> list[tuple[Words, np.ndarray]]:
    """Published scores: a file with the columns `text` and `scores`, one number per word, in the sign of ONION's code.

    The files that guided-module-substitution releases have a score for the empty string, too, wherever two blanks meet or one
    ends the text: 872 beside the 17,046 words of the clean SST-2 texts. It is no word, and has no place in this form.

    Returns:
        Row by row the words of a text and their suspicions, in our sign; a text that the file repeats is repeated.

    Raises:
        ValueError: for other columns, or another number of scores than words.
    """
    frame = pd.read_csv(path, sep="\t", quoting=3, keep_default_na=False, dtype=str)
    if list(frame.columns) != ["text", "scores"]:
        raise ValueError(f"{path} must begin with the header text<TAB>scores; found {list(frame.columns)}")
    found = []
    for row, (text, scores) in enumerate(zip(frame["text"], frame["scores"], strict=True), start=1):
        words, values = tuple(text.split()), -np.array(scores.split(), dtype=float)
        if len(words) != len(values):
            raise ValueError(f"{path} row {row} has {len(values)} scores for {len(words)} words: {text!r:.80}")
        found.append((words, values))
    return found
