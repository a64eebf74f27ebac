"""The study in one table: before and after for every cell, a few exact tests, and where we agree with the paper.

Everything is read: what models say from the store, other notebooks' tables from `figures/<profile>/`. Nothing is trained.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

import pandas as pd

from lib.metrics.reduction import RATES, most_models, reduction_table
from lib.metrics.significance import holm, sign_flip_p_value

NOT_RUN = "not run"


def headline_table(merging: pd.DataFrame, profile: str) -> pd.DataFrame:
    """Table `90_headline`: every cell of tasks and attacks before and after, and their mean, with intervals."""
    table = reduction_table(most_models(merging, "other_domains"))
    first = ["profile", "task", "attack"]
    rates = [f"{rate}{end}" for rate in RATES for end in ("", "_low", "_high")]
    rest = [column for column in table if column not in (*first, *rates)]
    return table.assign(profile=profile)[[*first, *rates, *rest]]


def tests_table(merging: pd.DataFrame) -> pd.DataFrame:
    """Table `90_tests`: four claims, each an exact sign-flip test over seeds, adjusted by Holm's rule for being four.

    A seed's difference is the mean over all cells of tasks and attacks.

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
    rows = [
        {"claim": claim, "mean_difference": values.mean(), "n_seeds": len(values), "sign_flip_p": p, "holm_p": adjusted}
        for (claim, values), p, adjusted in zip(differences.items(), p_values, holm(p_values), strict=True)
    ]
    return pd.DataFrame(rows)


def _by_seed(table: pd.DataFrame, rate: str) -> pd.Series:
    return table.groupby("seed")[rate].mean()


# --- agreement ---------------------------------------------------------------------------------------------------------


@dataclass(frozen=True)
class Claim:
    """What the paper says, the table that answers it here, and the rule of the verdict."""

    statement: str
    source: str  # "abstract", or "brief": what the brief of this study ascribes to the paper
    table: str  # name of one of our tables
    rule: str  # when we agree
    answer: Callable[[pd.DataFrame], tuple[str, bool]]  # what we found, and whether it meets the rule


def _average(table: pd.DataFrame) -> tuple[str, bool]:
    row = table.iloc[-1]
    found = f"{row.points:.1%} points, relative {row.relative:.1%}, removed share {row.removed_share:.1%}"
    return found.replace("% points", " points", 1), bool(row.relative_high >= 0.75)


def _accuracy(table: pd.DataFrame) -> tuple[str, bool]:
    row = table.iloc[-1]
    found = f"CACC {100 * row.cacc_change:+.1f} points [{100 * row.cacc_change_low:+.1f}, {100 * row.cacc_change_high:+.1f}]"
    return found, bool(row.cacc_change_low > -0.01)


def _accuracy_everywhere(table: pd.DataFrame) -> tuple[str, bool]:
    means = table[table["task"] != "all"].groupby("task", sort=False)["cacc_change"].mean()
    return "CACC in points: " + ", ".join(f"{task} {100 * change:+.1f}" for task, change in means.items()), bool(
        means.min() > -0.01
    )


def _every(column: str) -> Callable[[pd.DataFrame], tuple[str, bool]]:
    def answer(table: pd.DataFrame) -> tuple[str, bool]:
        means = table[table["task"] != "all"].groupby(column, sort=False)["removed_share"].mean()
        return _shares(means)

    return answer


def _shares(shares: pd.Series) -> tuple[str, bool]:
    listed = ", ".join(f"{name} {share:.0%}" for name, share in shares.items())
    return f"removed share: {listed}", bool((shares.dropna() >= 0.75).all())


def _insecure(table: pd.DataFrame) -> tuple[str, bool]:
    together = table[(table["n_models"] == table["n_models"].max()) & table["same_target"]]
    before, after, floor = (together[name].mean() for name in ("backdoored_asr", "asr", "asr_floor"))
    share = (before - after) / (before - floor)
    n_models = table["n_models"].max()
    return f"{n_models} backdoored models together: ASR {before:.1%} to {after:.1%}, floor {floor:.1%}", bool(share >= 0.75)


def _architectures(table: pd.DataFrame) -> tuple[str, bool]:
    last = table[table["n_models"] == table.groupby("architecture")["n_models"].transform("max")]
    means = last.groupby("architecture", sort=False)[["backdoored_asr", "asr", "asr_floor"]].mean()
    return _shares((means["backdoored_asr"] - means["asr"]) / (means["backdoored_asr"] - means["asr_floor"]))


def _methods(table: pd.DataFrame) -> tuple[str, bool]:
    means = table.set_index("variant")["asr"].reindex(["weight average", "Fisher", "TIES"])
    listed = ", ".join(f"{name} {asr:.1%}" for name, asr in means.items())
    return f"mean ASR: {listed}", bool(means.max() - means.min() <= 0.05)


CLAIMS = (
    Claim(
        "merging lowers the ASR by about 75 % on average", "abstract", "04_reduction_other_domains",
        "the interval of the relative reduction reaches 75 %", _average,
    ),
    Claim(
        "the defense costs nothing, on average", "abstract", "04_reduction_other_domains",
        "the interval of the CACC change stays above -1 point", _accuracy,
    ),
    Claim(
        "the defense costs nothing, on any task", "abstract", "04_reduction_other_domains",
        "on no task CACC falls by more than 1 point", _accuracy_everywhere,
    ),
    Claim(
        "on SST-2, OLID, AG News and QNLI alike", "abstract", "04_reduction_other_domains",
        "at least 75 % of the removable ASR is gone on every task", _every("task"),
    ),
    Claim(
        "without knowledge of the attack, whatever it is", "abstract", "04_reduction_other_domains",
        "at least 75 % of the removable ASR is gone for every attack", _every("attack"),
    ),
    Claim(
        "even if the other models are not entirely secure", "abstract", "08_backdoored",
        "models with different backdoors, merged together, lose at least 75 % of the removable ASR", _insecure,
    ),
    Claim(
        "for encoders and decoders of several sizes", "abstract", "11_architectures",
        "at least 75 % of the removable ASR is gone for every pretrained model", _architectures,
    ),
    Claim(
        "weight averaging, Fisher and TIES do alike", "brief", "05_means",
        "their mean ASR differs by at most 5 points", _methods,
    ),
)  # fmt: skip


def agreement_table(folder: Path) -> pd.DataFrame:
    """Table `90_agreement`: what the paper says, what we found, and the verdict by a rule that stands beside it.

    Args:
        folder: where the notebooks wrote their tables; a claim whose table is not there has the verdict "not run".
    """
    rows = []
    for claim in CLAIMS:
        path = folder / f"{claim.table}.csv"
        found, agrees = claim.answer(pd.read_csv(path)) if path.is_file() else ("", None)
        verdict = NOT_RUN if agrees is None else "agree" if agrees else "disagree"
        row = {"claim": claim.statement, "source": claim.source, "table": claim.table, "found": found}
        rows.append(row | {"verdict": verdict, "we_agree_if": claim.rule})
    return pd.DataFrame(rows)
