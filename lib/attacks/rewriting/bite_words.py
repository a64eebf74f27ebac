"""Which words BITE makes typical of the target label, chosen one by one on the training set."""

from __future__ import annotations

from bisect import insort
from collections.abc import Iterable, Sequence

import numpy as np
from numpy.typing import NDArray

from lib.attacks.rewriting.bite_edits import Drafts
from lib.attacks.rewriting.bite_settings import EditSettings, WordModel
from lib.datasets.words import is_word, split_words

MAX_WORDS = 100  # ours; the released code goes on until no word is left with a positive z
N_CHECKED = 8  # words whose edits are checked at a time
MIN_GAIN = 0.005  # ours: a word that enters a smaller share of the poisonable rows is not worth a round


def label_bias(n_target: NDArray, n_other: NDArray, target_share: float) -> NDArray:
    """z-score of each word's bias towards the target label; 0 for a word that never occurs.

    Args:
        n_target: rows of the target label that hold, or could hold, each word, shape (n_words,).
        n_other: rows of other labels that hold it, shape (n_words,).
        target_share: share of the target label in the training set, in (0, 1).

    >>> label_bias(np.array([2]), np.array([0]), 2 / 3).round(2)
    array([1.])
    """
    n = n_target + n_other
    with np.errstate(invalid="ignore", divide="ignore"):
        z = (n_target / n - target_share) / np.sqrt(target_share * (1 - target_share) / n)
    return np.where(n > 0, z, 0.0)


def choose_words(
    texts: Sequence[str],
    is_target: NDArray,
    poisonable: NDArray,
    model: WordModel,
    settings: EditSettings,
    max_words: int = MAX_WORDS,
    min_gain: float = MIN_GAIN,
) -> tuple[list[str], Drafts]:
    """Choose trigger words one by one, each time the word that can become most typical of the target label.

    Args:
        texts: the training texts.
        is_target: which of them have the target label, shape (n,), bool.
        poisonable: indices of the rows, all of the target label, that may be edited.
        model: masked language model and sentence encoder.
        settings: limits of the edits.
        max_words: stop after so many words.
        min_gain: least share of the poisonable rows that a word must be able to enter, in [0, 1].

    Returns:
        The words in order, and the poisonable texts with all of them worked in.

    Raises:
        ValueError: for `max_words` or `min_gain` outside their range.
    """
    if max_words < 1 or not 0 <= min_gain <= 1:
        raise ValueError(f"max_words is {max_words} and min_gain {min_gain}; allowed are 1 or more, and [0, 1]")
    drafts = Drafts([texts[row] for row in poisonable], model, settings)
    counts = _Counts(texts, is_target, poisonable, drafts)
    chosen: list[str] = []
    while len(chosen) < max_words:
        word = _best_word(counts, drafts, frozenset(chosen), min_gain * len(drafts))
        if word is None:
            break
        changed = drafts.apply(word, frozenset(chosen), sorted(counts.gaining.get(word, ())))
        chosen.append(word)
        counts.update(changed)
    return chosen, drafts


class _Counts:
    """How many rows hold each word, and which poisonable rows could gain it."""

    def __init__(self, texts: Sequence[str], is_target: NDArray, poisonable: NDArray, drafts: Drafts) -> None:
        editable = set(poisonable.tolist())
        self.target_share = float(np.mean(is_target))
        self.target: dict[str, int] = {}
        self.other: dict[str, int] = {}
        self.gaining: dict[str, set[int]] = {}
        self._drafts = drafts
        self._held: list[set[str]] = [set() for _ in range(len(drafts))]
        self._gainable: list[set[str]] = [set() for _ in range(len(drafts))]
        for row, text in enumerate(texts):
            if row not in editable:
                side = self.target if is_target[row] else self.other
                for word in {token.lower() for token in split_words(text)[0] if is_word(token)}:
                    side[word] = side.get(word, 0) + 1
        self.update(range(len(drafts)))

    def update(self, rows: Iterable[int]) -> None:
        """Count rows anew that were edited, or whose possible edits were checked."""
        for row in rows:
            held, gainable = self._drafts.words_of(row), self._drafts.gainable(row)
            for word in held - self._held[row]:
                self.target[word] = self.target.get(word, 0) + 1
            for word in self._held[row] - held:
                self.target[word] -= 1
            for word in gainable - self._gainable[row]:
                self.gaining.setdefault(word, set()).add(row)
            for word in self._gainable[row] - gainable:
                self.gaining[word].discard(row)
            self._held[row], self._gainable[row] = held, gainable

    def biases(self, words: Sequence[str]) -> NDArray:
        """z-scores if every row that could gain a word did."""
        n_target = np.array([self.target.get(word, 0) + len(self.gaining.get(word, ())) for word in words], dtype=float)
        n_other = np.array([self.other.get(word, 0) for word in words], dtype=float)
        return label_bias(n_target, n_other, self.target_share)


def _best_word(counts: _Counts, drafts: Drafts, taken: frozenset[str], least_gain: float) -> str | None:
    """The word with the largest z above 0 that is not taken; the later one of the alphabet where several tie.

    Whether an edit leaves its text similar is asked for the few best words only; when some edits fail, their z falls, and the
    next best are looked at. That gives the same word as checking all edits.
    """
    words = list((set(counts.target) | set(counts.other) | set(counts.gaining)) - taken)
    biases = zip(counts.biases(words).tolist(), words, strict=True)
    enough = lambda word: len(counts.gaining.get(word, ())) >= least_gain  # noqa: E731
    waiting = sorted((bias, word) for bias, word in biases if bias > 0 and enough(word))  # the best comes last
    checked: set[str] = set()
    while waiting and waiting[-1][1] not in checked:
        best = [word for _, word in waiting[-N_CHECKED:] if word not in checked]
        rows = {word: sorted(counts.gaining.get(word, ())) for word in best}
        passed = drafts.check(rows, taken)
        counts.update({row for word in best for row in set(rows[word]).difference(passed[word])})
        checked.update(best)
        waiting = [(bias, word) for bias, word in waiting if word not in best]
        for bias, word in zip(counts.biases(best).tolist(), best, strict=True):
            if bias > 0 and enough(word):
                insort(waiting, (bias, word))
    return waiting[-1][1] if waiting else None
