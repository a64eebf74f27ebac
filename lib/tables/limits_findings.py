"""Sentences on the tables of notebook 14."""

from __future__ import annotations

from collections.abc import Iterator

import pandas as pd

from lib.attacks.for_merging import KNOWLEDGE
from lib.metrics.summary import points
from lib.tables.limits import NONE

SURVIVES = 0.25  # an attack survives a merge that leaves an ASR this far above the clean model's
ATTACKER = ["attack", "settings", "knowledge"]


def private_rows(table: pd.DataFrame, is_shared: bool = False) -> pd.DataFrame:
    """Rows of table `14_limits` of one threat model: only the submitted models carry the poison, or the base of all does."""
    return table[(table["settings"].str.contains('"base": "poisoned"')) == is_shared].reset_index(drop=True)


def survivors(table: pd.DataFrame) -> pd.DataFrame:
    """Which attackers survive which rule: one row per rule and attacker, means over seeds, with `survives`."""
    merged = table[table["merge_method"] != NONE]
    columns = ["excess_asr", "asr", "asr_floor", "cacc", "clean_model_cacc", "norm_ratio"]
    means = merged.groupby(["merge_method", *ATTACKER], sort=False)[columns].mean().reset_index()
    return means.assign(survives=means["excess_asr"] >= SURVIVES)


def compared_attackers(table: pd.DataFrame) -> pd.DataFrame:
    """Table `14_compared`: one row per attacker; ASR alone and after each rule, in per cent, means with the range over seeds.

    Returns:
        `attack, settings, knowledge, submitted, <each rule>, cacc_of_average, floor`, the last ones as text.
    """
    rows = []
    for values, group in table.groupby(ATTACKER, sort=False):
        row = dict(zip(ATTACKER, values, strict=True))
        for rule, merged in group.groupby("merge_method", sort=False):
            row["submitted" if rule == NONE else str(rule)] = _ranged(merged["asr"])
        average = group[group["merge_method"] == "weight_average"]
        row |= {"cacc_of_average": _ranged(average["cacc"]), "floor": _ranged(average["asr_floor"])}
        rows.append(row)
    return pd.DataFrame(rows)


def _ranged(rates: pd.Series[float]) -> str:
    """Mean and range in per cent.

    >>> _ranged(pd.Series([0.1, 0.2, 0.6])), _ranged(pd.Series([0.5]))
    ('30 (10-60)', '50')
    """
    low, high = (f"{100 * rate:.0f}" for rate in (rates.min(), rates.max()))
    return f"{100 * rates.mean():.0f} ({low}-{high})" if len(rates) > 1 else f"{100 * rates.mean():.0f}"


def limits_findings(table: pd.DataFrame) -> Iterator[str]:
    """Sentences on table `14_limits`: what each rule lets through, what an attacker must know, and the shared base."""
    private, shared = survivors(private_rows(table)), survivors(private_rows(table, is_shared=True))
    for rule, rows in private.groupby("merge_method", sort=False):
        found = rows[rows["survives"]]
        listed = "; ".join(f"{each.attack} {each.settings} ({points(each.excess_asr)})" for each in found.itertuples())
        yield (
            f"{rule}: {len(found)} of {len(rows)} attackers keep an ASR {100 * SURVIVES:.0f} points or more above the floor: "
            f"{listed or 'none'}. CACC {rows['cacc'].mean():.1%}, of a clean model {rows['clean_model_cacc'].mean():.1%}."
        )
    through = private.groupby(ATTACKER[:2], sort=False)["survives"].all()
    listed = "; ".join(f"{attack} {settings}" for attack, settings in through.index[through])
    yield f"No rule of the table stops {int(through.sum())} of {len(through)} attackers: {listed or 'none'}."
    average = private[(private["merge_method"] == "weight_average") & private["survives"]]
    if len(average):
        least = average.sort_values("knowledge").iloc[0]
        yield (
            f"The attacker who knows least and survives the plain average: {least.attack} {least.settings}, knowledge "
            f"{least.knowledge} ({KNOWLEDGE[int(least.knowledge)]})."
        )
    for row in shared[shared["merge_method"] == "weight_average"].itertuples():
        yield (
            f"A poisoned base of all models, another threat model: the average has an ASR of {row.asr:.1%}, floor "
            f"{row.asr_floor:.1%}."
        )


def limits_outcomes(table: pd.DataFrame) -> list[tuple[str, str, str]]:
    """What we expected of table `14_limits`, what it says, and a possible reason: rows for `lib.notebook.outcomes`."""
    private, shared = survivors(private_rows(table)), survivors(private_rows(table, is_shared=True))
    rules = private.groupby("merge_method", sort=False)["survives"].agg(["sum", "size"])
    found = {rule: f"{row['sum']} of {row['size']} attackers survive" for rule, row in rules.iterrows()}
    longer = private[private["settings"].str.contains("scale") & (private["merge_method"] == "median")]
    rows = [
        (
            "some attackers survive the average",
            found["weight_average"],
            "what is long, or many share, is divided by too little",
        ),
        (
            "the median stops attackers who rely on length",
            f"{longer['survives'].sum()} of {len(longer)} survive it",
            "the value in the middle belongs to another model",
        ),
    ]
    if "ties" in found:
        rows.append(
            (
                "TIES lets more attackers through than the average",
                found["ties"],
                "it divides an entry by the models that have it",
            )
        )
    average = shared[shared["merge_method"] == "weight_average"]
    if len(average):
        said = f"ASR {average['asr'].mean():.1%} after the average, floor {average['asr_floor'].mean():.1%}"
        rows.append(("a poisoned base of all models is not diluted", said, "every partner carries the same backdoor"))
    return rows


def scaling_findings(table: pd.DataFrame) -> Iterator[str]:
    """Sentences on table `14_scaling`: the smallest scale that survives the average, and how that model looks."""
    average = table[table["merge_method"] == "weight_average"]
    columns = ["asr", "asr_floor", "submitted_cacc", "norm_ratio", "mean_cosine"]
    means = average.groupby(["scaled", "scale"], sort=False)[columns].mean().reset_index()
    for kind, rows in means.groupby("scaled", sort=False):
        found = rows[rows["asr"] >= rows["asr_floor"] + SURVIVES].sort_values("scale")
        if found.empty:
            yield f"{kind}: no scale up to {rows['scale'].max():g} survives the average of the models."
            continue
        first = found.iloc[0]
        yield (
            f"{kind}: from scale {first.scale:g} on it survives the average (ASR {first.asr:.1%}, floor "
            f"{first.asr_floor:.1%}). The submitted model then has a CACC of {first.submitted_cacc:.1%} and a vector "
            f"{first.norm_ratio:.1f} times as long as the partners'."
        )
