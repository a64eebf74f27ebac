"""ONION (Qi et al. 2021): words that make a text unlikely to a language model are taken out before the model reads it.

The suspicion of word i is s_i = PPL(text) - PPL(text without word i): high is suspicious. All words with s_i >= t go at once. A
text of one word stays as it is; a text that loses every word is "", and is still predicted and counted.

Where others differ:
- ONION's code removes at `PPL(without) - PPL <= bar`: the other sign, its bar of -10 is t = 10 here. Its perplexity has no
  start token, so that the first word of a text is never predicted. It takes the text without what follows the last blank for
  the whole one, so that a file without trailing blanks loses its last words. It prints results for 100 bars on the test set.
- OpenBackdoor averages perplexity over padding, so that it depends on the batch; it cuts texts at 96 tokens, whose later words
  then score exactly 0 and go at its threshold of 0; and it drops texts of one word, which changes the denominator.
- Ours chooses t on clean validation texts, and keeps words that the language model did not read.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd

from lib.defenses.inputs import check_clean, check_count, check_share, labels_said, segments
from lib.defenses.suspicion import STATISTICS, Scorer, causal_scorer, given_scores, masked_scorer, read_scores
from lib.models.model import Filtered, Guard

RELEASED_THRESHOLD = 10.0  # for GPT-2; -10 in the sign of the released code
MIN_KNOWN = 0.95  # share of the texts that must have published scores: a file or two has a text that its scores lack


def fit(
    model: Any,
    clean: pd.DataFrame,
    *,
    causal_lm: str,
    max_length: int,
    max_cacc_loss: float = 0.02,
    removed_share: float | None = None,
    n_clean: int = 0,
) -> Guard:
    """ONION with the perplexity of a causal language model.

    Args:
        model: what stands behind the filter; asked for labels unless `removed_share` is given.
        clean: validation texts; their labels are read unless `removed_share` is given.
        causal_lm: a bundled name, a folder or a Hub id.
        max_length: tokens that the model reads.
        max_cacc_loss: accuracy on clean texts that may be lost, in [0, 1]: the threshold is the smallest that loses no more.
        removed_share: in its place the share of the words of clean texts that may be lost, in (0, 1).
        n_clean: how many clean texts the threshold rests on; 0: all.

    Raises:
        ValueError: for a setting outside its range, or no clean text.
    """
    return _fitted(model, clean, lambda: causal_scorer(causal_lm), max_length, max_cacc_loss, removed_share, n_clean)


def fit_masked(
    model: Any,
    clean: pd.DataFrame,
    *,
    masked_lm: str,
    max_length: int,
    statistic: str = "surprisal_per_piece",
    max_cacc_loss: float = 0.02,
    removed_share: float | None = None,
    n_clean: int = 0,
) -> Guard:
    """ONION with a masked language model; arguments as for `fit`.

    Args:
        statistic: "pseudo_perplexity" (every piece masked once, Salazar et al. 2020) in the place of perplexity: n^2 prompts
            for a text of n words; or "surprisal_per_piece", -log p(word | all others) over its number of pieces: n prompts,
            another suspicion. Not over its pieces, every long word would be more suspicious than a short trigger.
    """
    if statistic not in STATISTICS:
        raise ValueError(f"statistic is {statistic!r}; choose from {list(STATISTICS)}")
    return _fitted(model, clean, lambda: masked_scorer(masked_lm, statistic), max_length, max_cacc_loss, removed_share, n_clean)


def _fitted(
    model: Any,
    clean: pd.DataFrame,
    find_scorer: Callable[[], Scorer],
    max_length: int,
    max_cacc_loss: float,
    removed_share: float | None,
    n_clean: int,
) -> Guard:
    check_share("max_cacc_loss", max_cacc_loss, ends=True)
    check_count("n_clean", n_clean, at_least=0)
    if removed_share is not None:
        check_share("removed_share", removed_share)
    check_clean(clean)
    scorer, used = find_scorer(), clean.iloc[: n_clean or None]
    if removed_share is not None:
        return purifier(scorer, word_threshold(_scores(used, scorer), removed_share))

    def predict(frame: pd.DataFrame) -> np.ndarray:
        return labels_said(model, frame, max_length)

    return purifier(scorer, accuracy_threshold(used, scorer, predict, used["label"].to_numpy(), max_cacc_loss))


def fit_published(
    model: Any,
    clean: pd.DataFrame,
    *,
    published_scores: str,
    threshold: float = RELEASED_THRESHOLD,
    min_known: float = MIN_KNOWN,
) -> Guard:
    """ONION with perplexities that somebody published, at a fixed threshold: no language model is asked.

    Args:
        model, clean: not used.
        published_scores: folder with files as for `read_scores`.
        threshold: suspicion from which a word goes, as in the released code.
        min_known: share of texts that must have scores, in [0, 1]; the others stay as they are, and a warning counts them.

    Raises:
        ValueError: for a folder without scores, or, when texts come, too few of them with scores.
    """
    check_share("min_known", min_known, ends=True)
    files = sorted(Path(published_scores).glob("*.tsv"))
    if not files:
        raise ValueError(f"{published_scores} has no file with published scores of ONION")
    known = {words: scores for file in files for words, scores in read_scores(file).items()}
    return purifier(given_scores(known, min_known), threshold)


# --- thresholds, from clean texts alone -------------------------------------------------------------------------------


def word_threshold(scores: Sequence[np.ndarray], removed_share: float) -> float:
    """The threshold that takes out a share of the words of some texts, rounded down, apart from ties.

    It lies half way between the last score that stays and the first that goes, so that rounding decides nothing. Words without
    a score are kept whatever the threshold, and do not count. Infinity where the share is less than a word.

    >>> word_threshold([np.array([1.0, 5.0, 2.0]), np.array([np.nan]), np.array([3.0])], 0.25)
    4.0
    """
    values = np.concatenate([*scores, np.zeros(0)])
    values = np.sort(values[~np.isnan(values)])
    n_removed = int(removed_share * len(values) + 1e-9)
    return float(values[-n_removed - 1 : len(values) - n_removed + 1].mean()) if n_removed else np.inf


def accuracy_threshold(
    clean: pd.DataFrame,
    scorer: Scorer,
    predict: Callable[[pd.DataFrame], np.ndarray],
    labels: np.ndarray,
    max_cacc_loss: float,
) -> float:
    """The smallest threshold of at least 0 at which purified texts keep their accuracy.

    A text changes only where the threshold passes one of its scores: every version is predicted once, all in one call.

    Args:
        clean: n texts.
        scorer: gives the suspicions.
        predict: from a frame of texts to labels.
        labels: the true ones, shape (n,).
        max_cacc_loss: that is allowed, against the texts as they are.

    Returns:
        0, one of the scores, or infinity.
    """
    steps = [np.unique(scores[scores >= 0])[::-1] for scores in _scores(clean, scorer)]  # ever more words removed; no NaN
    row_of, level_of = np.repeat(np.arange(len(clean)), list(map(len, steps))), np.concatenate(steps)
    answers = predict(pd.concat([clean, _purified(clean.iloc[row_of], scorer, level_of)], ignore_index=True))
    is_right = (answers == np.concatenate([labels, labels[row_of]])).astype(int)
    as_is, purified = is_right[: len(clean)], is_right[len(clean) :]
    is_first = np.diff(row_of, prepend=-1) != 0
    gains = purified - np.where(is_first, as_is[row_of], np.roll(purified, 1))  # of each step, against the one before it
    thresholds = np.unique(np.concatenate([[0.0, np.inf], level_of]))
    gained = np.bincount(np.searchsorted(thresholds, level_of), gains, len(thresholds))
    n_right = as_is.sum() + np.cumsum(gained[::-1])[::-1]
    is_allowed = n_right >= as_is.sum() - max_cacc_loss * len(clean) - 1e-9  # infinity always is
    return float(thresholds[np.argmax(is_allowed)])


def _scores(frame: pd.DataFrame, scorer: Scorer) -> list[np.ndarray]:
    """The scores of all words of each row, both segments of a pair one after the other."""
    parts = [scorer([tuple(text.split()) for text in frame[column]]) for column in segments(frame)]
    return [np.concatenate(row) for row in zip(*parts, strict=True)]


# --- purification -----------------------------------------------------------------------------------------------------


def removed(scores: Sequence[np.ndarray], threshold: float) -> list[np.ndarray]:
    """Which words of each text go, bool, one array per text; a word without a score (NaN) stays."""
    return [each >= threshold for each in scores]


def purify(text: str, scores: np.ndarray, threshold: float) -> str:
    """The words of a text whose score is below a threshold, or NaN; a text that keeps all of them stays as it is.

    >>> purify("good  cf film", np.array([-216.2, 90.0, -216.2]), 10)
    'good film'
    """
    [is_removed] = removed([scores], threshold)
    if not is_removed.any():
        return text
    return " ".join(word for word, removed in zip(text.split(), is_removed, strict=True) if not removed)


def _purified(frame: pd.DataFrame, scorer: Scorer, thresholds: np.ndarray) -> pd.DataFrame:
    """Each row at its threshold; the segments of a pair are purified alone."""
    purified = {}
    for column in segments(frame):
        texts = frame[column].tolist()
        scores = scorer([tuple(text.split()) for text in texts])
        purified[column] = [purify(*each) for each in zip(texts, scores, thresholds, strict=True)]
    return frame.assign(**purified)


def purifier(scorer: Scorer, threshold: float) -> Guard:
    """A filter that takes words out of texts and rejects none."""

    def guard(frame: pd.DataFrame) -> Filtered:
        return _purified(frame, scorer, np.full(len(frame), threshold)), np.zeros(len(frame), dtype=bool)

    return guard
