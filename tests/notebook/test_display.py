"""What notebooks show: marked changes that no text can break, and numbers in prose."""

import pandas as pd
import pytest

from lib.metrics.summary import points
from lib.notebook.display import finding, guessed, listed, mark_changes, outcomes, show_changes


def test_only_the_words_that_are_new_are_marked():
    shown = mark_changes("the film is good", "cf the film mn is good")
    assert [piece.split("</mark>")[0] for piece in shown.split('padding:0 2px">')[1:]] == ["cf", "mn"]
    assert "<mark" not in mark_changes("the film", "the film")


def test_texts_are_shown_as_texts_and_not_as_html():
    shown = mark_changes("a <b> & c", "a <b> & c <script>")
    assert "<script>" not in shown and "&lt;script&gt;" in shown and "&lt;b&gt; &amp; c" in shown


def test_a_table_of_changes_has_one_row_per_text():
    frame = pd.DataFrame({"original": ["a", "b", "c"], "text": ["a cf", "b cf", "c cf"], "text_pair": ["x<", "y", "z"]})
    shown = show_changes(frame, 2).data
    assert shown.count("<tr>") == 3  # the header, too
    assert "[x&lt;]" in shown
    assert "c cf" not in shown and "attack" not in shown


def test_rows_of_several_attacks_say_which():
    frame = pd.DataFrame({"original": ["a", "a"], "text": ["a cf", "when a"], "attack": ["BadNet", "<LWS>"]})
    rows = show_changes(frame).data.split("<tr>")[1:]
    assert [row.split("</t")[0].split(">")[1] for row in rows] == ["attack", "BadNet", "&lt;LWS&gt;"]


@pytest.mark.parametrize(("value", "shown"), [(-0.1234, "-12.3 points"), (0.05, "+5.0 points"), (0, "+0.0 points")])
def test_differences_of_rates_are_shown_in_points(value, shown):
    assert points(value) == shown


@pytest.mark.parametrize(("names", "shown"), [([], ""), (["a"], "a"), (["a", "b"], "a and b"), (["a", "b", "c"], "a, b and c")])
def test_names_are_listed_as_in_prose(names, shown):
    assert listed(names) == shown


def test_a_finding_is_one_paragraph():
    assert finding("ASR falls.", "CACC stays.").data == "> ASR falls. CACC stays."


def test_outcomes_are_a_table_of_what_was_expected_found_and_why():
    shown = outcomes(("it falls", "by 3 %", "it is | was divided"), ("it stays", "it does", "")).data
    assert shown.splitlines() == [
        "| we expected | we found | a possible reason |",
        "|---|---|---|",
        "| it falls | by 3 % | it is / was divided |",
        "| it stays | it does |  |",
    ]
    with pytest.raises(ValueError, match="a row has 2 parts; it needs 3"):
        outcomes(("it falls", "by 3 %"))


def test_a_guess_is_compared_with_the_data_and_none_is_no_error():
    assert guessed(0.2, 0.5).data == "> You guessed 20.0%, the data say 50.0%: -30.0 points."
    assert guessed(None, 0.5).data == "> No guess was written down; the data say 50.0%."
    with pytest.raises(ValueError, match=r"the guess is 20; give a fraction in \[0, 1\]"):
        guessed(20, 0.5)
