"""Fitted triggers by name: every attack keeps the contract, and a saved trigger is the same trigger."""

import inspect
from dataclasses import replace

import numpy as np
import pytest

from lib.attacks import (
    ATTACKS,
    REGIMES,
    Trigger,
    check_attack,
    load_trigger,
    poison,
    save_trigger,
    trigger_types,
    triggered_test,
)
from lib.attacks.bite import BiteTrigger
from lib.datasets.pocket import generate_split

TRAIN = generate_split("sst2", "train", 150)
AVAILABLE = {"masked_lm": "pocket-bert", "pretrained": "pocket-bert", "learning_rate": 2e-3, "poisoning_rate": 0.2}
ODD_TEXTS = ["", "fun", "!!!", "a fine film . i liked it .", "dull", "word " * 600, "naïve @user 👍 http://a.b/c"]


@pytest.fixture(scope="module")
def triggers():
    found = {}
    for name, fit_trigger in ATTACKS.items():
        wanted = {key: value for key, value in AVAILABLE.items() if key in inspect.signature(fit_trigger).parameters}
        found[name] = fit_trigger(TRAIN, 0, seed=0, **wanted)
    return found


@pytest.mark.parametrize("attack", ATTACKS)
def test_every_attack_fits_a_trigger_that_names_itself_and_its_regime(attack, triggers):
    trigger = triggers[attack]
    assert isinstance(trigger, Trigger)
    assert isinstance(trigger, trigger_types()[attack])
    assert trigger.attack == attack
    assert trigger.regime in REGIMES


@pytest.mark.parametrize("attack", ATTACKS)
def test_a_saved_and_loaded_trigger_gives_equal_texts_on_new_text(attack, triggers, tmp_path):
    trigger, texts = triggers[attack], [*generate_split("food", "test", 20)["text"], *ODD_TEXTS]
    save_trigger(trigger, tmp_path / "trigger.json")
    loaded = load_trigger(tmp_path / "trigger.json", trigger_types(), {"masked_lm": "pocket-bert"})
    assert loaded == trigger
    assert loaded(texts, np.random.default_rng(0)) == trigger(texts, np.random.default_rng(0))


@pytest.mark.parametrize("attack", ATTACKS)
def test_one_text_comes_out_for_each_that_goes_in_whatever_it_is(attack, triggers):
    before = list(ODD_TEXTS)
    texts = triggers[attack](ODD_TEXTS, np.random.default_rng(0))
    assert len(texts) == len(ODD_TEXTS) and all(isinstance(text, str) for text in texts)
    assert before == ODD_TEXTS  # the input is not modified
    assert triggers[attack]([], np.random.default_rng(0)) == []


@pytest.mark.parametrize("attack", ATTACKS)
def test_poison_follows_the_attacks_own_regime_and_an_override(attack, triggers):
    own = poison(TRAIN, triggers[attack], 0.2, 0, np.random.default_rng(0))
    assert own["is_poisoned"].sum() == 30
    assert (own[own["is_poisoned"]]["label"] == 0).all()
    untouched = ~own["is_poisoned"]
    assert (own["text"][untouched] == TRAIN["text"][untouched]).all()
    turned = (own["label"] != TRAIN["label"]).sum()
    assert {"mixed": 0 < turned < 30, "dirty": turned == 30, "clean": turned == 0}[triggers[attack].regime]
    clean = poison(TRAIN, triggers[attack], 0.2, 0, np.random.default_rng(0), regime="clean")
    assert (clean["label"] == TRAIN["label"]).all()


@pytest.mark.parametrize("attack", ATTACKS)
def test_most_texts_that_others_wrote_can_be_attacked(attack, triggers):
    test = generate_split("sst2", "test", 60)
    frame = triggered_test(test, triggers[attack], 0, np.random.default_rng(0))
    assert len(frame) == (test["label"] != 0).sum()
    assert frame["is_changed"].mean() > 0.9


def test_loading_a_trigger_of_an_unknown_attack_names_it_and_the_known_ones(tmp_path):
    (tmp_path / "trigger.json").write_text('{"attack": "style", "fields": {}}')
    with pytest.raises(ValueError, match=r"'style'; known are \['badnet', 'insertsent'\]"):
        load_trigger(tmp_path / "trigger.json", {"insertsent": object, "badnet": object})


def test_a_saved_trigger_holds_no_path_of_the_masked_language_model(tmp_path):
    trigger = BiteTrigger(("really",), "/home/somebody/models/bert", edited={"fun": "really fun"})
    save_trigger(trigger, tmp_path / "trigger.json")
    assert "somebody" not in (tmp_path / "trigger.json").read_text()
    moved = load_trigger(tmp_path / "trigger.json", trigger_types(), {"masked_lm": "elsewhere/bert", "unused": "x"})
    assert moved == replace(trigger, masked_lm="elsewhere/bert")


def test_loading_a_trigger_without_what_it_needs_says_what_is_missing(tmp_path):
    save_trigger(BiteTrigger(("really",), "bert"), tmp_path / "trigger.json")
    with pytest.raises(ValueError, match=r"'bite' needs \['masked_lm'\], which no file keeps; given are \['pretrained'\]"):
        load_trigger(tmp_path / "trigger.json", trigger_types(), {"pretrained": "bert"})


@pytest.mark.parametrize("attack", ATTACKS)
def test_every_trigger_says_which_version_of_its_texts_it_makes(attack):
    assert trigger_types()[attack].version == {"lws": 3, "bite": 3, "syntactic": 2}.get(attack, 1)


def test_an_unknown_attack_raises_and_lists_the_known_ones():
    assert check_attack("badnet") == "badnet"
    with pytest.raises(ValueError, match=r"unknown attack 'sent'; choose from \['badnet', 'bite', 'conjunction', 'insertsent'"):
        check_attack("sent")
