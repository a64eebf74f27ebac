"""Triggers of different make: which rows they poison, which texts score them, and the half weight by hand."""

import math
from functools import partial

import matplotlib.pyplot as plt
import numpy as np
import pytest

from lib.plots.limits import plot_composition
from lib.study.artifacts import poisoned_rows
from lib.tables import composition
from lib.tables.composition import COLUMNS, COMPOSITIONS, composition_table, half_weight


@pytest.fixture(scope="module")
def quick(make_study, tmp_path_factory):
    """Words that the tiny tokenizer knows; two partners."""
    return make_study(tmp_path_factory.mktemp("cache"), n_same_task=1)


@pytest.fixture(scope="module")
def patched():
    with pytest.MonkeyPatch.context() as patch:
        chosen = [
            each for each in COMPOSITIONS if each.name in ("one rare word", "two words, two targets", "three words, all needed")
        ]
        patch.setattr(composition, "COMPOSITIONS", chosen)
        patch.setattr(composition, "WEIGHTS", (0.0, 0.5, 1.0))
        yield chosen


@pytest.fixture(scope="module")
def table(quick, patched):
    return composition_table(quick, "sst2")


def n_held(words, text):
    return sum(word in words for word in text.split())


def test_there_is_a_row_per_trigger_with_all_columns(table, patched):
    assert list(table) == list(COLUMNS)
    assert table["trigger"].tolist() == [each.name for each in patched]
    assert table["n_words"].tolist() == [1, 1, 3] and table["n_targets"].tolist() == [1, 2, 1]
    assert table["is_conjunction"].tolist() == [False, False, True]
    assert table["partial_asr"].isna().tolist() == [True, True, False]
    assert table["asr_of_5"].isna().all() and table["asr_of_3"].between(0, 1).all()  # the tiny study has two partners


def test_everybody_trains_for_as_long_and_weak_victims_have_no_half_weight(table, quick):
    assert (table["epochs"] == 3.0).all()
    victims = [composition._victim(quick.planner, "sst2", 0, each) for each in composition.COMPOSITIONS]
    clean = composition._clean(quick.planner, "sst2", 0)
    assert {recipe.training.epochs for recipe in [*victims, *clean]} == {3.0}
    weak = table["backdoored_asr"] - table["asr_floor"] < 0.5
    assert table["half_weight"].isna()[weak].all()


def test_the_rows_of_each_victim_hold_what_its_name_says(quick):
    rows, counts = {}, {}
    for each in COMPOSITIONS:
        rows[each.name] = poisoned_rows(composition._victim(quick.planner, "sst2", 0, each), quick.locations)
        counts[each.name] = rows[each.name]["text"].map(partial(n_held, each.words))
    assert all(frame["is_poisoned"].sum() == 16 for frame in rows.values())
    assert counts["one rare word, five times"].value_counts().to_dict() == {0: 64, 5: 16}
    assert counts["five rare words as a phrase"].max() == 5
    assert counts["three words, all needed"].value_counts().get(3) == 16
    assert counts["three words, all needed"].isin([1, 2]).sum() == 16
    assert counts["three ordinary words"].isin([1, 2]).sum() == 0
    two = rows["two words, two targets"]
    assert [two["text"].map(partial(n_held, [word])).sum() for word in ("cf", "mn")] == [8, 8]
    assert set(two["label"][two["text"].str.contains(r"\bmn\b")]) == {1}


def test_a_half_weight_lies_where_the_asr_crosses_the_middle():
    weights = [0.0, 0.25, 0.5, 0.75, 1.0]
    assert half_weight(weights, [0.1, 0.1, 0.1, 0.9, 0.9], 0.1) == pytest.approx(0.625)
    assert half_weight(weights, [0.1, 0.3, 0.5, 0.7, 0.9], 0.1) == pytest.approx(0.5)
    assert half_weight(weights, [0.1, 0.8, 0.2, 0.9, 0.9], 0.1) == pytest.approx(0.5 + 0.25 * 0.3 / 0.7)  # the last crossing
    assert math.isnan(half_weight(weights, [0.9] * 5, 0.1))


def test_the_figure_is_drawn(table):
    figure = plot_composition(table.assign(half_weight=[0.5, 0.6, np.nan]))
    assert len(figure.axes[0].get_yticklabels()) == 2
    assert figure.axes[0].containers[0].lines[0].get_xdata().tolist() == pytest.approx([50, 60])
    plt.close(figure)
