"""Why we disagree with a claim of the paper: sentences that other tables give, for table `90_agreement`."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pandas as pd

from lib.metrics.reduction import most_models
from lib.metrics.summary import points
from lib.tables.deciding import CAUSES, DOMAINS
from lib.tables.limits_findings import ATTACKER, private_rows

MERGING, PARTS, LIMITS = "04_merging", "17_parts", "14_limits"
CLIPPED = "row_clipped_average"


def reason_of_the_price(folder: Path) -> str:
    """Which part of the accuracy that an average with other domains loses is the largest, of every task of table `17_parts`.

    Args:
        folder: where the tables lie; empty if there is none.
    """
    path = folder / f"{PARTS}.csv"
    return " ".join(_prices(pd.read_csv(path))) if path.is_file() else ""


def _prices(parts: pd.DataFrame) -> Iterator[str]:
    accuracy = parts[parts["measure"] == "cacc"]
    for task, rows in accuracy.groupby("task", sort=False):
        change = rows.set_index("part")["change"]
        worst = change[list(CAUSES)].idxmin()
        others = ", ".join(f"{CAUSES[part]} {points(change[part])}" for part in CAUSES if part != worst)
        yield f"{task}: {CAUSES[str(worst)]} makes {points(change[worst])} of CACC, {others} ({PARTS})."


def reason_of_the_rest(folder: Path) -> str:
    """How much of what is left after an average with other domains the model does without the trigger, too, task by task.

    Args:
        folder: where table `04_merging` lies; empty if it is not there.
    """
    path = folder / f"{MERGING}.csv"
    return " ".join(_rests(untriggered_rates(pd.read_csv(path)))) if path.is_file() else ""


def untriggered_rates(merging: pd.DataFrame) -> pd.DataFrame:
    """Mean ASR with and without the trigger, task by task, of the largest averages with other domains in table `04_merging`.

    Returns:
        `asr, asr_untriggered, clean_model_asr_untriggered, backdoored_asr, backdoored_asr_untriggered`, by task.
    """
    columns = ["asr", "asr_untriggered", "clean_model_asr_untriggered", "backdoored_asr", "backdoored_asr_untriggered"]
    return most_models(merging, DOMAINS).groupby("task", sort=False)[columns].mean()


def _rests(rates: pd.DataFrame) -> Iterator[str]:
    for task, rate in rates.iterrows():
        yield (
            f"{task}: of the ASR of {rate['asr']:.1%} the average does {rate['asr_untriggered']:.1%} without the trigger, a "
            f"clean model {rate['clean_model_asr_untriggered']:.1%}; the trigger itself adds "
            f"{points(rate['asr'] - rate['asr_untriggered'])}, before "
            f"{points(rate['backdoored_asr'] - rate['backdoored_asr_untriggered'])} ({MERGING})."
        )


def reason_of_attackers(folder: Path) -> str:
    """What the attackers of one model who know of the merge keep if the merge limits how long each row of an update may be.

    Args:
        folder: where table `14_limits` lies; empty if it is not there, or knows no such merge.
    """
    path = folder / f"{LIMITS}.csv"
    if not path.is_file():
        return ""
    rows = expecting_rows(pd.read_csv(path))
    left = rows.groupby(["merge_method", *ATTACKER], sort=False)["excess_asr"].mean()
    if CLIPPED not in left.index.get_level_values("merge_method"):
        return ""
    average, clipped = left["weight_average"], left[CLIPPED]
    return (
        f"An average sets no limit to what one model adds: these attackers keep {points(average.mean())} on average, and "
        f"{points(clipped.mean())} if the length of every row's update is limited ({CLIPPED}, {LIMITS}). Then "
        f"{clipped.idxmax()[0]} keeps most, {points(clipped.max())}."
    )


def expecting_rows(table: pd.DataFrame) -> pd.DataFrame:
    """Rows of table `14_limits` of attackers who submit one model, and know that or with what it will be merged."""
    private = private_rows(table)
    return private[private["knowledge"].isin([1, 2]) & (private["n_backdoored"] == 1)]
