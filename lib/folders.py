"""Folders that appear whole or not at all, and the files of a model that are not weights."""

from __future__ import annotations

import os
import shutil
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

# Configuration and tokenizer; never code, weights or the optimiser's state.
MODEL_FILES = (
    "config.json", "generation_config.json", "tokenizer*.json", "special_tokens_map.json", "added_tokens.json", "vocab.*",
    "merges.txt", "*.model", "chat_template*",
)  # fmt: skip


@contextmanager
def new_folder(folder: str | Path) -> Iterator[Path]:
    """A temporary folder that gets its name when the block ends without an error, and else is removed.

    Raises:
        ValueError: if the folder exists.
    """
    folder = Path(folder)
    if folder.exists():
        raise ValueError(f"output folder {folder} exists; give a new one")
    folder.parent.mkdir(parents=True, exist_ok=True)
    temporary = folder.parent / f".{folder.name}.{os.getpid()}.partial"
    temporary.mkdir()
    try:
        yield temporary
        os.replace(temporary, folder)
    finally:
        shutil.rmtree(temporary, ignore_errors=True)


def copy_model_files(source: Path, target: Path) -> list[str]:
    """Copy configuration and tokenizer; returns the names of the files."""
    found = sorted({path for pattern in MODEL_FILES for path in source.glob(pattern) if path.is_file()})
    for path in found:
        shutil.copy(path, target / path.name)
    return [path.name for path in found]
