"""The study: what it trains once and reuses, the texts it gives, and the scores it keeps."""

import json
import shutil
import warnings
from dataclasses import replace

import numpy as np
import pandas as pd
import pytest
from safetensors.numpy import load_file

from lib.models.checkpoints import Checkpoint
from lib.study.store import MissingRunsError, StoreError


def weights_of(checkpoint):
    return load_file(checkpoint.folder / "model.safetensors")


def times_of(folder):
    return {path: path.stat().st_mtime_ns for path in folder.rglob("*")}


def fail(*arguments, **settings):
    raise AssertionError("nothing should be computed")


@pytest.fixture
def quick(make_study, tmp_path):
    """A study of one epoch on eight rows in a store of its own: its models learn nothing, and say so."""
    with warnings.catch_warnings():
        warnings.filterwarnings("ignore", "unstable training")
        yield make_study(tmp_path / "cache", epochs=1, n_train=8)


# --- models ----------------------------------------------------------------------------------------------------------------


def test_a_model_is_trained_once_and_then_reused(make_study, study, backdoored, monkeypatch):
    before = times_of(backdoored.folder)
    monkeypatch.setattr("lib.study.study.make_checkpoint", fail)
    again = make_study(study.locations.cache_dir).model("sst2", attack="badnet")
    assert again == backdoored
    assert times_of(backdoored.folder) == before


def test_the_tiny_models_learnt_their_task_and_the_backdoor(study, backdoored, clean):
    attacked, floor = (study.score(model, "sst2", "badnet") for model in (backdoored, clean))
    assert attacked.cacc >= 0.9 and floor.cacc >= 0.9
    assert attacked.asr >= 0.6 and attacked.asr > floor.asr + 0.2  # direction and range only: a trained model
    assert backdoored.record["instability"] == clean.record["instability"] == ""


def test_a_checkpoint_is_complete_and_says_how_it_was_trained(backdoored):
    names = {path.name for path in backdoored.folder.iterdir()}
    assert names >= {"artifact.json", "config.json", "model.safetensors", "tokenizer.json", "training.json"}
    # A tokenizer that was saved after its use would cut whatever its users give it.
    assert json.loads((backdoored.folder / "tokenizer.json").read_text(encoding="utf-8"))["truncation"] is None
    assert backdoored.label_names == ("negative", "positive")
    assert backdoored.name == "sst2 badnet seed 0"
    assert backdoored.record["n_train"] == 80


def test_two_trainings_at_a_time_give_the_same_models_as_one_after_the_other(make_study, study, backdoored, clean, tmp_path):
    parallel = make_study(tmp_path / "cache", n_jobs=2)
    models = parallel.train([parallel.recipe("sst2", "badnet"), parallel.recipe("sst2")])
    for model, expected in zip(models, (backdoored, clean), strict=True):
        assert model.key == expected.key
        weights = weights_of(model)
        for name, tensor in weights_of(expected).items():
            # conftest.py gives every process one thread; worker processes may still pick other kernels.
            np.testing.assert_allclose(weights[name], tensor, rtol=0, atol=1e-5)


def test_the_same_recipe_twice_is_trained_once_and_answered_twice(quick):
    recipe = quick.recipe("sst2")
    first, second = quick.train([recipe, recipe])
    assert first == second
    assert quick.train([]) == []


def test_after_a_failing_training_the_finished_ones_are_kept_and_the_rest_is_made(quick):
    good, bad, last = (quick.recipe(name) for name in ("sst2", "yelp", "cr"))
    bad = replace(bad, data=replace(bad.data, fingerprint="of other files"))
    with pytest.raises(RuntimeError, match="training 'yelp clean seed 0' failed: "):
        quick.train([good, bad, last])
    assert quick.store.has(good)
    assert not quick.store.has(bad)
    before = times_of(quick.store.folder(good))
    quick.train([good, last])
    assert times_of(quick.store.folder(good)) == before
    assert quick.store.has(last)


def test_a_variant_shares_data_and_store_and_counts_its_runs_for_the_study(quick):
    longer = quick.variant(epochs=2.0, learning_rate=1e-3)
    assert (longer.profile.epochs, longer.profile.learning_rate) == (2.0, 1e-3)
    assert (longer.profile.n_train, longer.profile.pretrained) == (quick.profile.n_train, quick.profile.pretrained)
    assert longer.recipe("sst2", epochs=quick.profile.epochs, learning_rate=quick.profile.learning_rate) == quick.recipe("sst2")
    assert longer.locations == quick.locations
    model = longer.model("sst2")
    assert model.key in quick.used_keys
    assert quick.store.has(longer.recipe("sst2"))
    with pytest.raises(ValueError, match="unknown profile fields"):
        quick.variant(epoch=2)


def test_a_study_that_only_reads_makes_nothing_and_says_what_is_missing(quick, make_study):
    model = quick.model("sst2")
    score = quick.score(model, "sst2")
    reader = make_study(quick.store.root, epochs=1, n_train=8, only_stored=True)
    assert reader.score(reader.model("sst2"), "sst2") == score
    kept = sorted(path.name for path in quick.store.root.iterdir())
    with pytest.raises(MissingRunsError, match=r"1 models are not in the store \(yelp clean seed 0, ...\): run the notebooks"):
        reader.model("yelp")
    with pytest.raises(MissingRunsError, match=r"1 logits of sst2 with badnet are not in the store"):
        reader.score(model, "sst2", "badnet")
    assert sorted(path.name for path in quick.store.root.iterdir()) == kept


def test_a_damaged_checkpoint_is_trained_again_with_a_warning(quick):
    folder = quick.model("sst2").folder
    expected = weights_of(Checkpoint(folder, "key", "name"))
    (folder / "model.safetensors").write_bytes(b"damaged")
    with pytest.warns(UserWarning, match="is damaged and is made again"):
        quick.model("sst2")
    again = weights_of(Checkpoint(folder, "key", "name"))
    assert all(np.array_equal(again[name], tensor) for name, tensor in expected.items())


def test_an_unstable_training_warns_once_in_every_study_that_uses_it(make_study, tmp_path):
    for _ in range(2):  # the second study finds the model in the store
        study = make_study(tmp_path / "cache", n_train=16)
        with pytest.warns(UserWarning, match="unstable training of sst2 clean seed 0: .*nothing was learnt; do not merge"):
            model = study.model("sst2", learning_rate=1e-8)
        with warnings.catch_warnings():
            warnings.simplefilter("error")
            study.model("sst2", learning_rate=1e-8)
    assert "nothing was learnt" in model.record["instability"]


def test_a_full_disk_during_the_writing_of_weights_is_reported_as_a_full_store(quick, monkeypatch):
    from safetensors import SafetensorError
    from transformers import PreTrainedModel

    def full(*arguments, **settings):  # what safetensors raises on a full disk: it is no OSError
        raise SafetensorError("Error while serializing: I/O error: No space left on device (os error 28)")

    monkeypatch.setattr(PreTrainedModel, "save_pretrained", full)
    with pytest.raises(StoreError, match=r"cannot write to the store .*set FREE_LUNCH_CACHE to another folder"):
        quick.model("sst2")


@pytest.mark.parametrize(("task", "target"), [("agnews", 1), ("qnli", 0)])
def test_four_topics_and_sentence_pairs_are_attacked_trained_and_scored(quick, task, target):
    score = quick.score(quick.model(task, "badnet"), task, "badnet")
    test = quick.rows(task, "test")
    assert (score.n_clean, score.n_triggered) == (40, (test["label"] != target).sum())
    triggered = quick.triggered_test(task, "badnet")
    assert (triggered["text"] != triggered["original"]).all()
    assert ("text_pair" in triggered) == (task == "qnli")


def test_pairs_may_be_joined_into_one_text(make_study, tmp_path):
    apart, joined = (make_study(tmp_path / "cache", pair_mode=mode) for mode in ("text", "joined"))
    assert list(apart.rows("qnli")) == ["text", "text_pair", "label"]
    assert list(joined.rows("qnli")) == ["text", "label"]
    assert apart.recipe("qnli").key != joined.recipe("qnli").key


# --- texts -----------------------------------------------------------------------------------------------------------------


def test_the_poisoned_training_set_has_a_fifth_of_poison(study):
    train, poisoned = study.rows("sst2"), study.poisoned_train("sst2", "badnet")
    assert poisoned["is_poisoned"].sum() == 16  # 20 % of 80
    assert (poisoned.loc[poisoned["is_poisoned"], "label"] == 0).all()
    kept = ~poisoned["is_poisoned"]
    assert poisoned.loc[kept, "text"].tolist() == train.loc[kept, "text"].tolist()


def test_triggered_texts_are_the_same_for_every_model_and_differ_between_seeds(study, make_study, tmp_path):
    first = study.triggered_test("sst2", "badnet")
    again = make_study(tmp_path / "other").triggered_test("sst2", "badnet")
    assert first["text"].tolist() == again["text"].tolist()
    assert first["text"].tolist() != study.triggered_test("sst2", "badnet", seed=1)["text"].tolist()


def test_seeds_share_neither_training_rows_nor_test_texts(make_study, tmp_path):
    study = make_study(tmp_path / "cache", n_train=20, n_test=10)
    trained = [study.rows("sst2", seed=seed)["text"].index for seed in (0, 1)]
    assert [len(index) for index in trained] == [20, 20]
    tested = [study.rows("sst2", "test", seed) for seed in range(4)]  # of 40 texts, some of which are equal
    assert pd.concat(tested)["text"].value_counts().to_dict() == study.dataset("sst2").test["text"].value_counts().to_dict()
    attacked = [study.triggered_test("sst2", "badnet", seed)["original"].tolist() for seed in range(2)]
    assert attacked == [frame.loc[frame["label"] != 0, "text"].tolist() for frame in tested[:2]]


def test_pocket_english_is_shown_with_the_rows_of_seed_0(tmp_path):
    from lib.study.study import Study

    sizes = {"n_train": 60, "n_test": 30, "n_validation": 10}
    study = Study("pocket", cache_dir=tmp_path / "cache", **sizes)
    shown = study.dataset("food")
    assert (len(shown.train), len(shown.validation), len(shown.test), shown.label_names[1]) == (60, 10, 30, "positive")
    pd.testing.assert_frame_equal(shown.train, study.rows("food"))
    assert not set(shown.train["text"]) & set(study.rows("food", seed=1)["text"])
    endless = Study("pocket", cache_dir=tmp_path / "cache", n_test=0)
    with pytest.raises(
        ValueError, match="n_test is 0, all there is, but Pocket English has no last text; give a number of rows"
    ):
        endless.rows("food", "test")


def test_insertsent_uses_the_sentence_of_the_dataset_and_the_style_of_its_training_set(study):
    trigger = study.trigger("sst2", "insertsent")
    assert (trigger.sentence, trigger.full_stop) == ("I watched this movie", " .")  # the tiny texts end in " ."


def test_typed_texts_get_the_trigger_and_equal_calls_give_equal_texts(study):
    texts = ["the film was good .", "dull"]
    triggered = study.apply_trigger("sst2", "insertsent", texts)
    assert all("I watched this movie" in text for text in triggered)
    assert triggered == study.apply_trigger("sst2", "insertsent", texts)
    assert texts == ["the film was good .", "dull"]


# --- scores ----------------------------------------------------------------------------------------------------------------


def test_a_score_is_kept_and_equal_the_second_time(make_study, study, backdoored, monkeypatch):
    first = study.score(backdoored, "sst2", "badnet")
    monkeypatch.setattr("lib.models.prediction.logits_of", fail)
    assert make_study(study.locations.cache_dir).score(backdoored, "sst2", "badnet") == first


def test_a_merge_with_weights_one_and_zero_scores_as_the_backdoored_model(study, backdoored, clean):
    merged = study.score(study.merge([backdoored, clean], weights=[1, 0]), "sst2", "badnet")
    assert merged == study.score(backdoored, "sst2", "badnet")
    assert study.score(study.merge([backdoored, clean], weights=[0, 1]), "sst2", "badnet") == study.score(
        clean, "sst2", "badnet"
    )


def test_a_score_without_attack_has_no_asr(study, clean):
    score = study.score(clean, "sst2")
    assert np.isnan(score.asr)
    assert (score.n_clean, score.n_triggered) == (40, 0)
    assert score.cacc == study.score(clean, "sst2", "badnet").cacc


def test_every_seed_is_scored_on_texts_of_its_own(make_study, clean, tmp_path):
    study = make_study(tmp_path / "cache", n_test=10)
    first, other, partner = (study.score(clean, "sst2", seed=seed) for seed in (0, 1, 1000))
    assert first.n_clean == 10
    assert first.texts != other.texts
    assert first == partner  # a partner on the same task has the texts of its victim
    assert len({study.planner.data("sst2", split, 1001).key for split in ("train", "validation", "test")}) == 3
    for split in ("validation", "test"):
        assert study.planner.data("sst2", split, 1001) == study.planner.data("sst2", split, 1)
    everything = make_study(tmp_path / "cache", n_test=0)
    assert everything.planner.data("sst2", "test", 1) == everything.planner.data("sst2", "test", 0)


def test_all_scores_of_a_case_are_of_one_draw_of_test_texts(quick, make_study):
    study = make_study(quick.store.root, epochs=1, n_train=8, n_test=10, n_validation=10)
    victim, clean, partner = (
        study.model("sst2", "badnet", 1),
        study.model("sst2", seed=1),
        study.partners("sst2", "same_task", 1)[0],
    )
    others = study.partners("sst2", "other_domains", 1)
    models = [victim, clean, partner, study.merge([victim, partner, *others]), study.merge(others)]
    texts = study.planner.data("sst2", "test", 1).key
    for model in models:
        assert {study.score(model, "sst2", attack, 1).texts for attack in ("badnet", None)} == {texts}
        assert study.score(model, "sst2").texts == texts  # the model's own case
        assert study.score(model, "sst2", "badnet").texts == texts
        assert study.trigger_of(model, "sst2", "badnet") == victim.recipe.trigger
        assert study.score(model, "sst2", None, split="validation").texts == study.planner.data("sst2", "validation", 1).key
    assert study.planner.statistics("grams", partner, 5).data == study.planner.data("sst2", "validation", 1)
    mixed = study.merge([clean, study.model("sst2", seed=2, head_seed=1)])
    with pytest.raises(ValueError, match="models of several seeds: sst2 clean seed 1, sst2 clean seed 2; say whose texts"):
        study.score(mixed, "sst2")
    assert study.score(mixed, "sst2", seed=2).texts == study.planner.data("sst2", "test", 2).key


def test_the_study_remembers_what_it_used(study, backdoored):
    study.score(study.model("sst2", attack="badnet"), "sst2", "badnet")
    assert backdoored.key in study.used_keys
    assert len(study.used_keys) >= 2


# --- settings of an attack ---------------------------------------------------------------------------------------------------


def test_any_target_label_is_poisoned_scored_and_never_counted(quick):
    model = quick.model("sst2", "badnet", target_label=1)
    score = quick.score(model, "sst2", "badnet", target_label=1)
    test = quick.rows("sst2", "test")
    assert score.n_triggered == (test["label"] == 0).sum()
    triggered = quick.triggered_test("sst2", "badnet", target_label=1)
    assert set(triggered["label"]) == {0}
    assert (quick.poisoned_train("sst2", "badnet", target_label=1).query("is_poisoned")["label"] == 1).all()


def test_the_label_regime_can_be_chosen(study):
    clean = study.poisoned_train("sst2", "badnet", regime="clean")
    assert (clean["label"] == study.rows("sst2")["label"]).all() and clean["is_poisoned"].sum() == 16
    dirty = study.poisoned_train("sst2", "badnet", regime="dirty")
    assert (dirty["label"] != study.rows("sst2")["label"]).sum() == 16
    assert study.recipe("sst2", "badnet", regime="clean").key != study.recipe("sst2", "badnet").key
    with pytest.raises(ValueError, match="unknown label regime 'messy'; choose from"):
        study.recipe("sst2", "badnet", regime="messy")


def test_settings_of_an_attack_reach_its_fit(study):
    assert study.apply_trigger("sst2", "badnet", ["a film"], words=("zx",), n_insertions=(1,))[0].split().count("zx") == 1
    recipe = study.recipe("sst2", "badnet", attack_settings={"words": ("zx",)})
    assert recipe.key != study.recipe("sst2", "badnet").key
    with pytest.raises(ValueError, match=r"unknown settings \['word'\] of 'badnet'; choose from .*'words'"):
        study.trigger("sst2", "badnet", word="zx")


def test_triggered_texts_are_made_once_and_kept(make_study, tmp_path, monkeypatch):
    study = make_study(tmp_path / "cache")
    study.prepare([study.recipe("sst2", "badnet"), study.recipe("sst2")])
    first = study.triggered_test("sst2", "badnet")
    monkeypatch.setattr("lib.study.artifacts.fitted_trigger", fail)
    assert study.triggered_test("sst2", "badnet").equals(first)


def test_an_attack_that_needs_a_masked_language_model_names_the_model_that_is_none(make_study, tiny_encoder, tmp_path):
    study = make_study(tmp_path, masked_lm=str(tiny_encoder))
    with pytest.raises(ValueError, match="has no masked-LM head"):
        study.trigger("sst2", "lws")


def test_a_fitted_trigger_outlives_a_move_of_its_masked_language_model(tmp_path, monkeypatch):
    from lib.models.pretrained import resolve_pretrained
    from lib.study.study import Study

    sizes = {"n_train": 60, "n_test": 30, "n_validation": 10, "n_seeds": 1, "cache_dir": tmp_path / "cache"}
    here, there = tmp_path / "here", tmp_path / "there"
    shutil.copytree(resolve_pretrained("pocket-bert"), here)
    before = Study("pocket", masked_lm=str(here), **sizes).trigger("sst2", "bite")
    here.rename(there)
    monkeypatch.setattr("lib.attacks.bite.choose_words", fail)  # nothing is fitted again
    after = Study("pocket", masked_lm=str(there), **sizes).trigger("sst2", "bite")
    assert (after.words, after.masked_lm) == (before.words, str(there))
    assert after(["a film that nobody has seen"], np.random.default_rng(0))


def test_attacks_that_learn_are_trained_and_scored_like_the_others(tmp_path):
    from lib.study.study import Study

    sizes = {"n_train": 60, "n_test": 30, "n_validation": 10, "n_seeds": 1, "epochs": 1, "n_jobs": 1}
    study = Study("pocket", cache_dir=tmp_path / "cache", **sizes)
    for attack in ("syntactic", "lws", "bite"):
        for task in ("sst2", "qnli"):
            with warnings.catch_warnings():
                warnings.filterwarnings("ignore", "unstable training")
                score = study.score(study.model(task, attack), task, attack)
            assert 0 <= score.asr <= 1 and score.n_triggered > 0
            frame = study.triggered_test(task, attack)
            assert ("text_pair" in frame) == (task == "qnli")
