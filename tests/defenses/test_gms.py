"""GMS: scores by hand, which rows are suspicious, end points of the search, and what the study gives it."""

from dataclasses import replace

import numpy as np
import pandas as pd
import pytest
import torch

from lib.defenses.gms import gms, suspicious_rows
from lib.merging.substitution import module_of, substitution_score
from lib.models.training import weights_of


@pytest.fixture(scope="module")
def train(study):
    return study.poisoned_train("sst2", "badnet").drop(columns="is_poisoned")


@pytest.fixture
def given(train, training, tiny_encoder):
    return {"suspicious_train": train, "training": training, "pretrained": str(tiny_encoder), "seed": 0}


def test_the_scores_are_those_computed_by_hand():
    assert substitution_score(0.90, 0.20, 0.95, 1.0) == pytest.approx(0.859, abs=5e-4)
    assert substitution_score(0.50, 0.05, 0.95, 1.0) == pytest.approx(0.781, abs=5e-4)  # loses: the accuracy is gone
    assert substitution_score(0.95, 1.0, 0.95, 1.0) == pytest.approx(0.4)  # nothing substituted
    assert substitution_score(0.0, 0.5, 0.0, 1.0) == pytest.approx(0.6 * 0.5 + 0.4)  # no accuracy was there to be lost


def test_the_rows_that_are_learnt_most_surely_come_first(monkeypatch, train, tokenizer, training, tiny_encoder):
    """Two epochs by hand; 1 / (1 - p), p the probability of the own label, is 2 and 4, 10 and 2, 1.25: means 3, 6, 1.25."""
    labels = np.array([0, 1, 1])
    own = iter([np.array([0.5, 0.9, 0.2]), np.array([0.75, 0.5, 0.2])])

    def logits(model, texts):
        model.eval()
        p = next(own)
        return np.log(np.where(labels[:, None] == np.arange(2), p[:, None], 1 - p[:, None])).astype(np.float32)

    monkeypatch.setitem(suspicious_rows.__globals__, "predict_logits", logits)
    frame = train.head(3).assign(label=labels)
    found = suspicious_rows(frame, tokenizer, str(tiny_encoder), replace(training, epochs=2.0, batch_size=2), 0)
    assert found.tolist() == [1, 0, 2] and not list(own)


def test_a_row_that_contradicts_all_others_is_the_least_sure(train, tokenizer, training, tiny_encoder):
    frame = pd.DataFrame({"text": ["a good film .", "a bad film ."] * 20, "label": [1, 0] * 20})
    frame.loc[7, "label"] = 1  # a wrong label
    assert suspicious_rows(frame, tokenizer, str(tiny_encoder), replace(training, epochs=4.0), 0)[-1] == 7


def test_a_proxy_that_is_the_victim_gives_the_victim(load, backdoored, tokenizer, given):
    found = gms([load(backdoored), load(backdoored)], tokenizer, None, n_rows=2, **given)
    victim = weights_of(load(backdoored))
    assert all(torch.equal(tensor, victim[name]) for name, tensor in found.state_dict().items())


def test_modules_are_the_proxys_or_the_victims_and_the_rest_is_the_victims(
    load, backdoored, clean, tokenizer, given, monkeypatch
):
    judged = []
    predict = gms.__globals__["predict_logits"]
    monkeypatch.setitem(
        gms.__globals__, "predict_logits", lambda model, texts: (judged.append(len(texts)), predict(model, texts))[1]
    )
    monkeypatch.setitem(gms.__globals__, "suspicious_rows", lambda *_: np.arange(80))
    found = gms([load(backdoored), load(clean)], tokenizer, None, alpha=0.0, **given).state_dict()
    victim, proxy = weights_of(load(backdoored)), weights_of(load(clean))
    taken = {name for name in found if torch.equal(found[name], proxy[name]) and not torch.equal(found[name], victim[name])}
    assert taken and all(module_of(name) for name in taken)
    assert all(torch.equal(found[name], victim[name]) for name in set(found) - taken)
    assert set(judged) == {16}  # a tenth of 80 rows, twice, in one pass
    assert len(judged) <= 1 + 8 * 9 / 2  # six types and two layers


def test_missing_and_unfit_proxies_and_bad_settings_are_errors(load, backdoored, tokenizer, given):
    victim = load(backdoored)
    with pytest.raises(ValueError, match="gms takes modules of another model"):
        gms([victim], tokenizer, None, **given)
    for wrong in ({"alpha": 1.5}, {"n_rows": 0}, {"patience": 0}):
        with pytest.raises(ValueError, match=r"alpha must lie in \[0, 1\], the others be 1 or more"):
            gms([victim, load(backdoored)], tokenizer, None, **given, **wrong)
    other = load(backdoored)
    other.classifier = torch.nn.Linear(32, 3)
    with pytest.raises(ValueError, match="the proxy"):
        gms([victim, other], tokenizer, None, **given)


def test_the_study_gives_training_rows_without_marks_and_no_clean_ones(
    study, backdoored, clean, watch, assert_no_peeking, tmp_path
):
    import shutil

    from lib.models import load_checkpoint

    calls = watch("gms")
    model = study.defend("gms", backdoored, [clean], n_rows=8)
    assert_no_peeking(calls, [80])
    [(args, kwargs)] = calls
    assert args[2] is None and model.recipe.data is None
    pd.testing.assert_frame_equal(
        kwargs["suspicious_train"], study.poisoned_train("sst2", "badnet").drop(columns="is_poisoned")
    )
    assert model.recipe.suspicious == backdoored.recipe and model.recipe.parents == (backdoored.key, clean.key)
    assert study.score(model, "sst2").n_triggered == study.score(backdoored, "sst2").n_triggered
    stranger = load_checkpoint(shutil.copytree(backdoored.folder, tmp_path / "download"))
    with pytest.raises(
        ValueError, match="gms needs the training rows of the suspicious model, which was not trained in this study"
    ):
        study.defend("gms", stranger, [clean])
