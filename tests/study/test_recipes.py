"""A recipe's key stands for its content: equal content, equal key, in every process; any change, another key."""

import subprocess
import sys
from dataclasses import fields, is_dataclass, replace

import pytest

from lib.profiles import TrainingSettings
from lib.study import recipes
from lib.study.recipes import (
    DataRecipe,
    DefenseRecipe,
    DerivedRecipe,
    GuardedRecipe,
    LogitsRecipe,
    MergeRecipe,
    ModelRecipe,
    TriggerRecipe,
    as_settings,
)

DATA = DataRecipe("sst2", "real", "abc", "text", "train", 100, 0)
TRIGGER = TriggerRecipe("insertsent", DATA, 0, (("sentence", "I watched this movie"),), 0)
TRAINING = TrainingSettings(2e-5, 3.0, 16, 0.1, 0.01, 1.0, 128)
MODEL = ModelRecipe(DATA, "fingerprint", TRAINING, TRIGGER, 0.2, 0, 0)
LOGITS = LogitsRecipe("model-key", DATA, TRIGGER, 128)
DEFENSE = DefenseRecipe("onion", (("threshold", 10.0),))
DERIVED = DerivedRecipe(("a", "b"), DEFENSE, DATA, 1)
MERGE = MergeRecipe(("a", "b"), "ties", (("density", 0.2),), "start", (("fishers", ("c", "d")),))
GUARDED = GuardedRecipe("a", DEFENSE, DATA, 0)


def changed(value):
    """Another value of the same kind."""
    if is_dataclass(value):
        first = fields(value)[0].name
        return replace(value, **{first: changed(getattr(value, first))})
    if isinstance(value, tuple):
        return (*value, ("full_stop", " ."))
    if value is None:
        return "clean"
    return value + ("x" if isinstance(value, str) else 1)


@pytest.mark.parametrize(
    "recipe", [DATA, TRIGGER, MODEL, LOGITS, DEFENSE, DERIVED, MERGE, GUARDED], ids=lambda recipe: type(recipe).__name__
)
def test_every_field_is_part_of_the_key(recipe):
    for field in fields(recipe):
        other = replace(recipe, **{field.name: changed(getattr(recipe, field.name))})
        assert other.key != recipe.key, field.name


@pytest.mark.parametrize("field", [field.name for field in fields(TrainingSettings)])
def test_every_training_setting_is_part_of_a_models_key(field):
    training = replace(TRAINING, **{field: changed(getattr(TRAINING, field))})
    assert replace(MODEL, training=training).key != MODEL.key


def test_a_clean_model_has_another_key_than_a_backdoored_one():
    assert replace(MODEL, trigger=None, poisoning_rate=0.0).key != MODEL.key
    assert replace(LOGITS, trigger=None).key != LOGITS.key


def test_equal_recipes_have_equal_keys_of_twenty_digits():
    assert replace(MODEL).key == MODEL.key
    assert len(MODEL.key) == 20
    assert int(MODEL.key, 16) >= 0


def test_recipes_of_different_kinds_with_equal_fields_have_different_keys():
    @recipes.dataclass(frozen=True)
    class Other(recipes.Recipe):
        model: str
        data: DataRecipe
        trigger: TriggerRecipe | None
        max_length: int
        precision: str = "float32"

    assert Other(**{field.name: getattr(LOGITS, field.name) for field in fields(LOGITS)}).key != LOGITS.key


def test_a_new_version_of_a_kind_changes_its_keys_and_those_that_rest_on_it_and_no_others(monkeypatch):
    recipes_before = (TRIGGER, MODEL, LOGITS, DERIVED, DEFENSE)
    before = [replace(recipe).key for recipe in recipes_before]
    monkeypatch.setattr(TriggerRecipe, "KIND_VERSION", 7)
    changed_keys = [replace(recipe).key != key for recipe, key in zip(recipes_before, before, strict=True)]
    assert changed_keys == [True, True, True, False, False]  # models and logits hold the trigger


def test_a_new_version_of_an_attack_changes_only_what_was_made_with_it():
    other = replace(TRIGGER, version=2)
    assert other.key != TRIGGER.key
    assert replace(MODEL, trigger=other).key != MODEL.key
    assert replace(TRIGGER, version=1).key == TRIGGER.key


def test_settings_are_equal_whatever_their_order_and_kind_of_list():
    assert as_settings({"b": [1, 2], "a": 0}) == as_settings({"a": 0, "b": (1, 2)}) == (("a", 0), ("b", (1, 2)))


def test_keys_do_not_depend_on_the_process():
    code = "from lib.study.recipes import DataRecipe; print(DataRecipe('sst2', 'real', 'abc', 'text', 'train', 100, 0).key)"
    for seed in ("1", "2"):  # Python's own hash differs between these processes
        run = subprocess.run(
            [sys.executable, "-c", code], capture_output=True, text=True, check=True, env={"PYTHONHASHSEED": seed}
        )
        assert run.stdout.strip() == DATA.key


def test_a_whole_number_of_epochs_is_the_same_training_as_int_or_float():
    assert replace(MODEL, training=replace(TRAINING, epochs=3)).key == MODEL.key


def test_a_models_name_says_data_attack_and_seed():
    assert MODEL.name == "sst2 insertsent seed 0"
    assert replace(MODEL, trigger=None, seed=4).name == "sst2 clean seed 4"


def test_a_field_at_its_default_leaves_the_key_as_it_was():
    assert "regime" not in MODEL.as_dict() and "text_format" not in MODEL.as_dict()["data"]
    assert replace(MODEL, regime="clean").as_dict()["regime"] == "clean"
