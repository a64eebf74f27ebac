"""Networks, configurations and tokenizers written as transformers does, without its bars; a full disk is an `OSError`."""

from __future__ import annotations

import errno
from pathlib import Path
from typing import Any


def save_model(model: Any, folder: Path) -> None:
    """Write a model in Hugging Face format; a full disk is an `OSError` as everywhere else."""
    from safetensors import SafetensorError

    from lib.models.pretrained import quiet_transformers

    try:
        with quiet_transformers():
            model.save_pretrained(folder)
    except SafetensorError as error:  # it hides the system's error number
        is_full = "No space left" in str(error)
        raise OSError(errno.ENOSPC if is_full else errno.EIO, str(error)) from error


def save_config(model: Any, folder: Path) -> None:
    """Write the configuration alone, as transformers writes it beside a model's weights."""
    model.config.architectures = [type(model).__name__]
    model.config.save_pretrained(folder)


def save_tokenizer(tokenizer: Any, folder: Path) -> None:
    """Write a tokenizer beside its model."""
    from lib.models.pretrained import quiet_transformers

    with quiet_transformers():
        tokenizer.save_pretrained(folder)
