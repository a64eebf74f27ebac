"""The mixer: amounts become weights, what is left out is left out, and the view says what the scores say."""

import re

import numpy as np
import pytest

from lib.merging import MERGE_METHODS
from lib.notebook.mixer_view import HEIGHT, LEFT, RIGHT, TOP, WIDTH, mixer_html, place, plane_svg, weights_table
from lib.notebook.mixing import KNOBS, MIXABLE, Mixer, normalised


@pytest.fixture(scope="module")
def mixer(study):
    return Mixer(study, "sst2", "badnet")


def test_amounts_become_weights_that_sum_to_one():
    assert normalised([2, 1, 1]) == [0.5, 0.25, 0.25]
    for amounts in ([0, 0], [-1, 2]):
        with pytest.raises(ValueError, match="each must be 0 or more, and one above 0"):
            normalised(amounts)


@pytest.mark.parametrize("method", MIXABLE)
def test_every_rule_of_the_mixer_is_a_merge_method_with_settings_of_that_name(method):
    assert set(MIXABLE[method].knobs) <= set(MERGE_METHODS[method].settings) & set(KNOBS)
    if MERGE_METHODS[method].weights == "found":
        assert not MIXABLE[method].has_weights
    for name in MIXABLE[method].knobs:
        assert KNOBS[name].low <= KNOBS[name].value <= KNOBS[name].high


def test_one_model_alone_scores_as_it_does_in_the_study(study, mixer, backdoored):
    mix = mixer.mix("weight_average", [0.3, 0, 0])
    score = study.score(backdoored, "sst2", "badnet")
    assert (mix.score.cacc, mix.score.asr) == (score.cacc, score.asr) == (mixer.alone.cacc, mixer.alone.asr)
    assert mix.weights == [1, 0, 0]
    assert list(mixer.models) == ["backdoored", *study.other_domains("sst2")]


def test_a_mix_is_the_weighted_average_of_those_that_take_part(study, mixer):
    models = list(mixer.models.values())
    merged = mixer.merged("weight_average", [1, 3, 0])
    assert merged.key == study.merge(models[:2], weights=[0.25, 0.75]).key
    score = study.score(merged, "sst2", "badnet")
    mix = mixer.mix("weight_average", [1, 3, 0])
    assert (mix.score.cacc, mix.score.asr) == (score.cacc, score.asr)


def test_a_method_without_weights_takes_a_model_or_leaves_it(study, mixer):
    models = list(mixer.models.values())
    mix = mixer.mix("ties", [0.1, 0.9, 0], {"density": 0.5})
    assert mix.weights == [None, None, 0]
    assert mixer.merged("ties", [0.1, 0.9, 0], density=0.5).key == study.merge(models[:2], "ties", density=0.5).key
    with pytest.raises(ValueError, match="a median takes 3 models or more, found 2"):
        mixer.mix("median", [1, 1, 0])


def test_a_wrong_number_of_amounts_or_an_unknown_method_is_an_error(mixer):
    with pytest.raises(ValueError, match="2 amounts for 3 models"):
        mixer.mix("median", [1, 1])
    with pytest.raises(ValueError, match="'soup' cannot be mixed; choose from"):
        mixer.mix("soup", [1, 1, 1])


def test_mixing_writes_nothing_into_the_store(study, mixer):
    before = {path.name for path in study.store.root.iterdir()}
    mixer.mix("weight_average", [0.11, 0.22, 0.33])
    assert {path.name for path in study.store.root.iterdir()} == before


def test_the_corners_of_the_plane_are_the_extreme_rates():
    assert place((0, 1), 0.5) == (LEFT, TOP)
    x, y = place((1, 0.5), 0.5)
    assert (x, y) == (WIDTH - RIGHT, HEIGHT - 46)
    assert place((0, 0.2), 0.5) == place((0, 0.5), 0.5)  # below the edge: on the edge


def test_the_plane_shows_the_merge_what_it_is_compared_with_and_where_it_was():
    drawn = plane_svg((0.5, 0.9), (1, 0.9), (0.1, 0.95), 0.5, [(0.7, 0.8), (0.6, 0.85)])
    circles = re.findall(r'<circle(?: class="mixer-point")? cx="([\d.]+)"', drawn)
    assert len(circles) == 4  # the ring, two of the trail, the merge
    assert float(circles[-1]) == pytest.approx(place((0.5, 0.9), 0.5)[0], abs=0.1)
    assert [f">{tick}<" in drawn for tick in (50, 60, 70, 80, 90, 100)] == [True] * 6
    assert "currentColor" in drawn and "black" not in drawn


def test_the_view_states_weights_and_rates_beside_the_floor_and_escapes_names():
    shown = mixer_html(["<b>", "cr", "kitchen"], [0.75, 0.0, None], ((0.5, 0.9), (1, 0.9), (0.1, 0.95)), 0.5)
    assert "ASR <b>50.0%</b> (floor 10.0%), CACC <b>90.0%</b> (clean model 95.0%)" in shown
    assert re.findall(r'right">([^<]+)<', shown)[:3] == ["0.750", "left out", "takes part"]
    assert "<b></td>" not in shown and "&lt;b&gt;" in weights_table(["<b>"], [1])


def test_guessing_is_where_the_axis_begins(mixer):
    assert mixer.lowest_cacc == 0.5
    assert np.isfinite(mixer.clean.asr)
