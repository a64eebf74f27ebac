"""Sliders and menus: harmless when a notebook is executed without anybody looking."""

import matplotlib.pyplot as plt
import pytest

from lib import plots, widgets


@pytest.fixture(autouse=True)
def shown(monkeypatch):
    """What would have been displayed."""
    seen = []
    monkeypatch.setattr(widgets, "display", lambda *objects: seen.extend(objects))
    return seen


def controls_of(box):
    return {control.description: control for control in box.children if hasattr(control, "description")}


def test_a_menu_of_attacks_draws_the_chosen_ones(frames, shown):
    drawn = []
    widgets.explore_attacks(lambda table: drawn.append(table) or plots.plot_merging(table), frames["merging"])
    menu = controls_of(shown[-1])["attack"]
    assert list(menu.options) == ["all", "badnet", "insertsent"]
    assert len(drawn[-1]) == 10
    menu.value = "insertsent"
    assert set(drawn[-1]["attack"]) == {"insertsent"}
    assert plt.get_fignums() == []  # no figure stays in memory


def test_a_slider_merges_scores_and_predicts_on_the_fly(study, backdoored, clean, shown, capsys):
    widgets.explore_merge(study, "sst2", "badnet", backdoored, [clean], "the film was good .")
    box = next(thing for thing in shown if hasattr(thing, "children"))
    slider = controls_of(box)["share"]
    assert slider.value == 0.5
    for share, model in ((1.0, backdoored), (0.0, clean)):
        slider.value = share
        score = study.score(model, "sst2", "badnet")
        assert f"clean accuracy {score.cacc:.1%}, attack success rate {score.asr:.1%}" in capsys.readouterr().out
        typed, triggered = shown[-1]["text"]
        assert typed == "the film was good ."
        assert len(triggered.split()) > len(typed.split())
