"""Published texts whose words have published suspicions under GPT-2: ONION's scores on real data without GPT-2 at hand.

`<folder>/poisoned/<dataset>/onion_scores/` has `clean_test.tsv` and one file per attack, all with the columns `text` and
`scores` (see `lib.defenses.suspicion.read_scored_texts`); the triggered texts lie as `<attack>_test.tsv` one folder up.
"""

from __future__ import annotations

import hashlib
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np
import pandas as pd

from lib.attacks.published import FOLDER, read_triggered
from lib.datasets import load_dataset
from lib.datasets.words import treebank
from lib.defenses.onion import MIN_KNOWN
from lib.defenses.suspicion import Words, given_scores, read_scored_texts, read_scores

if TYPE_CHECKING:
    from lib.study.planning import Planner

SCORES, CLEAN = "onion_scores", "clean"
MAX_SHOWN = 60  # characters of a text in an error


@dataclass(frozen=True)
class ScoredTexts:
    """Texts as they were published, and the suspicion of each of their words under GPT-2.

    Attributes:
        frame: `text` (words parted by blanks) and the true `label`; of triggered texts `index`, their rows in the clean ones.
        scores: one array per text, shape (n_words,), high is suspicious.
    """

    frame: pd.DataFrame
    scores: list[np.ndarray]

    @property
    def words(self) -> list[Words]:
        """The words that the scores belong to."""
        return [tuple(text.split()) for text in self.frame["text"]]


@dataclass(frozen=True)
class ScoredCase:
    """The clean texts of a dataset, and those of an attack on it; `fingerprint` identifies the files."""

    clean: ScoredTexts
    triggered: ScoredTexts
    fingerprint: str


def scores_folder(planner: Planner, dataset: str) -> Path | None:
    """Folder of a dataset's published scores; None for Pocket English, data of the Hub, and a data folder that has none."""
    folder = planner.locations.data_dir
    found = folder / FOLDER / dataset / SCORES if folder and planner.profile.source == "real" else None
    return found if found and found.is_dir() else None


def needed_folder(planner: Planner, dataset: str, name: str) -> Path:
    """As `scores_folder`, for a defense of that name that cannot do without: a `ValueError` if there is none."""
    if (found := scores_folder(planner, dataset)) is None:
        place = f"{FOLDER}/{dataset}/{SCORES} in {planner.locations.data_dir}"
        raise ValueError(f"{name} needs published scores, and there are none: {place}")
    return found


def scored_attacks(planner: Planner, dataset: str) -> list[str]:
    """The attacks on a dataset whose published texts have scores, in the order of their names.

    Raises:
        ValueError: for an unknown dataset.
    """
    planner.spec(dataset)
    folder = scores_folder(planner, dataset)
    names = sorted(path.stem.removesuffix("_test") for path in folder.glob("*_test.tsv")) if folder else []
    return [name for name in names if name != CLEAN]


def scored_case(planner: Planner, dataset: str, attack: str) -> ScoredCase:
    """The clean and the triggered texts of a dataset and attack, with their scores.

    The clean file has no labels. An attack is published on all clean texts of other labels than the target, in their order: so
    the attacked ones have the labels that `read_triggered` tells, and the rest the target. Where the dataset itself has a text,
    in whatever writing, its label must agree. A few texts may lack scores: they have NaN, and a warning counts them.

    Raises:
        ValueError: for files that are missing, too many texts without scores, triggered texts that do not follow the clean
            ones in order, or labels that the dataset contradicts.
    """
    spec, folder = planner.spec(dataset), needed_folder(planner, dataset, f"{attack!r} on {dataset!r}")
    files = [folder / f"{CLEAN}_test.tsv", folder / f"{attack}_test.tsv", folder.parent / f"{attack}_test.tsv"]
    if missing := [f"{file.parent.name}/{file.name}" for file in files if not file.is_file()]:
        raise ValueError(f"ONION on published texts needs {missing}, which are not in {folder.parent}")
    clean_words, clean_scores = zip(*read_scored_texts(files[0]), strict=True)
    triggered = read_triggered(files[2], len(spec.label_names), spec.target_label)
    if triggered["original"].isna().any():
        raise ValueError(f"{files[2]} says no untouched texts, and badnet_test.tsv, which would, is missing beside it")
    rows = _places(clean_words, [tuple(text.split()) for text in triggered["original"]], files[2])
    labels = np.full(len(clean_words), spec.target_label)
    labels[rows] = triggered["label"]
    clean = pd.DataFrame({"text": map(" ".join, clean_words), "label": labels})
    _check_labels(planner, dataset, clean)
    words = [tuple(text.split()) for text in triggered["text"]]
    frame = pd.DataFrame({"text": map(" ".join, words), "label": triggered["label"].to_numpy(), "index": rows})
    attacked = ScoredTexts(frame, given_scores(read_scores(files[1]), MIN_KNOWN)(words))
    digest = hashlib.sha256(b"".join(file.read_bytes() for file in files)).hexdigest()[:16]
    return ScoredCase(ScoredTexts(clean, list(clean_scores)), attacked, digest)


def _places(texts: Sequence[Words], chosen: Sequence[Words], file: Path) -> np.ndarray:
    """Where some of the texts stand, which come in the order of all; shape (n_chosen,)."""
    places, start = list[int](), 0
    for words in chosen:
        while start < len(texts) and texts[start] != words:
            start += 1
        if start == len(texts):
            shown = " ".join(words)[:MAX_SHOWN]
            raise ValueError(f"{file}: untouched text {len(places) + 1} is not among the clean ones, in order: {shown!r}")
        places.append(start)
        start += 1
    return np.array(places, dtype=int)


def _check_labels(planner: Planner, dataset: str, clean: pd.DataFrame) -> None:
    """Compare labels with those of the dataset's own texts; one writing for both, for they were published apart."""
    loaded = load_dataset(dataset, planner.profile.source, planner.locations.data_dir, text_format="treebank")
    known = {
        text: label for each in (loaded.validation, loaded.test) for text, label in zip(each.text, each.label, strict=True)
    }
    found = clean["text"].map(treebank).map(known)
    wrong = clean[found.notna() & (found != clean["label"])]
    if found.isna().all() or len(wrong):
        shown = repr((wrong if len(wrong) else clean)["text"].iloc[0][:MAX_SHOWN])
        what = f"{len(wrong)} of the {found.notna().sum()} texts that validation and test have, too, have other labels there"
        raise ValueError(f"the scored clean texts of {dataset!r} are not those of the dataset: {what}, for example {shown}")
