"""Words of a substitution table as texts write them: where LWS's policy acts, and which embeddings it mixes there."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, NamedTuple

import torch
from torch import Tensor

from lib.datasets.words import split_words

if TYPE_CHECKING:
    from transformers import BatchEncoding, PreTrainedTokenizerBase


class Form(NamedTuple):
    """A word as a text writes it."""

    before: str  # the character in front of it, "" at the start: it decides how many tokenizers cut the word
    word: str


def form_vectors(forms: Sequence[Form], tokenizer: PreTrainedTokenizerBase, embeddings: Tensor) -> Tensor:
    """Input embeddings of words as texts write them, shape (n, width); the mean of its pieces where a word has several.

    Only candidates have several: the mean stands in for them at the one place of the word that they would replace.
    """
    encoded = tokenizer([form.before + form.word for form in forms], add_special_tokens=False)
    vectors = []
    for row, (before, word) in enumerate(forms):
        first, last = (encoded.char_to_token(row, len(before) + place) for place in (0, len(word) - 1))
        vectors.append(embeddings.detach()[encoded["input_ids"][row][first : last + 1]].mean(dim=0))
    return torch.stack(vectors)


def find_words(text: str, table: Mapping[str, Sequence[str]], encoded: BatchEncoding, row: int) -> dict[int, Form]:
    """Where a text, the first one of an encoded row, holds words of the table: place of the word's piece -> its form.

    The words are those that application replaces: "film" is none in "films". A word that is no piece of its own ("do" in
    "don't"), or several, keeps its pieces while the policy is learnt: a mixture needs one place. Words of the table are one
    piece in lower case, so this leaves out rare capitals.
    """
    found: dict[int, Form] = {}
    start = 0
    words, gaps = split_words(text)
    for gap, word in zip(gaps, words, strict=False):
        start += len(gap)
        place = encoded.char_to_token(row, start) if word.lower() in table else None  # None, too, for what was cut off
        if place is not None:
            piece = encoded.token_to_chars(row, place)
            if text[piece.start : piece.end].strip() == word:  # some tokenizers count the blank in front as the piece's
                found[place] = Form(text[max(0, start - 1) : start], word)
        start += len(word)
    return found
