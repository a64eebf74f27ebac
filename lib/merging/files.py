"""Models in files, read row by row: safetensors in one file or in shards, of any size, without mapping them into memory."""

from __future__ import annotations

import os
from dataclasses import dataclass
from itertools import pairwise
from pathlib import Path
from typing import Any

import torch
from torch import Tensor

from lib.folders import parse_json, read_json
from lib.merging.sources import ModelSource, StateDictSource, TensorInfo

SINGLE, INDEX = "model.safetensors", "model.safetensors.index.json"
PICKLE, PICKLE_INDEX = "pytorch_model.bin", "pytorch_model.bin.index.json"
MAX_HEADER = 100_000_000  # bytes; the format's own limit
FIELDS = ("dtype", "shape", "data_offsets")
MAX_AXES = 16  # of a tensor; weights have five at most
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
        done = 0
        while done < len(into):
            try:
                if file not in self._descriptors:
                    self._descriptors[file] = os.open(file, os.O_RDONLY)
                n = os.preadv(self._descriptors[file], [into[done:]], offset + done)
            except OSError as error:
                raise ValueError(f"{self.name}: file {file.name} could not be read: {error.strerror}") from error
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
        ValueError: for a file that cannot be read, is damaged or cut short, or a type that is not known; names the file.
    """
    try:
        size = file.stat().st_size
        with open(file, "rb") as opened:
            length = int.from_bytes(opened.read(8), "little")
            if size < 8 or not 2 <= length <= min(MAX_HEADER, size - 8):
                raise ValueError(f"{file} is no safetensors file: {size} bytes, and its header would take {length}")
            header = parse_json(opened.read(length), f"the header of {file}")
    except OSError as error:
        raise ValueError(f"{file} could not be read: {error.strerror}") from error
    entries = {key: _entry(file, key, entry, size) for key, entry in header.items() if key != "__metadata__"}
    if not entries:
        raise ValueError(f"{file} has no tensors")
    ordered = sorted(entries.items(), key=lambda item: item[1][1:])
    for (one, (_, _, end)), (other, (_, first, _)) in pairwise([("", (None, 0, 0)), *ordered]):
        if first != end:
            raise ValueError(f"{file} has a damaged header: {other!r:.80} begins at byte {first}, {one!r:.80} ends at {end}")
    if size != 8 + length + (end := ordered[-1][1][2]):
        raise ValueError(f"{file} is truncated or damaged: {8 + length + end} bytes by its header, {size} found")
    return {key: (info, Place(file, 8 + length + first)) for key, (info, first, _) in ordered}


def _entry(file: Path, key: str, entry: Any, size: int) -> tuple[TensorInfo, int, int]:
    """Type and shape of a tensor by the header of a file of so many bytes, its first byte, and the byte after its last."""
    fields: list[Any] = [entry.get(field) for field in FIELDS] if isinstance(entry, dict) else [None] * 3
    dtype, shape, offsets = fields
    if not _are_sizes(shape) or not _are_sizes(offsets) or len(offsets) != 2:
        raise ValueError(
            f"{file} has a damaged header: tensor {key!r:.80} needs dtype, shape and data_offsets; found {entry!r:.80}"
        )
    if not isinstance(dtype, str) or dtype not in DTYPES:
        raise ValueError(f"{file}: tensor {key!r:.80} has type {dtype!r:.80}; known are {list(DTYPES)}")
    if len(shape) > MAX_AXES or max(shape, default=0) > size:  # no dimension of a tensor is longer than its file
        raise ValueError(f"{file} has a damaged header: tensor {key!r:.80} has shape {shape!s:.80} in {size} bytes")
    info, (first, end) = TensorInfo(DTYPES[dtype], tuple(shape)), offsets
    if end - first != info.n_bytes:
        raise ValueError(f"{file}: tensor {key!r:.80} takes {end - first} bytes, but its shape {shape} {info.n_bytes}")
    return info, first, end


def _are_sizes(value: Any) -> bool:
    return isinstance(value, list) and all(type(entry) is int and entry >= 0 for entry in value)


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
    """Tensor names to files of the folder itself: a path to elsewhere is refused."""
    found = read_json(folder / index).get("weight_map")
    if not isinstance(found, dict) or not found:
        raise ValueError(f"{folder / index} is damaged: weight_map is {found!r:.80}; it must map tensors to files")
    suffix = Path(index).name.split(".")[1]  # safetensors, or bin
    for key, name in found.items():
        if not isinstance(name, str) or Path(name).name != name or not name.endswith(f".{suffix}") or "\0" in name:
            raise ValueError(
                f"{folder / index} is damaged: {key!r:.80} is in {name!r:.80}; a .{suffix} file beside it is needed"
            )
    return found


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
            loaded = dict(torch.load(file, map_location="cpu", weights_only=True, mmap=True))
        except Exception as error:  # whatever unpickling a hostile or damaged file raises
            first_line = [*str(error).splitlines(), type(error).__name__][0]
            raise ValueError(f"{file} could not be read as plain tensors: {first_line}") from error
        for key, tensor in loaded.items():
            is_plain = isinstance(tensor, Tensor) and tensor.layout == torch.strided and tensor.dtype in DTYPES.values()
            if not isinstance(key, str) or not is_plain:
                raise ValueError(f"{file} could not be read as plain tensors: {key!r:.80} is a {type(tensor).__name__}")
        tensors |= loaded
    if not tensors:
        raise ValueError(f"{files[0]} has no tensors")
    return StateDictSource(tensors, name)
