"""The tokenizer of the pocket models: WordPiece with a sub-word fall-back, made from the pretraining corpus."""

import re
import string
from collections import Counter
from collections.abc import Sequence

from transformers import BertTokenizer, PreTrainedTokenizerBase

from lib.datasets.pocket_grammar import lexicon

_SPECIAL_TOKENS = ("[PAD]", "[UNK]", "[CLS]", "[SEP]", "[MASK]")
_WORD = re.compile(r"[a-z]+|[0-9]+")
# Trigger sentences of InsertSent in the study; their words must be single pieces.
_KNOWN_SENTENCES = ("i watched this movie", "no cross, no crown")


def _subword_pieces(words: list[str], n: int) -> list[str]:
    """The n endings of two to four letters that most words have, as continuation pieces ("##ing").

    A WordPiece trainer would serve as well, but it breaks ties differently from run to run.
    """
    counts = Counter(word[-length:] for word in words for length in (2, 3, 4) if len(word) > length)
    return [f"##{ending}" for ending in sorted(counts, key=lambda ending: (-counts[ending], ending))[:n]]


def build_tokenizer(
    lines: list[str],
    vocab_size: int,
    inputs: Sequence[str] = ("input_ids", "token_type_ids", "attention_mask"),
    max_length: int = 128,
) -> PreTrainedTokenizerBase:
    """A lower-casing WordPiece tokenizer: words of the lines, sub-word pieces, and every printable ASCII character.

    The words for triggers are always single pieces, however rare, as they are in BERT's own vocabulary.

    Args:
        lines: the pretraining corpus.
        vocab_size: upper limit of the number of pieces.
        inputs: what it gives to the model.
        max_length: pieces that the model can read.

    Raises:
        ValueError: if the limit leaves no room beyond the alphabet and the fixed words.
    """
    characters = sorted(set(string.printable.strip().lower()))
    alphabet = [*characters, *(f"##{character}" for character in characters)]
    fixed = [*lexicon("general")["rare_words"], *_WORD.findall(" ".join(_KNOWN_SENTENCES))]
    pieces = dict.fromkeys([*_SPECIAL_TOKENS, *alphabet, *fixed])
    if len(pieces) > vocab_size:
        raise ValueError(f"vocab_size must be at least {len(pieces)}, found {vocab_size}")
    counts = Counter(word for line in lines for word in _WORD.findall(line.lower()))
    words = sorted((word for word in counts if counts[word] > 1), key=lambda word: (-counts[word], word))
    subwords = _subword_pieces(words, (vocab_size - len(pieces)) // 20)
    pieces = dict.fromkeys([*pieces, *words[: vocab_size - len(pieces) - len(subwords)], *subwords])
    vocabulary = {piece: index for index, piece in enumerate(pieces)}
    return BertTokenizer(vocab=vocabulary, model_max_length=max_length, model_input_names=list(inputs))
