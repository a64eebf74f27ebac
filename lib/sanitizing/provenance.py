"""SHA-256 of files, computed by a process of their own while this one imports torch and merges."""

from __future__ import annotations

import hashlib
import subprocess
import sys
from collections.abc import Iterable
from contextlib import suppress
from pathlib import Path

WEIGHT_PATTERNS = ("*.safetensors", "*.bin")
HASHER = """
import hashlib, sys
for name in sys.argv[1:]:
    with open(name, "rb") as file:
        print(hashlib.file_digest(file, "sha256").hexdigest(), flush=True)
"""


class FileHashes:
    """Hashes of weight files. A thread would wait for Python's lock all through the imports; a process does not."""

    def __init__(self) -> None:
        self._process: subprocess.Popen[str] | None = None
        self._files: list[Path] = []
        self._known: dict[Path, str] = {}

    def start(self, folders: Iterable[str | Path]) -> None:
        """Begin with the weight files of those of the names that are folders."""
        found = []
        with suppress(OSError):  # of a folder that cannot be listed: whoever opens the model says so
            found = [file for folder in map(Path, folders) for kind in WEIGHT_PATTERNS for file in sorted(folder.glob(kind))]
        # A pipe among the files would be waited for without end.
        self._files = list(dict.fromkeys(file.absolute() for file in found if file.is_file()))
        if self._files:
            command = [sys.executable, "-S", "-c", HASHER, *map(str, self._files)]
            self._process = subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.DEVNULL, text=True)

    def get(self, files: Iterable[Path]) -> dict[str, str]:
        """File names and hashes; waits for those that were begun, and computes the others."""
        if self._process:
            lines = self._process.communicate()[0].split()
            self._known |= dict(zip(self._files, lines, strict=False))
            self._process = None
        return {file.name: self._known.get(file.absolute()) or sha256(file) for file in files}

    def cancel(self) -> None:
        """Stop what is under way."""
        if self._process:
            self._process.kill()
            self._process.communicate()
            self._process = None


def sha256(file: Path) -> str:
    """Hexadecimal SHA-256 of a file."""
    with open(file, "rb") as opened:
        return hashlib.file_digest(opened, "sha256").hexdigest()
