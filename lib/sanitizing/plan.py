"""A merge of model folders that was checked: what it will read and write, and the writing itself."""

from __future__ import annotations

import json
import os
import shutil
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

from lib.bars import bar
from lib.folders import copy_model_files, read_json
from lib.merging import Merge, ModelSource
from lib.merging.files import SafetensorsSource
from lib.merging.streaming import output_bytes, output_shards, save_merge
from lib.sanitizing.model_card import model_card
from lib.sanitizing.provenance import FileHashes

if TYPE_CHECKING:
    from lib.sanitizing.model_folders import ModelFolders
    from lib.sanitizing.screening import Screening

SPARE_BYTES = 64 << 20  # for tokenizer, index and card
GIB = 2**30


@dataclass(frozen=True)
class Plan:
    """A merge of model folders, checked and ready to be written.

    Attributes:
        models: those that are merged, the suspect first unless a screen dropped it.
        merge: the checked merge.
        method: its name.
        pretrained: as the user named it.
        settings: as the user gave them.
        screening: what a screen found beforehand, if there was one.
        notes: sentences for the user that go into the model card, too.
    """

    models: ModelFolders
    merge: Merge
    method: str
    pretrained: str | None
    settings: dict[str, Any]
    screening: Screening | None = None
    notes: tuple[str, ...] = ()

    @property
    def roles(self) -> list[str]:
        """What each merged model is, "suspect" or "other"."""
        has_suspect = self.screening is None or 0 not in self.screening.dropped
        return ["suspect" if place == 0 and has_suspect else "other" for place in range(len(self.models.checkpoints))]

    @property
    def all_notes(self) -> list[str]:
        """The notes, and one on tensors that a clipped average does not clip."""
        plain = self.merge.plain if "clipped" in self.method else []
        unclipped = (
            f"{len(plain)} tensors that the pretrained model lacks were averaged without clipping ({', '.join(plain[:3])})"
        )
        return [*self.notes, *([f"{unclipped}; --head zeros clips them, too."] if plain else [])]

    def describe(self, output: Path) -> str:
        """What will be read and written, for a person."""
        n_entries = sum(info.n_entries for info in self.merge.tensors.values())
        size, n_files = output_bytes(self.merge) / GIB, len(output_shards(self.merge))
        pairs = zip(self.roles, self.models.checkpoints, strict=True)
        merged = "\n".join([*(f"  {role:7} {model.name}" for role, model in pairs), *self.all_notes])
        return (
            f"{self.method} of {len(self.models.checkpoints)} models with {len(self.merge.tensors)} tensors, {n_entries:,} "
            f"parameters:\n{merged}\nsettings: {self.merge.settings}\noutput: {output}, {size:.2f} GiB in {n_files} file(s)"
        )

    def check_space(self, output: Path) -> None:
        """Raise a `ValueError` unless the output fits on the disk."""
        parent = next(folder for folder in [*output.absolute().parents] if folder.exists())
        needed, free = output_bytes(self.merge) + SPARE_BYTES, shutil.disk_usage(parent).free
        if needed > free:
            raise ValueError(f"{output} needs {needed / GIB:.2f} GiB, but {parent} has {free / GIB:.2f} GiB free")
        if not os.access(parent, os.W_OK):
            raise ValueError(f"{parent} is read-only; give an output folder elsewhere")

    def write(self, folder: Path, hashes: FileHashes) -> list[str]:
        """Write the merged model with configuration, tokenizer, model card and provenance into an existing folder.

        Returns:
            The fields of the suspect's configuration that point to code and were left out, such as "auto_map of config.json".
        """
        with bar(total=output_bytes(self.merge), unit="B", unit_scale=True, title="merging") as shown:
            written = save_merge(self.merge, folder, shown.update)
        copied = copy_model_files(self.models.folders[0], folder)
        self._note_dtype(folder / "config.json")
        parents = [
            {"name": model.name, "role": role, "files": hashes.get(_weight_files(source))}
            for role, model, source in zip(self.roles, self.models.checkpoints, self.merge.models, strict=True)
        ]
        removed = [f"{field} of {name}" for name, fields in copied.items() for field in fields]
        provenance = {
            "method": self.method, "settings": {**self.settings, **_plain(self.merge.settings)}, "pretrained": self.pretrained,
            "parents": parents, "written": [*written, *copied],
            "removed": removed, "notes": self.all_notes,
        }  # fmt: skip
        screened = ""
        if self.screening:
            from lib.sanitizing.screening_report import screening_record, screening_text

            provenance["screening"], screened = screening_record(self.screening), screening_text(self.screening)
        (folder / "merge.json").write_text(json.dumps(provenance, indent=1, default=str), encoding="utf-8")
        (folder / "README.md").write_text(model_card(provenance, self.models.label_names, screened), encoding="utf-8")
        return removed

    def _note_dtype(self, config_file: Path) -> None:
        dtypes = {info.dtype for info in self.merge.tensors.values() if info.dtype.is_floating_point}
        config = read_json(config_file)
        for field in {"dtype", "torch_dtype"} & config.keys():
            config[field] = str(next(iter(dtypes))).removeprefix("torch.") if len(dtypes) == 1 else config[field]
        config_file.write_text(json.dumps(config, indent=2), encoding="utf-8")


def _plain(settings: dict[str, Any]) -> dict[str, Any]:
    return {name: list(value) if isinstance(value, tuple) else value for name, value in settings.items()}


def _weight_files(source: ModelSource) -> list[Path]:
    return source.files if isinstance(source, SafetensorsSource) else []
