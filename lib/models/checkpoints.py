"""Pretrained models, classifiers with a shared head, and checkpoints: loaded, checked for compatibility, fingerprinted."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from functools import cached_property, lru_cache
from pathlib import Path
from typing import TYPE_CHECKING, Any

from safetensors import SafetensorError

from lib.paths import POCKET

if TYPE_CHECKING:
    from transformers import PretrainedConfig, PreTrainedModel, PreTrainedTokenizerBase

    from lib.merging import StateDict

WEIGHTS = "model.safetensors"
TOKENIZER_FILES = ("tokenizer.json", "vocab.txt", "vocab.json", "tokenizer.model")


def resolve_pretrained(name: str) -> str:
    """The folder of a bundled model (`pocket-bert`), a folder as given, or a Hub id.

    Raises:
        ValueError: for something that can only be a folder and is not one, or a folder without weights.
    """
    if name and "/" not in name and (POCKET / name / "config.json").is_file():
        return str(POCKET / name)
    folder = Path(name).expanduser()
    if name and folder.is_dir():
        if not (folder / "config.json").is_file() or not _weight_files(folder):
            found = sorted(path.name for path in folder.iterdir())
            raise ValueError(f"model folder {name} needs config.json and *.safetensors; found {found or 'nothing'}")
        return str(folder)
    if name.startswith((".", "/", "~")) or name.count("/") > 1 or not name:
        bundled = sorted(path.parent.name for path in POCKET.glob("*/config.json"))
        raise ValueError(f"model folder {name!r} does not exist; give a folder, a Hub id, or one of {bundled}")
    return name


def fingerprint(pretrained: str) -> str:
    """What identifies a pretrained model's content: a hash of a folder's config and weights, or the Hub commit."""
    resolved = resolve_pretrained(pretrained)
    if not Path(resolved).is_dir():
        return f"{resolved}@{_hub_commit(resolved)}"
    files = sorted([Path(resolved) / "config.json", *_weight_files(Path(resolved)), *Path(resolved).glob("tokenizer.json")])
    return _hash_files(tuple((str(file), file.stat().st_size, file.stat().st_mtime_ns) for file in files))


def load_tokenizer(pretrained: str) -> PreTrainedTokenizerBase:
    """The tokenizer of a pretrained model; decoders without a padding token pad with their end-of-text token."""
    resolved = resolve_pretrained(pretrained)
    # Without its files transformers would make up an empty tokenizer.
    if Path(resolved).is_dir() and not any((Path(resolved) / name).is_file() for name in TOKENIZER_FILES):
        raise ValueError(f"model folder {resolved} could not be loaded: it has none of {list(TOKENIZER_FILES)}")
    tokenizer = from_hub("AutoTokenizer", resolved)
    if tokenizer.pad_token is None:
        tokenizer.pad_token = tokenizer.eos_token
    return tokenizer


def new_classifier(pretrained: str, label_names: Sequence[str], head_seed: int) -> PreTrainedModel:
    """The pretrained model with a fresh classification head in float32.

    What the pretrained model lacks (the head; a pooler, if it has none) depends on `head_seed` alone, so that all models of
    one label space start from the same point, as in the paper's scripts (`set_seed(42)` before the model is built).

    Raises:
        ConnectionError: for a Hub id when there is no network; names both ways out.
    """
    import torch

    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(head_seed)
        model = from_hub(
            "AutoModelForSequenceClassification",
            resolve_pretrained(pretrained),
            id2label=dict(enumerate(label_names)),
            label2id={name: i for i, name in enumerate(label_names)},
            dtype=torch.float32,
        )
    if model.config.pad_token_id is None:
        model.config.pad_token_id = model.config.eos_token_id
    return model


def load_config(pretrained: str) -> PretrainedConfig:
    """The configuration of a pretrained model: a few kilobytes where the model is on the Hub."""
    return from_hub("AutoConfig", resolve_pretrained(pretrained))


@dataclass(frozen=True)
class Checkpoint:
    """A fine-tuned model in a folder in Hugging Face format; `key` identifies its content."""

    folder: Path
    key: str
    name: str

    @cached_property
    def config(self) -> dict[str, Any]:
        """The folder's `config.json`."""
        return json.loads((self.folder / "config.json").read_text(encoding="utf-8"))

    @property
    def label_names(self) -> tuple[str, ...]:
        """Label names in order."""
        labels = self.config.get("id2label") or {}
        return tuple(labels[i] for i in sorted(labels, key=int))

    @property
    def record(self) -> dict[str, Any]:
        """How it was trained: loss curve, distance from the pretrained weights, stability, seconds. Empty if not by us."""
        path = self.folder / "training.json"
        return json.loads(path.read_text(encoding="utf-8")) if path.is_file() else {}

    def state_dict(self) -> StateDict:
        """All tensors; recently used ones stay in memory. Do not modify them."""
        return _load_weights(str(self.folder), self.key)


def load_checkpoint(folder: str | Path) -> Checkpoint:
    """A checkpoint from any folder, e.g. a suspicious download.

    Raises:
        ValueError: if the folder does not exist, or lacks config or weights.
    """
    folder = Path(folder).expanduser()
    if not folder.is_dir():
        raise ValueError(f"model folder {folder} does not exist")
    resolve_pretrained(str(folder))
    if not (folder / WEIGHTS).is_file():
        raise ValueError(f"model folder {folder} has its weights in shards; one file {WEIGHTS} is needed here")
    return Checkpoint(folder.resolve(), f"folder-{fingerprint(str(folder))}", folder.name)


def _weight_files(folder: Path) -> list[Path]:
    return sorted(folder.glob("*.safetensors"))


@lru_cache(maxsize=64)
def _hub_commit(name: str) -> str:
    """The commit of a Hub model that is in the local cache, fetched first if need be: asked for once per process."""
    from huggingface_hub import try_to_load_from_cache

    from_hub("AutoConfig", name)
    cached = try_to_load_from_cache(name, "config.json")  # .../snapshots/<commit>/config.json
    if not isinstance(cached, str):
        raise ConnectionError(f"model {name!r} has no config.json in the Hub's local cache")
    return Path(cached).parent.name


@lru_cache(maxsize=256)
def _hash_files(stamps: tuple[tuple[str, int, int], ...]) -> str:
    digest = hashlib.sha256()
    for path, _, _ in stamps:
        with open(path, "rb") as file:
            digest.update(hashlib.file_digest(file, "sha256").digest())
    return digest.hexdigest()[:16]


@lru_cache(maxsize=24)
def _load_weights(folder: str, key: str) -> StateDict:
    from safetensors.torch import load_file

    return load_file(Path(folder) / WEIGHTS)


def from_hub(auto_class: str, name: str, **settings: Any) -> Any:
    """`from_pretrained` of a transformers Auto class, with an error that says what to do without a network."""
    import transformers

    with quiet_transformers():
        try:
            return getattr(transformers, auto_class).from_pretrained(name, **settings)
        except (OSError, ValueError, SafetensorError) as error:
            if Path(name).is_dir():
                raise ValueError(f"model folder {name} could not be loaded: {error}") from error
            raise ConnectionError(
                f"could not get model {name!r} from the Hub: {str(error).splitlines()[0]} Either connect to the network, or "
                "give a folder with config.json, model.safetensors and the tokenizer as `pretrained`"
            ) from error


@contextmanager
def quiet_transformers() -> Iterator[None]:
    """Context in which transformers prints neither loading bars nor notes about fresh heads."""
    from transformers.utils import logging

    verbosity, has_bar = logging.get_verbosity(), logging.is_progress_bar_enabled()
    logging.set_verbosity_error()
    logging.disable_progress_bar()
    try:
        yield
    finally:
        logging.set_verbosity(verbosity)
        if has_bar:
            logging.enable_progress_bar()
