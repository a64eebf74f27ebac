"""What a checkout must be like: the package is tracked, CI runs what contributors run, versions are pinned."""

import os
import re
import shutil
import subprocess
import sys

import pytest
import yaml

from lib import paths
from lib.paths import ROOT


@pytest.mark.skipif(not (ROOT / ".git").exists() or not shutil.which("git"), reason="no git checkout")
@pytest.mark.parametrize("path", ["lib/study/study.py", "lib/new.py", "data/pocket/new.json", "figures/pocket/01_tasks.csv"])
def test_what_belongs_to_the_project_is_not_ignored_by_git(path):
    assert subprocess.run(["git", "check-ignore", "-q", path], cwd=ROOT).returncode == 1


@pytest.mark.skipif(not (ROOT / ".git").exists() or not shutil.which("git"), reason="no git checkout")
@pytest.mark.parametrize(
    "path",
    [
        ".venv/bin/python",
        "data/cache/x",
        "data/executed/pocket/x.ipynb",
        "data/explored/attack=lws/pocket/x.csv",
        "data/site/pocket/index.html",
        "lib/__pycache__/x.pyc",
    ],
)
def test_what_is_made_here_is_ignored_by_git(path):
    assert subprocess.run(["git", "check-ignore", "-q", path], cwd=ROOT).returncode == 0


@pytest.mark.parametrize("browsers", [["chromium"], []])
def test_continuous_integration_runs_make_test_and_the_test_in_a_browser_where_there_is_one(tmp_path, browsers):
    script = ROOT / ".ci" / "run"
    assert os.access(script, os.X_OK)
    for name in ("bash", "dirname"):
        (tmp_path / name).symlink_to(shutil.which(name))
    for name in ("make", *browsers):
        (tmp_path / name).write_text(f'#!/bin/sh\necho "{name} $1"\n')
        (tmp_path / name).chmod(0o755)
    run = subprocess.run([tmp_path / "bash", script], env={"PATH": str(tmp_path)}, capture_output=True, text=True, check=True)
    assert [line for line in run.stdout.splitlines() if line.startswith("make")] == [
        "make test",
        *["make test-browser" for _ in browsers],
    ]
    assert ("SKIPPED" in run.stderr and "Debian package chromium" in run.stderr) == (not browsers)


@pytest.mark.parametrize("name", ["requirements.txt", "requirements-site.txt", "requirements-browser.txt"])
def test_every_requirement_is_pinned_to_one_version(name):
    lines = (ROOT / name).read_text().splitlines()
    requirements = [line.split("#")[0].strip() for line in lines]
    requirements = [line for line in requirements if line]
    assert ("-e ." in requirements) == (name == "requirements.txt")
    packages = [line for line in requirements if not line.startswith("-")]
    assert packages
    for line in packages:
        assert re.fullmatch(r"[A-Za-z0-9_.\[\]-]+==[0-9][A-Za-z0-9.+!]*", line), line


def test_hooks_before_a_commit_use_the_versions_of_the_tests():
    hooks = yaml.safe_load((ROOT / ".pre-commit-config.yaml").read_text())["repos"]
    pinned = {each["repo"].rsplit("/", 1)[1]: each["rev"] for each in hooks}
    assert f"ruff=={pinned['ruff-pre-commit'].removeprefix('v')}" in (ROOT / "requirements.txt").read_text().splitlines()
    assert re.fullmatch(r"\d+\.\d+\.\d+", pinned["nbstripout"])


def test_the_commands_of_the_design_are_there():
    makefile = (ROOT / "Makefile").read_text()
    targets = set(re.findall(r"^([a-z-]+):", makefile, flags=re.MULTILINE))
    assert {"study", "test", "test-browser", "verify", "lab", "report", "clean"} <= targets


def test_importing_the_package_loads_no_model_library():
    code = "import sys, lib, lib.paths, lib.profiles, lib.metrics.rates, lib.plots; print('torch' in sys.modules)"
    run = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True, cwd=ROOT)
    assert run.stdout.strip() == "False"


def test_outputs_lie_in_the_checkout_unless_the_environment_says_otherwise_as_it_does_in_tests(monkeypatch):
    places = {"CACHE": paths.cache_dir, "FIGURES": lambda: paths.figures_dir("p"), "EXECUTED": lambda: paths.executed_dir("p")}
    assert not any(place().is_relative_to(ROOT) for place in places.values())
    for name in places:
        monkeypatch.delenv(f"FREE_LUNCH_{name}")
    usual = [ROOT / "data" / "cache", ROOT / "figures" / "p", ROOT / "data" / "executed" / "p"]
    assert [place() for place in places.values()] == usual
