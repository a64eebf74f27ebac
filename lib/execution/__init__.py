"""Notebooks executed without anybody looking: one by papermill, several side by side, what the terminal shows of them.

May import: `bars`, `paths`.
"""

from lib.execution.engine import Outcome, execute
from lib.execution.side_by_side import Stopped, run

__all__ = [
    "Outcome",
    "Stopped",
    "execute",
    "run",
]
