"""Table of notebook 09: victims of other poisoning rates, and what merging makes of them."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import pandas as pd

from lib.study.planning import Planner
from lib.study.study import Study
from lib.tables.merging import averages, n_averages
from lib.tables.rows import Needed, backdoored_recipes, cases_of, declares, progress


def _needed(planner: Planner, task: str, attacks: Sequence[str], poisoning_rates: Sequence[float]) -> Needed:
    cases, models = cases_of(planner, [task], attacks), []
    for rate in poisoning_rates:
        models += backdoored_recipes(planner, cases, ["other_domains"], poisoning_rate=rate)
    return Needed(models, n_merges=len(cases) * len(poisoning_rates) * n_averages(len(planner.other_domains(task))))


@declares(_needed)
def poisoning_rates_table(study: Study, task: str, attacks: Sequence[str], poisoning_rates: Sequence[float]) -> pd.DataFrame:
    """Table `09_poisoning_rate`: victims of several poisoning rates, averaged with 0, 1, 2, ... models of other domains."""
    cases = cases_of(study.planner, [task], attacks)
    rows: list[dict[str, Any]] = []
    for rate, (_, attack, seed) in progress([(rate, case) for rate in poisoning_rates for case in cases]):
        what = {"task": task, "attack": attack, "poisoning_rate": rate}
        backdoored = study.model(task, attack, seed, poisoning_rate=rate)
        rows += averages(study, (task, attack, seed), backdoored, study.partners(task, "other_domains", seed), what)
    return pd.DataFrame(rows)
