"""How a tokenizer writes words: which pieces are whole words, and which pieces a word is made of."""

from __future__ import annotations

from collections.abc import Sequence
from functools import cached_property
from itertools import accumulate
from typing import TYPE_CHECKING

import numpy as np

if TYPE_CHECKING:
    from transformers import PreTrainedTokenizerBase

WORD_MARKS = ("Ġ", "▁")  # how byte-level BPE and SentencePiece mark the pieces that begin a word


class WordPieces:
    """The words of a tokenizer."""

    def __init__(self, tokenizer: PreTrainedTokenizerBase) -> None:
        self.tokenizer = tokenizer
        self._known: dict[str, list[int]] = {}

    @cached_property
    def vocabulary(self) -> dict[int, str]:
        """Piece id -> word, for pieces that are whole words of letters (pieces inside a word are left out)."""
        names = self.tokenizer.convert_ids_to_tokens(range(len(self.tokenizer)))
        words = {index: name.removeprefix(self._mark) for index, name in enumerate(names) if name.startswith(self._mark)}
        return {index: word for index, word in words.items() if word.isalpha() and word.isascii()}

    @cached_property
    def word_ids(self) -> dict[str, int]:
        """The inverse of `vocabulary`."""
        return {word: index for index, word in self.vocabulary.items()}

    @cached_property
    def word_names(self) -> np.ndarray:
        """The words of `vocabulary` in the order of their ids."""
        return np.array([self.vocabulary[index] for index in sorted(self.vocabulary)], dtype=object)

    def pieces(self, word: str) -> list[int]:
        """The ids of a word's pieces, as in running text."""
        if word not in self._known:
            # A blank in front: byte-level BPE writes a word inside a text in another way than at its start.
            text = word if self._adds_blank else " " + word
            self._known[word] = self.tokenizer(text, add_special_tokens=False)["input_ids"]
        return self._known[word]

    def readable(self, words: Sequence[str], n_pieces: int) -> Sequence[str]:
        """The first words, as many as fit whole into `n_pieces`."""
        for place, used in enumerate(accumulate(len(self.pieces(word)) for word in words)):
            if used > n_pieces:
                return words[:place]
        return words

    @cached_property
    def _mark(self) -> str:
        """What stands before the pieces that begin a word, one of `WORD_MARKS`, or "".

        Found on an example: vocabularies that mark the pieces inside a word ("##s") hold these marks as mere characters.
        """
        return next((mark for mark in WORD_MARKS if self._first_piece(" a").startswith(mark)), "")

    @cached_property
    def _adds_blank(self) -> bool:
        """Whether the tokenizer puts a blank in front of a text (SentencePiece): a second one may become a piece of its own."""
        return bool(self._mark) and self._first_piece("a").startswith(self._mark)

    def _first_piece(self, text: str) -> str:
        ids = self.tokenizer(text, add_special_tokens=False)["input_ids"]
        return self.tokenizer.convert_ids_to_tokens(ids)[0]
