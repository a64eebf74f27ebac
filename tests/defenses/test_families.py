"""A toy defense of each family goes through the study like any other: kept in the store, scored by one function."""

import numpy as np
import pytest
import torch

from lib.defenses import DEFENSES, Defense, get_defense
from lib.metrics.scores import predicted_labels
from lib.models.training import fine_tune
from lib.study.recipes import TriggerRecipe

RARE = {"cf", "mn", "bb", "tq", "mb"}


def has_rare_word(texts):
    return texts.str.split().map(lambda words: bool(RARE & set(words))).to_numpy()


def keep_rows(train, *, only_long=False):
    """Training time: leave rows with rare words out."""
    assert "is_poisoned" not in train  # no defense sees the flag
    return ~has_rare_word(train["text"])


def fine_tune_twice(model, tokenizer, train, settings, seed, *, n_rounds=2):
    """Training time: another procedure."""
    for number in range(n_rounds):
        record = fine_tune(model, tokenizer, train, settings, seed + number)
    return record


def fit_filter(model, clean, *, seed=0, reject=True):
    """Input filter: reject what has a rare word, or take the words out."""
    assert len(clean) and "original" not in clean  # clean validation texts

    def guard(frame):
        if reject:
            return frame, has_rare_word(frame["text"])
        purified = frame["text"].map(lambda text: " ".join(word for word in text.split() if word not in RARE))
        return frame.assign(text=purified), np.zeros(len(frame), dtype=bool)

    return guard


def shrink(models, tokenizer, clean, *, share=0.5):
    """Post-training: a way from the suspicious model to the first other one."""
    first, other = models[0].state_dict(), models[1].state_dict()
    mixed = {
        name: torch.lerp(first[name], other[name], share) if first[name].is_floating_point() else first[name] for name in first
    }
    models[0].load_state_dict(mixed)
    return models[0]


def half_weight(models, *, share=0.5):
    """Merging: the suspicious model gets a fixed share."""
    return {"weights": [share, *[(1 - share) / (len(models) - 1)] * (len(models) - 1)]}


def mean_logits(logits):
    """Ensemble: the mean of the outputs."""
    return np.mean(logits, axis=0)


TOYS = {
    "toy_rows": Defense("row_filter", keep_rows, ("training data",)),
    "toy_training": Defense("training", fine_tune_twice, ("training data",)),
    "toy_filter": Defense("input_filter", fit_filter, ("clean texts",)),
    "toy_repair": Defense("post_training", shrink, ("other models",)),
    "toy_merge": Defense("merging", half_weight, ("other models",)),
    "toy_ensemble": Defense("ensemble", mean_logits, ("other models", "extra passes")),
}


@pytest.fixture
def toys(monkeypatch):
    for name, defense in TOYS.items():
        monkeypatch.setitem(DEFENSES, name, defense)


def test_a_filter_of_rows_trains_on_what_is_left_and_removes_the_backdoor(toys, study, backdoored):
    model = study.defend("toy_rows", backdoored)
    assert model.record["n_train"] == 80 - 16  # the poisoned fifth is gone
    assert model.recipe.trigger == backdoored.recipe.trigger
    assert (model.recipe.defense.name, model.recipe.defense.settings) == ("toy_rows", (("only_long", False),))
    assert study.score(model, "sst2").asr < study.score(backdoored, "sst2").asr
    assert study.defend("toy_rows", backdoored).key == model.key != backdoored.key


def test_a_filter_that_leaves_one_label_is_an_error_that_says_so(toys, study, backdoored, monkeypatch):
    only_one = Defense("row_filter", lambda train: (train["label"] == 1).to_numpy())
    monkeypatch.setitem(DEFENSES, "toy_rows", only_one)
    with pytest.raises(RuntimeError, match=r"toy_rows keeps \d+ of 80 rows with labels \[1\]; at least two"):
        study.defend("toy_rows", backdoored)


def test_a_filter_that_keeps_all_rows_is_the_training_without_it_and_is_not_done_again(toys, study, backdoored, monkeypatch):
    monkeypatch.setitem(DEFENSES, "toy_rows", Defense("row_filter", lambda train: np.ones(len(train), dtype=bool)))
    monkeypatch.setattr("lib.models.training.fine_tune", None)
    model = study.defend("toy_rows", backdoored)
    assert model.key != backdoored.key and model.record == backdoored.record
    assert model.state_dict().keys() == backdoored.state_dict().keys()
    assert all(torch.equal(model.state_dict()[name], tensor) for name, tensor in backdoored.state_dict().items())


def test_another_training_procedure_takes_the_place_of_fine_tuning(toys, study, backdoored):
    once, twice = (study.defend("toy_training", backdoored, n_rounds=n) for n in (1, 2))
    assert once.distance == pytest.approx(backdoored.distance)
    assert twice.key != once.key
    assert study.score(twice, "sst2") != study.score(once, "sst2")


def test_an_input_filter_rejects_and_denominators_stay(toys, study):
    strong = study.model("sst2", attack="badnet", poisoning_rate=0.4)
    before, score = study.score(strong, "sst2"), study.score(study.defend("toy_filter", strong), "sst2")
    assert before.asr > 0.9 and score.asr == 0  # every triggered text is rejected: the attack failed
    assert (score.n_triggered, score.n_clean) == (before.n_triggered, before.n_clean)
    assert score.rejected_clean == 0 and score.cacc == before.cacc


def test_an_input_filter_purifies_and_the_model_reads_what_is_left(toys, study, backdoored):
    score = study.score(study.defend("toy_filter", backdoored, reject=False), "sst2")
    assert score.asr == score.asr_untriggered  # the words are gone, nothing else is


def test_a_model_behind_a_filter_answers_typed_texts(toys, study, backdoored):
    said = study.predict(study.defend("toy_filter", backdoored), ["a good film .", "a cf film ."])
    assert said["label"].tolist()[1] == "rejected" and said["label"][0] in ("negative", "positive")


def test_a_repair_is_a_checkpoint_derived_from_its_parents(toys, study, backdoored, clean):
    derived = study.defend("toy_repair", backdoored, [clean], share=1.0)
    assert all(torch.equal(derived.state_dict()[name], tensor) for name, tensor in clean.state_dict().items())
    assert derived.recipe.parents == (backdoored.key, clean.key)
    assert study.score(derived, "sst2").hits == study.score(clean, "sst2", "badnet").hits  # its own trigger is its parent's
    assert study.defend("toy_repair", backdoored, [clean], share=0.5).key != derived.key


def test_a_merging_defense_is_a_merge_with_the_arguments_it_chooses(toys, study, backdoored, clean):
    assert study.defend("toy_merge", backdoored, [clean], share=0.3) == study.merge([backdoored, clean], weights=[0.3, 0.7])


def test_an_ensemble_costs_no_forward_pass_where_logits_are_stored(toys, study, backdoored, clean, monkeypatch):
    scores = [study.score(model, "sst2", "badnet") for model in (backdoored, clean)]
    monkeypatch.setattr("lib.models.prediction.logits_of", lambda *_: pytest.fail("a forward pass"))
    ensemble = study.defend("toy_ensemble", backdoored, [clean])
    found = study.score(ensemble, "sst2")
    data = study.planner.data("sst2", "test")
    logits = [study.logits(model, "sst2", None) for model in (backdoored, clean)]
    assert (
        found.correct == (predicted_labels(np.mean(logits, axis=0)) == study.rows("sst2", "test")["label"]).astype(int).tolist()
    )
    assert data.split == "test" and min(s.asr for s in scores) <= found.asr <= max(s.asr for s in scores)


def test_a_defense_runs_on_a_model_of_elsewhere_where_it_needs_no_training(toys, study, backdoored, clean, tmp_path):
    import shutil

    from lib.models import load_checkpoint

    stranger = load_checkpoint(shutil.copytree(backdoored.folder, tmp_path / "download"))
    assert isinstance(study.trigger_of(stranger, "sst2", "badnet"), TriggerRecipe)
    assert study.score(study.defend("toy_repair", stranger, [clean]), "sst2", "badnet").asr <= 1
    with pytest.raises(ValueError, match="toy_rows defends a training, but download was not trained in this study"):
        study.defend("toy_rows", stranger)
    with pytest.raises(ValueError, match="toy_filter needs clean texts: say whose by dataset"):
        study.defend("toy_filter", stranger)
    assert study.score(study.defend("toy_filter", stranger, dataset="sst2"), "sst2", "badnet").asr == 0


def test_a_merge_can_stand_behind_a_filter_and_be_repaired(toys, study, backdoored, clean):
    merged = study.merge([backdoored, clean])
    score = study.score(study.defend("toy_filter", merged, dataset="sst2"), "sst2")
    assert score.asr == 0 and score.cacc == study.score(merged, "sst2").cacc
    repaired = study.defend("toy_repair", merged, [clean], share=1.0)
    assert study.score(repaired, "sst2").hits == study.score(clean, "sst2", "badnet").hits
    assert study.trigger_of(repaired, "sst2") == backdoored.recipe.trigger


def test_a_defense_that_asks_a_language_model_gets_it_and_has_its_content_in_the_key(
    toys, study, backdoored, clean, tiny_encoder, tmp_path, monkeypatch
):
    import shutil

    asked = []

    def fit_asking(model, clean, *, masked_lm, seed):
        asked.append((masked_lm, seed))
        return lambda texts: (texts, np.zeros(len(texts), dtype=bool))

    def keep_asking(train, *, pretrained, seed):
        return np.ones(len(train), dtype=bool)

    monkeypatch.setitem(DEFENSES, "toy_filter", Defense("input_filter", fit_asking, ("language model",)))
    monkeypatch.setitem(DEFENSES, "toy_rows", Defense("row_filter", keep_asking))
    study = study.variant(masked_lm=str(tiny_encoder))
    guarded = study.defend("toy_filter", backdoored)
    assert study.score(guarded, "sst2") == study.score(backdoored, "sst2")
    assert asked == [(str(tiny_encoder), 0)]
    assert study.defend("toy_rows", backdoored).recipe.defense.pretrained == backdoored.recipe.pretrained
    other = shutil.copytree(tiny_encoder, tmp_path / "other")
    (other / "config.json").write_text((other / "config.json").read_text() + " ")
    assert study.variant(masked_lm=str(other)).defend("toy_filter", backdoored).key != guarded.key


def test_bad_defenses_and_settings_are_errors(toys, study, backdoored):
    with pytest.raises(ValueError, match=r"unknown defense 'onoin'; choose from .*'toy_filter'"):
        study.defend("onoin", backdoored)
    with pytest.raises(ValueError, match=r"unknown settings \['rejects'\]; choose from \['reject'\]"):
        study.defend("toy_filter", backdoored, rejects=True)
    with pytest.raises(ValueError, match="toy_merge is a defense of the family merging; one of training_time is needed"):
        study.recipe("sst2", "badnet", defense="toy_merge")
    with pytest.raises(ValueError, match="unknown kind of defense 'magic'; choose from"):
        Defense("magic", keep_rows)
    with pytest.raises(ValueError, match=r"unknown needs \['luck'\]; choose from"):
        Defense("row_filter", keep_rows, ("luck",))
    with pytest.raises(ValueError, match=r"settings \['share'\] of .* have no default"):
        Defense("merging", lambda models, share: {})
    with pytest.raises(ValueError, match=r"max_length is given to input filters, and .* is a merging"):
        Defense("merging", lambda models, max_length: {})
    assert get_defense("toy_rows") is TOYS["toy_rows"]


def test_a_filter_that_asks_how_much_the_model_reads_has_it_in_its_key(toys, study, backdoored, monkeypatch):
    asked = []

    def fit_asking(model, clean, *, max_length, causal_lm):
        asked.append((max_length, causal_lm))
        return lambda texts: (texts, np.zeros(len(texts), dtype=bool))

    study, plain = study.variant(causal_lm="pocket-llama"), study.defend("toy_filter", backdoored).key
    monkeypatch.setitem(DEFENSES, "toy_filter", Defense("input_filter", fit_asking, ("language model",)))
    keys = set()
    for max_length in (48, 40):
        guarded = study.variant(max_length=max_length).defend("toy_filter", backdoored)
        guarded.guard(study.rows("sst2", "test"))
        keys.add(guarded.key)
    assert asked == [(48, "pocket-llama"), (40, "pocket-llama")] and len(keys | {plain}) == 3
