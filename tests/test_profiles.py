"""Profiles are data; every field can be overridden by name, and nothing else."""

import json
from dataclasses import asdict, fields

import pytest

from lib.profiles import PROFILES, Profile, TrainingSettings, get_profile


def test_the_three_sizes_are_there_and_named_as_their_keys():
    assert list(PROFILES) == ["pocket", "small", "paper"]
    assert all(name == profile.name for name, profile in PROFILES.items())


def test_the_paper_profile_trains_as_the_paper_does():
    # Arora et al. 2024, `train.py` and README; see methods/attacks.md section 1.
    profile = PROFILES["paper"]
    expected = {
        "learning_rate": 2e-5,
        "epochs": 3,
        "batch_size": 16,
        "weight_decay": 0.01,
        "max_length": 128,
        "warmup_ratio": 0,
    }
    assert {name: getattr(profile.training, name) for name in expected} == expected
    assert profile.warmup_ratio == 0
    assert (profile.pretrained, profile.poisoning_rate, profile.n_train) == ("bert-base-uncased", 0.2, 0)
    assert profile.pair_mode == "joined"


def test_a_field_is_overridden_and_the_others_stay():
    profile = get_profile("pocket", n_train=500, learning_rate=3e-5, other_domains=["food", "books"])
    assert (profile.n_train, profile.learning_rate, profile.other_domains) == (500, 3e-5, ("food", "books"))
    changed = {"n_train", "learning_rate", "other_domains"}
    before, after = asdict(PROFILES["pocket"]), asdict(profile)
    assert {name for name in before if before[name] != after[name]} == changed
    assert PROFILES["pocket"].n_train != 500


def test_the_training_fields_are_one_value():
    profile = get_profile("pocket", batch_size=7, max_length=33)
    assert profile.training == TrainingSettings(
        learning_rate=profile.learning_rate,
        epochs=profile.epochs,
        batch_size=7,
        warmup_ratio=profile.warmup_ratio,
        weight_decay=profile.weight_decay,
        max_grad_norm=profile.max_grad_norm,
        max_length=33,
        precision="float32",
    )


def test_pocket_tables_do_not_depend_on_the_hardware_and_real_ones_take_the_fastest_arithmetic():
    assert {name: profile.precision for name, profile in PROFILES.items()} == {
        "pocket": "float32",
        "small": "auto",
        "paper": "auto",
    }


def test_a_whole_number_serves_as_a_rate():
    assert get_profile("pocket", poisoning_rate=1).poisoning_rate == 1.0
    assert isinstance(get_profile("pocket", epochs=2).epochs, float)


def test_a_profile_is_plain_json():
    assert json.loads(json.dumps(asdict(PROFILES["small"])))["tasks"] == ["sst2"]


def test_an_unknown_profile_raises_and_lists_the_known_ones():
    with pytest.raises(ValueError, match=r"unknown profile 'tiny'; choose from \['paper', 'pocket', 'small'\]"):
        get_profile("tiny")


def test_an_unknown_field_raises_and_lists_the_known_ones():
    with pytest.raises(ValueError, match=r"unknown profile fields \['n_trian'\]; choose from \[.*'n_train'.*\]"):
        get_profile("pocket", n_trian=5)


def test_the_name_of_a_profile_is_no_field_to_override():
    with pytest.raises(TypeError):
        get_profile("pocket", **{"name": "mine"})


@pytest.mark.parametrize(
    ("field", "value", "message"),
    [
        ("poisoning_rate", -0.1, r"poisoning_rate is -0.1; it must lie in \[0, 1\]"),
        ("poisoning_rate", 20, r"poisoning_rate is 20.0; it must lie in \[0, 1\]"),
        ("poisoning_rate", float("nan"), r"poisoning_rate is nan; it must lie in \[0, 1\]"),
        ("warmup_ratio", 1.5, r"warmup_ratio is 1.5; it must lie in \[0, 1\]"),
        ("learning_rate", 0.0, "learning_rate is 0.0; it must be above 0"),
        ("learning_rate", float("inf"), "learning_rate is inf; it must be a finite number"),
        ("learning_rate", float("nan"), "learning_rate is nan; it must be above 0"),
        pytest.param("learning_rate", 10**400, "learning_rate is inf; it must be a finite number", id="huge"),
        ("epochs", float("inf"), "epochs is inf; it must be a finite number"),
        ("max_grad_norm", float("inf"), "max_grad_norm is inf; it must be a finite number"),
        ("weight_decay", float("inf"), "weight_decay is inf; it must be a finite number"),
        ("weight_decay", float("nan"), "weight_decay is nan; it must be 0"),
        ("weight_decay", -0.1, r"weight_decay is -0.1; it must be 0 \(none\) or more"),
        ("unstable_learning_rate", 0.0, "unstable_learning_rate is 0.0; it must be above 0"),
        ("unstable_learning_rate", float("-inf"), "unstable_learning_rate is -inf; it must be above 0"),
        ("num_gpus", float("nan"), "num_gpus is nan; it must be a finite number"),
        ("num_gpus", -1, "num_gpus is -1.0; it must be 0"),
        ("tasks", [], "tasks is empty; name at least one task"),
        ("epochs", -1, "epochs is -1.0; it must be above 0"),
        ("batch_size", 0, "batch_size is 0; it must be above 0"),
        ("n_seeds", 0, "n_seeds is 0; it must be above 0"),
        ("n_train", -5, r"n_train is -5; it must be 0 \(all\) or more"),
        ("n_train", 1.5, "n_train is 1.5; it must be of type int"),
        ("n_train", "all", "n_train is 'all'; it must be of type int"),
        ("n_train", True, "n_train is True; it must be of type int"),
        ("learning_rate", "fast", "learning_rate is 'fast'; it must be of type float"),
        ("pretrained", 3, "pretrained is 3; it must be of type str"),
        ("pair_mode", "both", r"pair_mode is 'both'; choose from \('text', 'joined'\)"),
        ("source", "hub", r"source is 'hub'; choose from \('pocket', 'real'\)"),
        ("tasks", "sst2", "tasks is 'sst2'; it must be a list of names"),
        ("other_domains", [1, 2], r"other_domains is \[1, 2\]; it must be a list of names"),
        ("tasks", 3, "tasks is 3; it must be a list of names"),
    ],
)
def test_a_value_that_makes_no_sense_raises_and_says_what_is_allowed(field, value, message):
    with pytest.raises(ValueError, match=message):
        get_profile("pocket", **{field: value})


@pytest.mark.parametrize("field", [field.name for field in fields(Profile) if field.type == "float"])
@pytest.mark.parametrize("value", [float("inf"), float("-inf"), float("nan")])
def test_every_number_of_a_profile_is_finite(field, value):
    with pytest.raises(ValueError, match=f"{field} is {value}; it must"):
        get_profile("pocket", **{field: value})
