"""One notebook, executed by papermill, which says at which cell it is."""

from __future__ import annotations

import logging
import os
import re
import time
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from lib.bars import REPORT_TO, tell

QUIET_KERNEL = ["--IPKernelApp.log_level=50"]  # its notes on transport and shutdown are no news to a reader
ENGINE = "free-lunch"


@dataclass(frozen=True)
class Outcome:
    """How one notebook ended; `error` is "" when it ran to its last cell."""

    notebook: str
    seconds: float
    error: str = ""


def execute(notebook: Path, parameters: dict[str, Any], output: Path, reports: Path | None = None) -> Outcome:
    """Run one notebook; a failing cell becomes the outcome's error, and the executed copy shows it in place.

    The copy appears when the notebook has ended: one that was stopped leaves that of an earlier run alone.

    Args:
        notebook: its file.
        parameters: what is injected.
        output: of the executed copy.
        reports: a folder for files that say how far it is; the terminal reads them.
    """
    import papermill
    from nbclient.exceptions import DeadKernelError

    logging.getLogger("papermill").setLevel(logging.ERROR)
    _register()
    output.parent.mkdir(parents=True, exist_ok=True)
    under_way = output.with_name(f".{output.name}")
    if reports:
        os.environ[REPORT_TO] = str(reports / f"{notebook.stem}.bar")
    began = time.perf_counter()
    error = ""
    try:
        papermill.execute_notebook(
            str(notebook), str(under_way), parameters, ENGINE, progress_bar=False, extra_arguments=QUIET_KERNEL,
            report_to=reports and reports / f"{notebook.stem}.cell",
        )  # fmt: skip
    except papermill.PapermillExecutionError as failed:
        error = f"cell [{failed.exec_count}] failed with {failed.ename}: {failed.evalue}\n\n{failed.source}"
    except DeadKernelError as failed:  # out of memory, most often
        error = f"the notebook's kernel died: {failed}"
    os.environ.pop(REPORT_TO, None)
    if under_way.is_file():
        os.replace(under_way, output)
    return Outcome(notebook.stem, time.perf_counter() - began, error)


def _register() -> None:
    """Give papermill an engine that is its own one, and says which cell it begins."""
    from papermill.engines import NBClientEngine, papermill_engines

    class Engine(NBClientEngine):
        @classmethod
        def execute_managed_notebook(cls, nb_man: Any, kernel_name: str, **settings: Any) -> Any:
            if report_to := settings.pop("report_to", None):
                _report_cells(nb_man, report_to)
            return super().execute_managed_notebook(nb_man, kernel_name, **settings)

    papermill_engines.register(ENGINE, Engine)


def _report_cells(manager: Any, report_to: Path) -> None:
    began, begin = time.time(), manager.cell_start

    def cell_start(cell: Any, cell_index: int = 0, **settings: Any) -> None:
        cells = manager.nb.cells
        title = heading([each.source for each in cells[: cell_index + 1] if each.cell_type == "markdown"])
        tell(report_to, {"cell": cell_index + 1, "n_cells": len(cells), "heading": title, "began": began})
        begin(cell, cell_index, **settings)

    manager.cell_start = cell_start


def heading(texts: list[str]) -> str:
    """The last heading in some cells of text, or "".

    >>> heading(["# 04 Merging", "## 1. One model more\\nLook at it."])
    '1. One model more'
    """
    found = re.findall(r"^#+ (.+)$", "\n".join(texts), flags=re.MULTILINE)
    return found[-1].strip() if found else ""
