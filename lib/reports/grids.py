"""Small Markdown tables of the findings: attacks by task, averages by number of models, verdicts, tests."""

from __future__ import annotations

from collections.abc import Iterator, Sequence

import pandas as pd

from lib.plots.style import attack_title
from lib.reports.reading import markdown_table, percent


def by_number(merging: pd.DataFrame, kind: str, by: Sequence[str]) -> Iterator[str]:
    """Table `04_merging`: mean ASR and CACC with more and more partners of a kind, one row per value of `by`, and the mean.

    Tasks can have different numbers of partners: the last row has a number only where every cell has it.
    """
    rows = merging[merging["partners"] == kind]
    if rows.empty:
        yield f"*Not run here: `04_merging.csv` has no partners `{kind}`.*"
        return
    grouped = [(values, group) for values, group in rows.groupby(list(by), sort=False)]
    cells = [_row(", ".join(attack_title(str(value)) for value in values), group) for values, group in grouped]
    yield markdown_table([*cells, _row(f"mean of {rows.groupby(['task', 'attack']).ngroups} cells", rows)])


def _row(name: str, rows: pd.DataFrame) -> dict[str, str]:
    alone = rows[rows["n_models"] == 1]
    n_cells = rows.groupby(["task", "attack"]).ngroups
    steps = [group for n, group in rows.groupby("n_models") if n > 1 and group.groupby(["task", "attack"]).ngroups == n_cells]
    return {
        "": name,
        "ASR of the backdoored model": percent(alone["asr"].mean()),
        "with 1, 2, ... partners": ", ".join(percent(group["asr"].mean()) for group in steps),
        "clean model": percent(alone["asr_floor"].mean()),
        "CACC of the backdoored model": percent(alone["cacc"].mean()),
        "CACC with 1, 2, ... partners": ", ".join(percent(group["cacc"].mean()) for group in steps),
    }


def by_attack(attacks: pd.DataFrame) -> Iterator[str]:
    """Table `03_attacks`: each task and attack with its ASR beside a clean model's, and its CACC beside a clean model's."""
    yield markdown_table(
        [
            {
                "task": str(task),
                "attack": attack_title(str(attack)),
                "ASR": percent(rows["asr"].mean()),
                "ASR of a clean model": percent(rows["asr_floor"].mean()),
                "CACC": percent(rows["cacc"].mean()),
                "CACC of a clean model": percent(rows["clean_model_cacc"].mean()),
            }
            for (task, attack), rows in attacks.groupby(["task", "attack"], sort=False)
        ]
    )


def verdicts(agreement: pd.DataFrame) -> Iterator[str]:
    """Table `90_agreement`: what the paper says, the verdict, what was found, and why it is otherwise."""
    yield markdown_table(
        [
            {
                "claim": row.claim,
                "verdict": f"**{row.verdict}**",
                "found": f"{row.found}. {row.reason}".rstrip(" .") if row.found else f"no table `{row.table}`",
                "we agree if": row.we_agree_if,
            }
            for row in agreement.fillna("").itertuples()
        ]
    )


def tests(table: pd.DataFrame) -> Iterator[str]:
    """Table `90_tests`: mean differences and exact p-values."""
    rows = []
    for row in table.to_dict("records"):
        low, high = row.get("mean_difference_low", float("nan")), row.get("mean_difference_high", float("nan"))
        interval = f" [{100 * low:+.1f}, {100 * high:+.1f}]" if low == low else ""
        rows.append(
            {
                "claim": str(row["claim"]),
                "mean difference, points": f"{100 * row['mean_difference']:+.1f}{interval}",
                "seeds": str(row["n_seeds"]),
                "p": f"{row['sign_flip_p']:.3f}",
                "p after Holm": f"{row['holm_p']:.3f}",
            }
        )
    yield markdown_table(rows)
