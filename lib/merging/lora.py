"""LoRA adapters of one base model: averages of what they add to the weights, not of their factors; names in PEFT's files."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor

from lib.merging.averaging import check_weights, widened

MODES = ("cat", "svd")
# PEFT's folders: two files, and how the tensors of the second end.
PEFT_CONFIG, PEFT_WEIGHTS = "adapter_config.json", "adapter_model.safetensors"
A, B = ".lora_A.weight", ".lora_B.weight"


@dataclass(frozen=True)
class Adapter:
    """What LoRA adds to one layer: `scaling * b @ a`, a of shape (rank, in), b of shape (out, rank)."""

    a: Tensor
    b: Tensor
    scaling: float  # alpha / rank, or alpha / sqrt(rank) where it is rank-stabilised

    @property
    def delta(self) -> Tensor:
        """The change of the layer's weights, shape (out, in)."""
        return self.scaling * (widened(self.b) @ widened(self.a))


def scaling_of(config: Mapping[str, Any]) -> float:
    """The factor on B A by PEFT's configuration: alpha / r, or alpha / sqrt(r) where it is rank-stabilised."""
    return config["lora_alpha"] / (math.sqrt(config["r"]) if config.get("use_rslora") else config["r"])


def lora_average(
    adapters: Sequence[Adapter], *, weights: Sequence[float] | None = None, mode: str = "cat", rank: int = 0
) -> Adapter:
    """The weighted average of what adapters of one layer add.

    Averaging the factors A and B instead, as some released baselines do, adds products of one adapter's B with another's A.

    Args:
        adapters: of one layer; their ranks may differ.
        weights: summing to 1; default 1/n each.
        mode: "cat" stacks the factors: exact, the ranks add up. "svd" is the best approximation of a given rank.
        rank: of the result, for "svd".

    Raises:
        ValueError: for weights that do not sum to 1, an unknown mode, shapes that do not fit, or a rank out of range.

    Source: Hu et al. 2022, arXiv 2106.09685; peft calls the same combinations "cat" and "svd".
    """
    checked = check_weights(weights, len(adapters))
    if mode not in MODES:
        raise ValueError(f"unknown mode {mode!r}; choose from {list(MODES)}")
    shapes = {(adapter.b.shape[0], adapter.a.shape[1]) for adapter in adapters}
    if len(shapes) > 1:
        raise ValueError(f"adapters are for layers of shapes {sorted(shapes)}; they must be for one layer")
    a = torch.cat([widened(adapter.a) * (adapter.scaling * weight) for adapter, weight in zip(adapters, checked, strict=True)])
    b = torch.cat([widened(adapter.b) for adapter in adapters], dim=1)
    return Adapter(a, b, 1.0) if mode == "cat" else _truncated(a, b, rank)


def _truncated(a: Tensor, b: Tensor, rank: int) -> Adapter:
    """The best approximation of b @ a with factors of a smaller rank; the product itself is never formed."""
    if not 1 <= rank <= a.shape[0]:
        raise ValueError(f"rank is {rank}; it must lie in [1, {a.shape[0]}], the sum of the ranks")
    left, left_core = torch.linalg.qr(b)
    right, right_core = torch.linalg.qr(a.T)
    u, s, vh = torch.linalg.svd(left_core @ right_core.T)
    root = s[:rank].sqrt()
    return Adapter((root[:, None] * vh[:rank]) @ right.T, (left @ u[:, :rank]) * root, 1.0)
