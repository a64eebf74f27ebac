"""What the claims of the paper are about: means with intervals, from tables of ours, and what such a table lacks."""

from __future__ import annotations

import json
from collections.abc import Callable
from itertools import combinations

import pandas as pd

from lib.metrics.rates import is_enough
from lib.metrics.reduction import means_by
from lib.tables.limits_findings import private_rows
from lib.tables.reasons import expecting_rows
from lib.tables.verdicts import Part, over_seeds, ratio_over_seeds

RIVALS = {"ABL": ("abl",), "ONION": ("onion", "onion_masked")}  # defenses of table `12_defenses`, the first one that is there
KINDS = {"an encoder": {"bert", "roberta"}, "a decoder": {"llama", "mistral", "gpt2"}}


def lacking(column: str, *names: str) -> Callable[[pd.DataFrame], list[str]]:
    """Which of the names a column does not have."""
    return lambda table: [name for name in names if name not in set(table[column])]


def lacking_kinds(table: pd.DataFrame) -> list[str]:
    """Which of encoders and decoders table `11_architectures` does not have."""
    return [kind for kind, types in KINDS.items() if not types & set(table["model_type"])]


def mean_of(*measures: str) -> Callable[[pd.DataFrame], list[Part]]:
    """Measures over all cells of a reduction table."""
    return lambda table: [Part.of(table.iloc[-1], measure, _named(measure)) for measure in measures]


def each_of(column: str, measure: str) -> Callable[[pd.DataFrame], list[Part]]:
    """A measure of every task, or of every attack, of a reduction table; those without any ratio are left out."""
    return lambda table: [
        Part.of(row, measure, str(row[column]))
        for _, row in means_by(table, column).iterrows()
        if row[measure] == row[measure]  # not NaN
    ]


def _named(measure: str) -> str:
    return {"cacc_change": "CACC"}.get(measure, measure.replace("_", " "))


def insecure(table: pd.DataFrame) -> list[Part]:
    """Removed share of the largest average of table `08_backdoored`: all its models are backdoored, with one target label."""
    together = table[(table["n_models"] == table["n_models"].max()) & table["same_target"]]
    return _removed_shares(together.assign(name=f"{table['n_models'].max()} backdoored models"))


def architectures(table: pd.DataFrame) -> list[Part]:
    """Removed share of the largest average of every entry of table `11_architectures`."""
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


def methods(table: pd.DataFrame) -> list[Part]:
    """Differences of the mean ASR of every two of three methods of table `05_methods`."""
    by_seed = table.groupby(["variant", "seed"])["asr"].mean().unstack("variant")
    return [
        over_seeds(f"{one} minus {other}", by_seed[one] - by_seed[other])
        for one, other in combinations(("weight average", "Fisher", "TIES"), 2)
    ]


def rivals(table: pd.DataFrame) -> list[Part]:
    """ASR that each rival of table `12_defenses` leaves above the average's."""
    return _above_average(table, "asr")


def rivals_cacc(table: pd.DataFrame) -> list[Part]:
    """CACC of each rival of table `12_defenses` minus the average's."""
    return _above_average(table, "cacc")


def _above_average(table: pd.DataFrame, rate: str) -> list[Part]:
    """ABL and ONION; without a causal language model the ONION of a masked one, which is the same rule with another scorer."""
    by_seed = table.groupby(["defense", "seed"])[rate].mean().unstack("defense")
    names = [next((name for name in scorers if name in by_seed), None) for scorers in RIVALS.values()]
    return [
        over_seeds(f"{rate.upper()} of {name} minus that of the average", by_seed[name] - by_seed["average"])
        for name in names
        if name
    ]


def lacking_rivals(table: pd.DataFrame) -> list[str]:
    """Which of the rivals table `12_defenses` does not have."""
    return [rival for rival, scorers in RIVALS.items() if not set(scorers) & set(table["defense"])]


def expecting(table: pd.DataFrame) -> list[Part]:
    """Excess ASR after the average of attackers who expect the merge."""
    return _left_by_average(expecting_rows(table))


def several_uploads(table: pd.DataFrame) -> list[Part]:
    """Excess ASR after the average of attackers who submit several models."""
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
