"""Table `13_kept`: do merge methods differ in more than the weight that they leave to the backdoored model?"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from typing import Any

import numpy as np
import pandas as pd

from lib.study.planning import Planner
from lib.study.shares import shares_of
from lib.study.study import Study
from lib.tables.methods import VARIANTS, Variant, build, methods_table, usable_variants
from lib.tables.rows import Needed, declares, progress
from lib.tables.why.ways import Way, ways_of

CURVE, OTHERS = "average with another weight", "other_domains"
COLUMNS = (
    "task", "attack", "seed", "variant", "merge_method", "n_models", "kept", "weight_sum", "weight_left", "asr", "asr_on_curve",
    "off_curve", "asr_on_kept", "cacc", "asr_floor",
)  # fmt: skip


def _needed(planner: Planner, task: str, attacks: Sequence[str], places: Sequence[float]) -> Needed:
    return methods_table.needed(planner, task, attacks) + Needed([], len(attacks) * len(planner.seeds) * len(places))


@declares(_needed)
def collapse_table(study: Study, task: str, attacks: Sequence[str], places: Sequence[float]) -> pd.DataFrame:
    """Table `13_kept`: every merge method of notebook 05 beside the plain average in which the victim has the same weight.

    The weight is the share of the backdoor's direction that the method keeps, over the sum of its weights. `asr_on_curve` is
    the ASR of the plain average at that weight, on a line between the `places`; `off_curve` is the method's ASR minus that.
    `asr_on_kept` takes the share itself for the weight. Rows of the variant `CURVE` are the plain averages.

    Args:
        study: makes and scores the models.
        task: whose backdoored models are merged with all other domains.
        attacks: of the backdoored models.
        places: coefficients of the plain averages, rising from 0 to 1.
    """
    found = usable_variants(1 + len(study.other_domains(task)))
    usable, ways = (
        [variant for variant in VARIANTS if not found[variant.name]],
        ways_of(study, [task], attacks, places, [OTHERS]),
    )
    return pd.DataFrame([row for way in progress(ways) for row in _rows(way, usable)])[list(COLUMNS)]


def _rows(way: Way, usable: Sequence[Variant]) -> Iterator[dict[str, Any]]:
    study, case, models = way.study, (way.task, way.attack, way.seed), [way.victim, *way.partners]
    plain, floor = [study.score(way.model(place), *case) for place in way.places], study.score(way.twin, *case).asr
    curve = [score.asr for score in plain]
    what: dict[str, Any] = {"task": way.task, "attack": way.attack, "seed": way.seed, "asr_floor": floor}
    for place, score in zip(way.places, plain, strict=True):
        row = what | {"variant": CURVE, "merge_method": "weight_average", "n_models": len(models), "weight_sum": 1.0}
        row |= dict.fromkeys(("kept", "weight_left"), 1 - place) | {"off_curve": 0.0, "cacc": score.cacc}
        yield row | dict.fromkeys(("asr", "asr_on_curve", "asr_on_kept"), score.asr)
    for kind in ("fishers", "grams"):
        study.measure(kind, [*models, way.twin])
    for variant in usable:
        merged = build(study, variant, models, way.task, way.seed)
        kept, total = shares_of(study, merged, models, way.twin)
        score, weight = study.score(merged, *case), kept / total if total else 0.0
        row = what | {"variant": variant.name, "merge_method": variant.method, "n_models": len(merged.parents)}
        row |= {"kept": kept, "weight_sum": total, "weight_left": weight, "asr": score.asr, "cacc": score.cacc}
        row["asr_on_curve"], row["asr_on_kept"] = (float(np.interp(1 - each, way.places, curve)) for each in (weight, kept))
        yield row | {"off_curve": row["asr"] - row["asr_on_curve"]}
