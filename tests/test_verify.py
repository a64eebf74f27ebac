"""Verification: equal tables agree, small differences of measured numbers pass, anything else is named."""

import json
from dataclasses import asdict

import pandas as pd
import pytest

from lib import verify
from lib.paths import MANIFEST
from lib.profiles import get_profile
from lib.run_notebooks import Outcome
from lib.verify import Job, compare, main, read_jobs

TABLE = pd.DataFrame(
    {"attack": ["badnet", "lws"], "seed": [0, 1], "coefficient": [0.1, 0.2], "asr": [0.5, 0.9], "distance": [2.0, None]}
)


def test_equal_tables_agree():
    assert compare(TABLE, TABLE.copy()) == []


def test_small_differences_of_measured_numbers_pass():
    assert compare(TABLE, TABLE.assign(asr=[0.54, 0.86], distance=[2.1, None])) == []


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"asr": [0.5, 0.8]}, "asr: 1 of 2 rows, the first is 1: 0.8, committed 0.9"),
        ({"distance": [2.5, None]}, "distance: 1 of 2 rows, the first is 0: 2.5, committed 2.0"),
        ({"distance": [2.0, 1.0]}, "distance: 1 of 2 rows, the first is 1: 1.0, committed nan"),
        ({"coefficient": [0.1, 0.21]}, "coefficient: 1 of 2 rows, the first is 1: 0.21, committed 0.2"),
        ({"attack": ["badnet", "bite"]}, "attack: 1 of 2 rows, the first is 1: bite, committed lws"),
        ({"seed": [0, 2]}, "seed: 1 of 2 rows, the first is 1: 2, committed 1"),
    ],
)
def test_larger_differences_are_named_with_row_and_values(change, message):
    assert compare(TABLE, TABLE.assign(**change)) == [message]


def test_other_columns_and_other_numbers_of_rows_are_named():
    assert compare(TABLE, TABLE.drop(columns="asr")) == [
        "columns ['attack', 'seed', 'coefficient', 'distance'], committed ['attack', 'seed', 'coefficient', 'asr', 'distance']"
    ]
    assert compare(TABLE, TABLE.iloc[:1]) == ["1 rows, committed 2"]


@pytest.fixture
def figures(tmp_path, monkeypatch):
    """A folder of committed outputs: two tables of one execution, one of another."""
    profile = asdict(get_profile("pocket"))
    folder = tmp_path / "figures" / "pocket"
    folder.mkdir(parents=True)
    entries = {
        "04_merging": ("04_merging_sanitizes", {"task": "sst2", "attack": "all"}, profile),
        "07_domains": ("07_number_of_domains", {"task": "sst2", "attack": "badnet"}, profile | {"n_seeds": 1}),
        "07_single_domains": ("07_number_of_domains", {"task": "sst2", "attack": "badnet"}, profile | {"n_seeds": 1}),
    }
    keys = ("notebook", "parameters", "profile")
    (folder / MANIFEST).write_text(json.dumps({name: dict(zip(keys, entry, strict=True)) for name, entry in entries.items()}))
    for name in entries:
        TABLE.to_csv(folder / f"{name}.csv", index=False)
    monkeypatch.setenv("FREE_LUNCH_FIGURES", str(tmp_path / "figures"))
    return folder


def test_a_manifest_says_which_notebooks_to_run_with_what(figures):
    assert read_jobs(figures, "pocket") == [
        Job("04_merging_sanitizes", {"task": "sst2", "attack": "all"}, ("04_merging",)),
        Job("07_number_of_domains", {"task": "sst2", "attack": "badnet", "n_seeds": 1}, ("07_domains", "07_single_domains")),
    ]
    assert [job.notebook[:2] for job in read_jobs(figures, "pocket", ["07"])] == ["07"]


def run_that_writes(table, error=""):
    """A stand-in for the notebooks: it writes a table under every name."""

    def run(parameters, profile):
        folder = verify.paths.figures_dir(profile)
        folder.mkdir(parents=True, exist_ok=True)
        for name in ("04_merging", "07_domains", "07_single_domains"):
            table.to_csv(folder / f"{name}.csv", index=False)
        return [Outcome(next(iter(parameters)).stem, 1.0, error)]

    return run


def test_tables_that_agree_give_status_zero_and_leave_the_committed_ones_alone(figures, monkeypatch, capsys):
    before = (figures / "04_merging.csv").read_bytes()
    monkeypatch.setattr(verify, "run", run_that_writes(TABLE.assign(asr=[0.51, 0.9])))
    assert main([]) == 0
    assert "3 outputs of 2 executions verified, 0 differences" in capsys.readouterr().out
    assert (figures / "04_merging.csv").read_bytes() == before


def test_tables_that_differ_give_status_one_and_are_named(figures, monkeypatch, capsys):
    monkeypatch.setattr(verify, "run", run_that_writes(TABLE.assign(asr=[0.5, 0.1])))
    assert main(["--only", "04"]) == 1
    assert "04_merging: asr: 1 of 2 rows" in capsys.readouterr().out


def test_a_table_that_is_not_written_again_is_a_difference_and_others_find_the_committed_ones(figures, monkeypatch, capsys):
    seen = []

    def run(parameters, profile):
        seen.append(sorted(path.name for path in verify.paths.figures_dir(profile).glob("*.csv")))
        return [Outcome(next(iter(parameters)).stem, 1.0)]

    monkeypatch.setattr(verify, "run", run)
    assert main(["--only", "04"]) == 1
    assert "04_merging: not written by 04_merging_sanitizes" in capsys.readouterr().out
    assert seen == [["07_domains.csv", "07_single_domains.csv"]]


def test_p_values_and_sentences_with_numbers_are_not_compared():
    old = pd.DataFrame({"asr": [0.5], "sign_flip_p": [0.25], "found": ["ASR 50.0%"], "verdict": ["agree"]})
    assert compare(old, old.assign(sign_flip_p=1.0, found="ASR 50.1%")) == []
    assert compare(old, old.assign(verdict="disagree")) == ["verdict: 1 of 1 rows, the first is 0: disagree, committed agree"]


def test_a_notebook_that_fails_is_a_difference(figures, monkeypatch, capsys):
    monkeypatch.setattr(verify, "run", run_that_writes(TABLE, error="cell [3] failed"))
    assert main(["--only", "04"]) == 1
    assert "04_merging_sanitizes: cell [3] failed" in capsys.readouterr().out


@pytest.mark.parametrize(
    ("arguments", "message"),
    [(["--profile", "huge"], "unknown profile 'huge'"), (["--only", "99"], "unknown notebooks ['99']")],
)
def test_arguments_that_make_no_sense_give_status_two(figures, arguments, message, capsys):
    assert main(arguments) == 2
    assert message in capsys.readouterr().err


def test_a_folder_without_manifest_is_named(tmp_path, monkeypatch, capsys):
    monkeypatch.setenv("FREE_LUNCH_FIGURES", str(tmp_path))
    assert main([]) == 2
    assert "there is nothing to verify; run `make study PROFILE=pocket` first" in capsys.readouterr().err
