"""Rows of a file or of a Hub split in one form, checked: texts normalised and not empty, labels of the label list."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pandas as pd

from lib.datasets.registry import DatasetSpec

# With one row a label may end in the validation split that is carved from the training rows, or fall out of a drawn sample;
# with two, a tenth that keeps the label shares leaves at least one.
MIN_ROWS_PER_LABEL = 2


def normalise(text: str) -> str:
    """One text format for poisoned and untouched rows: runs of white space become one blank, ends are stripped."""
    return " ".join(text.split())


def read_tsv(path: Path, spec: DatasetSpec) -> pd.DataFrame:
    """Read `text[<TAB>text_pair]<TAB>label` without quoting: a quotation mark is a character of the text."""
    expected = ["text", "text_pair", "label"] if spec.is_pair else ["text", "label"]
    try:
        content = path.read_text(encoding="utf-8")
    except UnicodeDecodeError as error:
        raise ValueError(f"{path} is not UTF-8: {error.reason} at byte {error.start}") from error
    if "\0" in content:
        line = content[: content.index("\0")].count("\n") + 1
        raise ValueError(f"{path} line {line} has a NUL byte: the file is damaged, or is no text")
    lines = content.split("\n")
    header = lines[0].rstrip("\r").split("\t")
    if header != expected:
        raise ValueError(f"{path} must begin with the header {'<TAB>'.join(expected)}; found {lines[0][:80]!r}")
    numbered = [(number, line.rstrip("\r").split("\t")) for number, line in enumerate(lines, start=1) if line]
    rows = [row for _, row in numbered[1:]]
    for number, row in numbered[1:]:
        if len(row) != len(expected):
            raise ValueError(f"{path} line {number} has {len(row)} columns, expected {len(expected)}: {row[0][:60]!r}")
    if not rows:
        raise ValueError(f"{path} has a header but no rows")
    return _checked(pd.DataFrame(rows, columns=expected), spec, str(path))


def check_training_rows(train: pd.DataFrame, spec: DatasetSpec, where: str) -> None:
    """Raise unless a training set teaches the dataset's labels.

    A task must have all its labels: its model is attacked and scored on them. Another domain may lack some, as news sites lack
    topics, but a classifier needs two.

    Raises:
        ValueError: naming the place, the labels found with their rows, and what is needed.
    """
    counts = train["label"].value_counts().sort_index()
    found = ", ".join(f"{n} of label {label} ({spec.label_names[label]})" for label, n in counts.items())
    missing = [f"{i} ({name})" for i, name in enumerate(spec.label_names) if i not in counts.index]
    if len(counts) < 2 or (missing and spec.name == spec.task):
        needed = "every label of its task" if spec.name == spec.task else "two labels or more"
        raise ValueError(f"{where} needs rows of {needed}; found {found}; missing are {', '.join(missing)}")
    if counts.min() < MIN_ROWS_PER_LABEL:
        raise ValueError(f"{where} needs {MIN_ROWS_PER_LABEL} rows or more of each label that it has; found {found}")


def from_columns(frame: pd.DataFrame, spec: DatasetSpec, where: str) -> pd.DataFrame:
    """Hub columns to ours."""
    wanted = [*spec.text_columns, *([spec.pair_column] if spec.pair_column else []), spec.label_column]
    if missing := sorted(set(wanted) - set(frame.columns)):
        raise ValueError(f"{where} has columns {sorted(frame.columns)}; {missing} expected")
    texts = frame[spec.text_columns[0]].str.cat([frame[column] for column in spec.text_columns[1:]], sep=" ")
    columns = {"text": texts} | ({"text_pair": frame[spec.pair_column]} if spec.pair_column else {})
    labels = frame[spec.label_column]
    if spec.label_map:
        labels = labels.map(dict(spec.label_map))
    # Only a map says which labels are meant to be left out; without one a missing label is an error.
    kept = labels.notna() if spec.label_map else pd.Series(True, index=frame.index)
    return _checked(pd.DataFrame({**columns, "label": labels})[kept].reset_index(drop=True), spec, where)


def _text(value: object) -> str:
    return normalise(value) if isinstance(value, str) else ""


def _checked(frame: pd.DataFrame, spec: DatasetSpec, where: str) -> pd.DataFrame:
    """Texts normalised and not empty, labels integers of the label list; errors name place, row and value."""
    allowed = {str(i): i for i in range(len(spec.label_names))}
    labels = frame["label"].map(
        lambda value: allowed.get(str(int(value)) if isinstance(value, float) and value.is_integer() else str(value))
    )
    if labels.isna().any():
        row = int(np.flatnonzero(labels.isna())[0])
        raise ValueError(
            f"{where} row {row + 1} has label {frame['label'].iloc[row]!r}; allowed are "
            f"{', '.join(f'{i} ({name})' for i, name in enumerate(spec.label_names))}"
        )
    columns = [column for column in ("text", "text_pair") if column in frame]
    cleaned = frame.assign(label=labels.astype(int), **{column: frame[column].map(_text) for column in columns})
    for column in columns:
        empty = cleaned[column] == ""
        if empty.any():
            raise ValueError(f"{where} row {int(np.flatnonzero(empty)[0]) + 1} has an empty {column}; every row needs one")
    return cleaned[[*columns, "label"]]
