"""How long the merge mixer takes to answer a move, and how good its page without kernel is.

Run by hand, the models being in the store: `python benchmarks/mixer.py`. A move merges, predicts and scores; that
is what a user waits for, beside the few milliseconds of the browser. Moves are random amounts, so none is remembered.
"""

from __future__ import annotations

import argparse
import time

import numpy as np
import torch

from lib.notebook.mixer_view import mixer_html
from lib.notebook.mixing import KNOBS, MIXABLE, Mixer
from lib.study import Study


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--profile", default="pocket")
    parser.add_argument("--task", default="sst2")
    parser.add_argument("--attack", default="badnet")
    parser.add_argument("--moves", type=int, default=20)
    parser.add_argument("--threads", type=int, default=1)
    parser.add_argument("--grid", action="store_true", help="also make the page without kernel, and state its size and error")
    options = parser.parse_args()
    torch.set_num_threads(options.threads)
    study = Study(options.profile)
    start = time.perf_counter()
    mixer = Mixer(study, options.task, options.attack)
    print(f"ready after {time.perf_counter() - start:.1f} s, {len(mixer.models)} models, {len(mixer.judge.rows)} clean texts")
    rng = np.random.default_rng(0)
    print(f"{'method':20} {'median s':>9} {'90 %':>6} {'median processor s':>19}")
    for method, mixable in MIXABLE.items():
        settings = {name: KNOBS[name].value for name in mixable.knobs}
        walls, cores = [], []
        for _ in range(options.moves):
            wall, core = _move(mixer, method, rng.uniform(0.05, 1, len(mixer.models)).tolist(), settings)
            walls.append(wall)
            cores.append(core)
        print(f"{method:20} {np.median(walls):9.3f} {np.quantile(walls, 0.9):6.3f} {np.median(cores):19.3f}")
    if options.grid:
        _grid(study, options.task, options.attack)


def _move(mixer: Mixer, method: str, amounts: list[float], settings: dict) -> tuple[float, float]:
    wall, core = time.perf_counter(), time.process_time()
    mix = mixer.mix(method, amounts, settings)
    here, alone, clean = ((score.asr, score.cacc) for score in (mix.score, mixer.alone, mixer.clean))
    mixer_html(list(mixer.models), mix.weights, (here, alone, clean), mixer.lowest_cacc)
    return time.perf_counter() - wall, time.process_time() - core


def _grid(study: Study, task: str, attack: str) -> None:
    from lib.notebook.mixer_grid import mixer_page

    wall, core = time.perf_counter(), time.process_time()
    page = mixer_page(study, task, attack)
    spent = f"{time.perf_counter() - wall:.1f} s, {time.process_time() - core:.1f} processor seconds"
    print(f"page of {task} {attack}: {len(page) / 1e3:,.0f} KB, made in {spent}")


if __name__ == "__main__":
    main()
