"""Answers without weights: what the models behind some tables said to every text, in one small file beside the tables.

Whoever has the data and the pretrained model makes the tables again from it in minutes, without a training, and a study that
stopped on one machine goes on with further seeds and tasks on another. Texts of datasets are not in it.
"""

from __future__ import annotations

import hashlib
import json
import os
import re
import shutil
import zipfile
from collections.abc import Iterator, Sequence
from pathlib import Path, PurePosixPath
from typing import Any

from lib.folders import parse_json
from lib.merging.lora import PEFT_CONFIG
from lib.models.adapters import ANSWERS_ONLY
from lib.models.pretrained import BASE_FILE
from lib.paths import MANIFEST
from lib.study.recipes import LogitsRecipe, TriggerRecipe, key_of
from lib.study.store import ARTIFACT, Store

ANSWERS = "answers.zip"
INDEX, BLOBS = "index.json", "files/"
KEY, DIGEST = re.compile(r"[0-9a-f]{20}"), re.compile(r"[0-9a-f]{64}")
DATE = (1980, 1, 1, 0, 0, 0)  # of every entry: equal answers are an equal file


def keep_answers(figures: Path, store: Store, notebooks: Sequence[str] = ()) -> Path:
    """Write what the models behind the tables of a folder said: logits, triggers, records of trainings; no weights, no texts.

    Args:
        figures: with tables and a manifest.
        store: where their notebooks ran.
        notebooks: two-digit numbers of those whose tables are meant; default all that the manifest knows.

    Returns:
        The file.

    Raises:
        ValueError: for a folder without a manifest, a notebook that made none of its tables, or a store that lacks some of
            their runs.
    """
    if not (figures / MANIFEST).is_file():
        raise ValueError(f"{figures} has no {MANIFEST}: it is no folder of tables")
    runs = _runs(figures)
    if unknown := sorted(set(notebooks) - runs.keys()):
        raise ValueError(f"no table of {figures} comes from notebooks {unknown}; choose from {sorted(runs)}")
    keys = sorted(set().union(*(runs[number] for number in notebooks or runs)))
    if missing := [key for key in keys if not (store.root / key / ARTIFACT).is_file()]:
        raise ValueError(
            f"the store {store.root} lacks {len(missing)} of {len(keys)} runs, such as {missing[0]}; run them first"
        )
    keys += sorted(set(_triggers(keys, store)) - set(keys))
    index, blobs = {}, dict[str, bytes]()
    for key in keys:
        artifact = json.loads((store.root / key / ARTIFACT).read_text(encoding="utf-8"))
        kept = {name: digest for name, digest in artifact["files"].items() if _is_kept(name, artifact["kind"])}
        before = set(artifact.pop("left_out", ())) | artifact["files"].keys()
        index[key] = artifact | {"files": kept, "left_out": sorted(before - kept.keys())}
        blobs |= {digest: (store.root / key / name).read_bytes() for name, digest in kept.items()}
    temporary = figures / f".{ANSWERS}.partial"
    with zipfile.ZipFile(temporary, "w", zipfile.ZIP_DEFLATED, compresslevel=9) as archive:
        archive.writestr(_entry(INDEX), json.dumps(index, ensure_ascii=False))
        for digest, content in sorted(blobs.items()):
            archive.writestr(_entry(BLOBS + digest), content)
    os.replace(temporary, figures / ANSWERS)
    return figures / ANSWERS


def _runs(figures: Path) -> dict[str, set[str]]:
    """Keys of what the tables of a folder are made from, by the two-digit number of the notebook."""
    runs = dict[str, set[str]]()
    for entry in json.loads((figures / MANIFEST).read_text(encoding="utf-8")).values():
        runs.setdefault(entry["notebook"][:2], set()).update(entry["runs"])
    return runs


def has_all_answers(figures: Path, notebooks: Sequence[str] = ()) -> bool:
    """Whether the file beside some tables has every run behind them.

    Restored in part, its models would stand without weights where another notebook of the same tables needs weights.

    Args:
        figures: with tables and a manifest.
        notebooks: two-digit numbers of those whose tables are meant; default all.

    Raises:
        ValueError: for a file that is damaged.
    """
    archive = figures / ANSWERS
    if not archive.is_file():
        return False
    runs = _runs(figures)
    try:
        with zipfile.ZipFile(archive) as opened:
            held = set(parse_json(opened.read(INDEX), f"{INDEX} of {archive}"))
    except (zipfile.BadZipFile, KeyError, OSError, TypeError) as error:
        raise ValueError(f"{archive} could not be read: {error}") from error
    return all(runs.get(number, set()) <= held for number in notebooks or runs)


def _entry(name: str) -> zipfile.ZipInfo:
    entry = zipfile.ZipInfo(name, DATE)
    entry.compress_type = zipfile.ZIP_DEFLATED
    return entry


def _is_kept(name: str, kind: str) -> bool:
    """No weights, and no file of an adapter: it names a folder of this machine."""
    is_weights = name.endswith(".safetensors") and kind != LogitsRecipe.__name__
    return not is_weights and PurePosixPath(name).name not in (BASE_FILE, PEFT_CONFIG)


def _triggers(keys: list[str], store: Store) -> Iterator[str]:
    """Keys of the fitted triggers of some artifacts: to fit them again may take a language model."""
    for key in keys:
        trigger = json.loads((store.root / key / ARTIFACT).read_text(encoding="utf-8"))["recipe"].get("trigger")
        if trigger and (store.root / (found := key_of(TriggerRecipe.__name__, trigger)) / ARTIFACT).is_file():
            yield found


def restore_answers(archive: Path, store: Store) -> int:
    """Put the answers of a file into the store, where tables find them; what is there already stays as it is.

    Models come without weights. Who asks one for more than is held gets an error that says so.

    Returns:
        How many artifacts were new.

    Raises:
        ValueError: for a file that is damaged, or no such file.
    """
    n_new = 0
    try:
        with zipfile.ZipFile(archive) as opened:
            for key, artifact in parse_json(opened.read(INDEX), f"{INDEX} of {archive}").items():
                if not KEY.fullmatch(key):
                    raise ValueError(f"{archive} is damaged: {key!r:.80} is no key of the store")
                if not (store.root / key / ARTIFACT).is_file():
                    _restore(opened, archive, store.root / key, artifact)
                    n_new += 1
    except (zipfile.BadZipFile, KeyError, OSError, TypeError, AttributeError) as error:
        raise ValueError(f"{archive} could not be read: {error}") from error
    return n_new


def _restore(opened: zipfile.ZipFile, archive: Path, folder: Path, artifact: dict[str, Any]) -> None:
    temporary = folder.parent / f".{folder.name}.{os.getpid()}.restored"
    temporary.mkdir(parents=True)
    try:
        for name, digest in artifact["files"].items():
            place = PurePosixPath(name)
            if place.is_absolute() or ".." in place.parts or not DIGEST.fullmatch(digest):
                raise ValueError(f"{archive} is damaged: {name!r:.80} is no file of an artifact")
            content = opened.read(BLOBS + digest)
            if hashlib.sha256(content).hexdigest() != digest:
                raise ValueError(f"{archive} is damaged: the content of {name!r:.80} is another one")
            (temporary / place).parent.mkdir(parents=True, exist_ok=True)
            (temporary / place).write_bytes(content)
        if artifact["left_out"]:
            (temporary / ANSWERS_ONLY).write_text("\n".join(artifact["left_out"]), encoding="utf-8")
        (temporary / ARTIFACT).write_text(json.dumps(artifact, indent=1, ensure_ascii=False), encoding="utf-8")
        shutil.rmtree(folder, ignore_errors=True)  # without its last file it is no artifact
        os.replace(temporary, folder)
    finally:
        shutil.rmtree(temporary, ignore_errors=True)


def forget_answers(store: Store) -> int:
    """Remove the models that came without weights from the store, so that the next run trains them; returns how many."""
    found = [path.parent for path in store.root.glob(f"*/{ANSWERS_ONLY}")]
    for folder in found:
        shutil.rmtree(folder)
    return len(found)
