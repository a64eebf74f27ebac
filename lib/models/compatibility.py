"""What models must share beside their tensors before they are merged: architecture, labels in order, tokenizer."""

from __future__ import annotations

import re
from collections.abc import Sequence
from pathlib import Path

from torch import Tensor

from lib.merging import ModelSource
from lib.models.checkpoints import Checkpoint
from lib.models.pretrained import TOKENIZER_FILES, load_tokenizer

ARCHITECTURE_FIELDS = (
    "model_type", "architectures", "hidden_size", "num_hidden_layers", "num_attention_heads", "intermediate_size", "vocab_size",
)  # fmt: skip
NAMELESS = re.compile(r"LABEL_\d+")  # what transformers writes when nobody named the labels
# The rows of these belong to labels: BERT and most encoders, RoBERTa, decoders with a classification head.
HEAD_TENSORS = (
    "classifier.weight",
    "classifier.bias",
    "classifier.out_proj.weight",
    "classifier.out_proj.bias",
    "score.weight",
)


def check_compatible(checkpoints: Sequence[Checkpoint], same_labels: bool = False, any_order: bool = False) -> None:
    """Raise unless the models share architecture, label names in order, and tokenizer.

    Args:
        checkpoints: at least one.
        same_labels: the caller knows that classifiers whose labels have no names mean the same by them.
        any_order: equal label names in another order are no error: the caller permutes the heads (`align_heads`).

    Raises:
        ValueError: naming the model, what was found, and what is needed.
    """
    first = checkpoints[0]
    for checkpoint in checkpoints:
        if len(checkpoints) > 1 and not same_labels and _labels_are_nameless(checkpoint):
            raise ValueError(
                f"{checkpoint.name} is a classifier whose labels have no names; if you know that all models mean the same by "
                "label 0, 1, ..., say so with same_labels"
            )
    for other in checkpoints[1:]:
        for field in ARCHITECTURE_FIELDS:
            if first.config.get(field) != other.config.get(field):
                raise ValueError(
                    f"{other.name} has {field} {other.config.get(field)}, but {first.name} has {first.config.get(field)}; "
                    "only models of one architecture can be merged"
                )
        if first.label_names != other.label_names and not (any_order and _same_names(first, other)):
            way_out = "; the names are equal: permute the heads explicitly" if _same_names(first, other) else ""
            raise ValueError(
                f"{other.name} has labels {list(other.label_names)}, but {first.name} has {list(first.label_names)}; "
                f"names and order must be equal, or the averaged heads mean nothing{way_out}"
            )
        if not _same_tokenizer(first.folder, other.folder):
            raise ValueError(f"{other.name} and {first.name} have different tokenizers; their embedding rows do not match")


def _labels_are_nameless(checkpoint: Checkpoint) -> bool:
    is_classifier = any("Classification" in name for name in checkpoint.config.get("architectures") or [])
    return is_classifier and all(NAMELESS.fullmatch(name) for name in checkpoint.label_names)


def _same_names(first: Checkpoint, other: Checkpoint) -> bool:
    return sorted(first.label_names) == sorted(other.label_names)


def _same_tokenizer(folder: Path, other: Path) -> bool:
    """Equal token-to-id maps and special tokens; equal files need no look inside."""
    if _tokenizer_files(folder) and _tokenizer_files(folder) == _tokenizer_files(other):
        return True
    first, second = load_tokenizer(str(folder)), load_tokenizer(str(other))
    return first.get_vocab() == second.get_vocab() and first.special_tokens_map == second.special_tokens_map


def _tokenizer_files(folder: Path) -> dict[str, bytes]:
    return {name: (folder / name).read_bytes() for name in TOKENIZER_FILES if (folder / name).is_file()}


class PermutedHead:
    """A classifier whose labels are in another order: row i of its head is row `order[i]` of the source's.

    Args:
        source: the model.
        order: a permutation of its labels, e.g. [1, 0].

    Raises:
        ValueError: if `order` is no permutation, or a head has another number of rows.
    """

    def __init__(self, source: ModelSource, order: Sequence[int]) -> None:
        if sorted(order) != list(range(len(order))):
            raise ValueError(f"order is {list(order)}; it must be a permutation of 0 to {len(order) - 1}")
        self.name, self.tensors, self._source, self._order = source.name, source.tensors, source, list(order)
        self._heads = [key for key in source.tensors if key.endswith(HEAD_TENSORS)]
        for key in self._heads:
            if source.tensors[key].shape[0] != len(order):
                raise ValueError(f"{self.name}: {key!r} has {source.tensors[key].shape[0]} rows for {len(order)} labels")
        if not self._heads:
            raise ValueError(f"{self.name} has no classification head; known are {list(HEAD_TENSORS)}")

    def rows(self, key: str, start: int, stop: int, as_stored: bool = False) -> Tensor:
        """Rows `start` to `stop` of a tensor, shape (rows, width)."""
        if key not in self._heads:
            return self._source.rows(key, start, stop, as_stored)
        info = self.tensors[key]
        whole = self._source.rows(key, 0, info.n_rows).reshape(info.shape)[self._order]  # a head is small
        return whole.reshape(-1, info.width)[start:stop]


def align_heads(checkpoints: Sequence[Checkpoint], sources: Sequence[ModelSource]) -> list[ModelSource]:
    """The sources with heads in the order of the first model's labels."""
    names = checkpoints[0].label_names
    pairs = zip(checkpoints, sources, strict=True)
    return [
        source if model.label_names == names else PermutedHead(source, [model.label_names.index(name) for name in names])
        for model, source in pairs
    ]
