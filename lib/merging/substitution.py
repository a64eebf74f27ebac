"""Guided module substitution: replace modules of a victim by those of one clean model, chosen by a score, not averaged."""

from __future__ import annotations

import re
from collections.abc import Callable, Mapping
from dataclasses import dataclass

from torch import Tensor

from lib.merging.sources import StateDict

# Ends of the names of weights and biases, in encoders and in decoders.
MODULE_TYPES = {
    "query": ("attention.self.query", "self_attn.q_proj"),
    "key": ("attention.self.key", "self_attn.k_proj"),
    "value": ("attention.self.value", "self_attn.v_proj"),
    "attention_output": ("attention.output.dense", "self_attn.o_proj"),
    "feed_forward": ("intermediate.dense", "mlp.up_proj", "mlp.gate_proj"),
    "projection": ("output.dense", "mlp.down_proj"),
}
LAYER = re.compile(r"(?:^|\.)layers?\.(\d+)\.(.+)\.(?:weight|bias)$")


@dataclass(frozen=True)
class Substitution:
    """Which modules come from the proxy: all of the types in all of the layers."""

    types: frozenset[str]
    layers: frozenset[int]

    def smaller(self) -> list[Substitution]:
        """What giving back one type or one layer leaves, in the end nothing."""
        if not (self.types and self.layers):
            return []
        fewer_types = [Substitution(self.types - {kind}, self.layers) for kind in sorted(self.types)]
        fewer_layers = [Substitution(self.types, self.layers - {layer}) for layer in sorted(self.layers)]
        return fewer_types + fewer_layers


def module_of(name: str) -> tuple[str, int] | None:
    """Module type and layer of a tensor, or None for embeddings, normalisation and head.

    >>> module_of("bert.encoder.layer.3.attention.self.query.weight")
    ('query', 3)
    """
    if not (match := LAYER.search(name)):
        return None
    # "attention.output.dense" ends like "output.dense", too: the first type that fits is the right one.
    kind = next((kind for kind, ends in MODULE_TYPES.items() if match[2].endswith(ends)), None)
    return (kind, int(match[1])) if kind else None


def substitute(victim: Mapping[str, Tensor], proxy: Mapping[str, Tensor], chosen: Substitution) -> StateDict:
    """A copy of the victim with the chosen modules of the proxy."""
    taken = {name for name in victim if (place := module_of(name)) and place[0] in chosen.types and place[1] in chosen.layers}
    return {name: (proxy[name] if name in taken else tensor).clone() for name, tensor in victim.items()}


def guided_module_substitution(
    victim: Mapping[str, Tensor],
    proxy: Mapping[str, Tensor],
    score: Callable[[StateDict], float],
    patience: int = 5,
) -> tuple[StateDict, Substitution]:
    """Start with all modules of the proxy, give back one type or layer after the other, keep the best state seen.

    The last of them is the victim itself.

    Args:
        victim: the suspicious model; embeddings, normalisation and head stay its own.
        proxy: a clean model of the same architecture.
        score: of a candidate; see `substitution_score`. It must not see test data.
        patience: rounds in a row whose best score is no better than the round's before, after which the search ends.

    Returns:
        The best state dict and what was substituted in it.

    Raises:
        ValueError: if no tensor of the victim is a known module.

    Source: Tong et al. 2024, arXiv 2412.20476.
    """
    places = [place for name in victim if (place := module_of(name))]
    if not places:
        raise ValueError("the victim has no attention or feed-forward modules in numbered layers")
    best = current = Substitution(frozenset(kind for kind, _ in places), frozenset(layer for _, layer in places))
    best_score = last_score = score(substitute(victim, proxy, current))
    n_worse = 0
    while n_worse < patience and (candidates := current.smaller()):
        scores = [score(substitute(victim, proxy, candidate)) for candidate in candidates]
        current = candidates[max(range(len(scores)), key=scores.__getitem__)]
        n_worse = 0 if max(scores) > last_score else n_worse + 1
        last_score = max(scores)
        if last_score > best_score:
            best, best_score = current, last_score
    return substitute(victim, proxy, best), best


def substitution_score(cacc: float, asr: float, victim_cacc: float, victim_asr: float, alpha: float = 0.4) -> float:
    """How much of the victim's ASR is gone and how much of its CACC is left, the latter with weight `alpha`.

    >>> round(substitution_score(cacc=0.9, asr=0.12, victim_cacc=0.92, victim_asr=1.0), 4)
    0.9193
    """
    removed = (victim_asr - asr) / victim_asr if victim_asr else 0.0
    lost = (victim_cacc - cacc) / victim_cacc if victim_cacc else 0.0
    return (1 - alpha) * removed + alpha * (1 - lost)
