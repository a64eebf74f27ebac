"""What the paper says, what we found, and the verdict: agree, disagree or undecided, by a rule written down beforehand."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path

import pandas as pd

from lib.metrics.summary import points
from lib.tables.claim_parts import (
    architectures,
    each_of,
    expecting,
    insecure,
    lacking,
    lacking_kinds,
    lacking_rivals,
    mean_of,
    methods,
    rivals,
    rivals_cacc,
    several_uploads,
)
from lib.tables.limits_findings import SURVIVES
from lib.tables.reasons import reason_of_attackers, reason_of_the_price, reason_of_the_rest
from lib.tables.verdicts import AGREE, DISAGREE, UNDECIDED, Part, verdict

AGREEMENT = "90_agreement"  # the table's name
NOT_RUN = "not run"
TASKS = ("sst2", "olid", "agnews", "qnli")
ATTACKS = ("badnet", "insertsent", "syntactic", "lws", "bite")


@dataclass(frozen=True)
class Claim:
    """What the paper says, the table that answers it here, and the range in which what it is about must lie."""

    statement: str
    source: str  # "abstract", or "text": what the body of the paper is said to claim
    table: str  # name of one of our tables
    rule: str  # when we agree
    parts: Callable[[pd.DataFrame], Sequence[Part]]  # what the claim is about, one or several, each with its interval
    at_least: float = float("-inf")
    at_most: float = float("inf")
    shown: Callable[[float], str] = "{:.1%}".format  # how its numbers are written
    beside: Callable[[pd.DataFrame], Sequence[Part]] | None = None  # shown, too, but not judged
    lacks: Callable[[pd.DataFrame], list[str]] = lambda table: []  # what the claim speaks of and the table does not
    is_mean: bool = False  # over all that the claim speaks of; else each of its parts is judged by itself
    reason: Callable[[Path], str] = lambda folder: ""  # why we disagree, from other tables

    def found(self, table: pd.DataFrame) -> str:
        """What the table says, with intervals over seeds."""
        parts = [*self.parts(table), *(self.beside(table) if self.beside else ())]
        said = [
            f"{part.name} {self.shown(part.value)}"
            + (f" [{self.shown(part.low)}, {self.shown(part.high)}]" if part.n_seeds > 1 else " (one seed)")
            for part in parts
        ]
        missing = self.lacks(table)
        return "; ".join([*said, f"not measured: {', '.join(missing)}"] if missing else said)

    def judged(self, table: pd.DataFrame) -> str:
        """The verdict. Where something was not measured we cannot agree; one part that was can refute the claim.

        A mean over less than the claim speaks of is another mean: it decides nothing.
        """
        found = verdict(self.parts(table), self.at_least, self.at_most)
        return UNDECIDED if self.lacks(table) and (found == AGREE or self.is_mean) else found


EVERY = "; each of several intervals must, and one on the other side at 95 % for all together refutes it"
CLAIMS = (
    Claim(
        "merging lowers the ASR by about 75 % on average", "abstract", "04_reduction_other_domains",
        "the interval of the relative reduction, mean of ratios, lies above 75 %", mean_of("relative"), at_least=0.75,
        beside=mean_of("relative_of_means", "removed_share", "removed_share_of_means"),
        lacks=lacking("task", *TASKS), is_mean=True,
    ),
    Claim(
        "the defense costs nothing, on average", "abstract", "04_reduction_other_domains",
        "the interval of the CACC change lies above -1 point", mean_of("cacc_change"), at_least=-0.01, shown=points,
        lacks=lacking("task", *TASKS), is_mean=True, reason=reason_of_the_price,
    ),
    Claim(
        "the defense costs nothing, on any task", "abstract", "04_reduction_other_domains",
        "the interval of the CACC change of every task lies above -1 point" + EVERY,
        each_of("task", "cacc_change"), at_least=-0.01, shown=points,
        lacks=lacking("task", *TASKS), reason=reason_of_the_price,
    ),
    Claim(
        "on SST-2, OLID, AG News and QNLI alike", "abstract", "04_reduction_other_domains",
        "the interval of the removed share of every task lies above 75 %" + EVERY,
        each_of("task", "removed_share"), at_least=0.75, lacks=lacking("task", *TASKS), reason=reason_of_the_rest,
    ),
    Claim(
        "without knowledge of the attack, whatever it is", "abstract", "04_reduction_other_domains",
        "the interval of the removed share of every attack lies above 75 %" + EVERY,
        each_of("attack", "removed_share"), at_least=0.75, lacks=lacking("attack", *ATTACKS),
    ),
    Claim(
        "even if the other models are not entirely secure", "abstract", "08_backdoored",
        "the interval of the removed share of models with different backdoors, merged together, lies above 75 %",
        insecure, at_least=0.75,
    ),
    Claim(
        "for encoders and decoders of several sizes", "abstract", "11_architectures",
        "the interval of the removed share of every pretrained model lies above 75 %" + EVERY,
        architectures, at_least=0.75, lacks=lacking_kinds,
    ),
    Claim(
        "weight averaging, Fisher and TIES do alike", "text", "05_methods",
        "the interval of the difference of mean ASR of every two lies within 5 points" + EVERY,
        methods, at_least=-0.05, at_most=0.05, shown=points,
    ),
    Claim(
        "merging outperforms ABL and ONION", "text", "12_defenses",
        "the interval of the ASR that ABL, and that ONION, leaves above the average's lies above 0" + EVERY,
        rivals, at_least=0.0, shown=points, beside=rivals_cacc, lacks=lacking_rivals,
    ),
    # The paper tests attackers on data alone. A model has no ASR to remove where only the merge obeys, or where a long vector
    # broke it: so the claim is on what is left, and a removal of 75 % leaves a quarter at most.
    Claim(
        "without knowledge of the attack, even if the attacker expects the merge", "abstract", "14_limits",
        "the interval of the ASR that the average leaves above a clean model's lies below 25 points for every attacker of one "
        "model who knows of the merge; those of several models stand beside" + EVERY,
        expecting, at_most=SURVIVES, shown=points, beside=several_uploads, reason=reason_of_attackers,
    ),
)  # fmt: skip


def agreement_table(folder: Path) -> pd.DataFrame:
    """Table `90_agreement`: what the paper says, what we found, and the verdict by a rule that stands beside it.

    Every interval is a 95 % t-interval over seeds; see `lib.tables.verdicts.verdict` for claims about several means.

    Args:
        folder: where the notebooks wrote their tables; a claim whose table is not there has the verdict "not run".

    Returns:
        One row per claim: `claim, source, table, found, verdict, reason` (where we disagree, if a table gives one),
        `we_agree_if`.
    """
    rows = []
    for claim in CLAIMS:
        path = folder / f"{claim.table}.csv"
        row = {"claim": claim.statement, "source": claim.source, "table": claim.table, "found": "", "verdict": NOT_RUN}
        if path.is_file():
            table = pd.read_csv(path)
            row |= {"found": claim.found(table), "verdict": claim.judged(table)}
        reason = claim.reason(folder) if row["verdict"] == DISAGREE else ""
        rows.append(row | {"reason": reason, "we_agree_if": claim.rule})
    return pd.DataFrame(rows)
