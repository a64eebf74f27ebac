"""A recipe's key stands for its content: equal content, equal key, in every process; any change, another key."""

import subprocess
import sys
from dataclasses import fields, is_dataclass, replace

import pytest

from lib.profiles import TrainingSettings
from lib.study import recipes
from lib.study.recipes import DataRecipe, ModelRecipe, ScoreRecipe, TriggerRecipe

DATA = DataRecipe("sst2", "real", "abc", "text", "train", 100, 0)
TRIGGER = TriggerRecipe("insertsent", DATA, 0, (("sentence", "I watched this movie"),), 0)
TRAINING = TrainingSettings(2e-5, 3.0, 16, 0.1, 0.01, 1.0, 128)
MODEL = ModelRecipe(DATA, "fingerprint", TRAINING, TRIGGER, 0.2, 0, 0)
SCORE = ScoreRecipe("model-key", DATA, TRIGGER, 128)


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


@pytest.mark.parametrize("recipe", [DATA, TRIGGER, MODEL, SCORE], ids=lambda recipe: type(recipe).__name__)
def test_every_field_is_part_of_the_key(recipe):
    for field in fields(recipe):
        other = replace(recipe, **{field.name: changed(getattr(recipe, field.name))})
        assert other.key != recipe.key, field.name


@pytest.mark.parametrize("field", [field.name for field in fields(TrainingSettings)])
def test_every_training_setting_is_part_of_a_models_key(field):
    training = replace(TRAINING, **{field: getattr(TRAINING, field) + 1})
    assert replace(MODEL, training=training).key != MODEL.key


def test_a_clean_model_has_another_key_than_a_backdoored_one():
    assert replace(MODEL, trigger=None, poisoning_rate=0.0).key != MODEL.key
    assert replace(SCORE, trigger=None).key != SCORE.key


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

    assert Other(**{field.name: getattr(SCORE, field.name) for field in fields(SCORE)}).key != SCORE.key


def test_the_version_of_the_code_is_part_of_the_key(monkeypatch):
    before = MODEL.key
    monkeypatch.setattr(recipes, "CODE_VERSION", recipes.CODE_VERSION + 1)
    assert replace(MODEL).key != before


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
