"""A training's state in a file: what was killed goes on where it was, to the same weights."""

from __future__ import annotations

import os
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch
from torch import Tensor


@dataclass(frozen=True)
class Progress:
    """Where the state of a long training is kept, and how often.

    Attributes:
        path: of the file; it exists while the training is under way.
        identity: of the training: a file of another one is not gone on with.
        every: steps between two states.
    """

    path: Path
    identity: str
    every: int

    def restore(self, **parts: Any) -> tuple[int, Tensor | None]:
        """Bring back what was kept, and torch's random numbers.

        Args:
            parts: a module, an optimizer, a schedule, by name, as `keep` gets them; modified.

        Returns:
            The steps that were done, and their losses; 0 and None where nothing was kept of this training.
        """
        if not self.path.is_file():
            return 0, None
        kept = torch.load(self.path, weights_only=True)
        if kept["identity"] != self.identity:
            return 0, None
        for name, part in parts.items():
            part.load_state_dict(kept["parts"][name])
        torch.set_rng_state(kept["random"])
        return kept["step"], kept["losses"]

    def keep(self, step: int, losses: Tensor, **parts: Any) -> None:
        """Write the state after every so many steps; a kill leaves the state before."""
        if step % self.every:
            return
        states = {name: part.state_dict() for name, part in parts.items()}
        state = {"identity": self.identity, "step": step, "losses": losses, "parts": states, "random": torch.get_rng_state()}
        self.path.parent.mkdir(parents=True, exist_ok=True)
        partial = self.path.with_suffix(f".{os.getpid()}.partial")
        torch.save(state, partial)
        partial.replace(self.path)
