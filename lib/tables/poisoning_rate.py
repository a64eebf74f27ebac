"""Table of notebook 09: victims of other poisoning rates, and what merging makes of them."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import pandas as pd

from lib.study.study import Study
from lib.tables.merging import averages
from lib.tables.rows import progress, train_victims


def poisoning_rates_table(study: Study, task: str, attacks: Sequence[str], poisoning_rates: Sequence[float]) -> pd.DataFrame:
    """Table `09_poisoning_rate`: victims of several poisoning rates, averaged with 0, 1, 2, ... models of other domains."""
    cases = [(task, attack, seed) for seed in study.seeds for attack in attacks]
    for rate in poisoning_rates:
        train_victims(study, cases, ["other_domains"], poisoning_rate=rate)
    rows: list[dict[str, Any]] = []
    for rate, (_, attack, seed) in progress([(rate, case) for rate in poisoning_rates for case in cases]):
        what = {"task": task, "attack": attack, "poisoning_rate": rate, "seed": seed}
        backdoored, others = study.model(task, attack, seed, poisoning_rate=rate), study.partners(task, "other_domains", seed)
        rows += [what | row for row in averages(study, (task, attack, seed), backdoored, others)]
    return pd.DataFrame(rows)
