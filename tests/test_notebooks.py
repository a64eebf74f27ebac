"""Every notebook keeps the form of the project and runs on tiny settings, by papermill, leaving what it promises."""

import json
import os
import re
import shutil
import subprocess
import sys
from pathlib import Path

import pandas as pd
import pytest
import yaml

from lib.dry_run.offline import offline_planner
from lib.dry_run.plans import needed_by
from lib.exploring import default_parameters
from lib.paths import NOTEBOOKS, ROOT
from lib.reports.learning_path import described

TINY = yaml.safe_load((Path(__file__).parent / "tiny.yaml").read_text(encoding="utf-8"))
ALL = sorted(NOTEBOOKS.rglob("*.ipynb"))
NUMBERED = [path for path in ALL if path.parent == NOTEBOOKS]
SOLUTIONS = [path for path in ALL if path.parent.name == "solutions"]
MAX_CELL_LINES, MAX_CODE_LINES = 15, 120
# `name: type = value  # meaning`, with no second "=" on the line, or papermill's help cannot read it.
PARAMETER = re.compile(r"^[a-z_]+: (str|int|float|bool|list|dict) = [^=]+  # [^=]+$")


def cells_of(path, kind):
    cells = json.loads(path.read_text(encoding="utf-8"))["cells"]
    return [cell | {"text": "".join(cell["source"])} for cell in cells if cell["cell_type"] == kind]


def name_of(path):
    return str(path.relative_to(NOTEBOOKS).with_suffix(""))


def test_there_are_notebooks_and_each_has_its_solutions():
    assert [path.stem[:2] for path in NUMBERED] == [
        "00",
        "01",
        "02",
        "03",
        "04",
        "05",
        "06",
        "07",
        "08",
        "09",
        "10",
        "11",
        "12",
        "13",
        "14",
        "15",
        "17",
        "90",
    ]
    assert [path.stem for path in SOLUTIONS] == [path.stem for path in NUMBERED]


@pytest.mark.parametrize("path", ALL, ids=name_of)
def test_a_notebook_has_one_parameters_cell_of_typed_and_commented_literals(path):
    tagged = [cell for cell in cells_of(path, "code") if "parameters" in cell["metadata"].get("tags", [])]
    assert len(tagged) == 1
    for line in tagged[0]["text"].splitlines():
        assert PARAMETER.match(line), line


@pytest.mark.parametrize("path", ALL, ids=name_of)
def test_a_notebook_is_stored_without_outputs(path):
    for cell in cells_of(path, "code"):
        assert cell["outputs"] == []
        assert cell["execution_count"] is None


@pytest.mark.parametrize("path", ALL, ids=name_of)
def test_a_notebook_has_short_cells_and_defines_nothing(path):
    sources = [cell["text"] for cell in cells_of(path, "code")]
    lengths = [len([line for line in source.splitlines() if line.strip()]) for source in sources]
    assert max(lengths) <= MAX_CELL_LINES
    assert sum(lengths) <= MAX_CODE_LINES
    assert not any(re.search(r"^\s*(def|class) ", source, re.M) for source in sources)


@pytest.mark.parametrize("path", NUMBERED, ids=name_of)
def test_a_notebook_tells_question_expectation_result_limits_and_exercises(path):
    prose = "\n".join(cell["text"] for cell in cells_of(path, "markdown"))
    for part in ("**Question.**", "**Expectation.**", "*Cost*", "## Result", "## Limits", "## Exercise", "## Explore"):
        assert part in prose, part
    assert prose.startswith(f"# {path.stem[:2]} ")


@pytest.mark.parametrize("path", ALL, ids=name_of)
def test_every_figure_is_told_whose_numbers_it_shows(path):
    for cell in cells_of(path, "code"):
        for line in cell["text"].splitlines():
            if re.search(r"\bplot_\w+(\(|, )", line) and "import" not in line:
                assert "subject" in line, line


@pytest.mark.parametrize("path", NUMBERED, ids=name_of)
def test_a_notebook_opens_with_what_it_answers_and_closes_with_what_was_learnt_and_the_next_one(path):
    prose = [cell["text"] for cell in cells_of(path, "markdown")]
    for part in ("**Afterwards you can answer.**", "**You need.**", f"About {described(path)[1]} minutes"):
        assert part in prose[1], part
    last = json.loads(path.read_text(encoding="utf-8"))["cells"][-1]
    assert "".join(last["source"]) == prose[-1] and prose[-1].startswith("## What you learnt\n- ")
    links = re.findall(r"\]\(([^)#]+)\)", prose[-1])
    assert all((path.parent / link).resolve().is_file() for link in links)
    following = NUMBERED[NUMBERED.index(path) + 1 :]
    assert not following or links == [following[0].name]


def test_readers_predict_before_they_see_the_data():
    cells = {path.stem[:2]: [cell["text"] for cell in cells_of(path, "code")] for path in NUMBERED}
    predicting = {number for number, sources in cells.items() if any(s.startswith("my_guess = None") for s in sources)}
    assert predicting == set(cells)
    for number in predicting:
        parts = ("my_guess = None", "guessed(my_guess,")
        guess, compared = (next(i for i, source in enumerate(cells[number]) if part in source) for part in parts)
        assert compared == guess + 2  # the cell between them shows the data


def test_the_document_of_the_notebooks_says_how_to_teach_with_them():
    text = (NOTEBOOKS / "README.md").read_text(encoding="utf-8")
    teaching = text.split("## Teach with the notebooks")[1].split("\n## ")[0]
    for part in ("90 minutes", "Half a day", "two weeks", "Rubric", "Questions to discuss", "Further reading", "Ethics"):
        assert re.search(f"^### .*{part}", teaching, re.M), part
    lesson = teaching.split("### A class of 90 minutes")[1].split("###")[0]
    assert sum(map(int, re.findall(r"^\| (\d+) \|", lesson, re.M))) == 90
    seminar = teaching.split("### A seminar")[1].split("###")[0]
    assert set(re.findall(r"\b\d\d\b", re.sub(r"^\| [^|]*\|", "", seminar, flags=re.M))) >= {path.stem[:2] for path in NUMBERED}


@pytest.mark.skipif(not (ROOT / ".git").exists() or not shutil.which("git"), reason="no git checkout")
def test_the_cell_for_hosted_notebooks_brings_the_repository_and_its_requirements(tmp_path):
    text = (NOTEBOOKS / "README.md").read_text(encoding="utf-8")
    cell = text.split("**Colab**")[1].split("```python\n")[1].split("```")[0]
    cell = cell.replace("https://github.com/OWNER/NAME", ROOT.as_uri())
    assert not re.search(r"^[%!]", cell, re.M)  # no magic
    program = f"""
import subprocess
real, asked = subprocess.run, []
def run(command, **settings):  # git as it is; what pip would install is only written down
    asked.append((command, settings.get("cwd")))
    if command[0] == "git":
        return real(command, **settings)
subprocess.run = run
{cell}
import lib.paths
print(lib.paths.ROOT, asked[1][0][-2:], asked[1][1])
"""
    environment = {name: value for name, value in os.environ.items() if name != "PYTHONPATH"}
    command = [sys.executable, "-c", program]
    run = subprocess.run(command, cwd=tmp_path, env=environment, capture_output=True, text=True, check=True)
    assert run.stdout.split() == [str(tmp_path / "free-lunch"), "['-r',", "'requirements.txt']", "free-lunch"]
    assert (tmp_path / "free-lunch" / "requirements.txt").is_file()


@pytest.fixture(scope="session")
def folders(tmp_path_factory):
    """One store and one folder of figures for all notebooks, so that they share trainings as in a real study."""
    root = tmp_path_factory.mktemp("notebooks")
    return {f"FREE_LUNCH_{name.upper()}": str(root / name) for name in ("cache", "figures", "executed")}


def papermill(path, folders, tmp_path, *arguments):
    """The plain command line of papermill, as a user would type it."""
    output = tmp_path / path.name
    command = [sys.executable, "-m", "papermill", str(path), str(output), *arguments, "--no-progress-bar"]
    run = subprocess.run(command, env=os.environ | folders, cwd=ROOT, capture_output=True, text=True, check=False)
    return run, output


def trained(folders):
    """Keys of the models in the store."""
    return {path.parent.name for path in Path(folders["FREE_LUNCH_CACHE"]).glob("*/training.json")}


def planned_models(path, settings, folders):
    """Keys of the models that a dry run of the notebook lists: fine-tuned ones, and those derived from others."""
    planner = offline_planner("pocket", cache_dir=folders["FREE_LUNCH_CACHE"], **settings["overrides"])
    needed = needed_by(planner, path.stem[:2], default_parameters(path) | settings)
    return tuple({recipe.key for recipe in recipes} for recipes in (needed.models, needed.derived))


@pytest.mark.notebooks
@pytest.mark.parametrize("path", [*NUMBERED, *SOLUTIONS], ids=name_of)
def test_a_notebook_runs_on_tiny_settings_and_leaves_what_it_promises(path, folders, tmp_path):
    settings = {"overrides": TINY["overrides"]}
    if path in NUMBERED:
        settings |= TINY["notebooks"].get(path.stem, {})
    figures = Path(folders["FREE_LUNCH_FIGURES"]) / "pocket"
    for needed in TINY["reads_from"].get(path.stem, []) if path in NUMBERED else []:
        if not (figures / TINY["outputs"][needed][0]).is_file():  # this test runs alone
            earlier = settings | TINY["notebooks"].get(needed, {})
            papermill(NOTEBOOKS / f"{needed}.ipynb", folders, tmp_path, "-y", yaml.safe_dump(earlier))
    before = trained(folders)
    run, output = papermill(path, folders, tmp_path, "-y", yaml.safe_dump(settings))
    assert run.returncode == 0, run.stderr[-3000:]
    assert output.is_file()
    if path in NUMBERED:  # the dry run knows what the notebook trains, and nothing else
        planned, derived = planned_models(path, settings, folders)
        # What attackers train has a record, too, and is derived from other models.
        assert trained(folders) - before <= planned | derived and planned <= trained(folders)
    for name in TINY["outputs"][path.stem] if path in NUMBERED else []:
        assert (figures / name).stat().st_size > 0, name
        if name.endswith(".csv"):
            table = pd.read_csv(figures / name)
            assert len(table) > 0
            for rate in {"cacc", "asr", "asr_floor"} & set(table):
                known = table[rate].dropna()  # a rate of triggered texts alone is empty beside clean ones
                assert len(known) and known.between(0, 1).all()


@pytest.mark.notebooks
def test_a_notebook_takes_an_attack_from_the_command_line_of_papermill(folders, tmp_path):
    path = NOTEBOOKS / "04_merging_sanitizes.ipynb"
    settings = yaml.safe_dump({"overrides": TINY["overrides"]})
    figures = {"FREE_LUNCH_FIGURES": str(tmp_path / "figures")}
    run, _ = papermill(path, folders | figures, tmp_path, "-y", settings, "-p", "task", "sst2", "-p", "attack", "insertsent")
    assert run.returncode == 0, run.stderr[-3000:]
    table = pd.read_csv(tmp_path / "figures" / "pocket" / "04_merging.csv")
    assert set(table["attack"]) == {"insertsent"}
    # One other-domain and one same-task series: the victim alone, then one partner more at a time.
    assert table.groupby("partners")["n_models"].apply(list).to_dict() == {"other_domains": [1, 2, 3], "same_task": [1, 2]}


@pytest.mark.notebooks
def test_the_command_reports_the_failing_cell_and_exits_with_one(folders, tmp_path):
    command = [sys.executable, "-m", "lib.run_notebooks", "--only", "00", "-p", "attack", "no_such_attack"]
    run = subprocess.run(command, env=os.environ | folders, cwd=ROOT, capture_output=True, text=True, check=False)
    assert run.returncode == 1
    assert "unknown attack 'no_such_attack'; choose from" in run.stderr
    assert "00_free_lunch_in_five_minutes: FAILED" in run.stdout
