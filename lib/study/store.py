"""The store: one folder per artifact key, written whole or not at all, checked when read, shared by processes."""

from __future__ import annotations

import errno
import hashlib
import json
import os
import shutil
import time
import warnings
from collections.abc import Callable, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import ClassVar

from filelock import FileLock, Timeout

from lib.study.recipes import Recipe

CANNOT_WRITE = (
    errno.EACCES, errno.EPERM, errno.EROFS, errno.ENOSPC, errno.EDQUOT, errno.ENOTDIR, errno.EEXIST,
)  # fmt: skip
ARTIFACT = "artifact.json"  # written last: a folder without it is not an artifact


class StoreError(OSError):
    """The store cannot be written; what is already in it stays as it is."""


class MissingRunsError(RuntimeError):
    """A study that only reads was asked for what the store does not have."""


class UndeclaredError(RuntimeError):
    """A table asked for a model that it had not declared."""


class Store:
    """Artifacts under `root`, by key. A killed run leaves nothing half-written; a damaged artifact is made again."""

    # Spent on artifacts that the one under way needed; several objects may stand for one store.
    _core_seconds_of_others: ClassVar[float] = 0.0

    def __init__(self, root: Path) -> None:
        self.root = Path(root)
        self._sound: dict[str, tuple[tuple[str, ...], tuple[int, ...]]] = {}  # files of an artifact, and their stamp

    def folder(self, recipe: Recipe) -> Path:
        """Where the recipe's artifact lies, whether it exists or not."""
        return self.root / recipe.key

    def has(self, recipe: Recipe) -> bool:
        """Whether a sound artifact exists: every file as it was written, by size and SHA-256."""
        folder = self.folder(recipe)
        try:
            names, stamp = self._sound.get(recipe.key, ((), ()))
            if names and _stamp(folder, names) == stamp:  # unchanged files are read and hashed once per process
                return True
            files = json.loads((folder / ARTIFACT).read_text(encoding="utf-8"))["files"]
            names = (ARTIFACT, *sorted(files))
            stamp = _stamp(folder, names)
            if any(_sha256(folder / name) != digest for name, digest in files.items()):
                return False
            self._sound[recipe.key] = names, stamp
        except (OSError, ValueError, KeyError, TypeError, AttributeError):
            return False
        return True

    def core_seconds(self, recipe: Recipe) -> float:
        """Processor time that making an artifact took, without others made for it; a `FileNotFoundError` without it."""
        return float(json.loads((self.folder(recipe) / ARTIFACT).read_text(encoding="utf-8"))["core_seconds"])

    def get_or_make(self, recipe: Recipe, make: Callable[[Path], None]) -> Path:
        """The artifact's folder; `make(folder)` writes its files if there is no sound one.

        One process makes it, others wait. `make` writes into a temporary folder that is renamed when it is complete.

        Raises:
            StoreError: when the store is read-only or full; names the folder and the way out.
        """
        folder = self.folder(recipe)
        if self.has(recipe):
            return folder
        with self._writing(), self._lock(recipe.key):
            if self.has(recipe):  # another process made it while we waited
                return folder
            if folder.exists():
                warnings.warn(f"artifact {recipe.key} in {self.root} is damaged and is made again", stacklevel=2)
                shutil.rmtree(folder)
            temporary = self.root / f".{recipe.key}.partial"
            shutil.rmtree(temporary, ignore_errors=True)  # of a killed run: we hold its lock
            temporary.mkdir()
            try:
                with self._timed() as seconds:
                    make(temporary)
                _seal(temporary, recipe, seconds[0])
                os.replace(temporary, folder)
            finally:
                shutil.rmtree(temporary, ignore_errors=True)
        return folder

    @contextmanager
    def _timed(self):
        """A list that gets the processor time of the block, without that of artifacts made inside it."""
        seconds, before, began = [0.0], Store._core_seconds_of_others, time.process_time()
        Store._core_seconds_of_others = 0.0
        try:
            yield seconds
        finally:
            whole = time.process_time() - began
            seconds[0] = whole - Store._core_seconds_of_others
            Store._core_seconds_of_others = before + whole

    def is_being_made(self, recipe: Recipe) -> bool:
        """Whether another process is making the recipe's artifact at this moment."""
        if not self.root.is_dir():
            return False
        try:
            with self._lock(recipe.key).acquire(blocking=False):
                return False
        except Timeout:
            return True
        except OSError:  # a store that cannot be written: nobody makes anything there
            return False

    @contextmanager
    def _writing(self):
        try:
            self.root.mkdir(parents=True, exist_ok=True)
            yield
        except OSError as error:
            # Reading data or models may fail in the same ways: only what happens below the root is about the store.
            # A missing parent of the root counts as ours, too: it is made with the root.
            name = error.filename
            is_ours = name is None or Path(name).is_relative_to(self.root) or self.root.is_relative_to(name)
            if is_ours and error.errno in CANNOT_WRITE:
                raise StoreError(
                    error.errno,
                    f"cannot write to the store {self.root}: {os.strerror(error.errno)}; free some space there or set "
                    "FREE_LUNCH_CACHE to another folder. Finished artifacts are kept",
                ) from error
            raise

    def _lock(self, key: str) -> FileLock:
        locks = self.root / ".locks"
        locks.mkdir(exist_ok=True)
        return FileLock(locks / key)


def _seal(folder: Path, recipe: Recipe, core_seconds: float) -> None:
    """Flush all files, then write what they must be, what made them, and how long that took."""
    files = {str(path.relative_to(folder)): _sha256(path) for path in sorted(folder.rglob("*")) if path.is_file()}
    content = {"kind": type(recipe).__name__, "recipe": recipe.as_dict(), "core_seconds": core_seconds, "files": files}
    (folder / ARTIFACT).write_text(json.dumps(content, indent=1, ensure_ascii=False), encoding="utf-8")
    for name in [*files, ARTIFACT]:
        with open(folder / name, "rb+") as file:
            os.fsync(file.fileno())


def _stamp(folder: Path, names: Sequence[str]) -> tuple[int, ...]:
    """Sizes and times of change of some files."""
    stats = [os.stat(os.path.join(folder, name)) for name in names]
    return tuple(value for stat in stats for value in (stat.st_size, stat.st_mtime_ns))


def _sha256(path: Path) -> str:
    with open(path, "rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()
