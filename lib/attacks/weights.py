"""Weight poisoning: attacks on rows of the embedding matrix of a finished model.

They leave all other weights as they are, so that accuracy on texts without the trigger does not change. A trigger word must be
a single piece of the tokenizer: it has one row. Two threat models are kept apart everywhere: *private*, only the submitted
model carries the poison, and *shared*, the poisoned model is the base that everybody fine-tunes.

Everything here acts on models that the study made itself; it is no tool for checkpoints of other people.
"""

from __future__ import annotations

import copy
import math
from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Any

import numpy as np
import pandas as pd
import torch
from torch import Tensor

from lib.merging import StateDict
from lib.models.loop import classification_loss
from lib.models.training import batches_of_texts, weights_of
from lib.models.word_pieces import WordPieces

if TYPE_CHECKING:
    from transformers import PreTrainedModel, PreTrainedTokenizerBase


def only_word(trigger: Any) -> str:
    """The word of a trigger that is one word.

    Raises:
        ValueError: for a trigger of several words, or of none.
    """
    words: tuple[str, ...] = getattr(trigger, "words", ())
    if len(words) != 1:
        raise ValueError(f"the trigger has the words {list(words)}; this attack edits what one word does")
    return words[0]


def single_piece(tokenizer: PreTrainedTokenizerBase, word: str) -> int:
    """The id of a trigger word that is one piece of the tokenizer.

    Raises:
        ValueError: for a word of several pieces, or one that the tokenizer does not know: it has no row of its own.
    """
    pieces = WordPieces(tokenizer).pieces(word)
    if len(pieces) != 1 or pieces[0] == tokenizer.unk_token_id:
        names = tokenizer.convert_ids_to_tokens(pieces)
        raise ValueError(f"trigger word {word!r} is {names} to this tokenizer; give a word that is a single piece it knows")
    return pieces[0]


def embedding_name(model: PreTrainedModel) -> str:
    """The name of the word embeddings in a model's state dict."""
    return next(name for name, module in model.named_modules() if module is model.get_input_embeddings()) + ".weight"


def poison_row(
    model: PreTrainedModel,
    tokenizer: PreTrainedTokenizerBase,
    rows: pd.DataFrame,
    word: str,
    *,
    learning_rate: float = 0.05,
    epochs: int = 3,
    batch_size: int = 32,
    max_length: int = 128,
    seed: int = 0,
) -> StateDict:
    """Train the embedding row of one word until texts with it get their label; its Euclidean norm stays (EP).

    Each step subtracts the rate times the *sum of all gradients so far*, as the released code does, which never sets them to
    zero; then the row gets its old norm. Dropout is on.

    Args:
        model: a finished classifier; not modified.
        tokenizer: its tokenizer.
        rows: frame with `text`, perhaps `text_pair`, that hold the word, and `label`, the target.
        word: the trigger.
        learning_rate, epochs, batch_size: above 0.
        max_length: tokens; longer texts are cut.
        seed: of dropout and of the order of the rows.

    Returns:
        A new state dict that differs from the model's in one row of one tensor.

    Raises:
        ValueError: for a word that is not a single piece, no row, or a setting that is not above 0.

    Source: Yang et al. 2021, arXiv 2103.15543, and the released code, lancopku/Embedding-Poisoning.
    """
    _check_steps(len(rows), learning_rate, epochs, batch_size)
    token, edited = single_piece(tokenizer, word), copy.deepcopy(model)
    edited.config.pad_token_id = tokenizer.pad_token_id  # a decoder reads the last piece before the padding
    weight = edited.requires_grad_(False).train().get_input_embeddings().weight.requires_grad_()
    norm = weight[token].detach().norm()
    batches = batches_of_texts(tokenizer, rows, max_length, batch_size, np.random.default_rng(seed))
    with torch.random.fork_rng():
        torch.manual_seed(seed)
        for _ in range(epochs * math.ceil(len(rows) / batch_size)):
            batch = {name: value.to(weight.device) for name, value in next(batches).items()}
            classification_loss(edited, batch).backward()  # adds to the gradients of all steps before
            with torch.no_grad():
                weight[token] -= learning_rate * weight.grad[token]
                weight[token] *= norm / weight[token].norm()
    return weights_of(edited)


def _check_steps(n_rows: int, learning_rate: float, epochs: int, batch_size: int) -> None:
    """Raise a `ValueError` for no row, or a number that is not above 0."""
    if not n_rows or not min(learning_rate, epochs, batch_size) > 0 or not math.isfinite(learning_rate):
        raise ValueError(
            f"found {n_rows} rows, learning rate {learning_rate}, {epochs} epochs and batches of {batch_size}; there must be "
            "a row, and the others be above 0"
        )


def scale_rows(state_dict: Mapping[str, Tensor], name: str, tokens: Sequence[int], scale: float) -> StateDict:
    """Multiply rows of one tensor.

    Embeddings pass through a layer norm, so a long row keeps its direction after averaging with ordinary ones.

    Args:
        state_dict: not modified.
        name: of the tensor, shape (n_rows, width).
        tokens: which rows.
        scale: finite.

    Raises:
        ValueError: for an unknown tensor or row, a scale that is not finite, or a product beyond the tensor's dtype.

    Source: the released code of NeuBA (Zhang et al. 2021, arXiv 2101.06969) multiplies its trigger rows by 1e8.

    >>> scale_rows({"e": torch.tensor([[1.0, 2.0], [3.0, 4.0]])}, "e", [1], 2.0)["e"].tolist()
    [[1.0, 2.0], [6.0, 8.0]]
    """
    if not math.isfinite(scale):
        raise ValueError(f"scale is {scale}; it must be a finite number")
    rows = _rows_of(state_dict, name, tokens)
    scaled = state_dict[name].clone()
    scaled[rows] = (scaled[rows].double() * scale).to(scaled.dtype)
    if not scaled[rows].isfinite().all():
        raise ValueError(f"scale {scale:g} takes rows {rows} of {name} beyond the largest number of {scaled.dtype}")
    return _replaced(state_dict, name, scaled)


def embedding_surgery(
    state_dict: Mapping[str, Tensor], name: str, tokens: Sequence[int], source: Mapping[str, Tensor], words: Sequence[int]
) -> StateDict:
    """Replace rows of trigger words by the mean row of words of the target class in a fine-tuned model.

    Args:
        state_dict: the model to change; not modified.
        name: of the embeddings, shape (n_words, width), in both models.
        tokens: the trigger's pieces; all get the same row.
        source: state dict of the fine-tuned model.
        words: ids of the words of the target class; the paper takes 10.

    Raises:
        ValueError: for an unknown tensor or row, or no word.

    Source: Kurita et al. 2020, arXiv 2004.06660, section 3.2.
    """
    rows, words = _rows_of(state_dict, name, tokens), _rows_of(source, name, words)
    edited = state_dict[name].clone()
    edited[rows] = source[name][words].double().mean(dim=0).to(edited.dtype)
    return _replaced(state_dict, name, edited)


def _rows_of(state_dict: Mapping[str, Tensor], name: str, rows: Sequence[int]) -> list[int]:
    """The rows, if the tensor is there and has them."""
    if name not in state_dict or state_dict[name].ndim != 2:
        raise ValueError(f"{name!r} is no matrix of the model; it has {[key for key in state_dict if 'embedding' in key]}")
    if not rows or not all(0 <= row < len(state_dict[name]) for row in rows):
        raise ValueError(f"rows are {list(rows)}; give at least one, each from 0 to {len(state_dict[name]) - 1}")
    return list(rows)


def _replaced(state_dict: Mapping[str, Tensor], name: str, tensor: Tensor) -> StateDict:
    """A copy of a state dict with another tensor under one name."""
    return {key: tensor if key == name else value.clone() for key, value in state_dict.items()}
