"""Models made from other models: who can make them, by name. Edits, post-training defenses, and later distillation."""

from __future__ import annotations

from lib.defenses import DEFENSES, Defense

# Derivations that are no defenses: edits of weights, distillation. Their functions are called as those of `post_training`.
EDITS: dict[str, Defense] = {}


def get_derivation(name: str) -> Defense:
    """What derives a model, by name.

    Raises:
        ValueError: for an unknown name; lists the known ones.
    """
    known = EDITS | {key: defense for key, defense in DEFENSES.items() if defense.kind == "post_training"}
    if name not in known:
        raise ValueError(f"unknown derivation {name!r}; choose from {sorted(known)}")
    return known[name]
