"""Where things lie, found from this file's place; three environment variables move what users may want elsewhere."""

from __future__ import annotations

import os
from pathlib import Path

ROOT = Path(__file__).resolve().parents[1]
NOTEBOOKS = ROOT / "notebooks"
POCKET = ROOT / "data" / "pocket"
PAPER = ROOT / "data" / "paper"
MANIFEST = "manifest.json"  # of a folder of tables and figures: what made each of them


def _from_environment(variable: str, default: Path) -> Path:
    value = os.environ.get(variable, "")
    return Path(value).expanduser().resolve() if value else default


def cache_dir() -> Path:
    """Folder of the store: `FREE_LUNCH_CACHE`, or `data/cache`."""
    return _from_environment("FREE_LUNCH_CACHE", ROOT / "data" / "cache")


def executed_dir(profile: str) -> Path:
    """Folder of the executed notebooks of a profile: under `FREE_LUNCH_EXECUTED`, or `data/executed`."""
    return _from_environment("FREE_LUNCH_EXECUTED", ROOT / "data" / "executed") / profile


def figures_dir(profile: str) -> Path:
    """Folder of the tables and figures of a profile: under `FREE_LUNCH_FIGURES`, or `figures`."""
    return _from_environment("FREE_LUNCH_FIGURES", ROOT / "figures") / profile


def site_dir(profile: str) -> Path:
    """Folder of the static site of a profile: `data/site/<profile>`."""
    return ROOT / "data" / "site" / profile


def is_told() -> bool:
    """Whether the user says by `FREE_LUNCH_FIGURES` where tables and figures go."""
    return bool(os.environ.get("FREE_LUNCH_FIGURES"))


def explored_dir() -> Path:
    """Folder of the runs whose parameters are not the study's own: `data/explored`."""
    return ROOT / "data" / "explored"


def shown(path: Path) -> str:
    """A path as messages have it: from the checkout on, if it lies there."""
    return path.relative_to(ROOT).as_posix() if path.is_relative_to(ROOT) else str(path)


def data_dir() -> Path | None:
    """Folder of real datasets (`FREE_LUNCH_DATA`), or None when they come from the Hub."""
    value = os.environ.get("FREE_LUNCH_DATA", "")
    return Path(value).expanduser().resolve() if value else None
