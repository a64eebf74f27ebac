"""Figures of notebook 13: what they show is what their tables say."""

import matplotlib.pyplot as plt
import pytest

from lib import plots

PLOTS = {
    "margins": plots.plot_margins, "strength": plots.plot_strength, "kept": plots.plot_collapse,
    "certificates": plots.plot_certificates, "modules": plots.plot_modules, "rank": plots.plot_rank,
    "plane": plots.plot_triangle, "hidden": plots.plot_hidden, "states": plots.plot_states,
}  # fmt: skip


@pytest.fixture(autouse=True)
def close_figures():
    yield
    plt.close("all")


@pytest.fixture(scope="module")
def tables(why_frames):
    return why_frames | {"strength": why_frames["margins"]}


@pytest.mark.parametrize("name", PLOTS)
def test_figures_say_whose_numbers_they_show_and_have_labelled_axes(tables, name):
    figure = PLOTS[name](tables[name], plots.Subject(is_synthetic=True, model="pocket-bert"))
    said = " ".join(text.get_text() for text in figure.texts)
    assert "Pocket English, pocket-bert: SST-2-like" in said and "seed" in said
    assert len(figure.get_suptitle()) > 10
    assert any(axis.get_xlabel() for axis in figure.get_axes())


def test_dots_are_the_measured_asr_and_lines_what_is_counted(tables):
    table = tables["margins"]
    rows = table[(table["attack"] == "badnet") & (table["partners"] == "other_domains") & (table["split"] == "triggered")]
    lines = plots.plot_margins(table).get_axes()[0].get_lines()
    drawn = [list(line.get_ydata()) for line in lines]
    for column in ("asr", "asr_counted", "asr_gaussian", "asr_cantelli"):
        assert any(each == pytest.approx((100 * rows[column]).tolist()) for each in drawn if len(each) == len(rows)), column


def test_the_ensemble_loses_strength_in_proportion(tables):
    axis = plots.plot_strength(tables["margins"]).get_axes()[0]
    proportion, square = axis.get_lines()[:2]
    assert proportion.get_ydata()[-1] == square.get_ydata()[-1] == 100
    assert square.get_ydata()[25] == pytest.approx(proportion.get_ydata()[25] ** 2 / 100)


def test_the_backdoored_model_is_hollow_and_clean_ones_are_grey(tables):
    axis = plots.plot_triangle(tables["plane"]).get_axes()[0]
    marks = {line.get_xdata()[0]: line for line in axis.get_lines()}
    named = tables["plane"][tables["plane"]["name"] != ""].set_index("name")
    assert marks[named["x"]["backdoored model"]].get_markerfacecolor() == "white"
    assert marks[named["x"]["clean twin"]].get_color() == "0.55"
    crossed = plots.plot_triangle(tables["plane"], here=(1.0, 2.0), said="here")
    assert "here" in crossed.get_suptitle() and (1.0, 2.0) in {
        (line.get_xdata()[0], line.get_ydata()[0]) for line in crossed.get_axes()[0].get_lines()
    }
