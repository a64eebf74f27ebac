"""Load a dataset as frames of text and label: synthetic, from a data folder, or from the Hub, in one form."""

from __future__ import annotations

import hashlib
import os
from collections.abc import Mapping
from dataclasses import dataclass, replace
from functools import lru_cache
from pathlib import Path

import pandas as pd

from lib.datasets.draws import dealt_sample, draw_number
from lib.datasets.known import get_spec, pocket_entry
from lib.datasets.reading import check_training_rows, from_columns, read_tsv
from lib.datasets.registry import DATASETS, DatasetSpec
from lib.datasets.words import treebank
from lib.paths import data_dir

SOURCES = ("pocket", "real")
SPLITS = ("train", "validation", "test")
PRETRAINING = "pretraining"  # of Pocket English alone: lines without labels
CARVED_SHARE, CARVED_MOST = 0.1, 1000  # validation rows taken from train where a source has none


@dataclass(frozen=True)
class Dataset:
    """A dataset ready for use: `train`, `validation`, `test` frames with `text`, perhaps `text_pair`, and integer `label`."""

    name: str
    task: str
    source: str  # "pocket", "folder" or "hub"
    label_names: tuple[str, ...]
    target_label: int
    trigger_sentence: str
    fingerprint: str  # of the content: part of every key that depends on the data
    train: pd.DataFrame
    validation: pd.DataFrame
    test: pd.DataFrame

    @property
    def is_pair(self) -> bool:
        """Whether inputs are sentence pairs."""
        return "text_pair" in self.train.columns


def load_dataset(
    name: str,
    source: str,
    folder: Path | None = None,
    pair_mode: str = "text",
    text_format: str = "as_is",
) -> Dataset:
    """Load all rows of a real dataset. Pocket English has no last row: see `rows_of_seed`.

    Args:
        name: a dataset of the registry, or of the folder's own (`dataset.json`, see `data/README.md`).
        source: "real".
        folder: where real datasets lie as `<folder>/<name>/{train,validation,test}.tsv`; default `FREE_LUNCH_DATA`;
            without either they come from the Hub.
        pair_mode: "text" keeps pairs apart; "joined" makes one string of them, as the paper does.
        text_format: "as_is", or "treebank": see `lib.datasets.words.treebank`.

    Raises:
        ValueError: for an unknown name, or content that breaks the form (the file, row and value are named).
        ConnectionError: when there is neither a folder nor a network; names both ways out.
    """
    if source not in SOURCES:
        raise ValueError(f"unknown source {source!r}; choose from {list(SOURCES)}")
    if source == "pocket":
        raise ValueError(f"Pocket English has no last text: say how many rows of {pocket_entry(name)[0].name!r} you want")
    if (folder := folder or data_dir()) is not None:
        dataset = _folder_dataset(get_spec(name, Path(folder)), str(folder), _stamps(Path(folder), name))
    else:
        dataset = _hub_dataset(get_spec(name).name)
    frames = {split: format_texts(_joined(getattr(dataset, split), pair_mode), text_format) for split in SPLITS}
    return replace(dataset, **frames)


def pocket_dataset(name: str, frames: Mapping[str, pd.DataFrame]) -> Dataset:
    """A dataset of Pocket English with rows that were drawn of it, one frame per split."""
    entry, fingerprint = pocket_entry(name)
    spec = DATASETS[entry.task]
    return Dataset(
        name, entry.task, "pocket", entry.label_names, spec.target_label, spec.trigger_sentence, fingerprint, **frames
    )


def data_fingerprint(name: str, source: str, folder: Path | None = None) -> str:
    """A dataset's `Dataset.fingerprint`; Pocket English is not generated for it."""
    if source == "pocket":
        return pocket_entry(name)[1]
    return load_dataset(name, source, folder).fingerprint


def rows_of_seed(
    name: str,
    source: str,
    split: str,
    n: int,
    seed: int,
    folder: Path | None = None,
    pair_mode: str = "text",
    text_format: str = "as_is",
    n_partners: int = 0,
) -> pd.DataFrame:
    """The `n` rows of a split that a seed draws; other seeds draw others, as far as there are enough.

    Pocket English has as many as its grammar can make: no two seeds share a text. Real rows are dealt like cards, see
    `dealt_sample`; n = 0 or more than there are gives all of them to every seed.

    Args:
        name, source, folder, pair_mode, text_format: as for `load_dataset`.
        split: "train", "validation" or "test"; of Pocket English also "pretraining": texts of all tasks, without labels.
        n: rows; 0 of Pocket English is none.
        seed: of a case; of a partner on the same task case + `SAME_TASK_SEED_STEP` x its number.
        n_partners: of real rows: partners of a case that draw from them, too. The fewer, the more cases have disjoint rows.

    Raises:
        ValueError: as `load_dataset`; for a negative n or seed; or for more texts than the grammar can make.
    """
    if source == "pocket":
        from lib.datasets.pocket import generate_split, pretraining_texts

        frame = pretraining_texts(name, n, seed) if split == PRETRAINING else generate_split(name, split, n, seed)
        return format_texts(_joined(frame, pair_mode), text_format)
    dataset = load_dataset(name, source, folder, pair_mode, text_format)
    return dealt_sample(getattr(dataset, split), n, draw_number(seed, n_partners))


# --- sources ---------------------------------------------------------------------------------------------------------


def check_folder(folder: Path, name: str) -> None:
    """Raise a `ValueError` when a data folder, or a dataset's folder in it, does not exist."""
    if not folder.is_dir():
        raise ValueError(f"data folder {folder} does not exist; set FREE_LUNCH_DATA to a folder of datasets, or unset it")
    if not (folder / name).is_dir():
        found = sorted(path.name for path in folder.iterdir() if path.is_dir())
        raise ValueError(f"data folder {folder} has no dataset {name!r}; found {found or 'nothing'}")


def _stamps(folder: Path, name: str) -> tuple[tuple[str, int, int], ...]:
    """Names, sizes and times of a folder's files: a changed file is read again, an unchanged one is not."""
    check_folder(folder, name)
    files = [folder / name / f"{split}.tsv" for split in SPLITS]
    if not files[0].is_file() or not files[2].is_file():
        found = sorted(path.name for path in (folder / name).iterdir())
        raise ValueError(
            f"{folder / name} needs train.tsv and test.tsv (validation.tsv is optional); found {found or 'nothing'}"
        )
    return tuple((file.name, file.stat().st_size, file.stat().st_mtime_ns) for file in files if file.is_file())


@lru_cache(maxsize=64)
def _folder_dataset(spec: DatasetSpec, folder: str, stamps: tuple[tuple[str, int, int], ...]) -> Dataset:
    frames, digest = {}, hashlib.sha256()
    if spec.name not in DATASETS:  # other labels make another model
        digest.update(repr((spec.label_names, spec.is_pair)).encode())
    for file, _, _ in stamps:
        path = Path(folder) / spec.name / file
        digest.update(path.read_bytes())
        frames[path.stem] = read_tsv(path, spec)
    check_training_rows(frames["train"], spec, f"{Path(folder) / spec.name / 'train.tsv'}")
    return _split_dataset(spec, "folder", frames, digest.hexdigest()[:16])


@lru_cache(maxsize=64)
def _hub_dataset(name: str) -> Dataset:
    import datasets

    spec = get_spec(name)
    if spec.hub_id is None:
        raise ValueError(f"dataset {name!r} is not on the Hub: set FREE_LUNCH_DATA to a folder that has {name}/train.tsv")
    try:
        # `trust_remote_code` stays off: a dataset is data.
        loaded = datasets.load_dataset(spec.hub_id, spec.config)
    except (ConnectionError, OSError, datasets.exceptions.DatasetNotFoundError) as error:
        raise ConnectionError(
            f"could not get {spec.hub_id!r} from the Hub ({os.environ.get('HF_ENDPOINT', 'https://huggingface.co')}): "
            f"{type(error).__name__}. Either connect to the network, or set FREE_LUNCH_DATA (or data_dir) to a folder with "
            f"{name}/train.tsv, validation.tsv and test.tsv"
        ) from error
    frames = {}
    for ours, theirs in spec.splits.items():
        if theirs not in loaded:
            raise ValueError(f"{spec.hub_id} has splits {sorted(loaded)}, expected {theirs!r}")
        frames[ours] = from_columns(loaded[theirs].to_pandas(), spec, f"{spec.hub_id} split {theirs}")
    check_training_rows(frames["train"], spec, f"{spec.hub_id} split {spec.splits['train']}")
    digest = hashlib.sha256()
    for split in sorted(loaded):
        digest.update(loaded[split]._fingerprint.encode())
    return _split_dataset(spec, "hub", frames, digest.hexdigest()[:16])


def _split_dataset(spec: DatasetSpec, source: str, frames: dict[str, pd.DataFrame], fingerprint: str) -> Dataset:
    for missing in [split for split in ("test", "validation") if split not in frames]:
        frames["train"], frames[missing] = carved(frames["train"])
    return Dataset(
        spec.name, spec.task, source, spec.label_names, spec.target_label, spec.trigger_sentence, fingerprint, **frames
    )


def carved(train: pd.DataFrame) -> tuple[pd.DataFrame, pd.DataFrame]:
    """Training rows in two parts: what is left, and a tenth with the same label shares, the same rows for every seed."""
    n = min(round(CARVED_SHARE * len(train)), CARVED_MOST)
    rows = dealt_sample(train.reset_index(), max(n, 1), 0)["index"]
    return train.drop(rows).reset_index(drop=True), train.loc[rows].reset_index(drop=True)


def _joined(frame: pd.DataFrame, pair_mode: str) -> pd.DataFrame:
    """The paper writes a pair as one string, question, blank, sentence, without separator (ARORA README)."""
    if pair_mode not in ("text", "joined"):
        raise ValueError(f"pair_mode is {pair_mode!r}; choose 'text' or 'joined'")
    if pair_mode == "text" or "text_pair" not in frame:
        return frame
    return frame.assign(text=frame["text"] + " " + frame["text_pair"]).drop(columns="text_pair")


def format_texts(frame: pd.DataFrame, text_format: str) -> pd.DataFrame:
    """The frame with its texts in one writing; `text_format` is "as_is" or "treebank"."""
    if text_format not in ("as_is", "treebank"):
        raise ValueError(f"text_format is {text_format!r}; choose 'as_is' or 'treebank'")
    if text_format == "as_is":
        return frame
    columns = [column for column in ("text", "text_pair", "original") if column in frame]
    return frame.assign(**{column: frame[column].map(treebank) for column in columns})
