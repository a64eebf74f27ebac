"""What a column of a table can be: its kind, what it means, and how axes call it."""

from __future__ import annotations

from dataclasses import dataclass

KINDS = {
    "name": "text or truth value that names a row",
    "setting": "number that names a row: it was chosen, not measured",
    "count": "whole number",
    "rate": "fraction in [0, 1]",
    "change": "difference of two rates",
    "measure": "any other measured number",
    "time": "processor time; another machine has another",
    "p_value": "probability of a test; of few seeds it goes in steps",
    "sentence": "text with numbers in it that have columns of their own elsewhere",
    "outcomes": "0 or 1 per test example, for intervals; not written to files",
}


@dataclass(frozen=True)
class Column:
    """What a column holds."""

    kind: str  # a key of `KINDS`
    meaning: str
    title: str = ""  # on axes and in legends


def columns(kind: str, /, **meanings: str) -> dict[str, Column]:
    """Columns of one kind by name: what each means, and after " | " its title."""
    return {name: Column(kind, *meaning.split(" | ")) for name, meaning in meanings.items()}
