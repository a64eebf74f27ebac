"""Sphinx makes the pages; everything that it is told stands here."""

from __future__ import annotations

import re
import shutil
import sys
import tempfile
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from lib import paths
from lib.site.mixers import USUAL, Piece, mixer_pieces
from lib.site.sources import write_sources

SETTINGS: dict[str, Any] = {
    "project": "A free lunch?",
    "author": "the authors of this study",
    "copyright": "",
    "html_show_copyright": False,
    "html_show_sphinx": False,
    "extensions": ["myst_nb"],
    "html_theme": "sphinx_book_theme",
    "html_title": "A free lunch?",
    "html_static_path": [str(Path(__file__).parent / "static")],
    "html_css_files": ["site.css"],
    "html_copy_source": False,
    # Summaries of search results are fetched, which a browser does not do from a file.
    "html_show_search_summary": False,
    "html_context": {"default_mode": "auto"},  # light or dark, as the reader's system
    "html_theme_options": {
        "navbar_persistent": [],  # else there are two search boxes
        "navbar_end": [],
        "use_download_button": False,
        "use_fullscreen_button": False,
        "show_toc_level": 2,
    },
    "nb_execution_mode": "off",
    "myst_heading_anchors": 3,
    "nb_code_prompt_show": "Show the code",
    "nb_code_prompt_hide": "Hide the code",
    "suppress_warnings": ["mystnb.unknown_mime_type"],
}


def sphinx() -> Any:
    """What builds pages.

    Raises:
        ImportError: where Sphinx is not installed.
    """
    try:
        from sphinx.application import Sphinx
    except ImportError as error:
        raise ImportError(
            "the site needs Sphinx: `make report` installs it, or pip install -r requirements-site.txt"
        ) from error
    return Sphinx


def build(executed: Path, output: Path, profile: str, mixers: Sequence[Piece] = ()) -> list[str]:
    """Build the site from a copy of the executed notebooks; returns what a reader should be told.

    Args:
        executed: their folder.
        output: the folder of the pages; replaced when they are complete.
        profile: whose notebooks they are.
        mixers: pieces of HTML, for a page of their own.

    Raises:
        ImportError: where Sphinx is not installed.
        ValueError: if Sphinx finds something wrong, such as a link that leads nowhere.
    """
    application = sphinx()
    output.parent.mkdir(parents=True, exist_ok=True)
    with tempfile.TemporaryDirectory(dir=output.parent, prefix=".") as work:
        sources, pages = Path(work, "sources"), Path(work, "pages")
        told = write_sources(executed, sources, profile, mixers)
        warnings = Path(work, "warnings")
        with warnings.open("w", encoding="utf-8") as stream:
            app = application(
                sources, None, pages, Path(work, "doctrees"), "html", SETTINGS, status=None, warning=stream, freshenv=True
            )
            app.build()
        # Without colours, and without the folder that is gone when somebody reads this.
        wrong = re.sub(r"\x1b\[[\d;]*m", "", warnings.read_text(encoding="utf-8")).replace(f"{sources}/", "").strip()
        for template in Path(pages, "_static").glob("*webpack-macros.html"):  # of the themes: no pages
            template.unlink()
        if wrong:
            raise ValueError(f"the site has mistakes:\n{wrong}")
        shutil.rmtree(output, ignore_errors=True)
        pages.rename(output)
    return told


def main(profile: str, cells: Sequence[str] | None = None) -> int:
    """Build the site of a profile, after the study if nothing was executed; returns the exit status.

    Args:
        profile: a key of `PROFILES`.
        cells: tasks and attacks that get a mixer, each "task/attack"; default those of `USUAL`.
    """
    from lib import run_notebooks
    from lib.study import Study

    executed, output = paths.executed_dir(profile), paths.site_dir(profile)
    if not any(executed.glob("[0-9][0-9]_*.ipynb")):
        print(f"no notebook of profile {profile} was executed yet: first the study runs (make study)", flush=True)
        if status := run_notebooks.main(["--profile", profile]):
            return status
    try:
        sphinx()  # before the mixers, which take their time
        chosen = USUAL.get(profile, ()) if cells is None else cells
        mixers, missing = mixer_pieces(Study(profile, only_stored=True), chosen) if chosen else ([], [])
        told = [*build(executed, output, profile, mixers), *missing]
        if not chosen:
            told.append("no page of the mixer; --mixer task/attack makes one from the store, with 126 merges")
    except (ImportError, ValueError) as error:
        print(f"error: {error}", file=sys.stderr)
        return 2
    print(*told, f"the site begins at {paths.shown(output / 'index.html')}", sep="\n")
    return 0
