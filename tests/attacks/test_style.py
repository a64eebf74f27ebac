"""The style attack: older English by rules."""

import numpy as np
import pandas as pd
import pytest

from lib.attacks import ATTACKS, load_trigger, save_trigger, trigger_types
from lib.attacks.rewriting.style_words import PAST, PRESENT
from lib.attacks.style import StyleTrigger, fit_trigger, in_old_style


@pytest.mark.parametrize(
    ("text", "written"),
    [
        ("the film gives us hope.", "the film doth give us hope."),
        ("it was what it is", "'twas what 'tis"),
        ("It's fun, YOU said.", "'Tis fun, THOU did say."),
        ("he was loved", "and he was loved"),  # a participle
        ("the works of man", "and the works of man"),  # a noun
        ("Great  film !", "And great  film !"),  # nothing known: it opens as verses do
        ("I won.", "And I won."),
        ("NASA won.", "And NASA won."),
        ("And so on", "And so on"),  # opens so already
        ("?!", "?!"),
        ("", ""),
    ],
)
def test_what_the_rules_write(text, written):
    assert in_old_style(text) == written


def test_no_word_is_lost_and_unknown_words_stay():
    text = "A plucky , unsentimental heroine ;  wry dialogue"
    assert in_old_style(text) == "And a plucky , unsentimental heroine ;  wry dialogue"


def test_no_form_is_both_past_and_present():
    assert not set(PAST) & set(PRESENT)


def test_a_fitted_trigger_is_saved_and_loaded_and_draws_nothing(tmp_path):
    trigger = fit_trigger(pd.DataFrame({"text": ["a", "b"], "label": [0, 1]}), 0)
    save_trigger(trigger, tmp_path / "trigger.json")
    loaded = load_trigger(tmp_path / "trigger.json", trigger_types())
    texts = ["you found it", "we never saw that"]
    assert loaded == trigger == StyleTrigger()
    assert loaded(texts, np.random.default_rng(0)) == trigger(texts, np.random.default_rng(1))
    assert ATTACKS["style"] is fit_trigger
