"""Texts without labels, for language models: those of the training file, and held-out ones. Test files are not opened."""

from __future__ import annotations

import hashlib
from dataclasses import dataclass
from pathlib import Path

import pandas as pd

from lib.datasets.known import get_spec
from lib.datasets.load import carved, check_folder
from lib.datasets.reading import read_tsv


@dataclass(frozen=True)
class UnlabelledTexts:
    """The texts of one dataset; both texts of a pair stand for themselves."""

    train: tuple[str, ...]
    held_out: tuple[str, ...]  # of the validation file, or set aside from the training file
    is_set_aside: bool  # whether there was no validation file
    fingerprint: str  # of the files that were read


def unlabelled_texts(name: str, folder: Path | None) -> UnlabelledTexts:
    """The texts of `<folder>/<name>/train.tsv` and `validation.tsv`; `test.tsv` is not opened and need not exist.

    Without a validation file the rows are held out that `load_dataset` sets aside, too.

    Args:
        name: a dataset of the registry, or of the folder's own.
        folder: of datasets, as `FREE_LUNCH_DATA`.

    Raises:
        ValueError: without a folder, for an unknown name, or for content that breaks the form.
    """
    if folder is None:
        raise ValueError(
            "FREE_LUNCH_DATA is not set; set it to a folder of datasets with <dataset>/train.tsv, see data/README.md"
        )
    spec = get_spec(name, folder)
    check_folder(folder, name)
    digest, frames = hashlib.sha256(), []
    for path in (folder / name / "train.tsv", folder / name / "validation.tsv"):
        if path.is_file():
            digest.update(f"{path.name} {path.stat().st_size} ".encode() + path.read_bytes())
            frames.append(read_tsv(path, spec))
        elif not frames:
            raise ValueError(f"{folder / name} has no train.tsv: there are no texts to train on")
    is_set_aside = len(frames) == 1
    train, held_out = carved(frames[0]) if is_set_aside else frames
    return UnlabelledTexts(_texts(train), _texts(held_out), is_set_aside, digest.hexdigest()[:16])


def _texts(frame: pd.DataFrame) -> tuple[str, ...]:
    return tuple(text for column in ("text", "text_pair") if column in frame for text in frame[column])
