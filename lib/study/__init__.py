"""The study: recipes of what can be computed, the store that keeps it, and `Study`, the one object that notebooks talk to.

May import: `attacks`, `defenses`, `sanitizing` and everything below them.
"""

from lib.study.choices import attacks_on, chosen_attacks, chosen_defenses, chosen_tasks
from lib.study.store import MissingRunsError, StoreError
from lib.study.study import Study

__all__ = [
    "MissingRunsError",
    "StoreError",
    "Study",
    "attacks_on",
    "chosen_attacks",
    "chosen_defenses",
    "chosen_tasks",
]
