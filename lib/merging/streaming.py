"""Write a merge as it is computed: shard by shard, in memory that does not depend on the size of the models."""

from __future__ import annotations

import ctypes
import json
import os
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path

import torch

from lib.merging.engine import Merge
from lib.merging.files import DTYPES, INDEX, SINGLE, SafetensorsSource
from lib.merging.sources import TensorInfo

M_TRIM_THRESHOLD, M_MMAP_THRESHOLD = -1, -3  # as in glibc's malloc.h
CODES = {dtype: code for code, dtype in DTYPES.items()}


def save_merge(merge: Merge, folder: Path, progress: Callable[[int], None] = lambda n_bytes: None) -> list[str]:
    """Compute a merge and write it into a folder, in the shards of its first model.

    Args:
        merge: a checked merge.
        folder: exists; use a temporary one, for an error leaves it half full.
        progress: called with the number of bytes after each part that was written.

    Returns:
        The names of the files.

    Raises:
        ValueError: for weights that are not finite.
        OSError: when the disk is full.
    """
    _keep_freed_memory()
    with _threads_beside_the_reader():
        return _save(merge, folder, progress)


def _save(merge: Merge, folder: Path, progress: Callable[[int], None]) -> list[str]:
    shards = output_shards(merge)
    parts = merge.parts()
    for file, names in shards.items():
        with open(folder / file, "wb") as opened:
            opened.write(_header({name: merge.tensors[name] for name in names}))
            for name in names:
                left = merge.tensors[name].n_rows if merge.tensors[name].n_entries else 0
                while left:
                    part = next(parts)
                    rows = part.tensors[0].contiguous()
                    opened.write(memoryview(rows.view(-1).view(torch.uint8).numpy()))
                    progress(rows.nbytes)
                    left -= len(rows)
    if len(shards) == 1:
        return list(shards)
    total = sum(info.n_bytes for info in merge.tensors.values())
    weight_map = {name: file for file, names in shards.items() for name in names}
    index = {"metadata": {"total_size": total}, "weight_map": dict(sorted(weight_map.items()))}
    (folder / INDEX).write_text(json.dumps(index, indent=2), encoding="utf-8")
    return [*shards, INDEX]


@contextmanager
def _threads_beside_the_reader() -> Iterator[None]:
    """Leave torch all cores but the one that reads ahead: threads that fight for a core are slower than fewer threads."""
    n_threads = torch.get_num_threads()
    torch.set_num_threads(max(1, n_threads - 1))
    try:
        yield
    finally:
        torch.set_num_threads(n_threads)


def _keep_freed_memory() -> None:
    """Let glibc keep up to 64 MB of freed memory for this process instead of giving it back at once.

    A merge allocates and frees a megabyte thousands of times. Pages that come from the system each time cost ten times as
    much as the arithmetic on them. Other C libraries have no `mallopt`; there merges are slower.
    """
    mallopt = getattr(ctypes.CDLL(None), "mallopt", None) if os.name == "posix" else None
    if mallopt:
        mallopt(M_TRIM_THRESHOLD, 1 << 26)
        mallopt(M_MMAP_THRESHOLD, 1 << 25)


def output_shards(merge: Merge) -> dict[str, list[str]]:
    """Which tensors go into which file: as in the first model, in its order."""
    first = merge.models[0]
    if not isinstance(first, SafetensorsSource) or len(first.files) == 1:
        return {SINGLE: list(merge.tensors)}
    files: dict[str, list[str]] = {}
    for name in merge.tensors:
        files.setdefault(first.places[name].file.name, []).append(name)
    return files


def output_bytes(merge: Merge) -> int:
    """Bytes of the merged weights."""
    return sum(info.n_bytes for info in merge.tensors.values())


def _header(infos: Mapping[str, TensorInfo]) -> bytes:
    entries: dict[str, object] = {"__metadata__": {"format": "pt"}}
    end = 0
    for name, info in infos.items():
        first, end = end, end + info.n_bytes
        entries[name] = {"dtype": CODES[info.dtype], "shape": list(info.shape), "data_offsets": [first, end]}
    text = json.dumps(entries, separators=(",", ":")).encode()
    text += b" " * (-len(text) % 8)  # tensors start at a multiple of eight bytes
    return len(text).to_bytes(8, "little") + text
