"""The precision of a training's arithmetic, and what "auto" means on a machine."""

from __future__ import annotations

import torch

PRECISIONS = ("float32", "bfloat16")
# Processors that multiply bfloat16 in hardware, by the names of `torch.cpu.get_capabilities`; others only imitate it, slowly.
BFLOAT16_HARDWARE = ("avx512_bf16", "amx_bf16", "bf16")


def resolved_precision(precision: str) -> str:
    """What "auto" means on this machine: it belongs into a model's key, because other arithmetic makes another model.

    "auto" is bfloat16 on a GPU or a processor that multiplies it in hardware, else float32. Other values stay as they are.
    """
    return ("bfloat16" if _multiplies_bfloat16() else "float32") if precision == "auto" else precision


def _multiplies_bfloat16() -> bool:
    """Whether the device that models are trained on does; an old GPU imitates it, too."""
    if torch.cuda.is_available():
        return torch.cuda.is_bf16_supported(including_emulation=False)
    found = torch.cpu.get_capabilities()
    return any(found.get(name) for name in BFLOAT16_HARDWARE)
