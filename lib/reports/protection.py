"""Whom a merge protects against, in three sentences with the numbers of table `14_limits`: for the README and model cards."""

from __future__ import annotations

from pathlib import Path

import pandas as pd

from lib.reports.reading import percent, read
from lib.tables import private_rows

AVERAGE, CLIPPED, ALONE = "weight_average", "row_clipped_average", "none"  # of `merge_method`
NOT_MEASURED = "Whom a merge protects against was not measured: there is no table `14_limits`."
NEEDED = ("split", "collusion", "poisoned_base")  # attacks of the usual run; a run with a few rows only has not all of them


def protection_block(figures: Path) -> str:
    """Against whom a plain average protects, against whom it does not, and what clipping adds; means over seeds.

    Args:
        figures: the folder with the folder `pocket`.
    """
    table = read(figures / "pocket", "14_limits")
    if table is None or not set(NEEDED) <= set(table["attack"]):
        return NOT_MEASURED
    private, shared = private_rows(table), private_rows(table, is_shared=True)
    data, together = private[private["family"] == "data"], private[private["attack"] == "collusion"]
    most = together[together["n_backdoored"] == together["n_backdoored"].max()]
    expecting = private[private["knowledge"].between(1, 3) & (private["attack"] != "collusion")]
    n_models, n_seeds = table["n_models"].max(), table["seed"].nunique()
    return (
        f"A **plain average** protects against an uploader who was careless, or who poisoned training data and no more: among "
        f"{n_models} models it takes an ASR of {_range(data, ALONE)} down to {_range(data, AVERAGE)} (clean models: "
        f"{percent(data['asr_floor'].mean())} %; small models of a synthetic task, {n_seeds} seeds, table `14_limits`). "
        f"It does not protect against one who expects the merge, and submits a longer vector, a longer embedding row, a model "
        f"trained for the merge, or a backdoor split over two models: there it leaves {_range(expecting, AVERAGE)}, and the "
        f"**row-clipped average** leaves {_range(expecting, CLIPPED)}. "
        f"Neither removes what most models or the pretrained model have in common: if {most['n_backdoored'].max()} of "
        f"{n_models} share a backdoor, they leave {_range(most, AVERAGE)} and {_range(most, CLIPPED)}, and if the pretrained "
        f"model has one, {_range(shared, AVERAGE)} and {_range(shared, CLIPPED)}."
    )


def _range(rows: pd.DataFrame, rule: str) -> str:
    """Lowest and highest mean ASR of the attackers after a rule."""
    means = rows[rows["merge_method"] == rule].groupby(["attack", "settings"])["asr"].mean()
    low, high = percent(means.min()), percent(means.max())
    return f"{low} %" if low == high else f"{low} to {high} %"
