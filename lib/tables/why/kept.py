"""Table `13_kept`: do merge methods differ in more than the weight that they leave to the backdoored model?"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np
import pandas as pd

from lib.study.planning import Planner
from lib.study.shares import shares_of
from lib.study.study import Study
from lib.tables.methods import VARIANTS, build, methods_table, usable_variants
from lib.tables.rows import Needed, declares, progress
from lib.tables.why.ways import ways_of
from lib.why import counted_asr

COLUMNS = (
    "task", "attack", "seed", "variant", "merge_method", "n_models", "kept", "weight_sum", "weight_left", "asr", "asr_on_curve",
    "off_curve", "cacc", "asr_floor",
)  # fmt: skip


def _needed(planner: Planner, task: str, attacks: Sequence[str], places: Sequence[float]) -> Needed:
    return methods_table.needed(planner, task, attacks) + Needed([], len(attacks) * len(planner.seeds) * len(places))


@declares(_needed)
def collapse_table(study: Study, task: str, attacks: Sequence[str], places: Sequence[float]) -> pd.DataFrame:
    """Table `13_kept`: every merge method of notebook 05 beside the plain average in which the victim has the same weight.

    The weight is the share of the backdoor's direction that the method keeps, over the sum of its weights. `asr_on_curve` is
    the ASR of the plain average at that weight, on a line between the `places`; `off_curve` is the method's ASR minus that.

    Args:
        study: makes and scores the models.
        task: whose backdoored models are merged with all other domains.
        attacks: of the backdoored models.
        places: coefficients of the plain averages, rising from 0 to 1.
    """
    usable, rows = (
        [variant for variant in VARIANTS if not usable_variants(1 + len(study.other_domains(task)))[variant.name]],
        [],
    )
    for way in progress(ways_of(study, [task], attacks, places, ["other_domains"])):
        models = [way.victim, *way.partners]
        curve = [counted_asr(way.logits(place, "triggered"), way.target) for place in way.places]
        floor = study.score(way.twin, task, way.attack, way.seed).asr
        for kind in ("fishers", "grams"):
            study.measure(kind, [*models, way.twin])
        for variant in usable:
            merged = build(study, variant, models, task, way.seed)
            kept, total = shares_of(study, merged, models, way.twin)
            score, weight = study.score(merged, task, way.attack, way.seed), kept / total if total else 0.0
            row: dict[str, Any] = {"task": task, "attack": way.attack, "seed": way.seed, "variant": variant.name}
            row |= {"merge_method": variant.method, "n_models": len(merged.parents), "kept": kept, "weight_sum": total}
            row |= {"weight_left": weight, "asr": score.asr, "cacc": score.cacc, "asr_floor": floor}
            row["asr_on_curve"] = float(np.interp(1 - weight, way.places, curve))
            rows.append(row | {"off_curve": row["asr"] - row["asr_on_curve"]})
    return pd.DataFrame(rows)[list(COLUMNS)]
