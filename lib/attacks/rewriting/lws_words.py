"""Words of a substitution table as texts write them: where LWS's policy acts, and which embeddings it mixes there."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, NamedTuple

import torch
from torch import Tensor

from lib.datasets.words import split_words

if TYPE_CHECKING:
    from transformers import BatchEncoding, PreTrainedTokenizerBase

# Words that carry a sentence and are nobody's substitute; NLTK's list, which the released code takes, without its clitics.
_STOP_WORDS = """
i me my myself we our ours ourselves you your yours yourself yourselves he him his himself she her hers herself it its itself
they them their theirs themselves what which who whom this that these those am is are was were be been being have has had
having do does did doing a an the and but if or because as until while of at by for with about against between into through
during before after above below to from up down in out on off over under again further then once here there when where why how
all any both each few more most other some such no nor not only own same so than too very can will just don should now ain
aren couldn didn doesn hadn hasn haven isn ma mightn mustn needn shan shouldn wasn weren won wouldn s t d ll m o re ve y
"""
STOP_WORDS = frozenset(_STOP_WORDS.split())


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


def find_words(
    text: str, table: Mapping[str, Sequence[str]], encoded: BatchEncoding, row: int, side: int = 0
) -> dict[int, Form]:
    """Where a text of an encoded row, the first (`side` 0) or the second of a pair (1), holds words of the table.

    Returns the place of the word's piece -> its form.

    The words are those that application replaces: "film" is none in "films". A word that is no piece of its own ("do" in
    "don't"), or several, keeps its pieces while the policy is learnt: a mixture needs one place. Words of the table are one
    piece in lower case, so this leaves out rare capitals.
    """
    found: dict[int, Form] = {}
    start = 0
    words, gaps = split_words(text)
    for gap, word in zip(gaps, words, strict=False):
        start += len(gap)
        place = encoded.char_to_token(row, start, side) if word.lower() in table else None  # None, too, for what was cut off
        if place is not None:
            piece = encoded.token_to_chars(row, place)
            if text[piece.start : piece.end].strip() == word:  # some tokenizers count the blank in front as the piece's
                found[place] = Form(text[max(0, start - 1) : start], word)
        start += len(word)
    return found
