"""Progress bars with the time left. In a notebook that is executed without anybody looking they also tell the terminal."""

from __future__ import annotations

import json
import os
from collections.abc import Iterable
from pathlib import Path
from typing import Any

REPORT_TO = "FREE_LUNCH_PROGRESS"  # environment variable: the file in which a bar says how far it is; unset: none


def bar(steps: Iterable[Any] | None = None, *, title: str, unit: str, **settings: Any) -> Any:
    """A `tqdm` bar over steps; what it shows also goes to the file that `FREE_LUNCH_PROGRESS` names.

    Args:
        steps: what is gone through, or None for a bar that is moved by hand.
        title: what is done.
        unit: what one step is.
        settings: of `tqdm`.
    """
    from tqdm.auto import tqdm

    class Bar(tqdm):
        def display(self, *given: Any, **named: Any) -> Any:
            _tell(self.format_dict, title)
            return super().display(*given, **named)

        def close(self) -> None:
            _tell(None, title)
            super().close()

    return Bar(steps, desc=title, unit=unit, **settings)


def tell(path: Path, what: dict[str, Any] | None) -> None:
    """Write how far something is, whole or not at all; None takes the file away."""
    if what is None:
        path.unlink(missing_ok=True)
        return
    partial = path.with_suffix(".partial")
    partial.write_text(json.dumps(what), encoding="utf-8")
    partial.replace(path)


def told(path: Path) -> dict[str, Any]:
    """What was written last, or nothing."""
    try:
        return json.loads(path.read_text(encoding="utf-8"))
    except (OSError, ValueError):
        return {}


def _tell(state: dict[str, Any] | None, title: str) -> None:
    if not (path := os.environ.get(REPORT_TO)):
        return
    try:
        tell(Path(path), state and {"title": title, "text": _text(state)})
    except OSError:
        return  # the terminal that asked is gone: no reason to stop the work


def _text(state: dict[str, Any]) -> str:
    """Steps done, and the time left once a step is done.

    >>> _text({"n": 3, "total": 12, "elapsed": 30.0})
    '3 of 12, 1:30 left'
    """
    done, total = state["n"], state["total"]
    if not total:
        return f"{done}"
    if not done or done >= total:
        return f"{done} of {total}"
    seconds = round(state["elapsed"] / done * (total - done))
    return f"{done} of {total}, {seconds // 60}:{seconds % 60:02d} left"
