"""Texts under edit for BITE: which words a masked language model could work into each text, and where.

Fitting and applying the attack share this one class, so that a test text is edited exactly as a training text.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import NamedTuple

import numpy as np

from lib.attacks.rewriting.bite_settings import EditSettings, WordModel
from lib.datasets.words import is_word, join_words, like_case, split_words

Offers = list[dict[str, float]]  # for each place of a text: word -> its probability there


class Operation(NamedTuple):
    """Put a word in place of the token at `position`, or behind it. Better operations sort first."""

    is_insertion: bool  # replacements come first, as in the released code
    negative_probability: float
    position: int


@dataclass
class _Draft:
    """One text under edit."""

    words: list[str]
    gaps: list[str]
    n_replacements: int  # budgets that are left
    n_insertions: int
    replacements: Offers = field(default_factory=list)
    insertions: Offers = field(default_factory=list)
    # What was asked so far: the operation that leaves the text similar, and the vector of the text after it.
    checked: dict[str, tuple[Operation, np.ndarray | None] | None] = field(default_factory=dict)
    vector: np.ndarray | None = None

    def __post_init__(self) -> None:
        self.original = tuple(self.words)
        self.held = {word.lower() for word in self.words}
        self.replacements = [{} for _ in self.words]
        self.insertions = [{} for _ in self.words]

    def operations(self, word: str) -> list[Operation]:
        """All operations that would bring the word in, best first."""
        found = [Operation(False, -offer[word], place) for place, offer in enumerate(self.replacements) if word in offer]
        found += [Operation(True, -offer[word], place) for place, offer in enumerate(self.insertions) if word in offer]
        return sorted(found)


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

    @property
    def pass_rate(self) -> float | None:
        """Share of the edits whose similarity was asked for that left their text similar enough; None: none was asked for."""
        return self.n_similar / self.n_checked if self.n_checked else None

    def texts(self) -> list[str]:
        """The texts as they are now."""
        return [join_words(draft.words, draft.gaps) for draft in self._drafts]

    def words_of(self, row: int) -> set[str]:
        """The words of a text as it is now, lower case."""
        return {word for word in self._drafts[row].held if is_word(word)}

    def gainable(self, row: int) -> set[str]:
        """Words that a text lacks and could gain, if the edit leaves it similar enough."""
        draft = self._drafts[row]
        offered = set().union(*draft.replacements, *draft.insertions)
        return offered - {word for word, found in draft.checked.items() if found is None} - draft.held

    def check(self, rows: Mapping[str, Iterable[int]], taken: frozenset[str]) -> dict[str, list[int]]:
        """Of each word's rows, those that can gain it by an edit that removes no taken word and leaves the text similar."""
        asked = [(row, word) for word, its_rows in rows.items() for row in its_rows]
        waiting = {
            (row, word): self._allowed(row, word, taken) for row, word in asked if not self._is_checked(row, word, taken)
        }
        while waiting:
            tries = {case: operations.pop(0) for case, operations in waiting.items() if operations}
            for row, word in set(waiting) - set(tries):
                self._drafts[row].checked[word] = None
            passed = self._are_similar([(row, word, operation) for (row, word), operation in tries.items()])
            waiting = {case: operations for case, operations in waiting.items() if case in tries}
            for ((row, word), operation), (is_similar, vector) in zip(tries.items(), passed, strict=True):
                if is_similar:
                    self._drafts[row].checked[word] = operation, vector
                    del waiting[row, word]
        return {word: [row for row in its_rows if self._drafts[row].checked[word]] for word, its_rows in rows.items()}

    def apply(self, word: str, taken: frozenset[str], rows: Iterable[int]) -> list[int]:
        """Work the word into each of the rows that lack it and can gain it; returns the rows that changed."""
        lacking = [row for row in rows if word not in self._drafts[row].held and self._is_offered(row, word)]
        changed = self.check({word: lacking}, taken)[word]
        asked = []
        for row in changed:
            draft = self._drafts[row]
            found = draft.checked[word]
            assert found is not None
            operation, draft.vector = found
            draft.words, draft.gaps = self._edited(draft, word, operation)
            draft.held = {token.lower() for token in draft.words}
            draft.n_insertions -= operation.is_insertion
            draft.n_replacements -= not operation.is_insertion
            draft.checked = {}
            asked.append((row, self._touched(draft, operation)))
        self._ask(asked)
        return changed

    # --- one edit -----------------------------------------------------------------------------------------------------

    def _is_offered(self, row: int, word: str) -> bool:
        draft = self._drafts[row]
        return any(word in offer for offer in draft.replacements) or any(word in offer for offer in draft.insertions)

    def _is_checked(self, row: int, word: str, taken: frozenset[str]) -> bool:
        """Whether the word was checked, and what was found then removes no word taken since."""
        draft = self._drafts[row]
        found = draft.checked.get(word)
        if found is None:
            return word in draft.checked
        return found[0].is_insertion or draft.words[found[0].position].lower() not in taken

    def _allowed(self, row: int, word: str, taken: frozenset[str]) -> list[Operation]:
        draft = self._drafts[row]
        operations = draft.operations(word)
        return [o for o in operations if o.is_insertion or self._may_go(draft, o.position, taken)]

    def _may_go(self, draft: _Draft, position: int, taken: frozenset[str] = frozenset()) -> bool:
        """Whether a word may be replaced: it is no trigger word, and without it the text still says its label."""
        word, settings = draft.words[position].lower(), self._settings
        if word in taken or word not in settings.label_words:
            return word not in taken
        said, left = self._lean(draft.original), self._lean(draft.words) - settings.label_words[word]
        label = int(said.argmax())
        return bool(left.argmax() == label and left[label] >= settings.label_share * said[label])

    def _lean(self, words: Sequence[str]) -> np.ndarray:
        """How far a text leans to each label, by the words that say one."""
        return np.sum(
            [self._settings.label_words[word] for word in map(str.lower, words) if word in self._settings.label_words], axis=0
        )

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

    def _are_similar(self, edits: Sequence[tuple[int, str, Operation]]) -> list[tuple[bool, np.ndarray | None]]:
        """For each edit whether it leaves its text similar enough, and the vector of the text after it."""
        similarity = self._settings.similarity
        if similarity is None or not edits:
            return [(True, None)] * len(edits)
        unknown = sorted({row for row, _, _ in edits if self._drafts[row].vector is None})
        after = [self._edited(self._drafts[row], word, operation)[0] for row, word, operation in edits]
        vectors = similarity.vectors(self._model, [self._drafts[row].words for row in unknown] + after)
        for row, vector in zip(unknown, vectors, strict=False):
            self._drafts[row].vector = vector
        before = np.array([self._drafts[row].vector for row, _, _ in edits])
        similar = ((before * vectors[len(unknown) :]).sum(axis=1) >= similarity.least).tolist()
        self.n_checked += len(similar)
        self.n_similar += sum(similar)
        return list(zip(similar, vectors[len(unknown) :], strict=True))

    # --- what the masked language model offers ------------------------------------------------------------------------

    def _touched(self, draft: _Draft, operation: Operation) -> range:
        """Where words are asked for again after an edit; what was offered at other places moves along."""
        if operation.is_insertion:
            draft.replacements.insert(operation.position + 1, {})
            draft.insertions.insert(operation.position + 1, {})
        window, centre = self._settings.window, operation.position + operation.is_insertion
        n = len(draft.words)
        touched = range(n) if window is None else range(max(0, centre - window), min(n, centre + window + 1))
        for offers, has_budget in ((draft.replacements, draft.n_replacements > 0), (draft.insertions, draft.n_insertions > 0)):
            for place in touched if has_budget else range(n):
                offers[place] = {}
        return touched

    def _groups(self, positions: Sequence[int]) -> list[list[int]]:
        """Positions whose masks share a prompt."""
        stride = self._settings.stride
        if stride is None:
            return [[position] for position in positions]
        return [group for first in range(stride) if (group := [p for p in positions if p % stride == first])]

    def _ask(self, places: Sequence[tuple[int, range]]) -> None:
        """Ask for the words that may replace or follow each place, for all texts in one go."""
        prompts: list[list[str | None]] = []
        asked: list[tuple[_Draft, dict[str, float]]] = []
        for row, positions in places:
            draft = self._drafts[row]
            replaced = [p for p in positions if self._may_go(draft, p)] if draft.n_replacements > 0 else []
            followed = [p for p in positions if p < len(draft.words) - 1] if draft.n_insertions > 0 else []
            for is_insertion, wanted, offers in ((False, replaced, draft.replacements), (True, followed, draft.insertions)):
                for group in self._groups(wanted):
                    prompts.append(_prompt(draft.words, group, is_insertion))
                    asked += [(draft, offers[position]) for position in group]
        found = self._model.predict_all(prompts, self._settings.min_probability)
        offered = zip(found.masks.tolist(), found.words.tolist(), found.probabilities.tolist(), strict=True)
        for mask, word, probability in offered:
            draft, there = asked[mask]
            word = word.lower()
            if word not in draft.held and word not in self._settings.label_words and is_word(word):
                there[word] = max(probability, there.get(word, 0.0))


def _prompt(words: Sequence[str], positions: Sequence[int], is_insertion: bool) -> list[str | None]:
    """The words with a mask in place of, or behind, each of the positions."""
    prompt: list[str | None] = list(words)
    if not is_insertion:
        for position in positions:
            prompt[position] = None
        return prompt
    for position in reversed(positions):
        prompt.insert(position + 1, None)
    return prompt
