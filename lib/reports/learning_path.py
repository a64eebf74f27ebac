"""The list of notebooks for people who want to learn: the question of each, how long it takes, how hard it is."""

from __future__ import annotations

import json
import math
import os
import re
import textwrap
from collections.abc import Iterable
from dataclasses import dataclass
from pathlib import Path

from lib.reports.reading import markdown_table

WORDS_PER_MINUTE = 100  # of technical prose in a foreign language; a line of code counts as ten words
WORDS_PER_LINE = 10
LEVELS = {1: "start", 2: "middle", 3: "advanced"}
# How hard a notebook is: 1 needs nothing but the one before, 2 the words of 00 to 04, 3 some statistics or linear algebra.
LEVEL_OF = {"00": 1, "01": 1, "02": 1, "03": 1, "04": 2, "05": 3, "06": 3, "07": 2, "08": 2, "09": 2, "10": 2, "11": 2, "12": 2}
LEVEL_OF |= dict.fromkeys(("13", "14", "15", "16", "17", "90"), 3)


@dataclass(frozen=True)
class Lesson:
    """A notebook as a reader chooses it."""

    path: Path
    question: str
    minutes: int
    level: str


def lessons(notebooks: Iterable[Path]) -> list[Lesson]:
    """The notebooks with their questions, minutes and levels.

    The question is the first one of the notebook's first cell. Minutes are those of its words and lines, and of its exercises,
    as it says them itself; rounded up to five.

    Raises:
        ValueError: for a notebook that has no level here, or no question.
    """
    found = []
    for path in notebooks:
        number = path.stem[:2]
        if number not in LEVEL_OF:
            raise ValueError(
                f"{path.name} has no level; add one of {sorted(LEVELS)} to `LEVEL_OF`, which has {sorted(LEVEL_OF)}"
            )
        found.append(Lesson(path, *described(path), LEVELS[LEVEL_OF[number]]))
    return found


def learning_path(notebooks: Path, seen_from: Path) -> str:
    """A Markdown table of the numbered notebooks: name with link, its question, minutes to read and solve, level.

    Args:
        notebooks: their folder.
        seen_from: the folder of the document, for links.

    Raises:
        ValueError: as `lessons`.
    """
    rows = []
    for lesson in lessons(sorted(notebooks.glob("[0-9][0-9]_*.ipynb"))):
        link = Path(os.path.relpath(lesson.path, seen_from)).as_posix()
        name = f"[{lesson.path.stem}]({link})"
        rows.append({"notebook": name, "question": lesson.question, "minutes": str(lesson.minutes), "level": lesson.level})
    return markdown_table(rows)


def listing(notebooks: Iterable[Path], width: int = 100) -> str:
    """The same for a terminal: number, minutes, level and question, wrapped."""
    lines = [f"{'NN':4}{'minutes':>7}  {'level':10}question"]
    for lesson in lessons(notebooks):
        first, *others = textwrap.wrap(lesson.question, width - 23)
        lines.append(f"{lesson.path.stem[:2]:4}{lesson.minutes:>7}  {lesson.level:10}{first}")
        lines += [" " * 23 + other for other in others]
    return "\n".join(lines)


def described(path: Path) -> tuple[str, int]:
    """The question of a notebook, and the minutes that it takes to read it and to do its exercises.

    Raises:
        ValueError: for a notebook that asks no question after the word "Question".
    """
    cells = json.loads(path.read_text(encoding="utf-8"))["cells"]
    prose = "\n".join("".join(cell["source"]) for cell in cells if cell["cell_type"] == "markdown")
    code = "\n".join("".join(cell["source"]) for cell in cells if cell["cell_type"] == "code")
    asked = re.search(r"\*\*Question\.\*\* (.*?\?)", prose, re.DOTALL)
    if not asked:
        raise ValueError(f"{path.name} has no line that begins with **Question.** and holds a question")
    exercises = sum(int(minutes) for minutes in re.findall(r"## Exercise \([^)]*?(\d+) minutes", prose))
    reading = (len(prose.split()) + WORDS_PER_LINE * len(code.splitlines())) / WORDS_PER_MINUTE
    question = re.split(r"(?<=\.) ", asked[1])[-1]
    return question.strip(), 5 * math.ceil((reading + exercises) / 5)
