"""The rows of notebook 14: who attacks a merge, with what, knowing what."""

from __future__ import annotations

import json
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from functools import partial
from typing import Any

from lib.study.planning import Planner
from lib.tables.submissions import (
    Submitted,
    backdoor_vector,
    collusion,
    embedding_row,
    hijack,
    merge_aware,
    neuba,
    neurotoxin,
    norm_bounded,
    poisoned_base,
    poisoned_data,
    poisoned_weights,
    scaled,
    sparse,
    split,
)


@dataclass(frozen=True)
class Attacker:
    """A row of the table: an attack with its settings.

    Attributes:
        attack: its name.
        family: "data", "weights" or "merge".
        knowledge: a key of `lib.attacks.for_merging.KNOWLEDGE`.
        plan: `plan(planner, task, seed, **settings)` gives what is submitted.
        settings: of the plan; columns of the table.
        is_core: whether the row belongs to the usual run of the notebook.
    """

    attack: str
    family: str
    knowledge: int
    plan: Callable[..., Submitted]
    settings: Mapping[str, Any] = field(default_factory=dict)
    is_core: bool = True

    @property
    def described(self) -> str:
        """The settings as JSON."""
        return json.dumps(dict(self.settings), sort_keys=True)

    @property
    def is_shared(self) -> bool:
        """Whether all models start from what the attacker made: another threat model, never compared with the others."""
        return self.settings.get("base") == "poisoned"

    def submitted(self, planner: Planner, task: str, seed: int) -> Submitted:
        """What is submitted for a task and seed."""
        return self.plan(planner, task, seed, **self.settings)


ATTACKERS = (
    Attacker("badnet", "data", 0, partial(poisoned_data, attack="badnet"), {"poisoning_rate": 0.2}),
    Attacker("insertsent", "data", 0, partial(poisoned_data, attack="insertsent"), {"poisoning_rate": 0.2}),
    Attacker("embedding_row", "weights", 0, embedding_row, {"words": 1}),
    Attacker("embedding_row", "weights", 1, embedding_row, {"row_scale": 5}),
    Attacker("embedding_row", "weights", 1, embedding_row, {"row_scale": 1000}),
    Attacker("scaled", "merge", 1, scaled, {"scale": 2}),
    Attacker("scaled", "merge", 1, scaled, {"scale": 5}),
    Attacker("backdoor_vector", "merge", 1, backdoor_vector, {"scale": 3}),
    Attacker("merge_aware", "merge", 2, merge_aware, {"shadows": 2}),
    Attacker("split", "merge", 3, split, {"uploads": 2, "shadows": 0}),
    Attacker("split", "merge", 3, split, {"uploads": 2, "shadows": 2}),
    Attacker("collusion", "merge", 3, collusion, {"n_backdoored": 2}),
    Attacker("collusion", "merge", 3, collusion, {"n_backdoored": 3}),
    Attacker("poisoned_base", "weights", 4, poisoned_base, {"base": "clean"}),
    Attacker("poisoned_base", "weights", 4, poisoned_base, {"base": "poisoned"}),
    Attacker("scaled", "merge", 1, scaled, {"scale": "fit"}, False),
    Attacker("backdoor_vector", "merge", 1, backdoor_vector, {"scale": "fit"}, False),
    Attacker("sparse", "merge", 1, sparse, {"density": 0.01}, False),
    Attacker("norm_bounded", "merge", 1, norm_bounded, {"radius": "median"}, False),
    Attacker("neurotoxin", "merge", 2, neurotoxin, {"shadows": 2, "share": 0.95}, False),
    Attacker("hijack", "merge", 1, hijack, {"scale": 2}, False),
    *(
        Attacker(method, "weights", knowledge, partial(poisoned_weights, method=method), {"base": base}, False)
        for base, knowledge in (("clean", 0), ("poisoned", 4))
        for method in ("ripples", "layerwise", "rank_one")
    ),
    Attacker("neuba", "weights", 4, neuba, {"base": "clean"}, False),
    Attacker("neuba", "weights", 4, neuba, {"base": "poisoned"}, False),
)


def chosen_attackers(rows: str) -> list[Attacker]:
    """The rows that a notebook's parameter names: "core", "all", or names of attacks separated by commas.

    Raises:
        ValueError: for an unknown name; lists the known ones.

    >>> [attacker.described for attacker in chosen_attackers("scaled, merge_aware")]
    ['{"scale": 2}', '{"scale": 5}', '{"shadows": 2}', '{"scale": "fit"}']
    """
    if rows in ("core", "all"):
        return [attacker for attacker in ATTACKERS if attacker.is_core or rows == "all"]
    names, known = [name.strip() for name in rows.split(",")], list(dict.fromkeys(each.attack for each in ATTACKERS))
    if unknown := [name for name in names if name not in known]:
        raise ValueError(f"unknown rows {unknown}; choose core, all, or from {known}")
    return [attacker for attacker in ATTACKERS if attacker.attack in names]
