"""Execute the ordered notebooks with papermill: `python -m lib.run_notebooks --profile pocket --only 04 06 -p n_train 500`."""

from __future__ import annotations

import argparse
import logging
import math
import os
import shlex
import sys
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import fields
from pathlib import Path
from typing import Any

from lib import paths
from lib.execution import Outcome, Stopped, run
from lib.exploring import changes, explored_dir
from lib.profiles import PROFILES, Profile, get_profile, parse_value

STOPPED = 130  # exit status of a command that was ended by Ctrl-C
EVERYWHERE = ("data_dir", "cache_dir")  # accepted beside the fields of the profile


def find_notebooks(only: Sequence[str] = (), folder: Path = paths.NOTEBOOKS) -> list[Path]:
    """The notebooks in order, or those whose names begin with one of the numbers in `only`.

    Raises:
        ValueError: for a number that no notebook has; lists the known ones.
    """
    known = {path.name[:2]: path for path in sorted(folder.glob("[0-9][0-9]_*.ipynb"))}
    if unknown := [number for number in only if number not in known]:
        raise ValueError(f"unknown notebooks {unknown}; choose from {sorted(known)}")
    return [path for number, path in known.items() if not only or number in only]


def declared_parameters(notebook: Path) -> dict[str, str]:
    """Names and types of the parameters that a notebook declares."""
    import papermill

    logging.getLogger("papermill").setLevel(logging.ERROR)
    return {name: entry["inferred_type_name"] for name, entry in papermill.inspect_notebook(str(notebook)).items()}


def parameters_of(notebook: Path, profile: str, given: dict[str, Any]) -> dict[str, Any]:
    """What to inject into one notebook: its own parameters, and fields of the profile as `overrides`.

    Raises:
        ValueError: for a value of another type than the notebook declares, or a number that is not finite.
    """
    declared = declared_parameters(notebook)
    own = {name: value for name, value in given.items() if name in declared}
    for name, value in own.items():
        allowed = {"float": ("float", "int")}.get(declared[name], (declared[name],))
        if declared[name] != "None" and type(value).__name__ not in allowed:
            raise ValueError(f"parameter {name} is {value!r:.80}; {notebook.stem} wants a value of type {declared[name]}")
        if not _is_finite(value):
            raise ValueError(f"parameter {name} is {value!r:.80}; {notebook.stem} wants finite numbers")
    overrides = {name: value for name, value in given.items() if name in _profile_fields() and name not in own}
    return own | {"profile": profile} | ({"overrides": overrides} if overrides else {})


def check_arguments(notebooks: Sequence[Path], profile: str, given: dict[str, Any]) -> dict[Path, dict[str, Any]]:
    """The parameters of each notebook, or an error before anything runs.

    Raises:
        ValueError: for an unknown profile, a parameter that no notebook and no profile has, or a wrong value.
    """
    declared = {name for notebook in notebooks for name in declared_parameters(notebook)}
    known = (declared | _profile_fields()) - {"profile", "overrides"}
    if unknown := sorted(set(given) - known):
        raise ValueError(f"unknown parameters {unknown}; choose from {sorted(known)}")
    fields_given = {name: value for name, value in given.items() if name in _profile_fields() and name not in EVERYWHERE}
    get_profile(profile, **{name: value for name, value in fields_given.items() if name not in declared})
    return {notebook: parameters_of(notebook, profile, given) for notebook in notebooks}


def changes_of(parameters: dict[Path, dict[str, Any]], profile: str) -> dict[str, Any]:
    """What in a whole run is not the study's own; a run shares one folder, so that notebook 90 reads what the others left."""
    changed: dict[str, Any] = {}
    for notebook, values in parameters.items():
        overrides = {name: value for name, value in values.get("overrides", {}).items() if name not in EVERYWHERE}
        changed |= changes(notebook.stem, values, get_profile(profile, **overrides))
    return dict(sorted(changed.items()))


@contextmanager
def outputs_in(figures: Path | None, executed: Path | None) -> Iterator[None]:
    """Context in which notebooks write tables and figures, and executed copies are kept, elsewhere; None: as usual."""
    before = dict(os.environ)
    if figures:
        os.environ["FREE_LUNCH_FIGURES"] = str(figures)
    if executed:
        os.environ["FREE_LUNCH_EXECUTED"] = str(executed)
    try:
        yield
    finally:
        os.environ.clear()
        os.environ.update(before)


def main(arguments: Sequence[str] | None = None) -> int:
    """Command line; returns the exit status: 0, 1 when a notebook failed, 2 for wrong arguments, 130 if it was stopped."""
    options = _parser().parse_args(arguments)
    try:
        return _obey(options)
    except KeyboardInterrupt:
        print("\nstopped before any notebook ran", file=sys.stderr)
    except Stopped as stopped:
        print(f"\nstopped. What was finished is kept; go on with\n  {_go_on(options, stopped.finished)}", file=sys.stderr)
    return STOPPED


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(prog="python -m lib.run_notebooks", description=__doc__)
    parser.add_argument("--profile", default="pocket", help=f"one of {', '.join(sorted(PROFILES))}")
    parser.add_argument("--only", nargs="+", default=[], metavar="NN", help="numbers of notebooks, e.g. 04 06")
    parser.add_argument(
        "-p", "--parameter", nargs=2, action="append", default=[], metavar=("NAME", "VALUE"),
        help="a notebook's parameter or a field of the profile, e.g. -p attack badnet -p learning_rate 3e-5",
    )  # fmt: skip
    parser.add_argument("--jobs", type=int, help="notebooks at a time, which share the cores; default 2 on pocket, else 1")
    parser.add_argument(
        "--dry-run", action="store_true", help="list what would be trained, with GPU hours and disk; run nothing"
    )
    parser.add_argument("--list", action="store_true", help="list the notebooks: question, minutes to read, level; run nothing")
    return parser


def _obey(options: argparse.Namespace) -> int:
    try:
        if options.jobs is not None and options.jobs < 1:
            raise ValueError(f"--jobs is {options.jobs}; give 1 or more")
        notebooks = find_notebooks(options.only)
        if options.list:
            from lib.reports.learning_path import listing

            print(listing(notebooks))
            return 0
        # A folder may be called 2024.
        given = {name: value if name in EVERYWHERE else parse_value(value) for name, value in options.parameter}
        parameters = check_arguments(notebooks, options.profile, given)
        if options.dry_run:
            from lib.dry_run.report import report

            print(report(options.profile, parameters))
            return 0
    except (ValueError, ConnectionError) as error:
        print(f"error: {error}", file=sys.stderr)
        return 2
    # Pocket notebooks spend much time on one core. Elsewhere two trainings at once may be too much for a GPU's memory.
    n_jobs = options.jobs or (2 if options.profile == "pocket" else 1)
    with _elsewhere_if_explored(parameters, options.profile):
        return _run_and_tell(parameters, options.profile, n_jobs)


def _go_on(options: argparse.Namespace, finished: Sequence[str]) -> str:
    """The command that does what is left of a stopped one; folders that the environment names are part of it."""
    left = [path.name[:2] for path in find_notebooks(options.only) if path.stem not in finished]
    places = [f"{name}={value}" for name, value in sorted(os.environ.items()) if name.startswith("FREE_LUNCH_") and value]
    command = [*places, paths.shown(Path(sys.executable)), "-m", "lib.run_notebooks", "--profile", options.profile]
    command += ["--only", *left] if options.only or finished else []
    command += [word for pair in options.parameter for word in ("-p", *pair)]
    command += ["--jobs", str(options.jobs)] if options.jobs else []
    return shlex.join(command)


@contextmanager
def _elsewhere_if_explored(parameters: dict[Path, dict[str, Any]], profile: str) -> Iterator[None]:
    """Context in which a run with other parameters than the study's own leaves figures and executed notebooks alone."""
    changed = changes_of(parameters, profile)
    if not changed:
        yield
        return
    folder = explored_dir(changed)
    # What the user set comes first, one by one.
    figures = None if os.environ.get("FREE_LUNCH_FIGURES") else folder
    executed = None if os.environ.get("FREE_LUNCH_EXECUTED") else folder / "executed"
    with outputs_in(figures, executed):
        where = paths.shown(paths.figures_dir(profile))
        print(f"other parameters than the study's own ({', '.join(changed)}): tables and figures go to {where}", flush=True)
        yield


def _run_and_tell(parameters: dict[Path, dict[str, Any]], profile: str, n_jobs: int) -> int:
    figures = paths.figures_dir(profile)
    before = _modified(figures)
    outcomes = run(parameters, profile, n_jobs)
    written = sorted(path for path, stamp in _modified(figures).items() if before.get(path) != stamp)
    _print_summary(outcomes, figures, written, paths.executed_dir(profile))
    return 1 if any(outcome.error for outcome in outcomes) else 0


def _is_finite(value: Any) -> bool:
    """Whether a value, or every entry of a list, is no infinity and no NaN: Python reads both in JSON."""
    if isinstance(value, list):
        return all(_is_finite(entry) for entry in value)
    return not isinstance(value, float) or math.isfinite(value)


def _profile_fields() -> set[str]:
    return {field.name for field in fields(Profile)} - {"name"} | set(EVERYWHERE)


def _modified(folder: Path) -> dict[str, int]:
    visible = (path for path in folder.glob("*") if not path.name.startswith("."))
    return {path.name: path.stat().st_mtime_ns for path in visible}


def _print_summary(outcomes: Sequence[Outcome], figures: Path, written: Sequence[str], executed: Path) -> None:
    print(f"\nwrote {len(written)} files to {figures}" + (": " + ", ".join(written) if written else ""))
    print(f"executed notebooks are in {executed}")
    for outcome in outcomes:
        if outcome.error:
            print(f"\n{outcome.notebook}: {outcome.error}", file=sys.stderr)


if __name__ == "__main__":
    sys.exit(main())
