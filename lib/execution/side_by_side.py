"""Several notebooks side by side; Ctrl-C ends all of them at once."""

from __future__ import annotations

import os
import signal
import tempfile
from collections.abc import Sequence
from concurrent.futures import FIRST_COMPLETED, Future, ProcessPoolExecutor, wait
from pathlib import Path
from typing import Any

from lib import paths
from lib.execution.engine import Outcome, execute
from lib.execution.terminal import Terminal

FIRST_READER = "90"  # notebooks from this number on only read what the others made
LONGEST = "11"  # it shares little with the others: begun last, it would keep one core while the others wait
PATIENCE = 1.0  # seconds that a process has to end by itself

Task = tuple[Path, dict[str, Any], Path]  # a notebook, its parameters, its executed copy


class Stopped(Exception):
    """Somebody pressed Ctrl-C; `finished` names the notebooks that had ended without an error."""

    def __init__(self, finished: Sequence[str]) -> None:
        super().__init__("stopped")
        self.finished = finished


def run(parameters: dict[Path, dict[str, Any]], profile: str, n_jobs: int = 1) -> list[Outcome]:
    """Run the notebooks, `n_jobs` at a time, each with its share of the cores; later ones go on when one fails.

    Raises:
        Stopped: on Ctrl-C, when all that was started has ended.
    """
    tasks = [(notebook, values, paths.executed_dir(profile) / notebook.name) for notebook, values in parameters.items()]
    readers = [task for task in tasks if task[0].name >= FIRST_READER]  # they need what the others leave
    makers = [task for task in tasks if task not in readers]
    n_jobs = min(n_jobs, max(len(makers), len(readers)))
    if n_jobs > 1:
        makers.sort(key=lambda task: not task[0].name.startswith(LONGEST))
    outcomes: list[Outcome] = []
    before = _children()
    with tempfile.TemporaryDirectory() as reports, Terminal(Path(reports), len(tasks)) as terminal:
        pool = ProcessPoolExecutor(n_jobs, initializer=_begin, initargs=(n_jobs,))
        try:
            for batch in (makers, readers):
                _run_batch(pool, batch, Path(reports), terminal, outcomes)
        except KeyboardInterrupt:
            _stop([child for child in _children() if child not in before])
            raise Stopped([outcome.notebook for outcome in outcomes if not outcome.error]) from None
        finally:
            pool.shutdown(cancel_futures=True)
    return sorted(outcomes, key=lambda outcome: outcome.notebook)


def _run_batch(
    pool: ProcessPoolExecutor, tasks: Sequence[Task], reports: Path, terminal: Terminal, outcomes: list[Outcome]
) -> None:
    pending: set[Future[Outcome]] = {pool.submit(execute, *task, reports) for task in tasks}
    while pending:
        done, pending = wait(pending, timeout=terminal.seconds, return_when=FIRST_COMPLETED)
        for future in done:
            outcomes.append(future.result())
            terminal.ended(outcomes[-1])
        terminal.refresh()


def _begin(n_jobs: int) -> None:
    """Let this process and its kernels use one of `n_jobs` shares of the cores: threads that fight for a core are slower."""
    signal.signal(signal.SIGINT, signal.SIG_IGN)  # Ctrl-C reaches the whole group: the first process ends the others
    if n_jobs > 1:
        share = str(max(1, (os.cpu_count() or 1) // n_jobs))
        os.environ |= dict.fromkeys(("LOKY_MAX_CPU_COUNT", "OMP_NUM_THREADS", "RAYON_NUM_THREADS"), share)


def _children() -> list[Any]:
    """Processes that this one, and those, have started: workers, their kernels, the kernels' trainings."""
    import psutil

    return psutil.Process().children(recursive=True)


def _stop(children: Sequence[Any]) -> None:
    """End processes: kindly, then at once. The store never has half an artifact, so nothing is lost but what was under way."""
    import psutil

    usual = signal.signal(signal.SIGINT, signal.SIG_IGN)  # a second Ctrl-C would leave some of them running
    try:
        for ask in ("terminate", "kill"):
            for child in children:
                try:
                    getattr(child, ask)()
                except psutil.NoSuchProcess:
                    continue
            _, children = psutil.wait_procs(children, timeout=PATIENCE)
    finally:
        signal.signal(signal.SIGINT, usual)
