"""A run with other parameters than the study's own leaves the committed tables alone, and says where its own are."""

import json
from dataclasses import asdict

import pandas as pd
import pytest

from lib import paths, run_notebooks
from lib.exploring import changes, default_parameters, explored_dir, own_parameters
from lib.notebook.outputs import Outputs
from lib.paths import NOTEBOOKS
from lib.profiles import get_profile
from lib.study.study import Study

MERGING = "04_merging_sanitizes"
OWN = {"task": "all", "attack": "all", "skip": ""}
FRAME = pd.DataFrame({"asr": [0.5]})


@pytest.fixture
def checkout(tmp_path, monkeypatch):
    """A checkout with notebook 04, and committed tables of it, in which nothing says where outputs go."""
    root = tmp_path / "checkout"
    (root / "notebooks").mkdir(parents=True)
    for name in (MERGING, "90_headline"):
        (root / "notebooks" / f"{name}.ipynb").write_bytes((NOTEBOOKS / f"{name}.ipynb").read_bytes())
    (root / "figures" / "pocket").mkdir(parents=True)
    entry = {"notebook": MERGING, "parameters": OWN, "profile": asdict(get_profile("pocket"))}
    (root / "figures" / "pocket" / "manifest.json").write_text(json.dumps({"04_merging": entry}))
    monkeypatch.setattr(paths, "ROOT", root)
    monkeypatch.setattr(paths, "NOTEBOOKS", root / "notebooks")
    for name in ("FIGURES", "EXECUTED"):
        monkeypatch.delenv(f"FREE_LUNCH_{name}")
    return root


def folder(**given):
    """Where a study with overrides, and a notebook with parameters, writes."""
    overrides = given.pop("overrides", {})
    return Outputs(Study(given.pop("profile", "pocket"), **overrides), MERGING, **(OWN | given)).folder


# --- where ------------------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("overrides", [{}, {"n_jobs": 1}, {"engine": "ray", "num_gpus": 1}, {"n_seeds": 3}])
def test_a_run_with_the_studys_own_parameters_writes_the_reference_and_says_nothing(checkout, overrides, capsys):
    assert folder(overrides=overrides) == checkout / "figures" / "pocket"
    assert folder(profile="small", overrides=overrides | {"n_seeds": 1}) == checkout / "figures" / "small"
    assert capsys.readouterr().out == ""


@pytest.mark.parametrize(
    ("given", "name"),
    [
        ({"attack": "insertsent"}, "attack=insertsent"),
        ({"overrides": {"n_seeds": 6}}, "n_seeds=6"),
        ({"attack": "badnet,lws", "overrides": {"n_seeds": 1}}, "attack=badnet,lws+n_seeds=1"),
        ({"overrides": {"learning_rate": 3e-5}}, "learning_rate=3e-05"),
    ],
)
def test_any_other_run_writes_to_a_folder_named_by_its_parameters_and_says_so(checkout, given, name, capsys):
    assert folder(**given) == checkout / "data" / "explored" / name / "pocket"
    assert f"Tables and figures go to data/explored/{name}/pocket." in capsys.readouterr().out


def test_an_explored_table_leaves_the_committed_one_alone(checkout):
    for attack in ("all", "lws"):
        Outputs(Study("pocket"), MERGING, **(OWN | {"attack": attack})).table(FRAME.assign(attack=attack), "04_merging")
    committed, explored = checkout / "figures" / "pocket", checkout / "data" / "explored" / "attack=lws" / "pocket"
    assert [pd.read_csv(each / "04_merging.csv")["attack"].item() for each in (committed, explored)] == ["all", "lws"]
    assert json.loads((committed / "manifest.json").read_text())["04_merging"]["parameters"]["attack"] == "all"


def test_a_cell_of_parameters_that_was_changed_and_saved_is_no_reference(checkout):
    path = checkout / "notebooks" / f"{MERGING}.ipynb"
    path.write_text(path.read_text().replace('attack: str = \\"all\\"', 'attack: str = \\"lws\\"'))
    assert default_parameters(path)["attack"] == "lws"
    assert folder(attack="lws") == checkout / "data" / "explored" / "attack=lws" / "pocket"
    assert folder(attack="all") == checkout / "figures" / "pocket"


def test_a_parameter_that_is_newer_than_the_committed_tables_has_the_value_of_its_cell(checkout):
    path = checkout / "notebooks" / f"{MERGING}.ipynb"
    path.write_text(path.read_text().replace("skip: str", 'n_new: int = 3  # new\\n",\n    "skip: str'))
    assert own_parameters(MERGING)["n_new"] == 3
    assert changes(MERGING, OWN | {"n_new": 3}, get_profile("pocket")) == {}
    assert changes(MERGING, OWN | {"n_new": 4}, get_profile("pocket")) == {"n_new": 4}


def test_a_notebook_that_is_no_part_of_the_study_never_writes_the_reference(checkout):
    assert Outputs(Study("pocket"), "my_own").folder == checkout / "data" / "explored" / "notebook=my_own" / "pocket"


def test_who_says_where_is_obeyed(checkout, tmp_path, monkeypatch, capsys):
    monkeypatch.setenv("FREE_LUNCH_FIGURES", str(tmp_path / "mine"))
    assert folder(attack="lws") == tmp_path / "mine" / "pocket"
    assert str(tmp_path / "mine" / "pocket") in capsys.readouterr().out
    monkeypatch.setenv("FREE_LUNCH_FIGURES", str(checkout / "figures"))
    assert folder(attack="lws") == checkout / "figures" / "pocket"
    assert capsys.readouterr().out == ""


def test_names_of_folders_are_plain_short_and_differ_where_the_parameters_do(checkout):
    names = [explored_dir({"pretrained": value}).name for value in ("/a/b c", "/a/b-c", "x" * 300, "x" * 301, "a/../b")]
    assert len(set(names)) == 5
    for name in names:
        assert len(name) <= 120 and not set(name) & set("/ \\:"), name


@pytest.mark.parametrize("path", sorted(NOTEBOOKS.glob("[0-9]*.ipynb")), ids=lambda path: path.stem)
def test_what_made_the_committed_tables_are_the_parameters_of_the_notebooks(path):
    """A default that was changed must come with tables that were made anew: `FREE_LUNCH_FIGURES=figures make study`."""
    default, own = default_parameters(path), own_parameters(path.stem)
    assert own == default


# --- whole runs -------------------------------------------------------------------------------------------------------------


@pytest.fixture
def places(monkeypatch):
    """Where the notebooks of a run would write: tables and figures, executed copies."""
    seen = []

    def run(parameters, profile, n_jobs=1):
        seen.append([paths.shown(place(profile)) for place in (paths.figures_dir, paths.executed_dir)])
        return []

    monkeypatch.setattr(run_notebooks, "run", run)
    found = run_notebooks.find_notebooks
    monkeypatch.setattr(run_notebooks, "find_notebooks", lambda only: found(only, paths.NOTEBOOKS))
    return seen


@pytest.mark.parametrize(
    ("arguments", "figures", "executed"),
    [
        ([], "figures/pocket", "data/executed/pocket"),
        (["--profile", "small"], "figures/small", "data/executed/small"),
        (["-p", "n_jobs", "1", "-p", "attack", "all"], "figures/pocket", "data/executed/pocket"),
        (["-p", "n_seeds", "6"], "data/explored/n_seeds=6/pocket", "data/explored/n_seeds=6/executed/pocket"),
        (["--profile", "small", "-p", "task", "x"], "data/explored/task=x/small", "data/explored/task=x/executed/small"),
    ],
    ids=lambda value: " ".join(value) if isinstance(value, list) else "",
)
def test_all_notebooks_of_a_run_share_one_folder(checkout, places, arguments, figures, executed, capsys):
    assert run_notebooks.main(arguments) == 0
    assert places == [[figures, executed]]
    assert ("tables and figures go to" in capsys.readouterr().out) == figures.startswith("data")
    assert paths.figures_dir("pocket") == checkout / "figures" / "pocket"  # the environment is as before


def test_a_run_that_is_told_where_to_write_does_so_and_still_keeps_the_executed_notebooks_apart(checkout, places, monkeypatch):
    monkeypatch.setenv("FREE_LUNCH_FIGURES", str(checkout / "figures" / "six_seeds"))
    assert run_notebooks.main(["-p", "n_seeds", "6"]) == 0
    assert places == [["figures/six_seeds/pocket", "data/explored/n_seeds=6/executed/pocket"]]
