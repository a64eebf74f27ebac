"""Clean texts of a user, one per line, and what methods that measure the models find on them."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

from lib.merging import ModelSource, StateDictSource, get_merge_method


def read_texts(file: Path) -> list[str]:
    """The lines of a file that are not empty.

    Raises:
        ValueError: for a file that cannot be read, is not UTF-8, or has no text.
    """
    try:
        lines = [line.strip() for line in file.read_text(encoding="utf-8").splitlines() if line.strip()]
    except (OSError, UnicodeDecodeError) as error:
        raise ValueError(f"{file} could not be read: {getattr(error, 'strerror', None) or 'it is not UTF-8'}") from error
    if not lines:
        raise ValueError(f"{file} has no text")
    return lines


def measured(method: str, folders: Sequence[Path], texts: Path | None) -> dict[str, list[ModelSource]]:
    """The statistics of each model that a merge method needs, by kind; most methods need none.

    Raises:
        ValueError: without texts where they are needed, or for texts that cannot be read.
    """
    kinds = [need for need in get_merge_method(method).needs if need != "pretrained"]
    if not kinds:
        return {}
    from lib.models.statistics import measure_folder  # needs transformers, which most merges do without

    if texts is None:
        raise ValueError(f"{method} measures the models on clean texts; give a file of them with --texts")
    lines = read_texts(texts)
    return {kind: [StateDictSource(measure_folder(folder, kind, lines), str(folder)) for folder in folders] for kind in kinds}
