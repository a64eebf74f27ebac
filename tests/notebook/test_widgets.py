"""Sliders and menus: harmless when a notebook is executed without anybody looking."""

import matplotlib.pyplot as plt
import pytest

from lib import plots
from lib.notebook import widgets


class Handle:
    """Stands for IPython's display handle: remembers what it was told to show."""

    def __init__(self, seen):
        self.seen = seen

    def update(self, thing):
        self.seen.append(thing)


@pytest.fixture(autouse=True)
def shown(monkeypatch):
    """What would have been displayed."""
    seen = []

    def display(thing, display_id=False):
        seen.append(thing)
        return Handle(seen)

    monkeypatch.setattr(widgets, "display", display)
    return seen


def controls_of(box):
    return {control.description: control for control in box.children}


def test_a_menu_of_attacks_draws_the_chosen_ones(frames, shown):
    drawn = []
    widgets.explore_attacks(lambda table, _: drawn.append(table) or plots.plot_merging(table), frames["merging"])
    menu = controls_of(shown[0])["attack"]
    assert list(menu.options) == [("BadNet", "badnet"), ("InsertSent", "insertsent"), ("all", "all")]
    assert set(drawn[-1]["attack"]) == {"badnet"}
    menu.value = "insertsent"
    assert set(drawn[-1]["attack"]) == {"insertsent"}
    menu.value = "all"
    assert len(drawn[-1]) == 10
    assert len(shown) == 4  # the menu, the first figure, two more in its place
    assert plt.get_fignums() == []  # no figure stays in memory


def test_a_menu_calls_tasks_as_its_figure_does(frames, shown):
    subject = plots.Subject(is_synthetic=True, model="pocket-bert")
    widgets.explore_tasks(plots.plot_transfer, frames["transfer"], subject)
    assert list(controls_of(shown[0])["task"].options) == [("SST-2-like", "sst2")]
    assert any("Pocket English, pocket-bert: SST-2-like" in text.get_text() for text in shown[1].texts)


def test_a_slider_merges_scores_and_predicts_on_the_fly(study, backdoored, clean, shown):
    widgets.explore_merge(study, "sst2", "badnet", backdoored, [clean], "the film was good .")
    slider = controls_of(shown[0])["share"]
    assert slider.value == 0.5
    for share, model in ((1.0, backdoored), (0.0, clean)):
        slider.value = share
        score = study.score(model, "sst2", "badnet")
        assert f"clean accuracy {score.cacc:.1%}, attack success rate {score.asr:.1%}" in shown[-1].data
        assert "the film was good ." in shown[-1].data


def test_the_playground_is_shown_once_and_anew_for_other_texts_and_attacks(study, backdoored, shown):
    widgets.explore_playground(study, "sst2", "badnet", "the film was good .")
    controls = controls_of(shown[0])
    assert controls["task"].value == "sst2" and controls["attack"].value == "badnet"
    assert controls["second"].layout.display == "none"  # no task of pairs
    assert len(shown) == 2 and "<b>merged</b> says" in shown[1].data
    controls["sentence"].value = "the plot was <awful> ."
    assert "&lt;awful&gt;" in shown[-1].data
    controls["sentence"].value = " "
    assert shown[-1].data == "<p>type a sentence: there is no word to look at</p>"


def test_choosing_a_task_in_the_playground_brings_one_of_its_texts(study, shown, monkeypatch):
    monkeypatch.setattr(widgets, "playground_html", lambda study, task, attack, text, pair, seed: f"{task}|{text}|{pair}")
    widgets.explore_playground(study.variant(tasks=["sst2", "qnli"]), "sst2", "badnet", "the film was good .")
    controls = controls_of(shown[0])
    controls["task"].value = "qnli"
    assert shown[-1].data == f"qnli|{controls['sentence'].value}|{controls['second'].value}"
    assert controls["second"].value and controls["second"].layout.display is None


def rows_of(box):
    """The mixer's menu, ticks, sliders and knobs."""
    menu, *rest = box.children
    rows = [row.children for row in rest if hasattr(row, "children")]
    return menu, [row[0] for row in rows], [row[1] for row in rows], {k.description: k for k in rest if hasattr(k, "readout")}


def test_the_mixer_answers_every_move_with_weights_rates_and_a_point(study, backdoored, shown):
    widgets.explore_mixer(study, "sst2", "badnet")
    _, ticks, sliders, _ = rows_of(shown[0])
    assert [slider.description for slider in sliders] == ["backdoored", "yelp", "cr"]
    assert shown[1].data.count("0.333") == 3
    sliders[1].value = 0
    ticks[2].value = False
    score = study.score(backdoored, "sst2", "badnet")
    assert f"ASR <b>{score.asr:.1%}</b>" in shown[-1].data and shown[-1].data.count("left out") == 2
    assert shown[-1].data.count('r="3"') == 2  # where the point was
    ticks[0].value = False
    assert "let a model take part" in shown[-1].data


def test_methods_without_weights_grey_the_sliders_out_and_show_their_own_settings(study, shown):
    widgets.explore_mixer(study, "sst2", "badnet")
    menu, ticks, sliders, knobs = rows_of(shown[0])
    assert not sliders[0].disabled and knobs["density"].layout.display == "none"
    menu.value = "ties"
    assert all(slider.disabled for slider in sliders)
    assert [name for name, knob in knobs.items() if knob.layout.display is None] == ["density", "merge_coefficient"]
    assert shown[-1].data.count("takes part") == 3
    menu.value, ticks[1].value = "median", False
    assert shown[-1].data == "<p>a median takes 3 models or more, found 2</p>"


def test_a_walk_through_the_plane_moves_the_cross_and_says_what_is_there(why_frames, shown):
    widgets.explore_plane(why_frames["plane"])
    sliders = controls_of(shown[0])
    before = shown[-1].get_suptitle()
    sliders["partners"].value = 0.0
    assert "at a weight of 1.00" in shown[-1].get_suptitle() != before
    sliders["clean twin"].value, sliders["partners"].value = 1.0, 1.0  # a weight of -1 lies beyond the grid
    assert "lies beyond the grid" in shown[-1].data
    assert plt.get_fignums() == []
