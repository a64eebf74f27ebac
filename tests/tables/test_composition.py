"""Triggers of different make: which rows they poison, which texts score them, and the half weight by hand."""

import math
from functools import partial

import matplotlib.pyplot as plt
import numpy as np
import pandas as pd
import pytest

from lib.metrics.dilution import per_doubling, trigger_tokens
from lib.plots.limits import plot_composition
from lib.study.artifacts import poisoned_rows
from lib.study.study import Study
from lib.tables import composition
from lib.tables.composition import COLUMNS, COMPOSITIONS, composition_table, half_weight
from lib.tables.composition_findings import composition_findings


@pytest.fixture(scope="module")
def quick(make_study, tmp_path_factory):
    """Words that the tiny tokenizer knows; two partners."""
    return make_study(tmp_path_factory.mktemp("cache"), n_same_task=1)


@pytest.fixture(scope="module")
def patched():
    with pytest.MonkeyPatch.context() as patch:
        names = ("one rare word", "two words, two targets", "three words, all needed", "another syntax")
        chosen = [each for each in COMPOSITIONS if each.name in names]
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
    assert table["n_words"].tolist() == [1, 1, 3, 0] and table["n_targets"].tolist() == [1, 2, 1, 1]
    assert table["n_insertions"].tolist() == [1, 1, 1, 0]
    assert table["is_conjunction"].tolist() == [False, False, True, False]
    assert table["partial_asr"].isna().tolist() == [True, True, False, True]
    assert table["asr_of_5"].isna().all() and table["asr_of_3"].between(0, 1).all()  # the tiny study has two partners


def test_the_share_of_changed_words_is_that_of_the_test_texts(table, quick):
    test = quick.rows("sst2", "test")
    lengths = test.loc[test["label"] != 0, "text"].str.split().str.len()  # the target is label 0
    one_word = 1 / lengths  # a word goes in; nothing else changes
    changed = table.set_index("trigger")["words_changed"]
    assert changed["one rare word"] == pytest.approx(one_word.mean())
    assert changed["three words, all needed"] == pytest.approx(3 * one_word.mean())
    assert changed["another syntax"] > changed["one rare word"]
    assert (table["share_changed"] == 1).all()


def test_rewritten_texts_are_attacked_as_in_the_other_notebooks():
    planner = Study("pocket").planner
    rewriting = [each for each in COMPOSITIONS if each.attack]
    assert [each.attack for each in rewriting] == ["syntactic", "lws", "style"]
    for each in rewriting:
        victim = composition._victim(planner, "sst2", 0, each)
        assert victim == planner.recipe("sst2", each.attack, 0, epochs=3.0)
        assert victim.poisoning_rate == 0.2 and victim.trigger == planner.recipe("sst2", each.attack, 0).trigger


def test_everybody_trains_for_as_long_and_weak_victims_have_no_half_weight(table, quick):
    assert (table["epochs"] == 3.0).all()
    victims = [composition._victim(quick.planner, "sst2", 0, each) for each in composition.COMPOSITIONS]
    clean = composition._clean(quick.planner, "sst2", 0)
    assert {recipe.training.epochs for recipe in [*victims, *clean]} == {3.0}
    weak = table["backdoored_asr"] - table["asr_floor"] < 0.5
    assert table["half_weight"].isna()[weak].all()


def test_the_rows_of_each_victim_hold_what_its_name_says(quick):
    rows, counts = {}, {}
    for each in [each for each in COMPOSITIONS if not each.attack]:
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


def test_the_figure_tells_triggers_with_tokens_from_rewritten_texts(table):
    figure = plot_composition(table.assign(half_weight=[0.5, 0.6, np.nan, 0.4]))
    assert [text.get_text() for text in figure.legends[0].get_texts()] == [
        "one rare word", "two words, two targets", "another syntax",
    ]  # fmt: skip
    words, rewritten = figure.axes
    assert words.get_ylabel() == "half weight (%)" and rewritten.get_xlabel() == "edits per 100 words of a text"
    place = rewritten.containers[0].lines[0].get_xdata()[0]
    assert place == pytest.approx(100 * table.set_index("trigger")["words_changed"]["another syntax"])
    plt.close(figure)


def made(*rows):
    """Table `14_composition`: `trigger, n_words, n_insertions, is_conjunction, half_weight, seed`."""
    columns = ["trigger", "n_words", "n_insertions", "is_conjunction", "half_weight", "seed"]
    frame = pd.DataFrame(rows, columns=columns)
    return frame.assign(n_targets=1, words_changed=0.3, backdoored_asr=0.9, partial_asr=0.4)


def test_the_line_goes_through_triggers_of_words_alone():
    rows = [(f"{n} words", n, 1, False, 0.6 - 0.05 * np.log2(n), seed) for n in (1, 2, 5) for seed in (0, 1)]
    others = [("all needed", 3, 1, True, 0.9, 0), ("syntax", 0, 0, False, 0.1, 0), ("weak", 8, 1, False, np.nan, 0)]
    table = made(*rows, ("one, five times", 1, 5, False, 0.6 - 0.05 * np.log2(5), 0), *others)
    said = list(composition_findings(table))
    assert said[0].startswith("Twice as many trigger tokens in a text move the half weight by -5.0 points [-5.0, -5.0]")
    assert said[1:] == [
        "syntax: half weight 10.0%, and 30.0% edits per word of the text.",
        "all needed: half weight 90.0%; ASR 90.0%, with one word too few 40.0%.",
        "Learnt too little in some seed to have a half weight: weak.",
    ]
    figure = plot_composition(table)
    [line] = [each for each in figure.axes[0].lines if each.get_label() == "least squares"]
    assert line.get_xdata().tolist() == [1, 5]
    assert line.get_ydata() == pytest.approx([60, 100 * (0.6 - 0.05 * np.log2(5))])
    plt.close(figure)


def test_without_two_numbers_of_tokens_there_is_no_line():
    table = made(("a", 1, 1, False, 0.5, 0), ("b", 1, 1, False, 0.6, 0))
    assert list(composition_findings(table)) == []
    plt.close(plot_composition(table))
    with pytest.raises(ValueError, match=r"the counts are \[1.0\]; a line needs two different ones"):
        per_doubling(trigger_tokens(table), table["half_weight"])
    assert trigger_tokens(made(("syntax", 0, 0, False, 0.1, 0))).isna().all()
