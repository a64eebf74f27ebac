"""Folders that appear whole or not at all; files of a model that are no weights: read with care, copied without code."""

from __future__ import annotations

import json
import os
import shutil
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

# Configuration and tokenizer; never code, weights or the optimiser's state.
MODEL_FILES = (
    "config.json", "generation_config.json", "tokenizer*.json", "special_tokens_map.json", "added_tokens.json", "vocab.json",
    "vocab.txt", "vocab.bpe", "merges.txt", "*.model", "chat_template.json", "chat_template.jinja",
)  # fmt: skip
# What makes `from_pretrained` fetch and run code: classes and pipelines of a repository (with `trust_remote_code`), and names
# of kernels "owner/name" on the Hub in place of an attention's or experts' name (without asking).
CODE_FIELDS = ("auto_map", "custom_pipelines")
KERNEL_FIELDS = ("attn_implementation", "_attn_implementation", "experts_implementation", "_experts_implementation")
NO_SETTINGS = ("label2id", "id2label")  # their keys are names of labels, which may be any word
MAX_JSON = 100_000_000  # bytes; the largest tokenizers in use take a third of it
MAX_DEPTH = 100  # of brackets within brackets; Python itself stops at a thousand, with an error that is no ValueError


@contextmanager
def new_folder(folder: str | Path) -> Iterator[Path]:
    """A temporary folder that gets its name when the block ends without an error, and else is removed.

    Raises:
        ValueError: if the folder exists.
    """
    folder = Path(folder)
    if folder.exists():
        raise ValueError(f"output folder {folder} exists; give a new one")
    folder.parent.mkdir(parents=True, exist_ok=True)
    temporary = folder.parent / f".{folder.name}.{os.getpid()}.partial"
    temporary.mkdir()
    try:
        yield temporary
        os.replace(temporary, folder)
    finally:
        shutil.rmtree(temporary, ignore_errors=True)


def read_json(path: Path) -> dict[str, Any]:
    """The object in a JSON file that came with somebody else's model.

    Raises:
        ValueError: for what is no file that can be read, too large, not UTF-8, not JSON, nested too deeply, or no object; names
            the file.
    """
    if not path.is_file():
        raise ValueError(f"{path} is no file that can be read")
    try:
        if path.stat().st_size > MAX_JSON:
            raise ValueError(f"{path} has {path.stat().st_size} bytes; at most {MAX_JSON} are read")
        content = path.read_bytes()
    except OSError as error:
        raise ValueError(f"{path} could not be read: {error.strerror}") from error
    return parse_json(content, str(path))


def parse_json(content: bytes, where: str) -> dict[str, Any]:
    """The object in some bytes of JSON; errors as of `read_json`, with `where` as the name."""
    try:
        found = json.loads(content.decode("utf-8"))
    except UnicodeDecodeError as error:
        raise ValueError(f"{where} is damaged: not UTF-8 at byte {error.start}") from error
    except RecursionError as error:
        raise ValueError(f"{where} is damaged: its brackets are nested too deeply") from error
    except ValueError as error:
        raise ValueError(f"{where} is damaged: no JSON: {error}") from error
    if not isinstance(found, dict):
        raise ValueError(f"{where} is damaged: it holds a {type(found).__name__}; an object is needed")
    layer: list[Any] = [found]
    for _ in range(MAX_DEPTH):
        layer = [value for each in layer for value in (each.values() if isinstance(each, dict) else each)]
        layer = [value for value in layer if isinstance(value, dict | list)]
        if not layer:
            return found
    raise ValueError(f"{where} is damaged: its brackets are nested too deeply")


def model_files(folder: Path) -> list[Path]:
    """Configuration and tokenizer of a model folder."""
    return sorted({path for pattern in MODEL_FILES for path in folder.glob(pattern) if path.is_file()})


def copy_model_files(source: Path, target: Path) -> dict[str, list[str]]:
    """Copy configuration and tokenizer, less the fields that point to code.

    Returns:
        For each copied file the fields that were removed from it, most often none.

    Raises:
        ValueError: for a configuration that is damaged.
    """
    removed: dict[str, list[str]] = {}
    for path in model_files(source):
        removed[path.name] = []
        if path.name.endswith("config.json"):  # other files hold tokens, which may be any word
            config = read_json(path)
            cleaned, removed[path.name] = without_code(config)
        if removed[path.name]:
            (target / path.name).write_text(json.dumps(cleaned, indent=2, ensure_ascii=False), encoding="utf-8")
        else:
            shutil.copyfile(path, target / path.name)  # not its permissions: the copy may be changed
    return removed


def without_code(config: dict[str, Any], place: str = "") -> tuple[dict[str, Any], list[str]]:
    """A configuration without the fields that make `from_pretrained` run code, and where these were.

    >>> without_code({"model_type": "bert", "text_config": {"auto_map": {"AutoModel": "evil.Model"}}})
    ({'model_type': 'bert', 'text_config': {}}, ['text_config.auto_map'])
    """
    kept: dict[str, Any] = {}
    removed: list[str] = []
    for field, value in config.items():
        if field in CODE_FIELDS or (field in KERNEL_FIELDS and "/" in str(value)):
            removed.append(place + field)
            continue
        if isinstance(value, dict) and field not in NO_SETTINGS:
            name = field if field.isidentifier() else repr(field)  # it is printed, and somebody else chose it
            value, below = without_code(value, f"{place}{name:.80}.")
            removed += below
        kept[field] = value
    return kept, removed
