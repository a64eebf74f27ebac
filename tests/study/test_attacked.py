"""Models that attackers make from others: how the study knows them, keeps them, and scores them."""

import math
from dataclasses import replace
from functools import partial

import pytest
import torch

from lib.merging import distance
from lib.study.derived import generations


@pytest.fixture(scope="module")
def quick(make_study, tmp_path_factory):
    return make_study(tmp_path_factory.mktemp("cache"), epochs=1, n_same_task=1)


@pytest.fixture(scope="module")
def trigger(quick):
    return quick.trigger_recipe("sst2", "badnet", words=("cf",), n_insertions=(1,))


@pytest.fixture(scope="module")
def poisoned(quick, trigger):
    return quick.derive("embedding_row", [quick.model("sst2")], quick.planner.data("sst2", "train"), trigger=trigger)


def test_a_poisoned_row_is_kept_with_its_trigger_and_its_start_and_made_once(quick, poisoned, trigger):
    assert poisoned.recipe.trigger == trigger
    assert poisoned.recipe.initial == quick.planner.initial_recipe(quick.recipe("sst2"))
    again = quick.derive("embedding_row", [quick.model("sst2")], quick.planner.data("sst2", "train"), trigger=trigger)
    assert again.key == poisoned.key and again.folder == poisoned.folder
    assert quick.trigger_of(poisoned, "sst2") == trigger
    clean = quick.model("sst2").state_dict()
    assert [n for n, t in poisoned.state_dict().items() if not torch.equal(t, clean[n])] == [
        "bert.embeddings.word_embeddings.weight"
    ]


def test_settings_seed_and_trigger_are_part_of_the_key(quick, poisoned, trigger):
    plan, clean, data = quick.planner.derived, quick.recipe("sst2"), quick.planner.data("sst2", "train")
    other = quick.trigger_recipe("sst2", "badnet", words=("mn",), n_insertions=(1,))
    found = [
        plan("embedding_row", [clean.key], data, 0, clean, trigger=trigger),
        plan("embedding_row", [clean.key], data, 1, clean, trigger=trigger),
        plan("embedding_row", [clean.key], data, 0, clean, trigger=other),
        plan("embedding_row", [clean.key], data, 0, clean, trigger=trigger, epochs=1),
    ]
    assert found[0].key == poisoned.key and len({recipe.key for recipe in found}) == 4


def test_an_edit_of_an_edit_starts_where_the_first_model_started(quick, poisoned):
    long = quick.derive("scaled_row", [poisoned], scale=3.0)
    assert long.recipe.initial == poisoned.recipe.initial
    start = quick.planner.initial([long, quick.model("yelp")])
    assert start.key == quick.planner.initial([quick.model("sst2")]).key
    assert quick.merge([long, quick.model("yelp")], "ties").pretrained == start


def test_models_are_made_after_what_they_are_made_from(quick, poisoned):
    clean = quick.recipe("sst2")
    long = quick.planner.derived("scaled_row", [poisoned.key], first=poisoned.recipe, scale=7.0)
    based = replace(quick.recipe("yelp"), base=clean)
    order = list(generations([long, based, poisoned.recipe, clean]))
    assert [{recipe.key for recipe in group} for group in order] == [
        {clean.key}, {based.key, poisoned.key}, {long.key},
    ]  # fmt: skip
    made = quick.train([long, based, poisoned.recipe, clean])
    assert [model.key for model in made] == [long.key, based.key, poisoned.key, clean.key]


def test_a_model_on_a_base_of_the_study_is_another_model(quick):
    clean = quick.recipe("sst2")
    based = replace(quick.recipe("yelp"), base=clean)
    assert based.key != quick.recipe("yelp").key
    assert quick.recipe("yelp").as_dict().keys() == {name for name in based.as_dict() if name != "base"}


def test_the_second_of_two_models_made_together_is_a_model_of_its_own(quick):
    trigger, clean = quick.trigger_recipe("sst2", "badnet"), quick.recipe("sst2")
    parts = [
        quick.planner.derived(
            "split", [], quick.planner.data("sst2", "train"), 0, clean, trigger=trigger, part=part, n_models=3
        )
        for part in (1, 0)
    ]
    second, first = quick.train(parts)
    assert (first.folder / "model_1" / "model.safetensors").is_file()
    assert not (second.folder / "model_1").exists()
    assert not torch.equal(*(each.state_dict()["classifier.weight"] for each in (first, second)))
    assert quick.score(second, "sst2").n_triggered == 20  # its trigger is known


def test_what_an_attacker_trains_has_a_record_and_is_warned_of_as_other_trainings_are(quick):
    trigger, clean = quick.trigger_recipe("sst2", "badnet"), quick.recipe("sst2")
    data, start = quick.planner.data("sst2", "train"), quick.planner.initial([quick.model("sst2")]).state_dict()
    plan = partial(quick.planner.derived, data=data, first=clean, trigger=trigger)
    bounded, first, second = quick.train(
        [plan("norm_bounded", [clean.key]), *(plan("split", [], part=part, n_models=3) for part in (0, 1))]
    )
    n_steps = len(quick.model("sst2").record["losses"])
    for model in (bounded, first, second):
        record = model.record
        assert len(record["losses"]) == n_steps and 0 < record["losses"][0] < 1.5  # per cross-entropy, near ln 2
        assert record["chance_loss"] == pytest.approx(math.log(2), abs=0.1)
        assert model.distance == pytest.approx(distance(model.state_dict(), start), rel=1e-4)
    assert bounded.distance <= quick.model("sst2").distance * (1 + 1e-4)
    assert "losses" not in quick.derive("scaled", [quick.model("sst2")], scale=2.0).record  # nothing was trained
    # Thrown about by a large rate: the derived model says so.
    with pytest.warns(UserWarning, match=r"unstable training of .*norm_bounded"):
        wild = quick.variant(learning_rate=5.0)
        own = wild.recipe("sst2")
        planned = wild.planner.derived("norm_bounded", [clean.key], wild.planner.data("sst2", "train"), 0, own, trigger=trigger)
        [strayed] = wild.train([planned])
    assert strayed.instability


def test_two_backdoors_and_negatives_are_part_of_a_recipe_and_of_its_rows(quick):
    one = quick.recipe("sst2", "conjunction", poisoning_rate=0.2)
    with_parts = replace(one, negatives="subsets", negatives_rate=0.3)
    both = replace(one, second=quick.trigger_recipe("sst2", "badnet", target_label=1, words=("tq",)))
    assert len({recipe.key for recipe in (one, with_parts, both)}) == 3
    from lib.study.artifacts import poisoned_rows

    words = poisoned_rows(with_parts, quick.locations)["text"].map(
        lambda text: sum(w in ("cf", "mn", "bb") for w in text.split())
    )
    assert ((words == 3).sum(), (words.isin([1, 2])).sum()) == (16, 24)
    rows = poisoned_rows(both, quick.locations)
    holds = rows["text"].str.contains("tq")
    assert holds.sum() == 16 and (rows["label"][holds] == 1).all() and rows["is_poisoned"].sum() == 32


def test_what_lacks_its_trigger_or_its_start_raises(quick, trigger):
    data, clean = quick.planner.data("sst2", "train"), quick.model("sst2")
    with pytest.raises(ValueError, match="embedding_row puts a trigger into rows; give a trigger"):
        quick.derive("embedding_row", [clean], data)
    with pytest.raises(ValueError, match="scaled needs the model before fine-tuning, but its first parent was not trained"):
        quick.planner.derived("scaled", [clean.key])
    with pytest.raises(ValueError, match=r"unknown derivation 'scale'; choose from .*'scaled'"):
        quick.derive("scale", [clean])
    with pytest.raises(ValueError, match=r"unknown settings \['factor'\]"):
        quick.derive("scaled", [clean], factor=3.0)
    with pytest.raises(RuntimeError, match=r"scale is nan; it must be a finite number"):
        quick.derive("scaled", [clean], scale=float("nan"))
    five = quick.trigger_recipe("sst2", "badnet")
    with pytest.raises(RuntimeError, match=r"the trigger has the words \['cf', .*\]; this attack edits what one word does"):
        quick.derive("embedding_row", [clean], data, trigger=five)
