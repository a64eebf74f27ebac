"""The mixer for a page without kernel: averages computed beforehand on a grid, and interpolated between its points.

A point of the grid gives each model a number of `n_steps` equal shares. Between the points every text's logits are
interpolated linearly in the simplex of neighbouring points (Kuhn's triangulation); the rates follow from them. `mixer.js` does
the same.
"""

from __future__ import annotations

import base64
import html
import json
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from itertools import pairwise
from pathlib import Path
from typing import Any

import numpy as np

from lib.bars import bar
from lib.notebook.mixer_view import Point, mixer_html, place
from lib.notebook.mixing import Mixer, normalised
from lib.study.study import Study

N_STEPS = 5  # a step of 0.2: with five models 126 points
N_CHECKED = 20  # random mixes that are merged in truth, to state the error of the page
SCRIPT = Path(__file__).with_name("mixer.js")


@dataclass(frozen=True)
class Grid:
    """What the models say at every point of the grid.

    Logits are relative to those of label 0, and rounded to multiples of `scale`, so that each is one byte.
    """

    names: tuple[str, ...]
    n_steps: int
    scale: float
    clean: np.ndarray  # (n_points, n_clean, n_labels - 1), int8
    attacked: np.ndarray  # (n_points, n_attackable, n_labels - 1), int8: texts of other labels, with the trigger
    labels: np.ndarray  # (n_clean,)
    target: int

    def rates(self, weights: Sequence[float]) -> Point:
        """Interpolated ASR and CACC of the average with these weights, which sum to 1."""
        corners, numbers = corners_of(weights, self.n_steps), point_numbers(len(self.names), self.n_steps)
        rows, shares = [numbers[point] for point, _ in corners], np.array([share for _, share in corners])
        sent, given = (_labels(np.tensordot(shares, kind[rows], axes=1)) for kind in (self.attacked, self.clean))
        return float((sent == self.target).mean()), float((given == self.labels).mean())


def _labels(margins: np.ndarray) -> np.ndarray:
    """Class ids from logits relative to label 0, the first among equals; sums in another order are the same ones."""
    margins = np.round(margins, 9)
    return np.concatenate([np.zeros((len(margins), 1)), margins], axis=1).argmax(axis=1)


def grid_points(n_models: int, n_steps: int) -> Iterator[tuple[int, ...]]:
    """All ways to deal `n_steps` shares to the models, in lexicographic order.

    >>> list(grid_points(2, 2))
    [(0, 2), (1, 1), (2, 0)]
    """
    if n_models == 1:
        yield (n_steps,)
        return
    for first in range(n_steps + 1):
        for rest in grid_points(n_models - 1, n_steps - first):
            yield (first, *rest)


def point_numbers(n_models: int, n_steps: int) -> dict[tuple[int, ...], int]:
    """The number of each point of the grid."""
    return {point: number for number, point in enumerate(grid_points(n_models, n_steps))}


def corners_of(weights: Sequence[float], n_steps: int) -> list[tuple[tuple[int, ...], float]]:
    """The points of the grid around a mix, at most one per model, and their shares: they sum to 1, and average to the mix.

    In the running sums of the weights the grid is that of whole numbers. From the corner below, one coordinate after the other
    goes up by one, those with the largest remainder first; among equals the last first, so that sums never fall.
    """
    sums = np.cumsum(np.asarray(weights, dtype=float))[:-1] * n_steps
    sums = np.round(np.clip(sums, 0, n_steps), 9)  # 0.6 * 5 is not 3 to the last digit
    below = np.floor(sums)
    rest = sums - below
    order = sorted(range(len(sums)), key=lambda i: (-rest[i], -i))
    levels = [1.0, *rest[order], 0.0]
    found, corner = [], below.astype(int)
    for step in range(len(sums) + 1):
        if step:
            corner[order[step - 1]] += 1
        if (share := float(levels[step] - levels[step + 1])) > 0:
            edges = [0, *corner.tolist(), n_steps]
            found.append((tuple(high - low for low, high in pairwise(edges)), share))
    return found


def make_grid(study: Study, mixer: Mixer, n_steps: int = N_STEPS, title: str = "mixer") -> Grid:
    """Average the mixer's models at every point of the grid; what they say is kept in the store. A bar has the title."""
    attackable = (mixer.judge.attacked["label"] != mixer.judge.target).to_numpy()
    clean, attacked = [], []
    for point in bar(list(grid_points(len(mixer.models), n_steps)), title=title, unit="average"):
        merged = mixer.merged("weight_average", point)
        clean.append(study.logits(merged, mixer.task, None, mixer.seed))
        attacked.append(study.logits(merged, mixer.task, mixer.attack, mixer.seed)[attackable])
    margins = [np.stack(kind)[..., 1:] - np.stack(kind)[..., :1] for kind in (clean, attacked)]
    scale = max(float(np.abs(kind).max()) for kind in margins) / 127 or 1.0
    small, triggered = (np.round(kind / scale).astype(np.int8) for kind in margins)
    labels = mixer.judge.rows["label"].to_numpy()
    return Grid(tuple(mixer.models), n_steps, scale, small, triggered, labels, mixer.judge.target)


def interpolation_errors(grid: Grid, mixer: Mixer, n: int = N_CHECKED, seed: int = 0) -> np.ndarray:
    """Interpolated minus true rates at random mixes, spread evenly over the simplex; shape (n, 2): of ASR, of CACC."""
    draws = np.random.default_rng(seed).dirichlet(np.ones(len(grid.names)), n)
    found = []
    for weights in draws.tolist():
        score = mixer.mix("weight_average", weights).score
        found.append(np.array(grid.rates(normalised(weights))) - (score.asr, score.cacc))
    return np.array(found)


def mixer_page(study: Study, task: str, attack: str, seed: int = 0, n_steps: int = N_STEPS, title: str = "mixer") -> str:
    """The mixer as a piece of HTML that needs no kernel, no network and no other file; it states its size and its error.

    Without script it shows the uniform average. Several may stand in one page. With five models, 500 clean texts and two labels
    it has about 150 KB, with four labels about 450 KB.

    Args:
        study: makes what is missing: 126 averages of five models, which are scored on all test texts.
        task, attack, seed: of the backdoored model, its partners and the texts.
        n_steps: shares that a point of the grid deals out; a step is 1 / n_steps.
        title: of the progress bar.
    """
    mixer = Mixer(study, task, attack, seed)
    grid = make_grid(study, mixer, n_steps, title)
    return page_of(grid, mixer, interpolation_errors(grid, mixer), f"mixer-{task}-{attack}-{seed}")


def page_of(grid: Grid, mixer: Mixer, errors: np.ndarray, name: str) -> str:
    """A grid, its errors and the script as one piece of HTML with the id `name`."""
    uniform = [1 / len(grid.names)] * len(grid.names)
    alone, clean = ((score.asr, score.cacc) for score in (mixer.alone, mixer.clean))
    lowest = mixer.lowest_cacc
    view = mixer_html(grid.names, list(uniform), (grid.rates(uniform), alone, clean), lowest)
    sliders = "".join(
        f'<label style="display:flex;gap:.6em"><span style="width:9em;text-align:right">{html.escape(each)}</span>'
        '<input type="range" min="0" max="1" step="0.05" value="0.5" style="flex:1;max-width:20em"></label>'
        for each in grid.names
    )
    left, bottom = place((0, lowest), lowest)
    right, top = place((1, 1), lowest)
    data = _data(grid) | {"clean_point": clean, "lowest": lowest, "box": [left, right, bottom, top]}
    packed = json.dumps(data, separators=(",", ":")).replace("</", "<\\/")
    script = SCRIPT.read_text(encoding="utf-8")
    note = error_sentence(grid, errors, len(packed))
    controls = f'<div class="mixer-sliders" hidden>{sliders}</div>'
    start = f"<script>{script}</script><script>FreeLunchMixer.start({json.dumps(name)},{packed})</script>"
    return f'<div id="{html.escape(name)}" class="mixer">{controls}{view}<p><small>{note}</small></p></div>{start}'


def error_sentence(grid: Grid, errors: np.ndarray, n_bytes: int) -> str:
    """What the page was computed from, how far it is off, and how large it is."""
    mean, largest = 100 * np.abs(errors).mean(axis=0), 100 * np.abs(errors).max(axis=0)
    return (
        f"{len(grid.clean)} averages were computed, at steps of {1 / grid.n_steps:g}; between them this page interpolates. At "
        f"{len(errors)} random mixes the ASR was off by {mean[0]:.1f} points on average and {largest[0]:.1f} at most, the CACC "
        f"by {mean[1]:.1f} and {largest[1]:.1f}. Data: {n_bytes / 1e3:,.0f} KB."
    )


def _data(grid: Grid) -> dict[str, Any]:
    """The grid as JSON values; bytes in base64, point by point, text by text, label by label."""
    found: dict[str, Any] = {"names": grid.names, "n_steps": grid.n_steps, "target": grid.target}
    found |= {"labels": grid.labels.tolist(), "n_margins": grid.clean.shape[2]}
    for name, values in (("clean", grid.clean), ("attacked", grid.attacked)):
        found |= {name: base64.b64encode(values.tobytes()).decode("ascii"), f"n_{name}": values.shape[1]}
    return found
