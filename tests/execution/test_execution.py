"""Notebooks side by side: who begins first, what the terminal shows of them, and what a stopped one leaves."""

import io
import re
import sys

import nbformat
import pytest

from lib import bars
from lib.bars import bar, told
from lib.execution import Outcome, execute, run, side_by_side
from lib.execution.terminal import Terminal, running_line


def test_notebooks_that_only_read_wait_for_the_others(notebook, tmp_path):
    left = tmp_path / "left"
    slow = notebook("10_makes", f"import time; time.sleep(2); open({str(left)!r}, 'w').write('made')")
    reader = notebook("90_reads", f"print(open({str(left)!r}).read())")
    outcomes = run({reader: {}, slow: {}}, "pocket", n_jobs=2)
    assert [(outcome.notebook, outcome.error) for outcome in outcomes] == [("10_makes", ""), ("90_reads", "")]


def test_side_by_side_the_longest_notebook_begins_first_and_alone_they_keep_their_order(notebook, tmp_path):
    begun = tmp_path / "begun"
    names = [f"{number}_long" for number in ("01", "02", side_by_side.LONGEST)]
    ordered = [
        notebook(name, f"open({str(begun)!r}, 'a').write({name[:2]!r} + ' ')", "import time; time.sleep(1)") for name in names
    ]
    for n_jobs, is_first in ((2, True), (1, False)):
        begun.unlink(missing_ok=True)
        run({path: {} for path in ordered}, "pocket", n_jobs)
        assert (side_by_side.LONGEST in begun.read_text().split()[:2]) == is_first


def test_a_notebook_whose_kernel_dies_is_an_outcome_and_not_a_crash(notebook, tmp_path):
    outcome = execute(notebook("01_dies", "import os; os._exit(1)"), {}, tmp_path / "executed" / "01_dies.ipynb")
    assert outcome.notebook == "01_dies"
    assert "died" in outcome.error.lower()


def test_an_executed_copy_appears_when_its_notebook_has_ended(notebook, tmp_path):
    output, seen = tmp_path / "executed" / "01_looks.ipynb", tmp_path / "seen"
    looks = f"open({str(seen)!r}, 'w').write(str(__import__('os').path.exists({str(output)!r})))"
    assert execute(notebook("01_looks", looks), {}, output).error == ""
    assert seen.read_text() == "False"
    assert [path.name for path in output.parent.iterdir()] == [output.name]
    assert execute(notebook("01_looks", "1 / 0"), {}, output).error.startswith("cell [2] failed with ZeroDivisionError")
    assert "ZeroDivisionError" in str(nbformat.read(output, 4).cells[-1].outputs)


def test_a_running_notebook_says_its_cell_its_heading_and_its_bar(notebook, tmp_path):
    looks = (
        "import pathlib, os\nfrom lib.bars import bar\n"
        "place = pathlib.Path(os.environ['FREE_LUNCH_PROGRESS'])\n"
        "for step in bar(range(4), title='training', unit='model', mininterval=0):\n"
        "    print('SAW', step, place.with_suffix('.cell').read_text(), place.read_text())"
    )
    outcome = execute(
        notebook("04_tells", "# 04 Title", "x = 1", "## 2. How many?\nText.", looks), {}, tmp_path / "out.ipynb", tmp_path
    )
    assert outcome.error == ""
    [said] = re.findall(
        r"SAW 3.*", "".join(str(cell.get("outputs")) for cell in nbformat.read(tmp_path / "out.ipynb", 4).cells)
    )
    for part in (
        '"cell": 5',
        '"n_cells": 5',
        '"heading": "2. How many?"',
        '"title": "training"',
        '"text": "3 of 4, 0:00 left"',
    ):
        assert part in said


def test_a_bar_says_nothing_where_nobody_asked_and_takes_its_file_away_at_the_end(tmp_path, monkeypatch):
    monkeypatch.delenv(bars.REPORT_TO, raising=False)
    assert list(bar([1, 2], title="training", unit="model", file=io.StringIO())) == [1, 2]
    monkeypatch.setenv(bars.REPORT_TO, str(tmp_path / "x.bar"))
    seen = [told(tmp_path / "x.bar") for _ in bar(range(3), title="training", unit="model", mininterval=0, file=io.StringIO())]
    assert seen[2] == {"title": "training", "text": "2 of 3, 0:00 left"}
    assert list(tmp_path.iterdir()) == []
    monkeypatch.setenv(bars.REPORT_TO, str(tmp_path / "gone" / "x.bar"))  # the terminal that asked has ended
    assert list(bar([1, 2], title="training", unit="model", file=io.StringIO())) == [1, 2]


class Screen(io.StringIO):
    """A terminal."""

    def isatty(self):
        return True


CELL = {"cell": 9, "n_cells": 31, "heading": "2. How many models?", "began": 0.0}


@pytest.fixture
def reports(tmp_path):
    """What a notebook that runs has said."""
    bars.tell(tmp_path / "04_merging.cell", CELL)
    bars.tell(tmp_path / "04_merging.bar", {"title": "training", "text": "3 of 12, 1:30 left"})
    return tmp_path


def test_on_a_terminal_running_notebooks_have_a_line_that_is_written_anew(reports, monkeypatch):
    screen = Screen()
    monkeypatch.setattr(sys, "stdout", screen)
    with Terminal(reports, 2) as terminal:
        terminal.refresh()
        terminal.refresh()
        assert screen.getvalue().count("  04_merging: ") == 2 and screen.getvalue().count("\x1b[1F\x1b[J") == 1
        terminal.ended(Outcome("04_merging", 3.2))
        terminal.refresh()
    assert screen.getvalue().endswith("\x1b[1F\x1b[J[1/2] 04_merging: done in 3 s\n")
    assert max(map(len, screen.getvalue().replace("\x1b[1F\x1b[J", "").splitlines())) < 80


def test_in_a_log_they_have_a_line_now_and_then(reports, monkeypatch, capsys):
    terminal = Terminal(reports, 2)
    terminal.refresh()
    assert capsys.readouterr().out == ""
    monkeypatch.setattr("lib.execution.terminal.LOG", 0.0)
    terminal.refresh()
    said = capsys.readouterr().out
    assert said.startswith("  04_merging: ") and "cell 9 of 31" in said and "\x1b" not in said


def test_a_line_without_heading_or_bar_is_short():
    assert running_line("00_x", CELL | {"heading": ""}, {}, 5.0) == "  00_x: 5 s, cell 9 of 31"
