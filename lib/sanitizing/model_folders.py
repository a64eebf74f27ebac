"""Models of other people, in folders or on the Hub: opened, checked against each other, merged into a new folder."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch

from lib.folders import MODEL_FILES, model_files, read_json
from lib.merging import Merge, ModelSource
from lib.merging.files import PICKLE, PICKLE_INDEX, open_weights
from lib.merging.sources import RenamedSource
from lib.models.checkpoints import Checkpoint
from lib.models.compatibility import align_heads, check_compatible
from lib.models.pretrained import resolve_pretrained
from lib.sanitizing.plan import Plan
from lib.sanitizing.texts import measured

# What is used of a configuration; everything else travels as it is.
FIELD_TYPES = {
    "model_type": str, "architectures": list, "quantization_config": dict, "vocab_size": int, "tie_word_embeddings": bool,
}  # fmt: skip


def open_models(names: Sequence[str], same_labels: bool = False, permute_heads: bool = False) -> ModelFolders:
    """Open model folders or Hub models and check that they fit together; only headers and configurations are read.

    Raises:
        ValueError: for a folder that is missing or damaged, or models that do not fit; says which and why.
        ConnectionError: for a Hub model without a network.
    """
    folders = [model_folder(name) for name in names]
    checkpoints = [Checkpoint(folder, str(folder), name) for folder, name in zip(folders, names, strict=True)]
    try:
        for checkpoint in checkpoints:
            _check_config(checkpoint)
        check_compatible(checkpoints, same_labels=same_labels, any_order=permute_heads)
    except OSError as error:
        raise ValueError(f"{error.filename} could not be read: {error.strerror}") from error
    sources = [open_weights(folder, name) for folder, name in zip(folders, names, strict=True)]
    return ModelFolders(tuple(checkpoints), tuple(align_heads(checkpoints, sources) if permute_heads else sources))


def model_folder(name: str) -> Path:
    """The folder of a model: as given, or of the Hub's local cache after fetching it. Code on the Hub is never fetched."""
    try:
        if name and Path(name).expanduser().is_dir():
            return Path(name).expanduser()
    except (OSError, RuntimeError) as error:  # a name that is too long, a home of nobody
        raise ValueError(f"model folder {name!r:.80} could not be opened: {error}") from error
    resolved = resolve_pretrained(name)
    if Path(resolved).is_dir():
        return Path(resolved)
    from huggingface_hub import snapshot_download

    patterns = [*MODEL_FILES, "*.safetensors", "*.safetensors.index.json"]
    try:
        folder = Path(snapshot_download(resolved, allow_patterns=patterns))
        if not any(folder.glob("*.safetensors")):
            folder = Path(snapshot_download(resolved, allow_patterns=[*patterns, PICKLE, PICKLE_INDEX, "pytorch_model-*.bin"]))
    except (OSError, ValueError) as error:
        raise ConnectionError(f"could not get model {name!r} from the Hub: {str(error).splitlines()[0]}") from error
    return folder


def _check_config(checkpoint: Checkpoint) -> None:
    """Raise unless the model's JSON files can be read and what is used of its configuration has the right types."""
    file = checkpoint.folder / "config.json"
    if not file.is_file():
        found = sorted(path.name for path in checkpoint.folder.iterdir())
        raise ValueError(f"model folder {checkpoint.folder} has no config.json; found {found or 'nothing'}")
    for path in model_files(checkpoint.folder):
        if path.suffix == ".json":
            read_json(path)
    config = checkpoint.config
    for field, kind in FIELD_TYPES.items():
        if config.get(field) is not None and type(config[field]) is not kind:
            raise ValueError(f"{file} has {field} {config[field]!r:.80}; it must be of type {kind.__name__}")
    if not all(isinstance(name, str) for name in config.get("architectures") or []):
        raise ValueError(f"{file} has architectures {config['architectures']!r:.80}; they must be names")
    if quantization := config.get("quantization_config"):
        method = quantization.get("quant_method")
        raise ValueError(f"{checkpoint.name} is quantised ({method!s:.80}); dequantise the model first")
    _ = checkpoint.label_names  # raises for labels without order or names


@dataclass(frozen=True)
class ModelFolders:
    """Models that fit together, the suspect first."""

    checkpoints: tuple[Checkpoint, ...]
    sources: tuple[ModelSource, ...]

    @property
    def label_names(self) -> tuple[str, ...]:
        """Label names in the suspect's order."""
        return self.checkpoints[0].label_names

    @property
    def folders(self) -> list[Path]:
        """The models' folders."""
        return [checkpoint.folder for checkpoint in self.checkpoints]

    @property
    def tied(self) -> dict[str, str]:
        """Further names of a tensor in the files to its first name."""
        return _tied_in_files(self.checkpoints[0], self.sources)

    def open_pretrained(self, name: str) -> ModelSource:
        """The weights of a pretrained model, a folder or Hub id, under the models' names."""
        return _open_pretrained(name, self.sources[0])

    def plan(self, method: str, pretrained: str | None = None, texts: Path | None = None, **settings: Any) -> Plan:
        """Check a merge; see `lib.merging.engine.Merge` for the settings.

        Args:
            method: a key of `MERGE_METHODS`.
            pretrained: folder or Hub id of the model they were fine-tuned from.
            texts: clean texts for methods that measure the models (fisher, regmean).
        """
        start = self.open_pretrained(pretrained) if pretrained else None
        statistics = measured(method, self.folders, texts)
        if "fishers" in statistics:  # rows of a permuted head take their Fishers along; inputs of a layer have no labels
            statistics["fishers"] = align_heads(self.checkpoints, statistics["fishers"])
        merge = Merge(self.sources, method, pretrained=start, statistics=statistics, tied=self.tied, **settings)
        return Plan(self, merge, method, pretrained, {name: value for name, value in settings.items() if value})


def _open_pretrained(name: str, first: ModelSource) -> ModelSource:
    """The pretrained weights under the models' names: `embeddings...` of a bare encoder is `bert.embeddings...` there."""
    source = open_weights(model_folder(name), name)
    if any(key in first.tensors for key in source.tensors):
        return source
    prefix = next(iter(first.tensors)).split(".")[0] + "."
    return RenamedSource(source, prefix)


def _tied_in_files(first: Checkpoint, sources: Sequence[ModelSource]) -> dict[str, str]:
    """Tensors that a file holds twice although the configuration says that they are one: equal ones of vocabulary size."""
    if not first.config.get("tie_word_embeddings", True):
        return {}
    infos = sources[0].tensors
    large = [key for key, info in infos.items() if info.shape[:1] == (first.config.get("vocab_size"),) and len(info.shape) == 2]
    tied = {}
    for key in large[1:]:
        same_shape = infos[key].shape == infos[large[0]].shape
        if same_shape and all(_equal(source, key, large[0]) for source in sources):
            tied[key] = large[0]
    return tied


def _equal(source: ModelSource, key: str, other: str, step: int = 1024) -> bool:
    n_rows = source.tensors[key].n_rows
    ranges = [(start, min(n_rows, start + step)) for start in range(0, n_rows, step)]
    return all(torch.equal(source.rows(key, *each).clone(), source.rows(other, *each)) for each in ranges)
