"""What the terminal shows while notebooks run: which cell of each, what it does there, and how long that will take."""

from __future__ import annotations

import shutil
import sys
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from lib.bars import told
from lib.execution.engine import Outcome

LIVE, LOG = 0.5, 30.0  # seconds between two looks on a terminal; between two lines in a log


class Terminal:
    """Lines that stay, one per finished notebook, and below them, on a terminal, one per running notebook that changes.

    Args:
        reports: the folder in which running notebooks say how far they are.
        n_notebooks: how many will run.
    """

    def __init__(self, reports: Path, n_notebooks: int) -> None:
        self.reports, self.n_notebooks, self.n_ended = reports, n_notebooks, 0
        self.is_live = sys.stdout.isatty()
        self.seconds = LIVE
        self._n_shown, self._said_at, self._said = 0, time.monotonic(), [""]

    def __enter__(self) -> Terminal:
        return self

    def __exit__(self, *_: object) -> None:
        self._erase()

    def ended(self, outcome: Outcome) -> None:
        """Say how a notebook ended."""
        self.n_ended += 1
        for kind in ("cell", "bar"):
            (self.reports / f"{outcome.notebook}.{kind}").unlink(missing_ok=True)
        self._erase()
        mark = "FAILED" if outcome.error else "done"
        print(f"[{self.n_ended}/{self.n_notebooks}] {outcome.notebook}: {mark} in {outcome.seconds:.0f} s", flush=True)

    def refresh(self) -> None:
        """Show what the running notebooks do: always anew on a terminal, now and then in a log."""
        if self.is_live:
            self._erase()
            width = shutil.get_terminal_size().columns - 1
            lines = [line[:width] for line in self.running()]
            print(*lines, sep="\n", end="\n" if lines else "", flush=True)
            self._n_shown = len(lines)
        elif time.monotonic() - self._said_at >= LOG:
            lines, self._said_at = list(self.running()), time.monotonic()
            if lines != self._said:
                print(*lines, sep="\n", flush=True)
            self._said = lines

    def running(self) -> Iterator[str]:
        """A line for every notebook that runs."""
        for path in sorted(self.reports.glob("*.cell")):
            if cell := told(path):
                yield running_line(path.stem, cell, told(path.with_suffix(".bar")), time.time())

    def _erase(self) -> None:
        if self._n_shown:
            print(f"\x1b[{self._n_shown}F\x1b[J", end="", flush=True)  # up so many lines, and clear from there
        self._n_shown = 0


def running_line(notebook: str, cell: dict[str, Any], bar: dict[str, Any], now: float) -> str:
    """What a notebook does at this moment.

    >>> cell = {"cell": 9, "n_cells": 31, "heading": "2. How many models?", "began": 100.0}
    >>> running_line("04_merging", cell, {"title": "training", "text": "3 of 12, 1:30 left"}, 172.0)
    '  04_merging: 72 s, cell 9 of 31, training 3 of 12, 1:30 left (2. How many models?)'
    """
    line = f"  {notebook}: {now - cell['began']:.0f} s, cell {cell['cell']} of {cell['n_cells']}"
    line += f", {bar['title']} {bar['text']}" if bar else ""
    return line + (f" ({cell['heading']})" if cell["heading"] else "")
