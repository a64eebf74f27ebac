"""The playground: shades and numbers follow the drops, no text becomes HTML, and the static view needs nothing else."""

import re

import numpy as np
import pytest

from lib.models.attribution import Attribution
from lib.notebook.attribution_view import attributed_words, changed_places, probability_bars, side_by_side
from lib.notebook.playground import example_text, playground_html, playground_models, short_trigger

NAMES = ("negative", "positive")


def answer(words, drops, target=0.9):
    return Attribution(tuple(words), np.array([1 - target, target]), 1, np.array(drops))


def test_a_word_is_shaded_by_its_drop_and_a_large_drop_is_written_as_a_number():
    shown = attributed_words(answer(["cf", "dull", "film"], [0.9, -0.5, 0.01]), marked=[0])
    first, second, third = re.findall(r"<span.*?</span>", shown)
    assert "rgba(230,120,0,0.54)" in first and "<u>cf</u><sub>+90</sub>" in first
    assert "rgba(0,110,200,0.30)" in second and "dull<sub>-50</sub>" in second
    assert "rgba(230,120,0,0.01)" in third and "<sub>" not in third and "<u>" not in third


def test_texts_and_labels_are_shown_as_texts_and_not_as_html():
    words = ["<script>alert(1)</script>", "a&b"]
    shown = side_by_side({"<i>m</i>": answer(words, [0, 0])}, {"<i>m</i>": answer(words, [0, 0])}, ("<b>", "pos"), [0])
    assert "<script>" not in shown and "<i>m" not in shown and "&lt;b&gt;" in shown and "a&amp;b" in shown


def test_the_whole_trigger_is_what_separates_both_texts():
    shown = side_by_side({"m": answer(["a"], [0], 0.04)}, {"m": answer(["cf", "a"], [0, 0], 0.97)}, NAMES, [0])
    assert "the whole trigger adds +93 points" in shown
    assert shown.count("the whole trigger") == 1


def test_a_rejected_text_has_no_bars_and_no_shades():
    rejected = Attribution(("a",), np.full(2, np.nan), 1, np.array([np.nan]))
    assert attributed_words(rejected) == "a"
    assert "rejected" in probability_bars(rejected, NAMES)
    assert "nan" not in side_by_side({"m": rejected}, {"m": rejected}, NAMES, [])


@pytest.mark.parametrize(
    ("before", "after", "places"),
    [("a b", "cf a b mn", {0, 3}), ("a b", "a b", set()), ("a b c", "a x c", {1}), ("a b", "a", set())],
)
def test_changed_places_are_those_of_the_trigger(before, after, places):
    assert changed_places(before, after) == places


def test_the_shortest_of_several_draws_of_a_trigger_is_shown(study):
    drawn = short_trigger(study, "sst2", "badnet", "the film was good .")
    assert len(changed_places("the film was good .", drawn)) == 1  # of 1, 3 or 5 words


def test_the_view_shows_three_models_on_both_texts_without_script_or_address(study, backdoored, clean):
    models = {"clean": clean, "backdoored": backdoored}
    shown = playground_html(study, "sst2", "badnet", " the film <b> was  good . ", models=models)
    for name in models:
        assert shown.count(f"<b>{name}</b> says") == 2
    assert "&lt;b&gt;" in shown
    assert not re.search(r"<script|https?:|src=|onclick", shown)
    assert "color:black" not in shown and "background:#" not in shown  # nothing that a dark page could not show
    with pytest.raises(ValueError, match="type a sentence"):
        playground_html(study, "sst2", "badnet", "  ", models=models)


def test_the_models_are_the_clean_one_the_backdoored_one_and_the_average_with_other_domains(study, backdoored, clean):
    models = playground_models(study, "sst2", "badnet")
    assert models["clean"].key == clean.key and models["backdoored"].key == backdoored.key
    assert models["merged"].parents[0].key == backdoored.key
    assert len(models["merged"].parents) == 3


def test_examples_are_not_of_the_target_label_and_bring_the_other_text_of_a_pair(study):
    text, pair = example_text(study, "sst2")
    rows = study.rows("sst2", "test")
    assert rows.loc[rows["text"] == text, "label"].iloc[0] != study.planner.spec("sst2").target_label
    assert pair == "" and example_text(study, "qnli")[1]
