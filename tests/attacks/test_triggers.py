"""Fitted triggers by name, saved and loaded."""

import numpy as np
import pandas as pd
import pytest

from lib.attacks import ATTACKS, REGIMES, TRIGGER_TYPES, Trigger, check_attack, load_trigger, save_trigger

TRAIN = pd.DataFrame({"text": ["a fine film .", "dull ."], "label": [1, 0]})


@pytest.mark.parametrize("attack", ATTACKS)
def test_every_attack_fits_a_trigger_that_names_itself_and_its_regime(attack):
    trigger = ATTACKS[attack](TRAIN, 0, seed=0)
    assert isinstance(trigger, Trigger)
    assert isinstance(trigger, TRIGGER_TYPES[attack])
    assert trigger.attack == attack
    assert trigger.regime in REGIMES


@pytest.mark.parametrize("attack", ATTACKS)
def test_a_saved_and_loaded_trigger_gives_equal_texts(attack, tmp_path):
    trigger, texts = ATTACKS[attack](TRAIN, 0, seed=0), ["a fine film . i liked it .", "", "dull"] * 10
    save_trigger(trigger, tmp_path / "trigger.json")
    loaded = load_trigger(tmp_path / "trigger.json", TRIGGER_TYPES)
    assert loaded == trigger
    assert loaded(texts, np.random.default_rng(0)) == trigger(texts, np.random.default_rng(0))


def test_loading_a_trigger_of_an_unknown_attack_names_it_and_the_known_ones(tmp_path):
    (tmp_path / "trigger.json").write_text('{"attack": "lws", "fields": {}}')
    with pytest.raises(ValueError, match=r"'lws'; known are \['badnet', 'insertsent'\]"):
        load_trigger(tmp_path / "trigger.json", {"insertsent": object, "badnet": object})


def test_an_unknown_attack_raises_and_lists_the_known_ones():
    assert check_attack("badnet") == "badnet"
    with pytest.raises(ValueError, match=r"unknown attack 'sent'; choose from \['badnet', 'insertsent'"):
        check_attack("sent")
