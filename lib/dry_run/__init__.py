"""What a profile would train, in models, GPU hours and disk, without training it.

May import: `tables` and everything below them.
"""

from lib.dry_run.offline import offline_planner
from lib.dry_run.plans import dry_run
from lib.dry_run.report import describe, report

__all__ = [
    "describe",
    "dry_run",
    "offline_planner",
    "report",
]
