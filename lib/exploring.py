"""Whether a run has the study's own parameters, and the folder of one that has not: exploring overwrites nothing."""

from __future__ import annotations

import ast
import hashlib
import json
import re
from collections.abc import Iterable
from dataclasses import fields
from pathlib import Path
from typing import Any

from lib import paths
from lib.profiles import Profile, get_profile

# Where data lie, how much runs at a time and how much is shown: no number of a table depends on it.
NO_RESULT = ("n_jobs", "engine", "num_gpus", "data_dir", "cache_dir", "n_shown")
LONGEST_NAME = 100  # of a folder, in characters; most file systems allow 255 bytes


def default_parameters(notebook: Path) -> dict[str, Any]:
    """The values in a notebook's cell of parameters, `profile` and `overrides` among them."""
    for cell in json.loads(notebook.read_text(encoding="utf-8"))["cells"]:
        if "parameters" in cell["metadata"].get("tags", []):
            lines = ast.parse("".join(cell["source"])).body
            return {ast.unparse(each.target): _literal(each) for each in lines if isinstance(each, ast.AnnAssign)}
    raise ValueError(f"{notebook.name} has no cell with the tag parameters")


def own_parameters(notebook: str) -> dict[str, Any] | None:
    """The values of a notebook's parameters in the study itself, or None for a notebook that is no part of it.

    What the manifest of `figures/pocket` says comes before the notebook's cell: an explorer may have changed and saved that.
    """
    path = paths.NOTEBOOKS / f"{notebook}.ipynb"
    if not path.is_file():
        return None
    manifest = paths.ROOT / "figures" / "pocket" / paths.MANIFEST
    entries = json.loads(manifest.read_text(encoding="utf-8")).values() if manifest.is_file() else ()
    recorded = [entry["parameters"] for entry in entries if entry["notebook"] == notebook]
    own = default_parameters(path)
    for parameters in recorded:
        own |= {name: value for name, value in parameters.items() if name in own}
    return own


def changes(notebook: str, parameters: dict[str, Any], profile: Profile) -> dict[str, Any]:
    """The parameters and fields of the profile that are not the study's own; empty for a run that may be its reference.

    Args:
        notebook: its name without suffix.
        parameters: those that were set; `profile` and `overrides` are taken from the next argument.
        profile: with its overrides.
    """
    usual = get_profile(profile.name)
    found = {
        field.name: getattr(profile, field.name)
        for field in fields(Profile)
        if getattr(profile, field.name) != getattr(usual, field.name)
    }
    own = own_parameters(notebook)
    if own is None:
        own, found = {}, found | {"notebook": notebook}
    given = {name: value for name, value in parameters.items() if name not in ("profile", "overrides")}
    found |= {name: value for name, value in given.items() if name not in own or own[name] != value}
    return {name: value for name, value in sorted(found.items()) if name not in NO_RESULT}


def explored_dir(changed: dict[str, Any]) -> Path:
    """The folder of a run whose parameters are not the study's own, named by them: `data/explored/attack=lws+n_seeds=1`."""
    return paths.explored_dir() / _name(changed)


def _literal(line: ast.AnnAssign) -> Any:
    return ast.literal_eval(line.value) if line.value else None


def _name(changed: dict[str, Any]) -> str:
    """Names and values, legible; with a digest where a file system or a shell would not take them as they are."""
    exact = "+".join(f"{name}={_text(value)}" for name, value in changed.items())
    name = re.sub(r"[^\w.,=+-]", "-", exact, flags=re.ASCII)[:LONGEST_NAME]
    return name if name == exact else f"{name}-{hashlib.sha256(exact.encode()).hexdigest()[:8]}"


def _text(value: Any) -> str:
    if isinstance(value, str):
        return value
    if isinstance(value, Iterable):
        return json.dumps(list(value), ensure_ascii=False)
    return json.dumps(value)
