"""What only notebooks need: shown texts and sentences, files of tables and figures, sliders, exercise answers.

May import: everything but the commands.
"""

from lib.metrics.summary import points
from lib.notebook import exercises, widgets
from lib.notebook.display import finding, guessed, listed, mark_changes, outcomes, show_changes
from lib.notebook.outputs import Outputs

__all__ = [
    "Outputs",
    "exercises",
    "finding",
    "guessed",
    "listed",
    "mark_changes",
    "outcomes",
    "points",
    "show_changes",
    "widgets",
]
