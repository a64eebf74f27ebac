"""A network as a function of its weights: logits of many mixtures, and derivatives along a straight line, without training.

Forward derivatives of attention need `attn_implementation="eager"`: others have none on the CPU.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping, Sequence
from typing import Any

import torch
from torch import Tensor
from transformers.activations import SiLUActivation

Function = Callable[[Mapping[str, Tensor]], Tensor]
StateDict = dict[str, Tensor]


def along(start: Mapping[str, Tensor], end: Mapping[str, Tensor]) -> Callable[[Tensor], StateDict]:
    """The straight line between two models: from a place, 0 to 1, to weights. What is no floating number is the start's."""
    moves = {name: end[name] - tensor for name, tensor in start.items() if tensor.is_floating_point()}
    return lambda place: {name: tensor + place * moves[name] if name in moves else tensor for name, tensor in start.items()}


@torch.no_grad()
def path_derivatives(f: Function, start: Mapping[str, Tensor], end: Mapping[str, Tensor], places: Sequence[float]) -> Tensor:
    """Logits, their first and their second derivative along the line between two models.

    Args:
        f: from weights to logits, shape (n, n_labels).
        start, end: the models at places 0 and 1.
        places: where to look.

    Returns:
        Shape (3, n_places, n, n_labels).
    """
    line = along(start, end)

    def logits(place: Tensor) -> Tensor:
        return f(line(place))

    def first(place: Tensor) -> tuple[Tensor, Tensor]:
        return torch.func.jvp(logits, (place,), (torch.ones_like(place),))

    found = []
    for place in places:
        here = torch.tensor(float(place))
        (value, slope), (_, bend) = torch.func.jvp(first, (here,), (torch.ones_like(here),))
        found.append(torch.stack([value, slope, bend]))
    return torch.stack(found, dim=1)


@torch.no_grad()
def directional(f: Function, start: Mapping[str, Tensor], directions: Iterable[Mapping[str, Tensor]]) -> tuple[Tensor, Tensor]:
    """Logits at a model, and their derivatives in some directions.

    Returns:
        Shapes (n, n_labels) and (n_directions, n, n_labels).
    """
    fixed = {name: tensor for name, tensor in start.items() if not tensor.is_floating_point()}
    floating = {name: tensor for name, tensor in start.items() if tensor.is_floating_point()}
    slopes, value = [], None
    for direction in directions:
        given = {name: direction[name] for name in floating}
        value, slope = torch.func.jvp(lambda weights: f({**fixed, **weights}), (floating,), (given,))
        slopes.append(slope)
    if value is None:
        raise ValueError("no direction; give at least one")
    return value, torch.stack(slopes)


class SiLUInSteps(torch.nn.Module):
    """The activation of Llama and Mistral; torch's own has no second forward derivative."""

    def forward(self, x: Tensor) -> Tensor:
        return x * torch.sigmoid(x)


class LayerNormInSteps(torch.nn.Module):
    """Layer normalisation by the weights of a given one. Torch's own has a wrong second forward derivative (issue 196700)."""

    def __init__(self, layer: torch.nn.LayerNorm) -> None:
        super().__init__()
        self.weight, self.bias, self.eps = layer.weight, layer.bias, layer.eps
        self.dims = tuple(range(-len(layer.normalized_shape), 0))

    def forward(self, x: Tensor) -> Tensor:
        centred = x - x.mean(self.dims, keepdim=True)
        scaled = centred * torch.rsqrt(centred.square().mean(self.dims, keepdim=True) + self.eps)
        scaled = scaled if self.weight is None else scaled * self.weight
        return scaled if self.bias is None else scaled + self.bias


def as_function(network: Any, batches: Sequence[Mapping[str, Tensor]]) -> Function:
    """The logits of a network on some batches as a function of its weights, rows in the order of the batches.

    Modules whose second forward derivative torch does not know are replaced in the network by equal ones.
    """
    for module in list(network.modules()):
        for name, child in module.named_children():
            if isinstance(child, torch.nn.SiLU | SiLUActivation):
                setattr(module, name, SiLUInSteps())
            elif isinstance(child, torch.nn.LayerNorm):
                setattr(module, name, LayerNormInSteps(child))

    def f(weights: Mapping[str, Tensor]) -> Tensor:
        parts = [torch.func.functional_call(network, dict(weights), (), dict(batch)).logits for batch in batches]
        return torch.cat(parts)

    return f
