"""Regenerate the tables of a profile and compare them with the committed ones: `python -m lib.verify --profile pocket`."""

from __future__ import annotations

import argparse
import json
import shutil
import sys
import tempfile
from collections.abc import Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd

from lib import paths
from lib.execution import Stopped, run
from lib.metrics.columns import column_of
from lib.paths import MANIFEST
from lib.profiles import PROFILES, get_profile, parse_value
from lib.run_notebooks import STOPPED, check_arguments, find_notebooks, outputs_in
from lib.study.answers import ANSWERS, has_all_answers, restore_answers
from lib.study.store import Store

# Trainings on another processor round otherwise, and take another path from there.
RATE_TOLERANCE = 0.05  # absolute, of what lies in [0, 1]
OTHER_TOLERANCE = 0.10  # relative, of losses, distances and the like
RATES = ("rate", "change")  # kinds of columns that are compared within RATE_TOLERANCE
# Tests and sentences follow from columns that are compared, and another rounding may change them; times are a machine's.
SKIPPED = ("p_value", "sentence", "time")
EXACT = ("name", "setting")


@dataclass(frozen=True)
class Job:
    """One execution of a notebook, and the outputs that a manifest says it made."""

    notebook: str
    parameters: dict[str, Any]
    outputs: tuple[str, ...]


def read_jobs(folder: Path, profile: str, only: Sequence[str] = ()) -> list[Job]:
    """What made the tables of a folder, as its manifest says, in the order of the notebooks.

    Raises:
        ValueError: for a folder without a manifest.
    """
    if not (folder / MANIFEST).is_file():
        raise ValueError(f"{folder} has no {MANIFEST}: there is nothing to verify; run `make study PROFILE={profile}` first")
    manifest = json.loads((folder / MANIFEST).read_text(encoding="utf-8"))
    usual = json.loads(json.dumps(asdict(get_profile(profile))))
    found: dict[str, Job] = {}
    for name, entry in manifest.items():
        if only and entry["notebook"][:2] not in only:
            continue
        fields = {field: value for field, value in entry["profile"].items() if usual.get(field) != value}
        key = json.dumps([entry["notebook"], entry["parameters"], fields], sort_keys=True)
        before = found[key].outputs if key in found else ()
        found[key] = Job(entry["notebook"], entry["parameters"] | fields, (*before, name))
    return sorted(found.values(), key=lambda job: job.notebook)


def compare(committed: pd.DataFrame, found: pd.DataFrame) -> list[str]:
    """In what two tables differ beyond the tolerances; empty if in nothing.

    Rows are compared in order: names, counts and settings must be equal, rates and other measured numbers close.
    """
    if list(committed) != list(found):
        return [f"columns {list(found)}, committed {list(committed)}"]
    if len(committed) != len(found):
        return [f"{len(found)} rows, committed {len(committed)}"]
    differences = []
    for column in committed:
        old, new, known = committed[column], found[column], column_of(column)
        kind = known.kind if known else ""
        if kind in SKIPPED:
            continue
        if kind in EXACT or not (_is_measured(old) and _is_measured(new)):
            wrong = (old != new) & ~(old.isna() & new.isna())
        else:
            wrong = pd.Series(~_are_close(old.to_numpy(float), new.to_numpy(float), kind in RATES))
        if wrong.any():
            row = int(np.argmax(wrong.to_numpy()))
            values = f"{new.iloc[row]}, committed {old.iloc[row]}"
            differences.append(f"{column}: {int(wrong.sum())} of {len(old)} rows, the first is {row}: {values}")
    return differences


def _is_measured(column: pd.Series) -> bool:
    return pd.api.types.is_float_dtype(column)


def _are_close(old: np.ndarray, new: np.ndarray, are_rates: bool) -> np.ndarray:
    """Within the tolerance of rates and their differences, absolute, or of other numbers, relative."""
    allowed = RATE_TOLERANCE if are_rates else OTHER_TOLERANCE * np.abs(old)
    return (np.abs(new - old) <= allowed) | (np.isnan(old) & np.isnan(new))


def verify(profile: str, jobs: Sequence[Job], given: dict[str, Any], work: Path) -> list[str]:
    """Run the jobs into another folder and compare their tables with the committed ones; returns what is wrong.

    Args:
        profile: whose tables are verified.
        jobs: as from `read_jobs`.
        given: parameters that replace those of the manifest, e.g. a folder it does not know.
        work: a folder for the new outputs.
    """
    committed, problems = paths.figures_dir(profile), []
    regenerated = work / "figures" / profile
    # A notebook that reads the tables of others finds the committed ones of those that are not run.
    shutil.copytree(committed, regenerated)
    for job in jobs:
        for name in job.outputs:
            (regenerated / f"{name}.csv").unlink(missing_ok=True)
        [notebook] = [path for path in find_notebooks([job.notebook[:2]]) if path.stem == job.notebook]
        parameters = check_arguments([notebook], profile, _accepted(job.parameters) | given)
        with outputs_in(work / "figures", work / "executed"):
            [outcome] = run(parameters, profile)
        if outcome.error:
            problems.append(f"{job.notebook}: {outcome.error}")
            continue
        for name in job.outputs:
            if not (committed / f"{name}.csv").is_file():
                continue  # a figure
            if not (regenerated / f"{name}.csv").is_file():
                problems.append(f"{name}: not written by {job.notebook}")
                continue
            old, new = (pd.read_csv(folder / f"{name}.csv") for folder in (committed, regenerated))
            differences = compare(old, new)
            problems += [f"{name}: {difference}" for difference in differences]
            print(f"  {name}: {'differs' if differences else f'{len(new)} rows agree'}", flush=True)
    return problems


def _accepted(parameters: dict[str, Any]) -> dict[str, Any]:
    """Without what a manifest keeps by its last name only."""
    return {name: value for name, value in parameters.items() if name not in ("name", "data_dir", "cache_dir")}


def main(arguments: Sequence[str] | None = None) -> int:
    """Command line; returns the exit status: 0 if all tables agree, 1 if not, 2 for wrong arguments, 130 if stopped."""
    parser = argparse.ArgumentParser(prog="python -m lib.verify", description=__doc__)
    parser.add_argument("--profile", default="pocket", help=f"one of {', '.join(sorted(PROFILES))}")
    parser.add_argument("--only", nargs="+", default=[], metavar="NN", help="numbers of notebooks, e.g. 04 06")
    parser.add_argument("-p", "--parameter", nargs=2, action="append", default=[], metavar=("NAME", "VALUE"))
    options = parser.parse_args(arguments)
    try:
        get_profile(options.profile)
        find_notebooks(options.only)
        jobs = read_jobs(paths.figures_dir(options.profile), options.profile, options.only)
        given = {name: parse_value(value) for name, value in options.parameter}
        if has_all_answers(paths.figures_dir(options.profile), options.only):
            n_new = restore_answers(paths.figures_dir(options.profile) / ANSWERS, Store(paths.cache_dir()))
            print(f"{ANSWERS} has what the models said: {n_new} artifacts are new in the store, and nothing of them is trained")
        with tempfile.TemporaryDirectory() as work:
            problems = verify(options.profile, jobs, given, Path(work))
    except ValueError as error:
        print(f"error: {error}", file=sys.stderr)
        return 2
    except Stopped:
        print("\nstopped. What was trained is kept; the same command begins the comparison anew", file=sys.stderr)
        return STOPPED
    print(f"\n{sum(len(job.outputs) for job in jobs)} outputs of {len(jobs)} executions verified, {len(problems)} differences")
    print(*problems, sep="\n")
    return 1 if problems else 0


if __name__ == "__main__":
    sys.exit(main())
