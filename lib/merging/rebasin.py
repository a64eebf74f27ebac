"""Re-basin: hidden units put into the order of another model's, so that two pretrainings can be averaged at all.

Weight matching of Ainsworth et al. 2023 (arXiv 2209.04836; code samuela/git-re-basin), for encoders built like BERT.
"""

# As there, one linear assignment per group of units in random order, until nothing gains, at most 100 rounds. What an encoder
# has beyond an MLP: one order of the hidden space for all layers, the embeddings and their normalisations; heads change places
# as wholes, and inside a head the channels of query and key go together, and those of value and output.

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import numpy as np
import torch
from scipy.optimize import linear_sum_assignment
from torch import Tensor

from lib.merging.sources import StateDict

Order = np.ndarray  # order[i]: which unit of the other model takes place i
Axes = tuple[str, ...]  # the group of units of each axis of a tensor, "" for an axis that keeps its order
MOST_ROUNDS = 100
HIDDEN, POOLED = "hidden", "pooled"

# What the axes of an encoder's tensors are, by the end of their names; {} is the number of the layer.
_LAYER: dict[str, Axes] = {
    "attention.self.query.weight": ("query {}", HIDDEN), "attention.self.query.bias": ("query {}",),
    "attention.self.key.weight": ("query {}", HIDDEN), "attention.self.key.bias": ("query {}",),
    "attention.self.value.weight": ("value {}", HIDDEN), "attention.self.value.bias": ("value {}",),
    "attention.output.dense.weight": (HIDDEN, "value {}"), "attention.output.dense.bias": (HIDDEN,),
    "attention.output.LayerNorm.weight": (HIDDEN,), "attention.output.LayerNorm.bias": (HIDDEN,),
    "intermediate.dense.weight": ("units {}", HIDDEN), "intermediate.dense.bias": ("units {}",),
    "output.dense.weight": (HIDDEN, "units {}"), "output.dense.bias": (HIDDEN,),
    "output.LayerNorm.weight": (HIDDEN,), "output.LayerNorm.bias": (HIDDEN,),
}  # fmt: skip
_AROUND: dict[str, Axes] = {
    "embeddings.word_embeddings.weight": ("", HIDDEN), "embeddings.position_embeddings.weight": ("", HIDDEN),
    "embeddings.token_type_embeddings.weight": ("", HIDDEN),
    "embeddings.LayerNorm.weight": (HIDDEN,), "embeddings.LayerNorm.bias": (HIDDEN,),
    "pooler.dense.weight": (POOLED, HIDDEN), "pooler.dense.bias": (POOLED,),
    "classifier.weight": ("", POOLED), "classifier.bias": ("",),
}  # fmt: skip


@dataclass(frozen=True)
class Plan:
    """Which units of a network may change places."""

    axes: dict[str, Axes]  # of every floating-point tensor
    n_heads: int

    @property
    def layers(self) -> list[str]:
        """Numbers of the layers."""
        return sorted({group.split()[1] for axes in self.axes.values() for group in axes if group.startswith("units ")})


def plan_of(state_dict: Mapping[str, Tensor], n_heads: int) -> Plan:
    """The groups of units of a BERT classifier.

    Args:
        state_dict: of the classifier.
        n_heads: attention heads of a layer.

    Raises:
        ValueError: for a tensor of another architecture, or a number of heads that does not divide the channels.
    """
    axes = {}
    for name, tensor in state_dict.items():
        if not tensor.is_floating_point():
            continue
        layer = re.search(r"encoder\.layer\.(\d+)\.(.+)$", name)
        known = _LAYER.get(layer[2]) if layer else next((a for end, a in _AROUND.items() if name.endswith(end)), None)
        if known is None:
            raise ValueError(f"tensor {name!r} is none of a BERT classifier; units of other architectures are not known")
        axes[name] = tuple(group.format(layer[1]) if layer else group for group in known)
        if any(group.startswith("query") and size % n_heads for group, size in zip(axes[name], tensor.shape, strict=True)):
            raise ValueError(f"{name!r} has {tensor.shape[0]} channels, which {n_heads} heads cannot share equally")
    return Plan(axes, n_heads)


def permuted(state_dict: Mapping[str, Tensor], orders: Mapping[str, Order], plan: Plan) -> StateDict:
    """The same function with its units in another order.

    Args:
        state_dict: not modified.
        orders: of each group of units; a group without one stays.
        plan: of the network.
    """
    found = {}
    for name, tensor in state_dict.items():
        for axis, group in enumerate(plan.axes.get(name, ())):
            if group in orders:
                tensor = tensor.index_select(axis, torch.as_tensor(orders[group]))
        found[name] = tensor.clone()
    return found


def match_weights(
    reference: Mapping[str, Tensor], other: Mapping[str, Tensor], plan: Plan, seed: int = 0
) -> tuple[dict[str, Order], int]:
    """Orders of the other model's units that bring its weights as near to the reference as the search finds.

    Every step is the best order of one group while the others stay, so the inner product of the weights never falls.

    Args:
        reference, other: state dicts of one architecture.
        plan: of both.
        seed: of the order in which groups are visited.

    Returns:
        The order of each group, and the number of rounds that changed something.
    """
    rng, orders = np.random.default_rng(seed), _identities(reference, plan)
    steps = [HIDDEN, POOLED, *(f"{kind} {layer}" for layer in plan.layers for kind in ("units", "heads"))]
    for n_rounds in range(MOST_ROUNDS):
        has_gained = False
        for step in rng.permutation(steps):
            groups = [f"{kind} {step.split()[1]}" for kind in ("query", "value")] if step.startswith("heads") else [step]
            gains = [_similarities(reference, other, orders, plan, group) for group in groups]
            wanted = _heads(gains, plan.n_heads) if len(groups) > 1 else [_assigned(gains[0])]
            before = sum(gain[np.arange(len(gain)), orders[group]].sum() for gain, group in zip(gains, groups, strict=True))
            after = sum(gain[np.arange(len(gain)), order].sum() for gain, order in zip(gains, wanted, strict=True))
            if after > before + 1e-9 * abs(before):
                orders |= dict(zip(groups, wanted, strict=True))
                has_gained = True
        if not has_gained:
            return orders, n_rounds
    return orders, MOST_ROUNDS


def _identities(state_dict: Mapping[str, Tensor], plan: Plan) -> dict[str, Order]:
    sizes = {g: n for name, axes in plan.axes.items() for g, n in zip(axes, state_dict[name].shape, strict=True) if g}
    return {group: np.arange(n) for group, n in sizes.items()}


def _similarities(
    reference: Mapping[str, Tensor], other: Mapping[str, Tensor], orders: Mapping[str, Order], plan: Plan, group: str
) -> np.ndarray:
    """How well unit j of the other model fits place i of a group, the other groups in their orders; shape (n, n)."""
    found = 0.0
    for name, axes in plan.axes.items():
        if group not in axes:
            continue
        rest = {each: orders[each] for each in axes if each and each != group}
        moved, axis = permuted({name: other[name]}, rest, plan)[name].double(), axes.index(group)
        sides = [each.movedim(axis, 0).reshape(each.shape[axis], -1) for each in (reference[name].double(), moved)]
        found = found + (sides[0] @ sides[1].T).numpy()
    return np.asarray(found)


def _assigned(gains: np.ndarray) -> Order:
    """The order with the largest sum of gains."""
    return linear_sum_assignment(gains, maximize=True)[1]


def _heads(gains: Sequence[np.ndarray], n_heads: int) -> list[Order]:
    """The best order of heads for all the gains together, and inside each head the best order of each gain's channels."""
    size = len(gains[0]) // n_heads
    blocks = [[[gain[_of(i, size), _of(j, size)] for j in range(n_heads)] for i in range(n_heads)] for gain in gains]
    inner = [[[_assigned(block) for block in row] for row in each] for each in blocks]
    totals = np.zeros((n_heads, n_heads))
    for each, chosen in zip(blocks, inner, strict=True):
        for i in range(n_heads):
            for j in range(n_heads):
                totals[i, j] += each[i][j][np.arange(size), chosen[i][j]].sum()
    heads = _assigned(totals)
    return [np.concatenate([heads[i] * size + chosen[i][heads[i]] for i in range(n_heads)]) for chosen in inner]


def _of(head: int, size: int) -> slice:
    return slice(head * size, (head + 1) * size)
