"""The mixer without kernel: exact on the grid, the same in Python and in JavaScript, one piece of HTML."""

import json
import re
import shutil
import subprocess

import numpy as np
import pytest

from lib.notebook.mixer_grid import (
    SCRIPT,
    Grid,
    _data,
    corners_of,
    grid_points,
    interpolation_errors,
    make_grid,
    mixer_page,
    point_numbers,
)
from lib.notebook.mixing import Mixer


@pytest.fixture(scope="module")
def mixer(study):
    return Mixer(study, "sst2", "badnet")


@pytest.fixture(scope="module")
def grid(study, mixer):
    return make_grid(study, mixer, 2)


def random_grid(n_models=4, n_steps=3, n_labels=3):
    """A grid of bytes as chance has it: every mix has other rates."""
    rng = np.random.default_rng(0)
    n_points = len(list(grid_points(n_models, n_steps)))
    draw = lambda n: rng.integers(-127, 128, (n_points, n, n_labels - 1)).astype(np.int8)  # noqa: E731
    return Grid(tuple("abcd"[:n_models]), n_steps, 0.1, draw(60), draw(40), rng.integers(0, n_labels, 60), 1)


def mixes(n_models, n=50):
    """Random mixes, and some in which sums or remainders are equal."""
    equal = [
        [1 / n_models] * n_models,
        [1] + [0] * (n_models - 1),
        [0] * (n_models - 1) + [1],
        [0.6, 0.4] + [0] * (n_models - 2),
    ]
    return [*np.random.default_rng(1).dirichlet(np.ones(n_models), n).tolist(), *equal]


def test_five_models_at_steps_of_a_fifth_have_126_points():
    points = list(grid_points(5, 5))
    assert len(points) == len(set(points)) == 126
    assert all(sum(point) == 5 and min(point) >= 0 for point in points)


@pytest.mark.parametrize("n_models", [1, 2, 3, 5])
def test_a_mix_is_the_weighted_mean_of_neighbouring_points_of_the_grid(n_models):
    known = point_numbers(n_models, 5)
    for weights in mixes(n_models) if n_models > 1 else [[1.0]]:
        corners = corners_of(weights, 5)
        assert len(corners) <= n_models
        assert all(point in known for point, _ in corners)
        assert sum(share for _, share in corners) == pytest.approx(1)
        mean = sum(share * np.array(point) for point, share in corners) / 5
        np.testing.assert_allclose(mean, weights, atol=1e-8)
        assert all(np.abs(np.array(point) / 5 - weights).max() < 0.2 + 1e-9 for point, _ in corners)  # neighbours


def test_a_point_of_the_grid_is_its_own_only_corner():
    for point in grid_points(5, 5):
        assert corners_of([share / 5 for share in point], 5) == [(point, 1.0)]


def test_on_the_grid_the_rates_are_those_of_the_merge(grid, mixer):
    for point in grid_points(len(grid.names), 2):
        score = mixer.mix("weight_average", point).score
        n = len(mixer.judge.rows)
        assert grid.rates([share / 2 for share in point]) == pytest.approx((score.asr, score.cacc), abs=2 / n)  # rounded bytes


def test_between_the_points_logits_are_means_and_rates_follow():
    grid = Grid(
        ("a", "b"), 1, 0.1, np.array([[[40]], [[-120]]], np.int8), np.array([[[40]], [[-120]]], np.int8), np.array([1]), 0
    )
    assert grid.rates([0, 1]) == (0.0, 1.0)  # points (0, 1) and (1, 0): the second label, then the first
    assert grid.rates([0.2, 0.8]) == (0.0, 1.0)  # 0.8 * 40 - 0.2 * 120 = 8
    assert grid.rates([0.3, 0.7]) == (1.0, 0.0)  # 0.7 * 40 - 0.3 * 120 = -8


def test_errors_are_interpolated_minus_true_rates(grid, mixer):
    errors = interpolation_errors(grid, mixer, n=3)
    weights = np.random.default_rng(0).dirichlet(np.ones(3), 3)[1].tolist()
    score = mixer.mix("weight_average", weights).score
    np.testing.assert_allclose(errors[1], np.array(grid.rates(weights)) - (score.asr, score.cacc), atol=1e-9)
    assert errors.shape == (3, 2)


@pytest.mark.skipif(not shutil.which("node"), reason="needs node")
def test_the_script_of_the_page_gives_the_same_rates_as_python(tmp_path):
    grid, wanted = random_grid(), mixes(4)
    program = tmp_path / "check.js"
    program.write_text(
        f"const mixer = require({json.dumps(str(SCRIPT))});\n"
        f"const data = mixer.unpack({json.dumps(_data(grid))});\n"
        f"console.log(JSON.stringify({json.dumps(wanted)}.map(weights => mixer.rates(data, weights))));\n"
    )
    run = subprocess.run(["node", str(program)], capture_output=True, text=True, check=True)
    given = json.loads(run.stdout)
    np.testing.assert_allclose(given, [grid.rates(weights) for weights in wanted], atol=1e-12)
    assert len({tuple(pair) for pair in given}) > 20  # not all the same


def test_the_page_is_one_piece_that_asks_no_network_and_states_size_and_error(study):
    page = mixer_page(study, "sst2", "badnet", n_steps=1)
    assert not re.search(r"https?:|src=|href=|fetch\(|import ", page)
    assert page.count('type="range"') == 3 and 'class="mixer-sliders" hidden' in page
    assert "3 averages were computed, at steps of 1; between them this page interpolates." in page
    size = float(re.search(r"Data: ([\d.]+) KB", page)[1])
    data = re.search(r"FreeLunchMixer.start\(\"mixer-sst2-badnet-0\",(.*)\)</script>", page)[1]
    assert size == round(len(data) / 1e3)
    assert json.loads(data.replace("<\\/", "</"))["names"][0] == "backdoored"


@pytest.mark.skipif(not shutil.which("node"), reason="needs node")
def test_the_script_of_the_page_moves_point_weights_and_rates(study, tmp_path):
    """A stand-in for a browser's document: what `start` looks up, and no more."""
    page = mixer_page(study, "sst2", "badnet", n_steps=1)
    script, start = re.findall(r"<script>(.*?)</script>", page, re.DOTALL)
    program = tmp_path / "page.js"
    program.write_text(
        """
        const inputs = [0.5, 0.5, 0.5].map(value => ({value, addEventListener(_, follow) { this.follow = follow; }}));
        const cells = [{}, {}, {}], line = {}, sliders = {}, point = {setAttribute(name, value) { this[name] = value; }};
        const found = {".mixer-point": point, ".mixer-rates": line, ".mixer-sliders": sliders};
        const root = {querySelectorAll: what => what === "input" ? inputs : cells, querySelector: what => found[what]};
        globalThis.document = {getElementById: () => root};
        """
        + script
        + start
        + """
        const first = line.textContent;
        inputs[1].value = inputs[2].value = 0;
        inputs[0].follow();
        console.log(JSON.stringify([first, line.textContent, cells.map(cell => cell.textContent), sliders.hidden, point]));
        """
    )
    run = subprocess.run(["node", str(program)], capture_output=True, text=True, check=True)
    first, last, weights, hidden, point = json.loads(run.stdout)
    score = Mixer(study, "sst2", "badnet").alone
    assert first != last and last.startswith(f"ASR {score.asr:.1%} (floor ") and f"CACC {score.cacc:.1%}" in last
    assert weights == ["1.000", "left out", "left out"] and hidden is False
    assert point["cx"] > 0 and point["cy"] > 0
