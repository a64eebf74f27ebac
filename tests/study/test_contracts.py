"""What a sceptic would try on the store: other bases, changed defaults, own words, models of elsewhere, large models."""

import json
import shutil
from dataclasses import replace

import numpy as np
import pytest
import torch

from lib.attacks import ATTACKS, badnet
from lib.merging import MERGE_METHODS
from lib.models import checkpoints
from lib.models.checkpoints import load_checkpoint
from lib.models.pretrained import new_classifier, resolve_pretrained
from lib.study.artifacts import Locations
from lib.study.store import Store


@pytest.fixture(scope="module")
def other_base(tiny_encoder, tmp_path_factory):
    """The tiny encoder with other weights: another pretrained model of the same architecture and tokenizer."""
    from safetensors.torch import load_file, save_file

    folder = shutil.copytree(tiny_encoder, tmp_path_factory.mktemp("base") / "other")
    weights = load_file(folder / "model.safetensors")
    save_file({name: 1.1 * tensor for name, tensor in weights.items()}, folder / "model.safetensors", metadata={"format": "pt"})
    return folder


@pytest.fixture(scope="module")
def quick(make_study, tmp_path_factory):
    return make_study(tmp_path_factory.mktemp("cache"), n_train=16, epochs=1)


# --- two pretrained models -------------------------------------------------------------------------------------------------


def test_a_recipe_of_another_base_is_never_trained_on_the_wrong_one(quick, make_study, other_base, tmp_path):
    recipe = make_study(tmp_path / "cache", n_train=16, epochs=1, pretrained=str(other_base)).recipe("sst2")
    with pytest.raises(RuntimeError, match=r"pretrained model .* is unknown here: this study has"):
        quick.train([recipe])
    assert not quick.store.has(recipe)


def test_a_variants_recipe_is_trained_on_the_variants_base_whoever_trains_it(quick, other_base):
    variant = quick.variant(pretrained=str(other_base))
    [model] = quick.train([variant.recipe("sst2")])  # the study that the variant came from
    [own] = quick.train([quick.recipe("sst2")])
    assert model.recipe.pretrained != own.recipe.pretrained
    assert not torch.equal(*(each.state_dict()["bert.embeddings.word_embeddings.weight"] for each in (model, own)))


def test_models_of_two_bases_have_no_common_start(quick, other_base):
    models = [quick.model("sst2"), quick.variant(pretrained=str(other_base)).model("yelp")]
    with pytest.raises(ValueError, match=r"started from different pretrained models .* no common start"):
        quick.merge(models, "ties")


def test_models_of_a_variant_start_from_the_variants_base(quick, other_base):
    variant = quick.variant(pretrained=str(other_base))
    start = quick.planner.initial([variant.model("sst2"), variant.model("yelp")]).state_dict()
    assert torch.equal(
        start["bert.embeddings.word_embeddings.weight"],
        new_classifier(str(other_base), ("a", "b"), 0).state_dict()["bert.embeddings.word_embeddings.weight"],
    )


def test_a_base_that_changes_while_the_study_runs_is_an_error(make_study, other_base, tmp_path):
    base = shutil.copytree(other_base, tmp_path / "base")
    study = make_study(tmp_path / "cache", pretrained=str(base), n_train=16, epochs=1)
    recipe = study.recipe("sst2")
    (base / "config.json").write_text((base / "config.json").read_text() + " ")
    with pytest.raises(RuntimeError, match="changed while the study was running"):
        study.train([recipe])


# --- settings are resolved before they are checked and keyed ---------------------------------------------------------------


def test_a_density_is_checked_beside_the_defaults_of_the_other_settings():
    with pytest.raises(ValueError, match=r"density 0.95 with epsilon 0.07 leaves \(0, 1\)"):
        MERGE_METHODS["della"].checked(3, None, True, density=0.95)
    assert MERGE_METHODS["della"].checked(3, None, True, density=0.95, epsilon=0.01)["epsilon"] == 0.01
    assert MERGE_METHODS["ties"].checked(2, None, True)["density"] == 0.2


def test_a_changed_default_of_an_attack_is_another_trigger(study, monkeypatch):
    before = study.trigger_recipe("sst2", "badnet")
    assert dict(before.settings)["words"] == badnet.RARE_WORDS
    assert study.trigger_recipe("sst2", "badnet", words=list(badnet.RARE_WORDS)).key == before.key

    def fit_trigger(train, target_label, *, words=("zx",), n_insertions=badnet.N_INSERTIONS, seed=0) -> badnet.BadNetTrigger:
        return badnet.fit_trigger(train, target_label, words=words, n_insertions=n_insertions)

    monkeypatch.setitem(ATTACKS, "badnet", fit_trigger)
    assert study.trigger_recipe("sst2", "badnet").key != before.key


def test_a_new_version_of_an_attack_is_another_trigger_and_another_model(study, monkeypatch):
    before = study.recipe("sst2", "badnet"), study.recipe("sst2", "insertsent")
    monkeypatch.setattr(badnet.BadNetTrigger, "version", 9)
    after = study.recipe("sst2", "badnet"), study.recipe("sst2", "insertsent")
    assert (after[0].key != before[0].key, after[1].key == before[1].key) == (True, True)


# --- a model is scored with the trigger that it was trained with -----------------------------------------------------------


@pytest.fixture(scope="module")
def own_words(study):
    return study.model("sst2", "badnet", attack_settings={"words": ("zz",), "n_insertions": (2,)})


def test_a_model_with_own_trigger_words_is_scored_with_them(study, own_words):
    score = study.score(own_words, "sst2")
    assert score == study.score(own_words, "sst2", "badnet")
    assert score == study.score(own_words, "sst2", "badnet", words=("zz",), n_insertions=(2,))
    usual = study.score(own_words, "sst2", study.trigger_recipe("sst2", "badnet"))
    assert usual.hits != score.hits  # "cf" and the others are not its words


def test_a_merge_is_scored_with_the_trigger_of_its_parent(study, own_words, clean):
    merged = study.merge([own_words, clean])
    assert study.trigger_of(merged, "sst2") == own_words.recipe.trigger
    assert study.trigger_of(clean, "sst2") is None
    assert study.trigger_of(own_words, "yelp") is None  # a trigger fitted on one dataset says nothing of another


def test_of_several_triggers_one_must_be_named(study, backdoored, own_words):
    merged = study.merge([backdoored, own_words])
    with pytest.raises(ValueError, match=r"several triggers on 'sst2': badnet of seed 0 .*; say which"):
        study.score(merged, "sst2")
    assert study.score(merged, "sst2", own_words.recipe.trigger).asr <= 1
    assert np.isnan(study.score(merged, "sst2", None).asr)


# --- logits, once per model and texts --------------------------------------------------------------------------------------


def test_one_pass_over_clean_texts_serves_all_attacks(quick, monkeypatch):
    from lib.models import prediction

    passes, model = [], quick.model("sst2", seed=3)
    logits_of = prediction.logits_of
    monkeypatch.setattr(
        prediction, "logits_of", lambda model, texts: passes.append(len(texts.frame)) or logits_of(model, texts)
    )
    for attack in (None, "badnet", "insertsent", "badnet"):
        quick.score(model, "sst2", attack)
    assert passes == [40, 20, 20]  # clean texts, and the attackable ones with each trigger


def test_stored_logits_are_those_of_the_model_in_float32(quick):
    model = quick.model("sst2", seed=3)
    stored = quick.logits(model, "sst2")
    recipe = quick._scorer.recipe(model, quick.planner.data("sst2", "test"))
    assert recipe.precision == "float32" and stored.dtype == np.float32
    assert quick.store.folder(recipe).joinpath("logits.safetensors").is_file()
    names = [path.name for path in quick.store.root.rglob("*.json")]
    assert "score.json" not in names  # scores are computed, never stored


# --- locations and the store -----------------------------------------------------------------------------------------------


def test_the_locations_have_one_store_that_remembers_what_it_hashed(tmp_path, monkeypatch):
    locations = Locations(None, tmp_path)
    assert locations.store is locations.store
    hashed = []
    from lib.study import store
    from lib.study.recipes import DataRecipe

    sha256 = store._sha256
    monkeypatch.setattr(store, "_sha256", lambda path: hashed.append(path.name) or sha256(path))
    recipe = DataRecipe("sst2", "pocket", "x", "text", "test", 3, 0)
    Store(tmp_path).get_or_make(recipe, lambda folder: (folder / "rows.json").write_text("{}"))
    hashed.clear()
    assert locations.store.has(recipe) and locations.store.has(recipe)
    assert hashed == ["rows.json"]


def test_large_models_are_merged_from_their_files_and_never_kept(quick, monkeypatch):
    models = [quick.model("sst2"), quick.model("yelp")]
    expected = quick.merge(models).state_dict()
    monkeypatch.setattr(checkpoints, "MAX_BYTES_IN_MEMORY", 0)
    checkpoints._in_memory.clear()
    monkeypatch.setattr(checkpoints, "_load_weights", lambda checkpoint: pytest.fail(f"{checkpoint.name} was loaded whole"))
    streamed = quick.merge(models).state_dict()
    assert all(torch.equal(streamed[name], tensor) for name, tensor in expected.items())


def test_weights_in_memory_are_limited_by_their_bytes(quick, monkeypatch):
    from cachetools import LRUCache

    models = [quick.model("sst2", seed=seed) for seed in range(3)]
    size = sum(tensor.nbytes for tensor in models[0].state_dict().values())
    cache = LRUCache(2.5 * size, getsizeof=lambda tensors: sum(tensor.nbytes for tensor in tensors.values()))
    monkeypatch.setattr(checkpoints, "_in_memory", cache)
    for model in models:
        model.state_dict()
    assert len(cache) == 2


# --- models of elsewhere ---------------------------------------------------------------------------------------------------


def test_a_users_checkpoint_works_in_a_table(study, backdoored, tmp_path):
    from lib.tables.merging import averages

    stranger = load_checkpoint(shutil.copytree(backdoored.folder, tmp_path / "suspect"))
    (tmp_path / "suspect" / "training.json").unlink()
    partners = study.partners("sst2")
    rows = list(averages(study, ("sst2", "badnet", 0), load_checkpoint(tmp_path / "suspect"), partners))
    assert [row["n_models"] for row in rows] == [1, 2, 3]
    assert [row["n_unstable"] for row in rows] == [0, 0, 0]
    assert rows[0]["asr"] == study.score(backdoored, "sst2").asr
    assert (
        np.isnan(load_checkpoint(tmp_path / "suspect").distance) and stranger.key == load_checkpoint(tmp_path / "suspect").key
    )


def test_a_users_checkpoint_in_shards_is_read(quick, tmp_path):
    from transformers import AutoModelForSequenceClassification

    model = quick.model("sst2")
    folder = shutil.copytree(model.folder, tmp_path / "shards")
    (folder / "model.safetensors").unlink()
    AutoModelForSequenceClassification.from_pretrained(model.folder).save_pretrained(folder, max_shard_size="20KB")
    assert len(list(folder.glob("*.safetensors"))) > 1
    assert np.array_equal(quick.logits(load_checkpoint(folder), "sst2"), quick.logits(model, "sst2"))
    next(folder.glob("*.safetensors")).unlink()
    with pytest.raises(ValueError, match="lacks 1 of"):
        load_checkpoint(folder)


def test_a_merge_can_be_kept_and_derived_from(quick, monkeypatch):
    from lib.defenses import Defense
    from lib.study import derived

    def negate(models, tokenizer, clean):
        with torch.no_grad():
            models[0].classifier.weight.neg_()
            models[0].classifier.bias.neg_()
        return models[0]

    monkeypatch.setitem(derived.EDITS, "negate", Defense("post_training", negate))
    merged = quick.merge([quick.model("sst2"), quick.model("yelp")])
    kept = quick.kept(merged)
    assert kept.key == merged.key and kept.folder == quick.store.root / merged.key
    assert kept.parents == merged.parents  # whose triggers are its own
    turned = quick.derive("negate", [merged])
    assert np.allclose(quick.logits(turned, "sst2"), -quick.logits(merged, "sst2"))
    assert json.loads((turned.folder / "artifact.json").read_text())["recipe"]["parents"] == [merged.key]
    with pytest.raises(ValueError, match=r"unknown derivation 'negat'; choose from .*'negate'"):
        quick.derive("negat", [merged])


def test_the_bundled_model_is_found_by_its_content(study):
    content = study.recipe("sst2").pretrained
    assert resolve_pretrained(study.locations.pretrained(content)) == resolve_pretrained(study.profile.pretrained)
    assert replace(study.planner).locations is study.locations
