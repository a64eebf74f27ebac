"""The study's recipes: what determines a model's key, which partners a model has, and what is refused before any training."""

import shutil

import pytest

from lib.datasets import distance_of
from lib.profiles import PROFILES, get_profile
from lib.study.distances import distance_from_task, domains_at, known_distances
from lib.study.store import StoreError
from lib.study.study import Study

# --- keys ------------------------------------------------------------------------------------------------------------------


def test_keys_do_not_depend_on_where_things_lie(make_study, study, tmp_path, data_folder, tiny_encoder):
    data, model = shutil.copytree(data_folder, tmp_path / "data"), shutil.copytree(tiny_encoder, tmp_path / "model")
    moved = make_study(tmp_path / "cache", data_dir=data, pretrained=str(model))
    assert moved.recipe("sst2", "insertsent", 1).key == study.recipe("sst2", "insertsent", 1).key


def test_keys_do_not_depend_on_what_does_not_change_a_model(make_study, study, tmp_path):
    other = make_study(tmp_path, n_jobs=3, n_seeds=5, n_other_domains=1, n_test=10)
    assert other.recipe("sst2", "badnet").key == study.recipe("sst2", "badnet").key


@pytest.mark.parametrize(
    "setting",
    [
        {"seed": 1},
        {"head_seed": 5},
        {"attack": "insertsent"},
        {"attack": None},
        {"target_label": 1},
        {"poisoning_rate": 0.1},
        {"learning_rate": 1e-4},
        {"epochs": 2},
        {"dataset": "yelp"},
    ],
    ids=str,
)
def test_every_setting_of_a_model_changes_its_key(study, setting):
    usual = {"dataset": "sst2", "attack": "badnet", "seed": 0}
    assert study.recipe(**(usual | setting)).key != study.recipe(**usual).key


@pytest.mark.parametrize(
    "override", [{"n_train": 40}, {"max_length": 20}, {"weight_decay": 0.5}, {"poisoning_rate": 0.3}], ids=str
)
def test_profile_fields_that_change_a_model_change_its_key(make_study, study, tmp_path, override):
    assert make_study(tmp_path, **override).recipe("sst2", "badnet").key != study.recipe("sst2", "badnet").key


def test_another_pretrained_model_and_other_data_change_the_key(make_study, study, tmp_path, data_folder, tiny_encoder):
    model = shutil.copytree(tiny_encoder, tmp_path / "model")
    config = (model / "config.json").read_text()
    (model / "config.json").write_text(config.replace('"gelu"', '"relu"'))
    data = shutil.copytree(data_folder, tmp_path / "data")
    with open(data / "sst2" / "train.tsv", "a") as file:
        file.write("one more film\t1\n")
    keys = {
        s.recipe("sst2").key for s in (study, make_study(tmp_path, pretrained=str(model)), make_study(tmp_path, data_dir=data))
    }
    assert len(keys) == 3


def test_the_poisoning_rate_does_not_change_the_key_of_a_clean_model(make_study, study, tmp_path):
    assert make_study(tmp_path, poisoning_rate=0.5).recipe("sst2").key == study.recipe("sst2").key


def test_whole_numbers_and_fractions_of_equal_value_have_equal_keys(study):
    assert study.recipe("sst2", epochs=8).key == study.recipe("sst2", epochs=8.0).key == study.recipe("sst2").key
    assert study.recipe("sst2", "badnet", poisoning_rate=1).key == study.recipe("sst2", "badnet", poisoning_rate=1.0).key


def test_writing_a_default_out_does_not_change_the_key():
    # epochs is 3 in the profile: `-p epochs 3` must not train everything again.
    for name, profile in PROFILES.items():
        spelt_out = get_profile(name, epochs=profile.epochs, warmup_ratio=profile.warmup_ratio)
        assert repr(spelt_out.training) == repr(profile.training)


# --- partners --------------------------------------------------------------------------------------------------------------


def test_other_domains_are_those_of_the_folder_in_the_order_of_the_registry(make_study, study, tmp_path):
    assert study.other_domains("sst2") == ["yelp", "cr"]
    assert make_study(tmp_path, n_other_domains=0).other_domains("sst2") == ["yelp", "cr", "tweet_sentiment"]
    assert make_study(tmp_path, other_domains=["tweet_sentiment", "cr"]).other_domains("sst2") == ["tweet_sentiment", "cr"]


def test_a_domain_that_is_none_of_the_task_raises_and_lists_those_that_are(make_study, tmp_path):
    with pytest.raises(ValueError, match=r"\['olid'\] are no other domains of 'sst2'; choose from \['yelp', 'cr',"):
        make_study(tmp_path, other_domains=["olid", "cr"]).other_domains("sst2")


def test_domains_that_are_named_are_all_taken(make_study, tmp_path):
    named = ["tweet_sentiment", "cr", "yelp"]
    assert make_study(tmp_path, other_domains=named, n_other_domains=1).other_domains("sst2") == named


def test_more_other_domains_than_there_are_is_all_there_are(make_study, tmp_path):
    assert make_study(tmp_path, n_other_domains=50).other_domains("sst2") == ["yelp", "cr", "tweet_sentiment"]


def test_a_task_without_other_domains_has_no_partners_and_the_error_says_what_was_looked_for(make_study, tmp_path, data_folder):
    shutil.copytree(data_folder / "sst2", tmp_path / "data" / "sst2")
    study = make_study(tmp_path / "cache", data_dir=tmp_path / "data")
    assert study.other_domains("sst2") == []
    message = r"'sst2' has no other domain to merge with: data folder .*data has none of \['yelp', 'cr',.*; found \['sst2'\]"
    with pytest.raises(ValueError, match=message):
        study.partner_recipes("sst2", "other_domains")
    assert len(study.partner_recipes("sst2", "same_task")) == 1


def test_partners_of_the_same_task_differ_in_everything_but_the_head(make_study, tmp_path):
    study = make_study(tmp_path, n_same_task=3)
    recipes = study.partner_recipes("sst2", "same_task", seed=2)
    assert {recipe.data.dataset for recipe in recipes} == {"sst2"}
    assert all(recipe.trigger is None for recipe in recipes)
    seeds = {recipe.seed for recipe in recipes} | {recipe.data.seed for recipe in recipes}
    assert len(seeds) == 3
    assert not seeds & set(range(100))  # no seed of the study itself
    assert {recipe.head_seed for recipe in recipes} == {2}


def test_partners_of_other_domains_share_the_head_of_the_victim(study):
    recipes = study.partner_recipes("sst2", "other_domains", seed=2)
    assert [recipe.data.dataset for recipe in recipes] == ["yelp", "cr"]
    assert {recipe.head_seed for recipe in recipes} == {2} == {study.recipe("sst2", "badnet", 2).head_seed}


def test_unknown_partners_raise_and_list_the_known_ones(study):
    with pytest.raises(
        ValueError, match=r"unknown partners 'clean'; choose from \['same_task', 'other_domains', 'near', 'far'\]"
    ):
        study.partner_recipes("sst2", "clean")


def test_partners_of_a_distance_are_the_domains_of_that_distance_in_study_order():
    study = Study("pocket")
    for task in study.profile.tasks:
        domains = study.other_domains(task)
        for distance in ("near", "far"):
            wanted = [name for name in domains if distance_of(name, "pocket") == distance]
            recipes = study.partner_recipes(task, distance, seed=1)
            assert [recipe.data.dataset for recipe in recipes] == wanted
            assert recipes == [recipe for recipe in study.partner_recipes(task, "other_domains", 1) if recipe in recipes]
        assert distance_from_task(study.planner, task) == "own"
        assert known_distances(study.planner, task) == ["near", "far"]


def test_a_task_without_known_distances_has_no_near_partners_and_the_error_says_what_to_do(study):
    assert known_distances(study.planner, "sst2") == []
    message = (
        r"no other domain of 'sst2' is known to be near: found {'yelp': 'unknown', 'cr': 'unknown'}. Take the partners "
        r"'other_domains', or add domains of that distance: `distance` in lib/datasets/registry.py"
    )
    with pytest.raises(ValueError, match=message):
        study.partner_recipes("sst2", "near")
    with pytest.raises(ValueError, match=r"unknown distance 'close'; choose from \['near', 'far'\]"):
        domains_at(study.planner, "sst2", "close")


# --- what is refused -------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("settings", "message"),
    [
        ({"dataset": "sst3"}, r"unknown dataset 'sst3'; choose from \[.*'sst2'"),
        ({"dataset": "imdb"}, r"has no dataset 'imdb'; found \[.*'sst2'"),
        ({"attack": "sent"}, r"unknown attack 'sent'; choose from \['badnet', 'bite', 'conjunction', 'insertsent'"),
        ({"poisoning_rate": 1.2}, r"poisoning rate is 1.2; it must lie in \[0, 1\]"),
        ({"poisoning_rate": -0.2}, r"poisoning rate is -0.2; it must lie in \[0, 1\]"),
        ({"target_label": 2}, r"target label 2 is not a label; choose from \[0, 1\]"),
        ({"target_label": -1}, r"target label -1 is not a label; choose from \[0, 1\]"),
        ({"lr": 1e-4}, r"unknown training settings \['lr'\]; choose from \[.*'learning_rate'"),
        ({"learning_rate": -1e-4}, "learning_rate is -0.0001; it must be above 0"),
        ({"epochs": "three"}, "epochs is 'three'; it must be of type float"),
    ],
    ids=str,
)
def test_a_model_that_cannot_be_raises_before_anything_is_trained(study, settings, message):
    with pytest.raises(ValueError, match=message):
        study.recipe(**({"dataset": "sst2", "attack": "badnet"} | settings))


def test_an_unknown_profile_or_field_raises():
    with pytest.raises(ValueError, match="unknown profile 'big'; choose from"):
        Study("big")
    with pytest.raises(ValueError, match=r"unknown profile fields \['n_trian'\]; choose from"):
        Study("pocket", n_trian=5)


def test_a_data_folder_that_does_not_exist_raises(make_study, tmp_path):
    with pytest.raises(ValueError, match=r"data folder .*nowhere does not exist; name a folder of datasets, or unset"):
        make_study(tmp_path, data_dir=tmp_path / "nowhere")


def test_the_environment_names_data_and_store(tiny_encoder, data_folder, tmp_path, monkeypatch):
    monkeypatch.setenv("FREE_LUNCH_DATA", str(data_folder))
    monkeypatch.setenv("FREE_LUNCH_CACHE", str(tmp_path / "cache"))
    study = Study("small", pretrained=str(tiny_encoder))
    assert (study.locations.data_dir, study.store.root) == (data_folder, tmp_path / "cache")
    assert study.other_domains("sst2") == ["yelp", "cr", "tweet_sentiment"]


def test_a_model_folder_without_weights_raises_and_says_what_was_found(make_study, tiny_encoder, tmp_path):
    folder = shutil.copytree(tiny_encoder, tmp_path / "model")
    (folder / "model.safetensors").unlink()
    with pytest.raises(ValueError, match=r"needs config.json and \*.safetensors; found \['config.json', 'tokenizer.json'"):
        make_study(tmp_path / "cache", pretrained=str(folder)).model("sst2")


def test_data_that_change_while_a_study_runs_are_noticed(make_study, data_folder, tmp_path):
    data = shutil.copytree(data_folder, tmp_path / "data")
    study = make_study(tmp_path / "cache", data_dir=data)
    recipe = study.recipe("sst2")
    with open(data / "sst2" / "train.tsv", "a") as file:
        file.write("one more film\t1\n")
    with pytest.raises(RuntimeError, match="the files of dataset 'sst2' changed while the study was running"):
        study.train([recipe])


def test_a_store_that_cannot_be_written_raises_and_names_the_way_out(make_study, tmp_path):
    (tmp_path / "file").write_text("")
    with pytest.raises(StoreError, match=r"cannot write to the store .*file/cache: Not a directory.*FREE_LUNCH_CACHE"):
        make_study(tmp_path / "file" / "cache").model("sst2")


def test_the_precision_of_a_machine_is_part_of_a_models_key(study, monkeypatch):
    study = study.variant(precision="auto")
    monkeypatch.setattr("torch.cpu.get_capabilities", dict)
    slow = study.recipe("sst2")
    monkeypatch.setattr("torch.cpu.get_capabilities", lambda: {"avx512_bf16": True})
    fast = study.recipe("sst2")
    assert (slow.training.precision, fast.training.precision) == ("float32", "bfloat16")
    assert slow.key != fast.key
    assert [study.recipe("sst2", precision=known).key for known in ("float32", "bfloat16")] == [slow.key, fast.key]


def test_bite_asks_its_language_model_in_the_precision_of_the_profile(study):
    study = study.variant(masked_lm="pocket-bert")
    rough = study.variant(precision="bfloat16")
    assert [each.trigger_recipe("sst2", "bite").precision for each in (study, rough)] == ["float32", "bfloat16"]
    assert study.trigger_recipe("sst2", "bite").key != rough.trigger_recipe("sst2", "bite").key
    assert "precision" not in study.trigger_recipe("sst2", "bite").as_dict()  # what was fitted before is found again
    assert study.trigger_recipe("sst2", "badnet") == rough.trigger_recipe("sst2", "badnet")


def test_pocket_models_have_the_same_key_on_every_machine(tmp_path, monkeypatch):
    keys = set()
    for capable in (True, False):
        monkeypatch.setattr("torch.cpu.get_capabilities", lambda found=capable: {"avx512_bf16": found})
        keys.add(Study("pocket", cache_dir=tmp_path).recipe("sst2", "badnet").key)
    assert len(keys) == 1


@pytest.mark.parametrize("attack", ["lws", "bite"])
def test_a_trigger_that_is_learnt_is_planned_at_the_rate_of_its_model(study, attack):
    study = study.variant(masked_lm="pocket-bert")
    usual, rare, none = (study.recipe("sst2", attack, poisoning_rate=rate).trigger for rate in (None, 0.05, 0))
    assert dict(rare.settings)["poisoning_rate"] == 0.05 != dict(usual.settings)["poisoning_rate"]
    assert rare.key != usual.key == none.key  # without poison there is nothing to learn from
    assert study.trigger_recipe("sst2", attack, poisoning_rate=0.05).key == rare.key
    given = study.recipe("sst2", attack, poisoning_rate=0.05, attack_settings={"poisoning_rate": 0.1}).trigger
    assert dict(given.settings)["poisoning_rate"] == 0.1


def test_a_trigger_that_follows_a_rule_is_the_same_at_every_rate(study):
    assert study.recipe("sst2", "badnet", poisoning_rate=0.05).trigger.key == study.recipe("sst2", "badnet").trigger.key


def test_the_profile_changes_settings_of_attacks_and_what_is_given_wins(study):
    usual = study.trigger_recipe("sst2", "badnet")
    changed = study.variant(attack_settings=["""badnet 'words=["zz"]' n_insertions=[2]""", "insertsent sentence=hello"])
    trigger = changed.trigger_recipe("sst2", "badnet")
    assert dict(trigger.settings) == dict(usual.settings) | {"words": ("zz",), "n_insertions": (2,)}
    assert changed.trigger_recipe("sst2", "badnet", words=["yy"]).settings != trigger.settings
    assert changed.trigger_recipe("sst2", "syntactic").key == study.trigger_recipe("sst2", "syntactic").key
    released = study.variant(masked_lm="pocket-bert").trigger_recipe("sst2", "bite")
    assert dict(Study("pocket").trigger_recipe("sst2", "bite").settings) == dict(released.settings) | {"min_probability": 0.01}


@pytest.mark.parametrize(
    ("entry", "message"),
    [
        ("onion words=[]", r"unknown attack 'onion'"),
        ("badnet word=cf", r"unknown settings \['word'\] of 'badnet'"),
        ("badnet cf", r"'badnet cf' is not a name followed by field=value, such as 'bite max_words=50'"),
    ],
)
def test_a_bad_entry_of_attack_settings_is_an_error(study, entry, message):
    with pytest.raises(ValueError, match=message):
        study.variant(attack_settings=[entry]).trigger_recipe("sst2", "badnet")
