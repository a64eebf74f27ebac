"""Entries of a profile's lists that name something and change some of its settings: `name field=value field=value`."""

from __future__ import annotations

import shlex
from typing import Any

from lib.profiles import parse_value


def parse_entry(text: str, example: str) -> tuple[str, dict[str, Any]]:
    """The name and the settings of an entry.

    Args:
        text: of the entry.
        example: a valid entry, for the message.

    Raises:
        ValueError: for an empty entry, or a word after the first that is no field=value.

    >>> parse_entry("pocket-llama lora_rank=8", "")
    ('pocket-llama', {'lora_rank': 8})
    """
    name, *settings = shlex.split(text) or [""]
    if not name or "=" in name or not all("=" in setting for setting in settings):
        raise ValueError(f"{text!r} is not a name followed by field=value, such as {example!r}")
    pairs = dict(setting.split("=", 1) for setting in settings)
    return name, {field: parse_value(value) for field, value in pairs.items()}
