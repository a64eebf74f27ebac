"""Models in files, read row by row: safetensors in one file or in shards, of any size, without mapping them into memory."""

from __future__ import annotations

import json
import os
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch
from torch import Tensor

from lib.merging.sources import ModelSource, StateDictSource, TensorInfo

SINGLE, INDEX = "model.safetensors", "model.safetensors.index.json"
PICKLE, PICKLE_INDEX = "pytorch_model.bin", "pytorch_model.bin.index.json"
MAX_HEADER = 100_000_000  # bytes; the format's own limit
DTYPES = {
    "F64": torch.float64, "F32": torch.float32, "F16": torch.float16, "BF16": torch.bfloat16,
    "F8_E4M3": torch.float8_e4m3fn, "F8_E5M2": torch.float8_e5m2,
    "I64": torch.int64, "I32": torch.int32, "I16": torch.int16, "I8": torch.int8, "U8": torch.uint8, "BOOL": torch.bool,
}  # fmt: skip


@dataclass(frozen=True)
class Place:
    """Where a tensor lies: its file, and its first byte there."""

    file: Path
    offset: int


class _TwoBuffers:
    """Memory that is used again, two pieces in turn: one is worked on while the other is filled.

    To allocate every part anew costs as much as to read it, because the system hands out and takes back its pages.
    """

    def __init__(self) -> None:
        self._buffers = [torch.empty(0, dtype=torch.uint8)] * 2

    def next(self, n_bytes: int) -> Tensor:
        """The next piece, cut to a number of bytes."""
        self._buffers.reverse()
        if len(self._buffers[0]) < n_bytes:
            self._buffers[0] = torch.empty(n_bytes, dtype=torch.uint8)
        return self._buffers[0][:n_bytes]


class SafetensorsSource:
    """A model in safetensors files. Only headers are read when it is opened; rows go through two reused buffers.

    Reading with `preadv` instead of mapping keeps the file's pages out of the process's resident memory.
    """

    def __init__(self, files: list[Path], name: str) -> None:
        self.name, self.files = name, files
        self.tensors: dict[str, TensorInfo] = {}
        self.places: dict[str, Place] = {}
        for file in files:
            for key, (info, place) in read_header(file).items():
                if key in self.tensors:
                    raise ValueError(f"{name}: tensor {key!r} is in {self.places[key].file.name} and in {file.name}")
                self.tensors[key], self.places[key] = info, place
        self._descriptors: dict[Path, int] = {}
        self._read_buffers, self._wide_buffers = _TwoBuffers(), _TwoBuffers()

    def rows(self, key: str, start: int, stop: int, as_stored: bool = False) -> Tensor:
        """Rows `start` to `stop`, shape (rows, width); valid until the next call but one.

        Half precision comes in float32 unless it is wanted `as_stored`.
        """
        info, place = self.tensors[key], self.places[key]
        n_entries = (stop - start) * info.width
        part = self._read_buffers.next(n_entries * info.dtype.itemsize)
        self._read(place.file, memoryview(part.numpy()), place.offset + start * info.width * info.dtype.itemsize)
        rows = part.view(info.dtype).view(stop - start, info.width)
        if as_stored or not info.dtype.is_floating_point or info.dtype.itemsize >= torch.float32.itemsize:
            return rows
        wide = self._wide_buffers.next(n_entries * torch.float32.itemsize).view(torch.float32).view(rows.shape)
        _widen(rows, wide)
        return wide

    def _read(self, file: Path, into: memoryview, offset: int) -> None:
        if file not in self._descriptors:
            self._descriptors[file] = os.open(file, os.O_RDONLY)
        done = 0
        while done < len(into):
            n = os.preadv(self._descriptors[file], [into[done:]], offset + done)
            if n == 0:
                raise ValueError(f"{self.name}: file {file.name} ended early: it changed while it was read")
            done += n

    def close(self) -> None:
        """Close the files."""
        for descriptor in self._descriptors.values():
            os.close(descriptor)
        self._descriptors.clear()


def _widen(rows: Tensor, into: Tensor) -> None:
    """Copy half precision into float32; by numpy, for torch would start threads here that fight with those of the merge."""
    if rows.dtype == torch.bfloat16:  # the upper half of a float32
        bits = into.view(torch.uint32).numpy()
        bits[...] = rows.view(torch.uint16).numpy()
        bits <<= 16
    elif rows.dtype == torch.float16:
        into.numpy()[...] = rows.numpy()
    else:
        into.copy_(rows)


def read_header(file: Path) -> dict[str, tuple[TensorInfo, Place]]:
    """Type, shape and place of every tensor of a safetensors file, by place.

    Raises:
        ValueError: for a file that is damaged or cut short, or a type that is not known; names the file.
    """
    size = file.stat().st_size
    with open(file, "rb") as opened:
        length = int.from_bytes(opened.read(8), "little")
        if size < 8 or not 2 <= length <= min(MAX_HEADER, size - 8):
            raise ValueError(f"{file} is no safetensors file: {size} bytes, and its header would take {length}")
        try:
            header = json.loads(opened.read(length))
            entries = sorted(((key, e) for key, e in header.items() if key != "__metadata__"), key=_first_byte)
        except (ValueError, KeyError, TypeError, AttributeError) as error:
            raise ValueError(f"{file} has a damaged header: {error}") from error
    found, end = {}, 0
    for key, entry in entries:
        if entry["dtype"] not in DTYPES:
            raise ValueError(f"{file}: tensor {key!r} has type {entry['dtype']}; known are {list(DTYPES)}")
        info = TensorInfo(DTYPES[entry["dtype"]], tuple(entry["shape"]))
        first, end = entry["data_offsets"]
        if end - first != info.n_bytes:
            raise ValueError(f"{file}: tensor {key!r} takes {end - first} bytes, but its shape {entry['shape']} {info.n_bytes}")
        found[key] = info, Place(file, 8 + length + first)
    if size != 8 + length + end:
        raise ValueError(f"{file} is truncated or damaged: {8 + length + end} bytes by its header, {size} found")
    return found


def _first_byte(item: tuple[str, Mapping[str, Any]]) -> int:
    return item[1]["data_offsets"][0]


def open_weights(folder: Path, name: str) -> ModelSource:
    """The weights of a model folder: safetensors, or a pickle that is read without running its code.

    Raises:
        ValueError: for a folder without weights, a missing shard, an index that does not fit, or a pickle with more than
            tensors in it.
    """
    if (folder / INDEX).is_file():
        return _checked_index(SafetensorsSource(_shards(folder, INDEX), name), folder)
    if (folder / SINGLE).is_file():
        return SafetensorsSource([folder / SINGLE], name)
    if (folder / PICKLE_INDEX).is_file():
        return _from_pickles(_shards(folder, PICKLE_INDEX), name)
    if (folder / PICKLE).is_file():
        return _from_pickles([folder / PICKLE], name)
    found = sorted(path.name for path in folder.iterdir())
    raise ValueError(f"model folder {folder} has none of {[SINGLE, INDEX, PICKLE, PICKLE_INDEX]}; found {found or 'nothing'}")


def _weight_map(folder: Path, index: str) -> dict[str, str]:
    try:
        return json.loads((folder / index).read_text(encoding="utf-8"))["weight_map"]
    except (ValueError, KeyError, TypeError) as error:
        raise ValueError(f"{folder / index} is damaged: {error}") from error


def _shards(folder: Path, index: str) -> list[Path]:
    names = sorted(set(_weight_map(folder, index).values()))
    if missing := [name for name in names if not (folder / name).is_file()]:
        raise ValueError(f"model folder {folder} lacks {len(missing)} of {len(names)} shards: {missing[:5]}")
    return [folder / name for name in names]


def _checked_index(source: SafetensorsSource, folder: Path) -> SafetensorsSource:
    promised, found = _weight_map(folder, INDEX), {key: place.file.name for key, place in source.places.items()}
    if wrong := sorted(key for key in promised.keys() | found.keys() if promised.get(key) != found.get(key)):
        raise ValueError(f"{folder / INDEX} and its shards disagree on where {wrong[:5]} are")
    return source


def _from_pickles(files: list[Path], name: str) -> StateDictSource:
    tensors: dict[str, Tensor] = {}
    for file in files:
        try:
            tensors |= torch.load(file, map_location="cpu", weights_only=True, mmap=True)
        except Exception as error:  # whatever unpickling a hostile or damaged file raises
            raise ValueError(f"{file} could not be read as plain tensors: {str(error).splitlines()[0]}") from error
    return StateDictSource(tensors, name)
