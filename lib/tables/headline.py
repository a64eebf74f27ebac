"""The study in one table: before and after for every cell, in three forms, two kinds of intervals, and a few exact tests."""

from __future__ import annotations

import pandas as pd

from lib.metrics.reduction import OWN_RATES, RATES, interval_table, most_models, reduction_table
from lib.metrics.significance import holm, sign_flip_p_value
from lib.tables.verdicts import over_seeds


def headline_table(merging: pd.DataFrame, profile: str) -> pd.DataFrame:
    """Table `90_headline`: every cell of tasks and attacks before and after, and their means, with intervals.

    The ASR stands in three forms: as it is, with the ASR of a clean model beside it (`asr_floor`); above the same model's rate
    on the same texts without the trigger (`asr_rise`); and as the share that the trigger flips (`flip_rate`). Intervals are
    95 % t-intervals over seeds; see `lib.metrics.reduction.reduction_table`.

    Args:
        merging: table `04_merging`.
        profile: a name for the first column.
    """
    table = reduction_table(most_models(merging, "other_domains"))
    first = ["profile", "task", "attack"]
    rates = [f"{rate}{end}" for rate in (*RATES, *OWN_RATES) for end in ("", "_low", "_high")]
    rest = [column for column in table if column not in (*first, *rates)]
    return table.assign(profile=profile)[[*first, *rates, *rest]]


def intervals_table(merging: pd.DataFrame) -> pd.DataFrame:
    """Table `90_intervals`: the means over all cells with t-intervals over seeds, which count, and bootstraps beside them.

    Args:
        merging: table `04_merging`.
    """
    return interval_table(most_models(merging, "other_domains"))


def tests_table(merging: pd.DataFrame) -> pd.DataFrame:
    """Table `90_tests`: four claims, each an exact sign-flip test over seeds, adjusted by Holm's rule for being four.

    A seed's difference is the mean over all cells of tasks and attacks. Bounds are 95 % t-intervals over seeds, not adjusted;
    one seed has none.

    Args:
        merging: table `04_merging`.
    """
    largest = most_models(merging, "other_domains")
    same = most_models(merging, "same_task")
    others = merging[merging["partners"] == "other_domains"]
    as_many = others[others["n_models"] == same["n_models"].max()]
    one = others[others["n_models"] == 2]
    differences = {
        "merging with other domains lowers the ASR": _by_seed(largest, "backdoored_asr") - _by_seed(largest, "asr"),
        "merging with other domains changes the CACC": _by_seed(largest, "cacc") - _by_seed(largest, "backdoored_cacc"),
        "all other domains lower the ASR more than one": _by_seed(one, "asr") - _by_seed(largest, "asr"),
        "as many models of the same task leave another ASR": _by_seed(same, "asr") - _by_seed(as_many, "asr"),
    }
    p_values = [sign_flip_p_value(values.tolist()) for values in differences.values()]
    rows = []
    for (claim, values), p, adjusted in zip(differences.items(), p_values, holm(p_values), strict=True):
        part = over_seeds(claim, values)
        row = {"claim": claim, "mean_difference": part.value}
        row |= {"mean_difference_low": part.low, "mean_difference_high": part.high}
        rows.append(row | {"n_seeds": part.n_seeds, "sign_flip_p": p, "holm_p": adjusted})
    return pd.DataFrame(rows)


def _by_seed(table: pd.DataFrame, rate: str) -> pd.Series:
    return table.groupby("seed")[rate].mean()
