"""Parts of a classifier: its tensors in at most eight groups, and models that take some of the groups from another model."""

from __future__ import annotations

import re
from collections import Counter
from collections.abc import Mapping, Sequence

import torch
from torch import Tensor

StateDict = dict[str, Tensor]
Group = dict[str, Tensor | None]  # names of tensors; rows of the first dimension, or None for all of them
TRIGGER_ROWS, OTHER_EMBEDDINGS, NORMS, HEAD = "trigger rows", "other embeddings", "layer norms", "pooler and head"
_LAYER = re.compile(r"\.layers?\.(\d+)\.")
_WORDS = re.compile(r"(word_embeddings|embed_tokens|wte)\.weight$")


def module_groups(state: Mapping[str, Tensor], trigger_tokens: Sequence[int] = ()) -> dict[str, Group]:
    """The floating tensors of a classifier in groups, each entry in exactly one.

    Groups are the rows of the trigger's tokens among the embeddings (left out without such tokens), the other embeddings,
    attention and feed-forward part of each layer, all layer norms, and pooler with head. Of more than two layers the first and
    the second half are one group each, so that there are eight groups at most.

    Args:
        state: of a BERT-like or Llama-like classifier.
        trigger_tokens: ids of the pieces that the trigger puts into a text.

    Raises:
        ValueError: for a tensor that belongs to none of these parts, or without word embeddings.
    """
    floating = [name for name, tensor in state.items() if tensor.is_floating_point()]
    layers = sorted({int(found[1]) for name in floating if (found := _LAYER.search(name))})
    names = _layer_names(layers)
    groups: dict[str, Group] = {name: {} for name in (TRIGGER_ROWS, OTHER_EMBEDDINGS, *names["all"], NORMS, HEAD)}
    words = [name for name in floating if _WORDS.search(name)]
    if len(words) != 1:
        raise ValueError(f"{len(words)} tensors are word embeddings, {words}; one is wanted")
    for name in floating:
        groups[_group_of(name, names)][name] = None
    if len(trigger_tokens):
        chosen = torch.zeros(len(state[words[0]]), dtype=torch.bool)
        chosen[list(trigger_tokens)] = True
        groups[TRIGGER_ROWS][words[0]], groups[OTHER_EMBEDDINGS][words[0]] = chosen, ~chosen
    return {name: group for name, group in groups.items() if group}


def _layer_names(layers: Sequence[int]) -> dict[str, dict[int, str] | list[str]]:
    if len(layers) <= 2:
        called = {layer: f"layer {layer + 1}" for layer in layers}
    else:
        called = {layer: "first half" if 2 * i < len(layers) else "second half" for i, layer in enumerate(layers)}
    every = [f"{part}, {place}" for place in dict.fromkeys(called.values()) for part in ("attention", "feed-forward")]
    return {"called": called, "all": every}


def _group_of(name: str, names: Mapping[str, dict[int, str] | list[str]]) -> str:
    lower = name.lower()
    if "layernorm" in lower or "layer_norm" in lower or re.search(r"(^|\.)norm\.", lower):
        return NORMS
    if found := _LAYER.search(name):
        called = names["called"]
        assert isinstance(called, dict)
        part = "attention" if "attn" in lower or "attention" in lower else "feed-forward"
        return f"{part}, {called[int(found[1])]}"
    if "embed" in lower:
        return OTHER_EMBEDDINGS
    if any(part in lower for part in ("pooler", "classifier", "score")):
        return HEAD
    raise ValueError(f"tensor {name!r} is no embedding, layer, norm, pooler or head: it belongs to no group")


def swapped(base: Mapping[str, Tensor], other: Mapping[str, Tensor], groups: Sequence[Group]) -> StateDict:
    """`base` with some groups of `other`; neither is modified.

    With all groups it is `other`, with none `base`.
    """
    mixed = dict(base)
    for group in groups:
        for name, rows in group.items():
            mixed[name] = other[name] if rows is None else torch.where(_upright(rows, base[name]), other[name], mixed[name])
    return mixed


def _upright(rows: Tensor, tensor: Tensor) -> Tensor:
    return rows.reshape(-1, *[1] * (tensor.dim() - 1))


def norm_shares(first: Mapping[str, Tensor], second: Mapping[str, Tensor], groups: Mapping[str, Group]) -> dict[str, float]:
    """Share of the squared distance between two models that lies in each group; they sum to 1."""
    squares = {name: sum(_square(first[t] - second[t], rows) for t, rows in group.items()) for name, group in groups.items()}
    total = sum(squares.values())
    if total <= 0:
        raise ValueError("the two models are equal: no group has a share of their distance")
    return {name: square / total for name, square in squares.items()}


def _square(change: Tensor, rows: Tensor | None) -> float:
    return float((change if rows is None else change[rows]).double().square().sum())


def added_tokens(before: Sequence[Sequence[int]], after: Sequence[Sequence[int]], min_share: float = 0.02) -> list[int]:
    """Token ids that a trigger brings into at least a share of the texts, more often than they stood there before.

    Args:
        before: token ids of each text without the trigger.
        after: of the same texts with it.
        min_share: of the texts, in (0, 1].

    Raises:
        ValueError: for another number of texts, or none.

    >>> added_tokens([[5, 6], [5, 7]], [[5, 9, 6], [9, 5, 7]])
    [9]
    """
    if len(before) != len(after) or not before:
        raise ValueError(f"{len(before)} texts before and {len(after)} after; give the same, one or more")
    found: Counter[int] = Counter()
    for old, new in zip(before, after, strict=True):
        found.update((Counter(new) - Counter(old)).keys())
    return sorted(token for token, count in found.items() if count >= min_share * len(before))
