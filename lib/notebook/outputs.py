"""The one way out of a notebook: tables as CSV and Markdown, figures as PNG and SVG, a manifest that says what made them."""

from __future__ import annotations

import json
import os
from dataclasses import asdict
from importlib.metadata import version
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pandas as pd
from filelock import FileLock

from lib import paths
from lib.exploring import changes, explored_dir
from lib.paths import MANIFEST
from lib.plots.style import Subject
from lib.profiles import get_profile
from lib.reports import write_reports
from lib.study.study import Study

if TYPE_CHECKING:
    from matplotlib.figure import Figure

PACKAGES = ("torch", "transformers", "datasets", "tokenizers", "numpy", "pandas")
DECIMALS = 4  # of rates in tables: one example of a test set of 10,000


class Outputs:
    """Writes the tables and figures of one notebook to `figures/<profile>/`, if it has the study's own parameters.

    Those of any other run go to a folder under `data/explored/`, which is printed: exploring overwrites no committed file.
    `FREE_LUNCH_FIGURES` comes before both.

    Args:
        study: its profile names the folder; its keys go to the manifest.
        notebook: the notebook's name, e.g. "04_merging_sanitizes".
        parameters: the notebook's parameters.
    """

    def __init__(self, study: Study, notebook: str, **parameters: Any) -> None:
        self.study, self.notebook, self.parameters = study, notebook, parameters
        self.folder = _folder(study, notebook, parameters)

    @property
    def subject(self) -> Subject:
        """Whose numbers the figures show: what they say below their title, and how they call the tasks."""
        return _subject(self.study.profile.source, self.study.profile.pretrained)

    def subject_of(self, profile: str, name: str) -> Subject:
        """Whose numbers a table or figure of another profile shows, by its manifest; by the profile where there is none."""
        path = self.folder.parent / profile / MANIFEST
        manifest = json.loads(path.read_text(encoding="utf-8")) if path.is_file() else {}
        made_by = manifest.get(name, {}).get("profile") or asdict(get_profile(profile))
        return _subject(made_by["source"], made_by["pretrained"])

    def table(self, frame: pd.DataFrame, name: str) -> pd.DataFrame:
        """Write `<name>.csv` (tidy, rates as fractions) and `<name>.md`, without columns of lists; returns what was written."""
        shown = frame[[column for column in frame if not frame[column].map(lambda value: isinstance(value, list)).any()]]
        rounded = shown.map(_rounded)
        self.folder.mkdir(parents=True, exist_ok=True)
        _replace(self.folder / f"{name}.csv", rounded.to_csv(index=False))
        _replace(self.folder / f"{name}.md", rounded.to_markdown(index=False) + "\n")
        self._record(name, "csv", "md")
        return rounded

    def figure(self, figure: Figure, name: str) -> Figure:
        """Write `<name>.png` and `<name>.svg`, equal bytes for equal figures."""
        import matplotlib

        self.folder.mkdir(parents=True, exist_ok=True)
        with matplotlib.rc_context({"svg.hashsalt": "free-lunch", "svg.fonttype": "none"}):
            figure.savefig(self.folder / f"{name}.png", dpi=130, bbox_inches="tight", metadata={"Software": None})
            figure.savefig(self.folder / f"{name}.svg", bbox_inches="tight", metadata={"Date": None})
        self._record(name, "png", "svg")
        return figure

    def reports(self) -> list[str]:
        """Write the documents that are made from the tables of all profiles; returns their names.

        Of a folder of figures outside of the checkout that is one, its `README.md`.
        """
        return [path.parent.name + "/" + path.name for path in write_reports(self.folder.parent)]

    def _record(self, name: str, *suffixes: str) -> None:
        """Enter an output into the manifest; notebooks that run side by side take turns."""
        entry = {
            "notebook": self.notebook,
            "parameters": _without_folders(self.parameters),
            "profile": _without_folders(asdict(self.study.profile)),
            "runs": sorted(self.study.used_keys),
            "versions": {package: version(package) for package in PACKAGES},
        }
        path = self.folder / MANIFEST
        with FileLock(self.folder / f".{MANIFEST}.lock"):
            manifest = json.loads(path.read_text(encoding="utf-8")) if path.is_file() else {}
            files = {f"{name}.{suffix}" for suffix in suffixes} | set(manifest.get(name, {}).get("files", []))
            manifest[name] = entry | {"files": sorted(files)}
            _replace(path, json.dumps(dict(sorted(manifest.items())), indent=1, ensure_ascii=False) + "\n")


def _subject(source: str, pretrained: str) -> Subject:
    """Data and model of a profile; of a folder or a Hub id the last name."""
    return Subject(is_synthetic=source == "pocket", model=Path(pretrained).name)


def _folder(study: Study, notebook: str, parameters: dict[str, Any]) -> Path:
    """Where a run's tables and figures go; says so if it is another place than `figures/<profile>`."""
    profile = study.profile.name
    if paths.is_told():
        folder = paths.figures_dir(profile)
        if folder != paths.ROOT / "figures" / profile:
            print(f"Tables and figures go to {paths.shown(folder)}.")
        return folder
    if not (changed := changes(notebook, parameters, study.profile)):
        return paths.figures_dir(profile)
    folder = explored_dir(changed) / profile
    print(f"Other parameters than the study's own: {', '.join(changed)}. Tables and figures go to {paths.shown(folder)}.")
    return folder


def _without_folders(values: dict[str, Any]) -> dict[str, Any]:
    """Folders by their last name: a manifest says what made an output, not on whose machine."""
    shown: dict[str, Any] = {}
    for name, value in values.items():
        if isinstance(value, dict):
            shown[name] = _without_folders(value)
        else:
            shown[name] = Path(value).name if isinstance(value, str) and Path(value).is_absolute() else value
    return shown


def _rounded(value: Any) -> Any:
    """Four decimals for rates, four significant digits for what is far smaller, such as a learning rate of 5e-05."""
    if not isinstance(value, float):
        return value
    return round(value, DECIMALS) if abs(value) >= 0.01 else float(f"{value:.{DECIMALS}g}")


def _replace(path: Path, text: str) -> None:
    """Write a text file whole or not at all."""
    temporary = path.with_name(f".{path.name}.partial")
    temporary.write_text(text, encoding="utf-8")
    os.replace(temporary, path)
