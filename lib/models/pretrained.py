"""Pretrained models and their tokenizers: found by name, loaded, given a head, identified by their content."""

from __future__ import annotations

import hashlib
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager, suppress
from functools import lru_cache
from pathlib import Path
from typing import TYPE_CHECKING, Any

from safetensors import SafetensorError

from lib.paths import POCKET

if TYPE_CHECKING:
    from transformers import PretrainedConfig, PreTrainedModel, PreTrainedTokenizerBase


BASE_FILE = "base.json"  # of a model that is stored as an adapter: which pretrained model it belongs to
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
        if not (folder / "config.json").is_file() or not weight_files(folder):
            found = sorted(path.name for path in folder.iterdir())
            raise ValueError(f"model folder {name} needs config.json and *.safetensors; found {found or 'nothing'}")
        return str(folder)
    if name.startswith((".", "/", "~")) or name.count("/") > 1 or not name:
        bundled = sorted(path.parent.name for path in POCKET.glob("*/config.json"))
        raise ValueError(f"model folder {name!r} does not exist; give a folder, a Hub id, or one of {bundled}")
    return name


def weight_files(folder: Path) -> list[Path]:
    """The safetensors files of a model folder, in order."""
    return sorted(folder.glob("*.safetensors"))


def fingerprint(pretrained: str) -> str:
    """What identifies a pretrained model's content: a hash of a folder's config and weights, or the Hub commit."""
    resolved = resolve_pretrained(pretrained)
    content = f"{resolved}@{_hub_commit(resolved)}" if not Path(resolved).is_dir() else _content_of(Path(resolved))
    _seen[content] = resolved
    return content


def _content_of(folder: Path) -> str:
    others = [path for name in ("tokenizer.json", BASE_FILE) for path in folder.glob(name)]
    files = sorted([folder / "config.json", *weight_files(folder), *others])
    return _hash_files(tuple((str(file), file.stat().st_size, file.stat().st_mtime_ns) for file in files))


_seen: dict[str, str] = {}  # where this process found which content


def remember_content(places: Mapping[str, str]) -> None:
    """Tell this process where content may lie that it has not seen itself: folders or Hub ids by fingerprint."""
    for content, place in places.items():
        _seen.setdefault(content, place)


def find_content(content: str, last_place: str, wanted_by: str) -> str:
    """Folder or Hub id of the pretrained model with this fingerprint: where it was, or where this process has seen it.

    Raises:
        ValueError: if neither place has it; says who needs it, and what to do.
    """
    for place in (last_place, _seen.get(content)):
        with suppress(ValueError, ConnectionError):
            if place and fingerprint(place) == content:
                return place
    raise ValueError(
        f"{wanted_by} belongs to the pretrained model {content}, which lay at {last_place!r} and is not there; put it back, "
        "or name a folder that has it as `pretrained`"
    )


def pretrained_folder(pretrained: str) -> Path:
    """The folder with the files of a pretrained model; of one on the Hub, that of its commit in the local cache.

    Raises:
        ConnectionError: for a Hub model that is not in the cache when there is no network.
    """
    resolved = Path(resolve_pretrained(pretrained))
    return resolved if resolved.is_dir() else _cached_folder(str(resolved))


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


@lru_cache(maxsize=64)
def _hub_commit(name: str) -> str:
    """The commit of a Hub model that is in the local cache, fetched first if need be: asked for once per process."""
    return _cached_folder(name).name  # .../snapshots/<commit>


def _cached_folder(name: str) -> Path:
    from huggingface_hub import try_to_load_from_cache

    from_hub("AutoConfig", name)
    cached = try_to_load_from_cache(name, "config.json")
    if not isinstance(cached, str):
        raise ConnectionError(f"model {name!r} has no config.json in the Hub's local cache")
    return Path(cached).parent


@lru_cache(maxsize=256)
def _hash_files(stamps: tuple[tuple[str, int, int], ...]) -> str:
    digest = hashlib.sha256()
    for path, _, _ in stamps:
        with open(path, "rb") as file:
            digest.update(hashlib.file_digest(file, "sha256").digest())
    return digest.hexdigest()[:16]


def from_hub(auto_class: str, name: str, **settings: Any) -> Any:
    """`from_pretrained` of a transformers Auto class, with an error that says what to do without a network."""
    import transformers

    with quiet_transformers():
        try:
            # Not None: that would ask on the terminal whether to run a model's own code.
            return getattr(transformers, auto_class).from_pretrained(name, trust_remote_code=False, **settings)
        except Exception as error:
            if Path(name).is_dir():  # whatever the libraries raise for a damaged or hostile file
                raise ValueError(f"model folder {name} could not be loaded: {error or type(error).__name__}") from error
            if not isinstance(error, OSError | ValueError | SafetensorError):
                raise
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
