"""How much of the backdoor's direction a merge keeps, measured once and kept in the store like a result."""

from __future__ import annotations

import json
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

from lib.merging.geometry import share_kept, weight_sum
from lib.models.checkpoints import Checkpoint
from lib.study.merged import MergedModel
from lib.study.recipes import Recipe

if TYPE_CHECKING:
    from lib.study.study import Study

SHARE_FILE = "share.json"


@dataclass(frozen=True)
class ShareRecipe(Recipe):
    """What a merge keeps of the difference of two of its possible parents."""

    merged: str  # key
    merged_with_twin: str  # key
    victim: str  # key
    twin: str  # key


def shares_of(study: Study, merged: MergedModel, models: Sequence[Checkpoint], twin: Checkpoint) -> tuple[float, float]:
    """How much of the way from the twin to the backdoored model a merge keeps, and the sum of its weights.

    Args:
        study: whose models they are.
        merged: the merge of some of `models`.
        models: the backdoored model first.
        twin: takes its place for comparison.

    Returns:
        As of `lib.merging.geometry.share_kept` and `weight_sum`.
    """
    victim = models[0]
    parents = [twin if parent == victim else parent for parent in merged.parents]
    other = study.merge(parents, merged.method, **merged.settings)
    recipe = ShareRecipe(merged.key, other.key, victim.key, twin.key)
    study.require([recipe], "shares")

    def make(folder: Path) -> None:
        weights, start = merged.state_dict(), study.planner.initial(models).state_dict()
        kept = share_kept(weights, other.state_dict(), victim.state_dict(), twin.state_dict())
        total = weight_sum(weights, [parent.state_dict() for parent in merged.parents], start)
        (folder / SHARE_FILE).write_text(json.dumps({"kept": kept, "weight_sum": total}), encoding="utf-8")

    found = json.loads((study.store.get_or_make(recipe, make) / SHARE_FILE).read_text(encoding="utf-8"))
    return found["kept"], found["weight_sum"]
