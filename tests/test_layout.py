"""The house: every wing stands on a floor, and imports run down or sideways, never up and never in a circle."""

import re

import pytest

from lib.paths import ROOT

LIB = ROOT / "lib"
# From the top. A wing may import what stands below it and, on its own floor, what stands to its right.
FLOORS = (
    ("verify", "site", "run_notebooks", "adapt_masked_lm", "sanitize", "pretrain_pocket", "answers", "notebook"),
    ("dry_run", "reports", "execution"),
    ("tables",),
    ("study", "plots"),
    ("sanitizing", "attacks", "defenses", "why"),
    ("models", "datasets"),
    ("merging", "metrics", "bars", "exploring", "folders", "profiles", "paths"),
)
PLACES = {name: (floor, place) for floor, names in enumerate(FLOORS) for place, name in enumerate(names)}
IMPORT = re.compile(r"^\s*(?:from lib\.(\w+)[\w.]* import|from lib import (\w+)|import lib\.(\w+))", re.MULTILINE)
WINGS = sorted(path.name for path in LIB.iterdir() if (path / "__init__.py").is_file())


def imports_of(name):
    """The other parts of `lib` that a wing or module imports anywhere, inside functions, too."""
    files = (LIB / name).rglob("*.py") if (LIB / name).is_dir() else [LIB / f"{name}.py"]
    found = {next(filter(None, match.groups())) for file in files for match in IMPORT.finditer(file.read_text("utf-8"))}
    return found - {name}


def test_every_part_of_the_package_stands_on_a_floor():
    modules = {path.stem for path in LIB.glob("*.py")} - {"__init__"}
    assert modules | set(WINGS) == set(PLACES)


@pytest.mark.parametrize("name", PLACES)
def test_no_import_runs_back_up(name):
    for other in imports_of(name):
        assert PLACES[other] > PLACES[name], f"{name} imports {other}"


def test_figures_never_see_a_study():
    assert imports_of("plots") <= {"metrics"}


def test_metrics_know_nothing_but_numbers():
    assert imports_of("metrics") == set()


@pytest.mark.parametrize("wing", WINGS)
def test_a_wing_says_what_it_is_for_and_what_it_may_import(wing):
    text = (LIB / wing / "__init__.py").read_text(encoding="utf-8")
    said = text.split('"""')[1].split("May import:")[1].split(".\n")[0]
    allowed = set(re.findall(r"`(\w+)`", said))
    if "everything below" in said:
        allowed |= {name for name, place in PLACES.items() if any(place > PLACES[named] for named in allowed & set(PLACES))}
    if "everything but the commands" in said:
        allowed |= set(PLACES) - {"verify", "run_notebooks", "sanitize", "pretrain_pocket", "answers"}
    assert imports_of(wing) <= allowed, imports_of(wing) - allowed


def test_notebooks_import_from_wings_only():
    for path in (ROOT / "notebooks").rglob("*.ipynb"):
        for module in re.findall(r"from lib([.\w]*) import", path.read_text(encoding="utf-8")):
            assert module.removeprefix(".") in WINGS, f"{path.name}: lib{module}"


def test_the_map_of_the_package_is_short():
    assert len((LIB / "__init__.py").read_text(encoding="utf-8").splitlines()) <= 10
