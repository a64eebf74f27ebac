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
