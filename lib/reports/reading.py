"""Tables as they lie in `figures/`, and what is said in place of one that is not there."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path

import pandas as pd


@dataclass(frozen=True)
class Part:
    """What is written about one table: sentences, or a Markdown table.

    A part whose table, or whose columns, are not there says so: nothing is hidden. A table that a run on real data was too
    small for, and one that an older version of the code wrote, are such cases.
    """

    table: str
    write: Callable[[pd.DataFrame], Iterable[str]]
    needs: Sequence[str] = ()  # columns without which there is nothing to say

    def lines(self, folder: Path) -> Iterator[str]:
        """Paragraphs about the table in a folder such as `figures/pocket`."""
        table, missing = read(folder, self.table), f"`{self.table}.csv`"
        if table is None:
            yield f"*Not run here: there is no {missing}.*"
        elif lacking := [name for name in self.needs if name not in table or table[name].isna().all()]:
            yield f"*Not measured here: {missing} has no {', '.join(f'`{name}`' for name in lacking)}.*"
        else:
            yield from self.write(table)


def read(folder: Path, name: str) -> pd.DataFrame | None:
    """A table of a folder, or None if it is not there."""
    path = folder / f"{name}.csv"
    return pd.read_csv(path) if path.is_file() else None


def percent(rate: float) -> str:
    """A rate as it stands in tables for people.

    >>> percent(0.1234)
    '12.3'
    """
    return f"{100 * rate:.1f}"


def markdown_table(rows: Sequence[dict[str, str]]) -> str:
    """Rows with equal keys as a Markdown table.

    >>> print(markdown_table([{"attack": "lws", "ASR": "90.1"}]))
    | attack | ASR |
    |---|---|
    | lws | 90.1 |
    """
    names = list(rows[0])
    lines = [f"| {' | '.join(names)} |", "|" + "---|" * len(names)]
    return "\n".join([*lines, *(f"| {' | '.join(row[name] for name in names)} |" for row in rows)])
