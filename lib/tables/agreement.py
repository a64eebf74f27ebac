"""What the paper says, what we found, and the verdict: agree, disagree or undecided, by a rule written down beforehand."""

from __future__ import annotations

import json
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from itertools import combinations
from pathlib import Path

import pandas as pd

from lib.metrics.rates import is_enough
from lib.metrics.reduction import means_by
from lib.metrics.summary import points
from lib.tables.limits_findings import SURVIVES, private_rows
from lib.tables.reasons import expecting_rows, reason_of_attackers, reason_of_the_price
from lib.tables.verdicts import AGREE, DISAGREE, UNDECIDED, Part, over_seeds, ratio_over_seeds, verdict

AGREEMENT = "90_agreement"  # the table's name
NOT_RUN = "not run"
TASKS = ("sst2", "olid", "agnews", "qnli")
ATTACKS = ("badnet", "insertsent", "syntactic", "lws", "bite")
KINDS = {"an encoder": {"bert", "roberta"}, "a decoder": {"llama", "mistral", "gpt2"}}


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
        lacking = self.lacks(table)
        return "; ".join([*said, f"not measured: {', '.join(lacking)}"] if lacking else said)

    def judged(self, table: pd.DataFrame) -> str:
        """The verdict. Where something was not measured we cannot agree; one part that was can refute the claim.

        A mean over less than the claim speaks of is another mean: it decides nothing.
        """
        found = verdict(self.parts(table), self.at_least, self.at_most)
        return UNDECIDED if self.lacks(table) and (found == AGREE or self.is_mean) else found


def _lacking(column: str, *names: str) -> Callable[[pd.DataFrame], list[str]]:
    """Which of the names a column does not have."""
    return lambda table: [name for name in names if name not in set(table[column])]


def _lacking_kinds(table: pd.DataFrame) -> list[str]:
    return [kind for kind, types in KINDS.items() if not types & set(table["model_type"])]


def _mean(*measures: str) -> Callable[[pd.DataFrame], list[Part]]:
    """Measures over all cells of a reduction table."""
    return lambda table: [Part.of(table.iloc[-1], measure, _named(measure)) for measure in measures]


def _each(column: str, measure: str) -> Callable[[pd.DataFrame], list[Part]]:
    """A measure of every task, or of every attack, of a reduction table; those without any ratio are left out."""
    return lambda table: [
        Part.of(row, measure, str(row[column]))
        for _, row in means_by(table, column).iterrows()
        if row[measure] == row[measure]  # not NaN
    ]


def _named(measure: str) -> str:
    return {"cacc_change": "CACC"}.get(measure, measure.replace("_", " "))


def _insecure(table: pd.DataFrame) -> list[Part]:
    together = table[(table["n_models"] == table["n_models"].max()) & table["same_target"]]
    return _removed_shares(together.assign(name=f"{table['n_models'].max()} backdoored models"))


def _architectures(table: pd.DataFrame) -> list[Part]:
    last = table[table["n_models"] == table.groupby(["architecture", "recipe"])["n_models"].transform("max")]
    return _removed_shares(last.assign(name=last["architecture"] + " (" + last["recipe"] + ")"))


def _removed_shares(table: pd.DataFrame) -> list[Part]:
    """The removed share of each `name`, mean points over mean removable ASR; without those that add too little to the floor."""
    parts = []
    for name, rows in table.groupby("name", sort=False):
        means = rows.groupby("seed")[["backdoored_asr", "asr", "asr_floor"]].mean()
        removable = means["backdoored_asr"] - means["asr_floor"]
        if is_enough(removable.mean()):
            parts.append(ratio_over_seeds(str(name), means["backdoored_asr"] - means["asr"], removable))
    return parts


def _methods(table: pd.DataFrame) -> list[Part]:
    by_seed = table.groupby(["variant", "seed"])["asr"].mean().unstack("variant")
    return [
        over_seeds(f"{one} minus {other}", by_seed[one] - by_seed[other])
        for one, other in combinations(("weight average", "Fisher", "TIES"), 2)
    ]


def _rivals(table: pd.DataFrame) -> list[Part]:
    return [_above_average(table, name, "asr") for name in ("abl", "onion") if name in set(table["defense"])]


def _rivals_cacc(table: pd.DataFrame) -> list[Part]:
    return [_above_average(table, name, "cacc") for name in ("abl", "onion") if name in set(table["defense"])]


def _above_average(table: pd.DataFrame, name: str, rate: str) -> Part:
    by_seed = table.groupby(["defense", "seed"])[rate].mean().unstack("defense")
    return over_seeds(f"{rate.upper()} of {name} minus that of the average", by_seed[name] - by_seed["average"])


def _expecting(table: pd.DataFrame) -> list[Part]:
    """Excess ASR after the average of attackers who expect the merge."""
    return _left_by_average(expecting_rows(table))


def _several_uploads(table: pd.DataFrame) -> list[Part]:
    private = private_rows(table)
    return _left_by_average(private[private["n_backdoored"] > 1])


def _left_by_average(rows: pd.DataFrame) -> list[Part]:
    merged = rows[rows["merge_method"] == "weight_average"]
    return [
        over_seeds(_attacker(str(attack), str(settings)), of_one.groupby("seed")["excess_asr"].mean())
        for (attack, settings), of_one in merged.groupby(["attack", "settings"], sort=False)
    ]


def _attacker(attack: str, settings: str) -> str:
    """An attack and its settings, given as JSON, in a sentence.

    >>> _attacker("scaled", '{"scale": 5}')
    'scaled (scale 5)'
    """
    listed = ", ".join(f"{name} {value}" for name, value in json.loads(settings).items())
    return f"{attack} ({listed})" if listed else attack


EVERY = "; each of several intervals must, and one on the other side at 95 % for all together refutes it"
CLAIMS = (
    Claim(
        "merging lowers the ASR by about 75 % on average", "abstract", "04_reduction_other_domains",
        "the interval of the relative reduction, mean of ratios, lies above 75 %", _mean("relative"), at_least=0.75,
        beside=_mean("relative_of_means", "removed_share", "removed_share_of_means"),
        lacks=_lacking("task", *TASKS), is_mean=True,
    ),
    Claim(
        "the defense costs nothing, on average", "abstract", "04_reduction_other_domains",
        "the interval of the CACC change lies above -1 point", _mean("cacc_change"), at_least=-0.01, shown=points,
        lacks=_lacking("task", *TASKS), is_mean=True, reason=reason_of_the_price,
    ),
    Claim(
        "the defense costs nothing, on any task", "abstract", "04_reduction_other_domains",
        "the interval of the CACC change of every task lies above -1 point" + EVERY,
        _each("task", "cacc_change"), at_least=-0.01, shown=points,
        lacks=_lacking("task", *TASKS), reason=reason_of_the_price,
    ),
    Claim(
        "on SST-2, OLID, AG News and QNLI alike", "abstract", "04_reduction_other_domains",
        "the interval of the removed share of every task lies above 75 %" + EVERY,
        _each("task", "removed_share"), at_least=0.75, lacks=_lacking("task", *TASKS),
    ),
    Claim(
        "without knowledge of the attack, whatever it is", "abstract", "04_reduction_other_domains",
        "the interval of the removed share of every attack lies above 75 %" + EVERY,
        _each("attack", "removed_share"), at_least=0.75, lacks=_lacking("attack", *ATTACKS),
    ),
    Claim(
        "even if the other models are not entirely secure", "abstract", "08_backdoored",
        "the interval of the removed share of models with different backdoors, merged together, lies above 75 %",
        _insecure, at_least=0.75,
    ),
    Claim(
        "for encoders and decoders of several sizes", "abstract", "11_architectures",
        "the interval of the removed share of every pretrained model lies above 75 %" + EVERY,
        _architectures, at_least=0.75, lacks=_lacking_kinds,
    ),
    Claim(
        "weight averaging, Fisher and TIES do alike", "text", "05_methods",
        "the interval of the difference of mean ASR of every two lies within 5 points" + EVERY,
        _methods, at_least=-0.05, at_most=0.05, shown=points,
    ),
    Claim(
        "merging outperforms ABL and ONION", "text", "12_defenses",
        "the interval of the ASR that ABL, and that ONION, leaves above the average's lies above 0" + EVERY,
        _rivals, at_least=0.0, shown=points, beside=_rivals_cacc, lacks=_lacking("defense", "abl", "onion"),
    ),
    # The paper tests attackers on data alone. A model has no ASR to remove where only the merge obeys, or where a long vector
    # broke it: so the claim is on what is left, and a removal of 75 % leaves a quarter at most.
    Claim(
        "without knowledge of the attack, even if the attacker expects the merge", "abstract", "14_limits",
        "the interval of the ASR that the average leaves above a clean model's lies below 25 points for every attacker of one "
        "model who knows of the merge; those of several models stand beside" + EVERY,
        _expecting, at_most=SURVIVES, shown=points, beside=_several_uploads, reason=reason_of_attackers,
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
