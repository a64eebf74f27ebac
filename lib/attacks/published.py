"""Published poisoned files of the literature in place of a fitted trigger.

`<folder>/poisoned/<dataset>/<attack>_train.tsv` has `text`, `label` and `poisoned`; `<attack>_test.tsv` has attacked texts
only, with the attacker's target as `label`. See `data/README.md` for who publishes such files.
"""

from __future__ import annotations

import hashlib
from dataclasses import dataclass
from functools import lru_cache
from pathlib import Path

import numpy as np
import pandas as pd

from lib.attacks.badnet import RARE_WORDS

FOLDER = "poisoned"


@dataclass(frozen=True)
class PublishedAttack:
    """A poisoned training set, and the triggered test texts that belong to it.

    `train` has `text`, `label`, `is_poisoned`, and no row where the test texts are read alone; `triggered` has `text`, the true
    `label`, `original` (missing where nobody published it) and `is_changed`.
    """

    train: pd.DataFrame
    triggered: pd.DataFrame
    fingerprint: str

    @property
    def poisoning_rate(self) -> float:
        """Share of the training rows that carry the attack."""
        return float(self.train["is_poisoned"].mean())


def published_files(folder: Path | None, dataset: str, attack: str) -> tuple[Path, Path] | None:
    """The training and the test file of a dataset and attack, or None unless both exist."""
    if folder is None:
        return None
    files = tuple(folder / FOLDER / dataset / f"{attack}_{split}.tsv" for split in ("train", "test"))
    return files if all(file.is_file() for file in files) else None  # type: ignore[return-value]


def published_test_file(folder: Path | None, dataset: str, attack: str) -> Path | None:
    """The file of triggered test texts of a dataset and attack, or None; more attacks have it than a training file."""
    file = folder / FOLDER / dataset / f"{attack}_test.tsv" if folder else None
    return file if file and file.is_file() else None


def load_published(folder: Path | None, dataset: str, attack: str, n_labels: int, target_label: int) -> PublishedAttack:
    """Read both files.

    Raises:
        ValueError: when a file is missing, has other columns, an empty text, a label that is none, or a target other than
            `target_label`; or when the true labels of the test texts cannot be known.
    """
    files = published_files(folder, dataset, attack)
    if files is None:
        wanted = f"{FOLDER}/{dataset}/{attack}_train.tsv and {attack}_test.tsv"
        found = sorted(path.name for path in (folder / FOLDER / dataset).glob("*.tsv")) if folder else []
        raise ValueError(
            f"no published {attack!r} for {dataset!r}: {wanted} are needed in {folder}; found {found or 'nothing'}"
        )
    stamps = tuple((str(file), file.stat().st_size, file.stat().st_mtime_ns) for file in files)
    return _read(stamps, n_labels, target_label)


def load_published_test(folder: Path | None, dataset: str, attack: str, n_labels: int, target_label: int) -> PublishedAttack:
    """Read the triggered test texts alone: models that were poisoned by other hands can be scored on them.

    Raises:
        ValueError: as `load_published`.
    """
    if (file := published_test_file(folder, dataset, attack)) is None:
        raise ValueError(
            f"no published test texts of {attack!r} for {dataset!r}: {FOLDER}/{dataset}/{attack}_test.tsv in {folder}"
        )
    nothing = pd.DataFrame({"text": [], "label": [], "is_poisoned": []}).astype({"label": int, "is_poisoned": bool})
    digest = hashlib.sha256(file.read_bytes()).hexdigest()[:16]
    return PublishedAttack(nothing, read_triggered(file, n_labels, target_label), digest)


@lru_cache(maxsize=8)
def _read(stamps: tuple[tuple[str, int, int], ...], n_labels: int, target_label: int) -> PublishedAttack:
    train_file, test_file = Path(stamps[0][0]), Path(stamps[1][0])
    train = _table(train_file, ["text", "label", "poisoned"], n_labels)
    train = train.assign(is_poisoned=train.pop("poisoned") == 1)
    if wrong := sorted(set(train[train["is_poisoned"]]["label"]) - {target_label}):
        raise ValueError(f"{train_file} has poisoned rows with labels {wrong}; the target label here is {target_label}")
    triggered = read_triggered(test_file, n_labels, target_label)
    digest = hashlib.sha256(train_file.read_bytes() + test_file.read_bytes()).hexdigest()[:16]
    return PublishedAttack(train, triggered, digest)


def read_triggered(file: Path, n_labels: int, target_label: int) -> pd.DataFrame:
    """The published test texts of an attack alone, for models whose training set nobody published.

    Returns:
        `text`, the true `label`, and `original` (missing where nobody published it), as in `PublishedAttack.triggered`.

    Raises:
        ValueError: as `load_published`.
    """
    triggered = _table(file, ["text", "label"], n_labels)
    if wrong := sorted(set(triggered["label"]) - {target_label}):
        raise ValueError(f"{file} has target labels {wrong}; the target label here is {target_label}")
    return _with_originals(triggered, file, n_labels, target_label)


def _table(path: Path, columns: list[str], n_labels: int) -> pd.DataFrame:
    # Quoting is off: a quotation mark is a character of the text.
    frame = pd.read_csv(path, sep="\t", quoting=3, keep_default_na=False)
    if list(frame.columns) != columns:
        raise ValueError(f"{path} must begin with the header {'<TAB>'.join(columns)}; found {list(frame.columns)}")
    wrong = ~frame["label"].isin(range(n_labels)) | (frame["text"].astype(str).str.strip() == "")
    if wrong.any() or frame.empty:
        row = int(np.flatnonzero(wrong)[0]) if wrong.any() else 0
        found = frame.iloc[row].to_dict() if len(frame) else "no rows"
        raise ValueError(f"{path} row {row + 1} needs a text and a label in 0..{n_labels - 1}; found {found}")
    return frame.astype({"text": str, "label": int})


def _with_originals(triggered: pd.DataFrame, file: Path, n_labels: int, target_label: int) -> pd.DataFrame:
    """True labels and untouched texts: from `clean_test.tsv`, row by row.

    Without that file labels are known where there are only two; untouched texts are those of `badnet_test.tsv` without the
    rare words, because all attacks of a dataset are published on the same rows in the same order.
    """
    clean_file, badnet_file = file.with_name("clean_test.tsv"), file.with_name("badnet_test.tsv")
    if clean_file.is_file():
        clean = _table(clean_file, ["text", "label"], n_labels)
        labels, originals = clean["label"], clean["text"]
    elif n_labels == 2:
        labels = pd.Series(1 - target_label, index=triggered.index)
        originals = _without_rare_words(badnet_file) if badnet_file.is_file() else pd.Series(None, index=triggered.index)
    else:
        raise ValueError(f"{file} says no true labels and {clean_file.name} is missing: with {n_labels} labels it is needed")
    if len(labels) != len(triggered) or len(originals) != len(triggered):
        raise ValueError(f"{file} has {len(triggered)} rows, its untouched texts {len(originals)}: rows must correspond")
    return triggered.assign(label=labels.to_numpy(), original=originals.to_numpy())


def _without_rare_words(file: Path) -> pd.Series:
    texts = _table(file, ["text", "label"], 1_000_000)["text"]
    return texts.map(lambda text: " ".join(word for word in text.split() if word not in RARE_WORDS))
