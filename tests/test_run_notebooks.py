"""The command that executes notebooks: its arguments, and what it says when a cell fails."""

import os
import re
import signal
import subprocess
import sys
import time

import nbformat
import psutil
import pytest

from lib import paths, run_notebooks
from lib.profiles import parse_value
from lib.reports.learning_path import described
from lib.run_notebooks import check_arguments, find_notebooks, main, parameters_of

# --- arguments -------------------------------------------------------------------------------------------------------------


def test_notebooks_are_found_in_order_and_chosen_by_number(notebook):
    paths = [notebook(name) for name in ("04_merging", "00_story", "06_coefficient")]
    notebook("notes")  # no number, no part of the study
    folder = paths[0].parent
    assert [path.stem for path in find_notebooks(folder=folder)] == ["00_story", "04_merging", "06_coefficient"]
    assert [path.stem for path in find_notebooks(["06", "04"], folder)] == ["04_merging", "06_coefficient"]


@pytest.mark.parametrize("number", ["05", "4", "merging"])
def test_an_unknown_notebook_number_raises_and_lists_the_known_ones(notebook, number):
    folder = notebook("04_merging").parent
    with pytest.raises(ValueError, match=rf"unknown notebooks \['{number}'\]; choose from \['04'\]"):
        find_notebooks(["04", number], folder)


@pytest.mark.parametrize(
    ("text", "value"),
    [("500", 500), ("3e-5", 3e-5), ("true", True), ("[0, 1]", [0, 1]), ("badnet", "badnet"), ("a,b", "a,b"), ("", "")],
)
def test_values_of_the_command_line_are_numbers_lists_or_names(text, value):
    assert parse_value(text) == value
    assert type(parse_value(text)) is type(value)


def test_a_notebook_gets_its_own_parameters_and_the_rest_as_overrides(notebook):
    given = {"attack": "insertsent", "n_train": 500, "data_dir": "/data"}
    parameters = parameters_of(notebook("04_merging"), "small", given)
    assert parameters == {
        "profile": "small", "attack": "insertsent", "overrides": {"n_train": 500, "data_dir": "/data"},
    }  # fmt: skip
    assert parameters_of(notebook("05_x"), "pocket", {}) == {"profile": "pocket"}


def test_a_whole_number_serves_as_a_float(notebook):
    assert parameters_of(notebook("04_merging"), "pocket", {"share": 1})["share"] == 1


@pytest.mark.parametrize(
    ("name", "value", "kind"),
    [
        ("n_shown", "many", "int"),
        ("n_shown", 1.5, "int"),
        ("share", "half", "float"),
        ("attack", 3, "str"),
        ("attack", [1], "str"),
        ("rates", 0.1, "list"),
    ],
)
def test_a_value_of_another_type_than_the_notebook_declares_raises(notebook, name, value, kind):
    with pytest.raises(ValueError, match=rf"parameter {name} is .*; 04_merging wants a value of type {kind}"):
        parameters_of(notebook("04_merging"), "pocket", {name: value})


def test_a_parameter_of_one_notebook_is_given_to_that_one_only(notebook):
    first, other = notebook("04_merging"), notebook("05_other")
    content = nbformat.read(other, 4)
    content.cells[0].source = content.cells[0].source.replace("attack: str", "domain: str")
    nbformat.write(content, other)
    checked = check_arguments([first, other], "pocket", {"attack": "insertsent", "domain": "food"})
    assert checked[first] == {"profile": "pocket", "attack": "insertsent"}
    assert checked[other] == {"profile": "pocket", "domain": "food"}


@pytest.mark.parametrize(
    ("profile", "given", "message"),
    [
        ("big", {}, r"unknown profile 'big'; choose from \['paper', 'pocket', 'small'\]"),
        ("pocket", {"atack": "badnet"}, r"unknown parameters \['atack'\]; choose from \[.*'attack'.*'n_train'"),
        ("pocket", {"n_train": -1}, "n_train is -1; it must be 0"),
        ("pocket", {"lora_rank": -1}, "lora_rank is -1; it must be 0"),
        ("pocket", {"poisoning_rate": 2}, r"poisoning_rate is 2.0; it must lie in \[0, 1\]"),
        ("pocket", {"n_shown": "many"}, "parameter n_shown is 'many'"),
        ("pocket", {"share": float("inf")}, "parameter share is inf; 04_merging wants finite numbers"),
        ("pocket", {"share": float("nan")}, "parameter share is nan; 04_merging wants finite numbers"),
        ("pocket", {"rates": [0.1, float("nan")]}, r"parameter rates is \[0.1, nan\]; 04_merging wants finite numbers"),
    ],
)
def test_arguments_are_checked_before_anything_runs(notebook, profile, given, message):
    with pytest.raises(ValueError, match=message):
        check_arguments([notebook("04_merging")], profile, given)


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (["--profile", "big"], "error: unknown profile 'big'; choose from"),
        (["--only", "04", "55"], "error: unknown notebooks ['55']; choose from ['00'"),
        (["-p", "atack", "badnet"], "error: unknown parameters ['atack']; choose from"),
        (["-p", "n_train", "-5"], "error: n_train is -5; it must be 0 (all) or more"),
        (["--jobs", "0"], "error: --jobs is 0; give 1 or more"),
        (["-p", "learning_rate", "Infinity"], "error: learning_rate is inf; it must be a finite number"),
        (["-p", "learning_rate", "NaN"], "error: learning_rate is nan; it must be above 0"),
        (["-p", "poisoning_rates", "[0.1, Infinity]"], "error: parameter poisoning_rates is [0.1, inf]; 09_poisoning_rate"),
        (["-p", "n_train", "[" * 100_000], "error: n_train is '[[["),
    ],
    ids=lambda value: " ".join(value)[:60] if isinstance(value, list) else value[:60],
)
def test_the_command_refuses_what_makes_no_sense_with_one_line_and_status_two(capsys, monkeypatch, arguments, message):
    monkeypatch.setattr(run_notebooks, "run", None)  # nothing may run
    assert main(arguments) == 2
    said = capsys.readouterr()
    assert said.err.startswith(message)
    assert len(said.err.strip().splitlines()) == 1
    assert len(said.err) < 2000


def test_a_folder_may_have_a_number_for_a_name(monkeypatch, tmp_path, capsys):
    (tmp_path / "2024").mkdir()
    monkeypatch.chdir(tmp_path)
    assert main(["--profile", "small", "--only", "00", "--dry-run", "-p", "data_dir", "2024"]) == 2
    assert f"data folder {tmp_path / '2024'} has no dataset 'sst2'" in capsys.readouterr().err


# --- execution -------------------------------------------------------------------------------------------------------------


def test_a_failing_notebook_gives_status_one_and_its_cells_error_and_the_others_run(notebook, tmp_path, monkeypatch, capfd):
    fails = notebook("01_fails", "rate = 1.5", "raise ValueError(f'poisoning rate is {rate}')", "print('never')")
    works = notebook("02_works", f"open({str(tmp_path / 'figures' / 'pocket' / '02_out.csv')!r}, 'w').write(attack)")
    (tmp_path / "figures" / "pocket").mkdir(parents=True)
    monkeypatch.setenv("FREE_LUNCH_FIGURES", str(tmp_path / "figures"))
    monkeypatch.setenv("FREE_LUNCH_EXECUTED", str(tmp_path / "executed"))
    monkeypatch.setattr(run_notebooks, "find_notebooks", lambda only: find_notebooks(only, fails.parent))
    assert main(["-p", "attack", "insertsent"]) == 1
    said = capfd.readouterr()
    assert "01_fails: FAILED" in said.out
    assert "02_works: done" in said.out
    assert "01_fails: cell [4] failed with ValueError: poisoning rate is 1.5" in said.err
    assert "raise ValueError" in said.err
    assert "wrote 1 files" in said.out and "02_out.csv" in said.out
    assert (tmp_path / "figures" / "pocket" / "02_out.csv").read_text() == "insertsent"  # the parameter reached the notebook
    executed = nbformat.read(paths.executed_dir("pocket") / fails.name, 4)
    assert any("poisoning rate is 1.5" in str(cell.get("outputs")) for cell in executed.cells)
    assert (paths.executed_dir("pocket") / works.name).is_file()


def test_notebooks_side_by_side_share_the_cores_and_pocket_runs_two_of_them(notebook, tmp_path, monkeypatch):
    asks = "open({!r}, 'w').write(__import__('os').environ.get('OMP_NUM_THREADS', 'all'))"
    first, *_ = (notebook(name, asks.format(str(tmp_path / name))) for name in ("01_asks", "02_asks", "90_asks"))
    for name in ("FIGURES", "EXECUTED"):
        monkeypatch.setenv(f"FREE_LUNCH_{name}", str(tmp_path / name))
    monkeypatch.delenv("OMP_NUM_THREADS", raising=False)
    monkeypatch.setattr("os.cpu_count", lambda: 6)
    monkeypatch.setattr(run_notebooks, "find_notebooks", lambda only: find_notebooks(only, first.parent))
    waits = ["--only", "01", "90"]  # one notebook after the other: the first need not share
    for given, share in (
        ([], "3"),
        (["--jobs", "1"], "all"),
        (["--only", "01"], "all"),
        (waits, "all"),
        (["--profile", "small"], "all"),
    ):
        assert main(given) == 0
        assert (tmp_path / first.stem).read_text() == share


# --- what else it does -------------------------------------------------------------------------------------------------------


def test_the_list_has_number_minutes_level_and_question_of_each_notebook(capsys, monkeypatch):
    monkeypatch.setattr(run_notebooks, "run", None)  # nothing may run
    assert main(["--list"]) == 0
    said = capsys.readouterr().out
    listed = re.findall(r"^(\d\d) +(\d+)  (start|middle|advanced) +\S", said, flags=re.MULTILINE)
    assert [number for number, *_ in listed] == [path.name[:2] for path in find_notebooks()]
    path = find_notebooks(["04"])[0]
    question, minutes = described(path)
    assert ("04", str(minutes), "middle") in listed
    assert question in " ".join(said.split())
    assert main(["--list", "--only", "00", "90"]) == 0
    assert re.findall(r"^\d\d", capsys.readouterr().out, flags=re.MULTILINE) == ["00", "90"]


def alive(pid):
    try:
        return psutil.Process(pid).status() != psutil.STATUS_ZOMBIE
    except psutil.NoSuchProcess:
        return False


def test_ctrl_c_ends_all_at_once_and_names_the_command_that_goes_on(notebook, tmp_path):
    """Two notebooks side by side: one has ended, one sleeps in a kernel and in a process that the kernel has started."""
    pids, left = tmp_path / "pids", tmp_path / "left"
    notebook("01_ends", "print(attack)")
    sleeps = "import os, subprocess; child = subprocess.Popen(['sleep', '600']); "
    sleeps += f"open({str(pids)!r}, 'w').write(f'{{os.getpid()}} {{child.pid}}'); child.wait()"
    folder = notebook("02_sleeps", sleeps).parent
    notebook("90_waits", f"open({str(left)!r}, 'w').write('x')")
    code = (
        "import sys, functools\nfrom pathlib import Path\nfrom lib import run_notebooks as command\n"
        f"command.find_notebooks = functools.partial(command.find_notebooks, folder=Path({str(folder)!r}))\n"
        "sys.exit(command.main(['-p', 'attack', 'lws', '-p', 'n_seeds', '1']))"
    )
    places = {f"FREE_LUNCH_{name}": str(tmp_path / name) for name in ("FIGURES", "EXECUTED")}
    # A group of its own, as a shell gives every command: Ctrl-C reaches the command and its workers. What a shell starts in
    # the background ignores Ctrl-C, and so would its children, these tests perhaps among them.
    command = subprocess.Popen(
        [sys.executable, "-c", code], stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True, start_new_session=True,
        cwd=paths.ROOT, env=os.environ | places, preexec_fn=lambda: signal.signal(signal.SIGINT, signal.SIG_DFL),
    )  # fmt: skip
    try:
        said = command.stdout.readline()
        while "01_ends: done" not in said or not pids.is_file():
            assert command.poll() is None, command.stderr.read()
            said += command.stdout.readline() if "01_ends: done" not in said else ""
            time.sleep(0.1)
        began = time.monotonic()
        os.killpg(command.pid, signal.SIGINT)
        _, errors = command.communicate(timeout=120)
    finally:
        command.kill()
    assert command.returncode == 130
    assert time.monotonic() - began < 60  # one second on an idle machine; the sleep is ten minutes
    assert "Traceback" not in errors
    assert f"FREE_LUNCH_EXECUTED={tmp_path / 'EXECUTED'}" in errors
    assert "-m lib.run_notebooks --profile pocket --only 02 90 -p attack lws -p n_seeds 1" in errors
    assert not any(alive(int(pid)) for pid in pids.read_text().split())
    assert not left.exists()
    assert [path.name for path in (tmp_path / "EXECUTED" / "pocket").glob("[!.]*")] == ["01_ends.ipynb"]
