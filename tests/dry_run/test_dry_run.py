"""The dry run: it lists what tables would train, makes nothing, and its estimates follow from sizes."""

import math
from dataclasses import replace

import pytest

from lib.dry_run.estimates import HUB_WEIGHTS, hub_rows, scoring_hours, training_cost, weights_of
from lib.dry_run.offline import offline_planner
from lib.dry_run.plans import PLANS, dry_run, needed_by
from lib.dry_run.report import describe, report
from lib.dry_run.speed import MAX_TRIED, Line, Speed, measured_speed
from lib.exploring import default_parameters
from lib.models.pretrained import new_classifier
from lib.models.training import with_adapters
from lib.profiles import PROFILES
from lib.run_notebooks import find_notebooks, main
from lib.study.making import Maker

READS_ONLY = {"02", "90"}


def test_every_notebook_is_planned_or_trains_nothing():
    assert set(PLANS) | READS_ONLY == {path.stem[:2] for path in find_notebooks()}
    assert not set(PLANS) & READS_ONLY


@pytest.fixture
def dry(study, data_folder):
    """The tiny study, dry: same profile, data and store."""
    fields = {name: getattr(study.profile, name) for name in study.profile.__dataclass_fields__ if name != "name"}
    return offline_planner("small", data_dir=data_folder, cache_dir=study.store.root, **fields)


def test_a_dry_table_asks_for_the_models_that_the_real_one_trained(dry, study, frames):
    parameters = {"task": "sst2", "attack": "badnet,insertsent", "skip": ""}
    found = dry_run(dry, {"04": parameters})
    assert found.models["in_store"].all()  # `frames` trained them
    models = list(found.models[["dataset", "attack", "seed"]].itertuples(index=False, name=None))
    assert sorted(models) == [
        ("cr", "clean", 0), ("sst2", "badnet", 0), ("sst2", "clean", 0), ("sst2", "clean", 1000),
        ("sst2", "insertsent", 0), ("yelp", "clean", 0),
    ]  # fmt: skip
    assert {recipe.key for recipe in needed_by(dry, "04", parameters).models} <= study.used_keys
    assert (found.models["n_rows"] == 80).all()
    # The six models, and per attack averages with one and two domains and with one model of the task, and the two domains' own.
    assert found.n_scores == 6 + 2 * (3 + 1)


def test_a_dry_run_leaves_the_store_alone_and_says_what_is_missing(make_study, data_folder, tmp_path):
    real = make_study(tmp_path / "cache")
    fields = {name: getattr(real.profile, name) for name in real.profile.__dataclass_fields__ if name != "name"}
    dry = offline_planner("small", data_dir=data_folder, cache_dir=tmp_path / "cache", **fields)
    parameters = {"task": "sst2", "attack": "badnet", "poisoning_rates": [0.05, 0.2]}
    text = describe(dry_run(dry, {"09": parameters}))
    assert not (tmp_path / "cache").exists()
    assert "to train: 5 models" in text  # two victims, a clean model, two partners
    assert "poisoning_rate=0.05" in text
    assert describe(dry_run(dry, {"02": {}})) == "these notebooks train nothing"


def test_weights_are_counted_without_making_the_model(tiny_encoder):
    n_weights, n_multiplied, n_adapter = weights_of(str(tiny_encoder))
    model = new_classifier(str(tiny_encoder), ("a", "b"), 0)
    embeddings = model.bert.embeddings
    looked_up = (embeddings.word_embeddings, embeddings.position_embeddings, embeddings.token_type_embeddings)
    assert n_weights == sum(weight.numel() for weight in model.parameters())
    assert n_multiplied == n_weights - sum(table.weight.numel() for table in looked_up)
    of_rank_one = with_adapters(model, 1, seed=0)
    assert n_adapter == sum(weight.numel() for name, weight in of_rank_one.named_parameters() if ".lora_" in name)
    assert all(all_weights > multiplied > adapter for all_weights, multiplied, adapter in HUB_WEIGHTS.values())


def test_a_cost_by_hand():
    planner = offline_planner("paper", n_train=1000, epochs=2.0, max_length=100)
    cost = training_cost(planner.recipe("sst2"), "bert-base-uncased", 1000, 13)
    assert cost.gpu_hours == pytest.approx(6 * 85e6 * 1000 * 2 * 13 / (312e12 * 0.35) / 3600)
    assert cost.gigabytes == pytest.approx(0.438)
    assert math.isnan(cost.hours_here)
    assert cost.memory_gigabytes == pytest.approx(109.5e6 * 4 * 5 / 1e9)  # weights, start, gradients, two moments
    adapters = training_cost(planner.recipe("sst2", lora_rank=8), "bert-base-uncased", 1000, 13)
    assert adapters.gpu_hours == pytest.approx(cost.gpu_hours * 4 / 6)
    assert adapters.gigabytes == pytest.approx(8 * 167_424 * 4 / 1e9)
    assert adapters.memory_gigabytes == pytest.approx((3 * 109.5e6 + 8 * 167_424) * 4 / 1e9)
    assert hub_rows(planner.recipe("yelp").data) == 1000
    with pytest.raises(ValueError, match="'inshorts' is not on the Hub: name a data folder that has it"):
        hub_rows(planner.recipe("inshorts").data)


def test_the_hours_of_this_machine_by_hand():
    planner = offline_planner("small", n_train=1000, epochs=2.0, batch_size=10)
    speed = Speed(training=Line(fixed=0.1, per_piece=0.001), asking=Line(fixed=0.0, per_piece=0.002))
    cost = training_cost(planner.recipe("sst2"), "bert-base-uncased", 1000, 13, speed)
    assert cost.hours_here == pytest.approx((200 * 0.1 + 2000 * 13 * 0.001) / 3600)
    assert scoring_hours("bert-base-uncased", 500, 13, speed)[1] == pytest.approx(500 * 13 * 0.002 / 3600)


def test_a_machine_is_tried_with_small_models_in_folders_alone(tiny_encoder, monkeypatch):
    settings = offline_planner("pocket").profile.training
    speed = measured_speed(str(tiny_encoder), settings)
    assert speed.training.seconds(64, 12, settings.batch_size) > 0
    assert speed.asking.seconds(64, 12, 64) > 0
    assert measured_speed("meta-llama/Llama-2-7b-hf", settings) is None
    monkeypatch.setitem(MAX_TRIED, "cpu", 10)
    assert measured_speed(str(tiny_encoder), replace(settings, batch_size=31)) is None


def test_pieces_of_real_texts_are_counted_and_those_of_the_hub_estimated(dry, study):
    from lib.models.pretrained import load_tokenizer

    texts = study.rows("yelp")["text"].tolist()
    counts = [len(ids) for ids in load_tokenizer(study.profile.pretrained)(texts)["input_ids"]]
    assert min(counts) <= dry.n_pieces("yelp", study.profile.pretrained) <= max(counts)
    assert offline_planner("paper").n_pieces("agnews", "bert-base-uncased") == 51
    assert offline_planner("paper", max_length=20).n_pieces("agnews", "bert-base-uncased") == 20


def test_the_paper_profile_is_listed_without_network_or_data(capsys, monkeypatch):
    monkeypatch.setattr(Maker, "missing", lambda *_: pytest.fail("something was made"))
    assert main(["--profile", "paper", "--dry-run", "--only", "04", "11"]) == 0
    said = capsys.readouterr().out
    for name in (
        "bert-base-uncased:",
        "roberta-large:",
        "meta-llama/Llama-2-7b-hf:",
        "mistralai/Mistral-7B-v0.1:",
        "to train:",
    ):
        assert name in said
    assert "A100 hours" in said and "GB on disk" in said
    assert "own head" in said and "lora_rank=8" in said


@pytest.mark.parametrize("profile", PROFILES)
def test_every_profile_as_it_comes_can_be_planned_whole(profile, monkeypatch, tmp_path):
    monkeypatch.delenv("FREE_LUNCH_DATA", raising=False)
    monkeypatch.setenv("FREE_LUNCH_CACHE", str(tmp_path))
    monkeypatch.setattr(Maker, "missing", lambda *_: pytest.fail("something was made"))
    planner = offline_planner(profile)
    for path in find_notebooks():
        needed = needed_by(planner, path.stem[:2], default_parameters(path) | {"profile": profile})
        assert bool(needed.models) == (path.stem[:2] not in READS_ONLY)


def test_overrides_and_parameters_reach_the_dry_run():
    path = find_notebooks(["04"])[0]
    assert default_parameters(path)["attack"] == "all"
    given = {"profile": "paper", "overrides": {"n_seeds": 1, "tasks": ["sst2"]}, "attack": "badnet"}
    text = report("paper", {path: given})
    assert "to train: 7 models" in text  # victim, clean, four domains, one model of the task


def test_without_a_data_folder_other_domains_are_those_of_the_hub():
    planner = offline_planner("paper")
    assert planner.other_domains("agnews") == ["bbc"]
    assert planner.other_domains("olid") == ["hsol", "tweet_hate"]
    assert planner.other_domains("sst2") == ["yelp", "cr", "tweet_sentiment", "amazon"]
