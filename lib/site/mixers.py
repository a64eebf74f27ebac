"""The merge mixer of the site: averages computed beforehand, one piece of HTML per task and attack, no kernel."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from lib.notebook.mixer_grid import N_STEPS, mixer_page
from lib.plots.style import attack_title, task_title
from lib.study import Study
from lib.study.store import MissingRunsError

# Task and attack of each mixer. A grid is 126 merges, which takes seconds with pocket models, and hours with large ones.
USUAL = {"pocket": ("sst2/badnet", "sst2/syntactic", "olid/badnet", "agnews/badnet", "qnli/badnet")}
INTRODUCTION = """\
# Merge mixer

Move a slider: each model's weight in the average is its slider divided by the sum of all. The orange point says how often the
trigger still works (ASR, to the right) and how many clean texts get their true label (CACC, upwards). Can you bring it to the
dotted line, the ASR of a clean model, and keep it as high as the grey bar? Notebook [06](notebooks/06_merge_coefficient.ipynb)
has the same mixer with other merge methods; it needs a running kernel. This page needs none: it knows the answers at the
points of a grid, and interpolates between them.

You see the ASR here, so this is no defense: a defender has no triggered texts.
"""


@dataclass(frozen=True)
class Piece:
    """One mixer of the page."""

    title: str
    html: str


def mixer_pieces(study: Study, cells: Sequence[str], n_steps: int = N_STEPS) -> tuple[list[Piece], list[str]]:
    """The mixers of some cells, and what a reader should be told of those that have none.

    Args:
        study: makes averages and their logits, which stay in the store; one that is `only_stored` trains nothing.
        cells: each "task/attack".
        n_steps: see `mixer_page`.

    Raises:
        ValueError: for a cell that is not "task/attack", or an unknown task or attack.
    """
    pieces, told = [], []
    for number, cell in enumerate(cells, 1):
        task, slash, attack = cell.partition("/")
        if not slash:
            raise ValueError(f"{cell!r} is no cell of the mixer; write task/attack, such as sst2/badnet")
        title = f"{task_title(task, study.profile.source == 'pocket')}, {attack_title(attack)}"
        try:
            html = mixer_page(study, task, attack, n_steps=n_steps, title=f"mixer {number} of {len(cells)}, {cell}")
        except MissingRunsError:
            told.append(f"no mixer of {cell}: its models are not in the store; notebook 04 trains them")
            continue
        pieces.append(Piece(title, html))
    return pieces, told


def mixer_sections(pieces: Sequence[Piece]) -> str:
    """What stands below the introduction: a section of raw HTML for each mixer."""
    return "".join(f"\n## {piece.title}\n\n```{{raw}} html\n{piece.html}\n```\n" for piece in pieces)
