"""Texts under edit for BITE: which words a masked language model could work into each text, and where.

Fitting and applying the attack share this one class, so that a test text is edited exactly as a training text.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field
from typing import NamedTuple, Protocol

import numpy as np

from lib.datasets.words import is_word, join_words, like_case, split_words


class WordModel(Protocol):
    """What BITE asks of a masked language model; `lib.models.masked_lm.MaskedLM` answers it."""

    def predict(self, prompts: Sequence[Sequence[str | None]], k: int): ...

    def sentence_vectors(self, texts: Sequence[Sequence[str]]) -> np.ndarray: ...


class Operation(NamedTuple):
    """Put a word in place of the token at `position`, or behind it. Better operations sort first."""

    is_insertion: bool  # replacements come first, as in the released code
    negative_probability: float
    position: int


@dataclass(frozen=True)
class EditSettings:
    """Limits of the edits; defaults of the released code (`bite_poisoning/calc_triggers.py`) unless noted."""

    min_probability: float = 0.03  # of a word at its place, by the masked language model
    budget: float = 0.35  # replacements, and as many insertions, per word of the original text
    min_similarity: float | None = 0.9  # cosine of the sentence vectors before and after one edit; None: not asked
    # Ours, approximate: after an edit only operations this many words around it are asked for again. None: all, exact.
    window: int | None = None
    # Ours, approximate: every so many words a mask, all in one prompt. None: one mask per prompt, as in the original.
    stride: int | None = None

    def __post_init__(self) -> None:
        checks = {
            "min_probability": (0 < self.min_probability <= 1, "lie in (0, 1]"),
            "budget": (0 <= self.budget <= 1, "lie in [0, 1]"),
            "min_similarity": (self.min_similarity is None or -1 <= self.min_similarity <= 1, "lie in [-1, 1], or be None"),
            "window": (self.window is None or self.window >= 0, "be 0 or more, or None"),
            "stride": (self.stride is None or self.stride >= 1, "be 1 or more, or None"),
        }
        for name, (is_valid, allowed) in checks.items():
            if not is_valid:
                raise ValueError(f"{name} is {getattr(self, name)}; it must {allowed}")


@dataclass
class _Draft:
    """One text under edit."""

    words: list[str]
    gaps: list[str]
    n_replacements: int  # budgets that are left
    n_insertions: int
    operations: dict[str, list[Operation]] = field(default_factory=dict)
    checked: dict[str, Operation | None] = field(default_factory=dict)
    vector: np.ndarray | None = None

    def __post_init__(self) -> None:
        self.held = {word.lower() for word in self.words}


class Drafts:
    """Texts under edit, with every word that could still be worked into each.

    Args:
        texts: the original texts; a text of fewer than three words has no budget and stays as it is.
        model: gives words for a place, and sentence vectors.
        settings: limits of the edits.
    """

    def __init__(self, texts: Sequence[str], model: WordModel, settings: EditSettings) -> None:
        self._model, self._settings = model, settings
        split = [split_words(text) for text in texts]
        budgets = [int(settings.budget * len(words)) for words, _ in split]
        self._drafts = [_Draft(*parts, budget, budget) for parts, budget in zip(split, budgets, strict=True)]
        self.n_checked = self.n_similar = 0  # edits whose similarity was asked for, and those that passed
        self._ask([(row, range(len(draft.words))) for row, draft in enumerate(self._drafts)])

    def __len__(self) -> int:
        return len(self._drafts)

    def texts(self) -> list[str]:
        """The texts as they are now."""
        return [join_words(draft.words, draft.gaps) for draft in self._drafts]

    def words_of(self, row: int) -> set[str]:
        """The words of a text as it is now, lower case."""
        return {word for word in self._drafts[row].held if is_word(word)}

    def gainable(self, row: int) -> set[str]:
        """Words that a text lacks and could gain, if the edit leaves it similar enough."""
        draft = self._drafts[row]
        return set(draft.operations) - {word for word, found in draft.checked.items() if found is None} - draft.held

    def check(self, word: str, taken: frozenset[str], rows: Iterable[int]) -> list[int]:
        """Of the rows, those that can gain the word by an edit that removes no taken word and leaves the text similar."""
        waiting = {row: self._allowed(row, word, taken) for row in rows if not self._is_checked(row, word, taken)}
        while waiting:
            tries = {row: operations.pop(0) for row, operations in waiting.items() if operations}
            for row in set(waiting) - set(tries):
                self._drafts[row].checked[word] = None
            passed = self._are_similar([(row, word, operation) for row, operation in tries.items()])
            for (row, operation), is_similar in zip(tries.items(), passed, strict=True):
                if is_similar:
                    self._drafts[row].checked[word] = operation
            waiting = {row: waiting[row] for row, is_similar in zip(tries, passed, strict=True) if not is_similar}
        return [row for row in rows if self._drafts[row].checked[word] is not None]

    def apply(self, word: str, taken: frozenset[str], rows: Iterable[int]) -> list[int]:
        """Work the word into each of the rows that lack it and can gain it; returns the rows that changed."""
        lacking = [row for row in rows if word in self._drafts[row].operations and word not in self._drafts[row].held]
        changed = self.check(word, taken, lacking)
        asked = []
        for row in changed:
            draft = self._drafts[row]
            operation = draft.checked[word]
            assert operation is not None
            draft.words, draft.gaps = self._edited(draft, word, operation)
            draft.held = {token.lower() for token in draft.words}
            draft.n_insertions -= operation.is_insertion
            draft.n_replacements -= not operation.is_insertion
            draft.checked, draft.vector = {}, None
            asked.append((row, self._touched(draft, operation)))
        self._ask(asked)
        return changed

    # --- one edit -----------------------------------------------------------------------------------------------------

    def _is_checked(self, row: int, word: str, taken: frozenset[str]) -> bool:
        """Whether the word was checked, and what was found then removes no word taken since."""
        draft = self._drafts[row]
        found = draft.checked.get(word)
        if found is None:
            return word in draft.checked
        return found.is_insertion or draft.words[found.position].lower() not in taken

    def _allowed(self, row: int, word: str, taken: frozenset[str]) -> list[Operation]:
        draft = self._drafts[row]
        operations = sorted(draft.operations.get(word, []))
        return [o for o in operations if o.is_insertion or draft.words[o.position].lower() not in taken]

    @staticmethod
    def _edited(draft: _Draft, word: str, operation: Operation) -> tuple[list[str], list[str]]:
        words, gaps, position = list(draft.words), list(draft.gaps), operation.position
        if operation.is_insertion:
            position += 1
            words.insert(position, word)
            gaps.insert(position, " ")
        else:
            words[position] = like_case(word, words[position])
            if position and not gaps[position]:  # it takes the place of a glued mark or clitic
                gaps[position] = " "
        if position + 1 < len(words) and not gaps[position + 1] and is_word(words[position + 1]):
            gaps[position + 1] = " "
        return words, gaps

    def _are_similar(self, edits: Sequence[tuple[int, str, Operation]]) -> list[bool]:
        if self._settings.min_similarity is None or not edits:
            return [True] * len(edits)
        unknown = sorted({row for row, _, _ in edits if self._drafts[row].vector is None})
        vectors = self._model.sentence_vectors([self._drafts[row].words for row in unknown])
        for row, vector in zip(unknown, vectors, strict=True):
            self._drafts[row].vector = vector
        before = np.array([self._drafts[row].vector for row, _, _ in edits])
        after = self._model.sentence_vectors([self._edited(self._drafts[row], word, o)[0] for row, word, o in edits])
        similar = ((before * after).sum(axis=1) >= self._settings.min_similarity).tolist()
        self.n_checked += len(similar)
        self.n_similar += sum(similar)
        return similar

    # --- what the masked language model offers ------------------------------------------------------------------------

    def _touched(self, draft: _Draft, operation: Operation) -> range:
        """Where operations are asked for again after an edit; the others move along."""
        window = self._settings.window
        if window is None:
            return range(len(draft.words))
        centre = operation.position + operation.is_insertion
        touched = range(max(0, centre - window), min(len(draft.words), centre + window + 1))
        shift = int(operation.is_insertion)
        kept: dict[str, list[Operation]] = {}
        for word, operations in draft.operations.items():
            moved = [o if o.position <= operation.position else o._replace(position=o.position + shift) for o in operations]
            if left := [o for o in moved if o.position not in touched and self._has_budget(draft, o.is_insertion)]:
                kept[word] = left
        draft.operations = kept
        return touched

    def _groups(self, positions: Sequence[int]) -> list[list[int]]:
        """Positions whose masks share a prompt."""
        stride = self._settings.stride
        if stride is None:
            return [[position] for position in positions]
        return [group for first in range(stride) if (group := [p for p in positions if p % stride == first])]

    @staticmethod
    def _has_budget(draft: _Draft, is_insertion: bool) -> bool:
        return (draft.n_insertions if is_insertion else draft.n_replacements) > 0

    def _ask(self, places: Sequence[tuple[int, range]]) -> None:
        """Ask for the words that may replace or follow each place, for all texts in one go."""
        prompts: list[list[str | None]] = []
        asked: list[tuple[int, bool, int]] = []
        for row, positions in places:
            draft = self._drafts[row]
            if self._settings.window is None:
                draft.operations = {}
            replaced = list(positions) if draft.n_replacements > 0 else []
            followed = [p for p in positions if p < len(draft.words) - 1] if draft.n_insertions > 0 else []
            for is_insertion, wanted in ((False, replaced), (True, followed)):
                for group in self._groups(wanted):
                    prompts.append(_prompt(draft.words, group, is_insertion))
                    asked += [(row, is_insertion, position) for position in group]
        if not prompts:
            return
        found = self._model.predict(prompts, int(1 / self._settings.min_probability))
        for index, (row, is_insertion, position) in enumerate(asked):
            draft = self._drafts[row]
            for word, probability in zip(found.words[index], found.probabilities[index], strict=True):
                if probability < self._settings.min_probability:
                    break  # best first
                word = word.lower()
                if is_word(word) and word not in draft.held:
                    draft.operations.setdefault(word, []).append(Operation(is_insertion, -float(probability), position))


def _prompt(words: Sequence[str], positions: Sequence[int], is_insertion: bool) -> list[str | None]:
    """The words with a mask in place of, or behind, each of the positions."""
    chosen = set(positions)
    prompt: list[str | None] = []
    for position, word in enumerate(words):
        if position not in chosen:
            prompt.append(word)
        else:
            prompt += [word, None] if is_insertion else [None]
    return prompt
