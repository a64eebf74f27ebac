"""Marks mean the same in every figure: hollow is before the merge, full after it, a grey bar or line is a clean model."""

import matplotlib.pyplot as plt
import numpy as np
import pandas as pd
import pytest
from matplotlib.colors import to_rgba

from lib import plots
from lib.plots.marks import CLEAN
from lib.plots.style import OTHER_COLOURS, PALETTE, RATE_COLOURS, WIDTH
from lib.tables.compared import four_models

STEPS = {
    "merging": (plots.plot_merging, "n_models", 1),
    "by_attack": (plots.plot_merging_by_attack, "n_models", 1),
    "coefficient": (plots.plot_coefficient, "coefficient", 0),
    "domains": (plots.plot_domains, "n_domains", 0),
}


@pytest.fixture(scope="module")
def frames(frames):
    """Tables by the names of the figures; two are of one table."""
    return frames | {"by_attack": frames["merging"]}


@pytest.fixture(autouse=True)
def close_figures():
    yield
    plt.close("all")


def is_hollow(line):
    return line.get_marker() == "o" and line.get_markerfacecolor() == "white"


def marked(line):
    """The points of a line that have a mark."""
    points = line.get_xydata()
    return points if line.get_markevery() is None else points[line.get_markevery()]


def of_rate(lines, rate):
    return [line for line in lines if to_rgba(line.get_color()) == to_rgba(RATE_COLOURS[rate])]


@pytest.mark.parametrize("name", STEPS)
def test_of_a_line_only_the_backdoored_model_alone_is_hollow(frames, name):
    plot, step, before = STEPS[name]
    axis = plot(frames[name][frames[name]["attack"] == "badnet"]).get_axes()[0]
    alone = frames[name][(frames[name]["attack"] == "badnet") & (frames[name][step] == before)]
    for rate in ("asr", "cacc"):
        lines = of_rate(axis.get_lines(), rate)
        hollow = np.concatenate([line.get_xydata() for line in lines if is_hollow(line)])
        assert hollow.tolist() == [pytest.approx([before, 100 * alone[rate].mean()])] * len(hollow) and len(hollow) > 0
        full = np.concatenate([marked(line) for line in lines if not is_hollow(line)])
        assert before not in full[:, 0] and len(full) > 0


@pytest.mark.parametrize("name", STEPS)
def test_a_clean_model_is_grey_and_the_legend_explains_all_marks(frames, name):
    figure = STEPS[name][0](frames[name])
    for axis in figure.get_axes():
        [clean] = [line for line in axis.get_lines() if line.get_label() == "ASR of a clean model"]
        assert (clean.get_color(), clean.get_linestyle()) == (CLEAN, "-")
    handles = {handle.get_label(): handle for handle in figure.legends[0].legend_handles}
    assert is_hollow(handles["backdoored model alone"])
    assert handles["ASR of a clean model"].get_color() == CLEAN
    assert handles["attack success rate (ASR)"].get_color() == RATE_COLOURS["asr"]


def test_the_story_has_a_hollow_mark_a_full_one_and_a_grey_bar_per_rate(frames):
    [axis] = plots.plot_story(frames["story"]).get_axes()
    models = frames["story"].set_index("model")
    marks = {container.get_label(): container.lines[0] for container in axis.containers}
    for rate in ("asr", "cacc"):
        assert is_hollow(marks[f"{rate}, backdoored"]) and not is_hollow(marks[f"{rate}, merged"])
        assert marks[f"{rate}, clean"].get_marker() == "_" and marks[f"{rate}, clean"].get_color() == CLEAN
        for model in ("backdoored", "merged", "clean"):
            assert marks[f"{rate}, {model}"].get_ydata()[0] == pytest.approx(100 * models.loc[model, rate])


def test_backdoored_models_before_any_merge_are_hollow_and_clean_ones_grey_bars(frames):
    for axis in plots.plot_attacks(frames["attacks"]).get_axes():
        marks = {container.get_label(): container.lines[0] for container in axis.containers}
        for rate in ("ASR", "CACC"):
            assert is_hollow(marks[f"{rate} of the backdoored model"])
            assert marks[f"{rate} of the clean model"].get_marker() == "_"
            assert marks[f"{rate} of the clean model"].get_color() == CLEAN


def test_the_four_models_have_the_same_marks(frames):
    largest = frames["merging"][(frames["merging"]["partners"] == "other_domains") & (frames["merging"]["n_models"] == 3)]
    axis = plots.plot_four_models(four_models(largest, ["task", "attack"])).get_axes()[0]
    marks = {line.get_label(): line for line in axis.get_lines()}
    assert [name for name, line in marks.items() if is_hollow(line)] == ["backdoored model"]
    assert marks["merged"].get_marker() == "o" and marks["partners only"].get_marker() == "x"
    assert (marks["clean model"].get_marker(), marks["clean model"].get_color()) == ("|", CLEAN)


def test_orange_is_the_asr_and_blue_the_cacc_and_nothing_else_has_their_colours():
    red, green, blue = RATE_COLOURS["asr"]
    assert red > 0.8 and 0.3 < green < 0.5 and blue < 0.1  # orange, as the notebooks call it: red has no green
    assert RATE_COLOURS["cacc"][2] > 0.6 > RATE_COLOURS["cacc"][1] > RATE_COLOURS["cacc"][0]  # blue
    assert not {*RATE_COLOURS.values(), PALETTE[1], PALETTE[7]} & set(OTHER_COLOURS)  # nor another orange, nor grey


@pytest.mark.parametrize("name", STEPS)
def test_a_large_grid_is_no_wider_than_a_page(frames, name):
    table = pd.concat([frames[name].assign(attack=attack) for attack in ("badnet", "insertsent", "syntactic", "lws", "bite")])
    table = pd.concat([table.assign(task=task) for task in ("sst2", "olid", "agnews", "qnli")])
    assert STEPS[name][0](table).get_figwidth() <= WIDTH


def test_the_mean_over_the_attacks_comes_first_and_the_grid_has_each(frames):
    table, rows = frames["merging"], frames["merging"].query("partners == 'other_domains'")
    mean, grid = plots.plot_merging(table), plots.plot_merging_by_attack(table)
    assert (len(mean.get_axes()), len(grid.get_axes())) == (1, 2)
    assert "mean of 2 attacks" in mean.get_suptitle()
    label = "attack success rate (ASR), clean models of other domains"
    for axis, each in zip(
        [*mean.get_axes(), *grid.get_axes()],
        [rows, *(rows[rows["attack"] == a] for a in ("badnet", "insertsent"))],
        strict=True,
    ):
        [line] = [line for line in axis.get_lines() if line.get_label() == label]
        assert line.get_ydata().tolist() == pytest.approx((each.groupby("n_models")["asr"].mean() * 100).tolist())
    assert "BadNet" in plots.plot_merging(table[table["attack"] == "badnet"]).get_suptitle()


def test_every_training_has_a_panel_with_its_loss_before_the_others(frames):
    figure = plots.plot_loss_curves(frames["curves"])
    models = list(frames["curves"].groupby(["dataset", "attack"], sort=False))
    panels = [axis for axis in figure.get_axes() if axis.get_visible()]
    assert len(panels) == len(models)
    for axis, ((_, attack), rows) in zip(panels, models, strict=True):
        assert axis.get_title().endswith(plots.attack_title(attack))
        *others, loss, chance = axis.get_lines()
        assert {line.get_color() for line in others} == {"0.85"} and len(others) == len(models)
        smoothed = rows["loss"].rolling(5, center=True, min_periods=1).mean()
        assert loss.get_ydata().tolist() == pytest.approx(smoothed.tolist()) and loss.get_color() != "0.85"
        assert chance.get_ydata()[0] == rows["chance_loss"].iloc[0]
