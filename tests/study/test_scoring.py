"""Scores: CACC and ASR from logits by hand, from a model by an independent path, and kept as files."""

import math
import shutil
from dataclasses import replace

import numpy as np
import pandas as pd
import pytest

from lib.metrics.scores import score_logits
from lib.study.scoring import Scorer

# Four clean texts of four classes; target 1. The model errs on the last one.
TEST = pd.DataFrame({"text": list("abcd"), "label": [0, 1, 2, 3]})
CLEAN = np.array([[9, 0, 0, 0], [0, 9, 0, 0], [0, 0, 9, 0], [0, 9, 0, 0]], dtype=np.float32)
# The three attackable ones with the trigger: a goes to the target, c stays, d goes to it as it did without trigger.
TRIGGERED = pd.DataFrame({"index": [0, 2, 3], "text": ["a!", "c", "d!"], "label": [0, 2, 3], "is_changed": [True, False, True]})
ATTACKED = np.array([[0, 9, 0, 0], [0, 0, 9, 0], [0, 9, 0, 0]], dtype=np.float32)


def test_a_score_without_attack_counts_the_clean_texts_only():
    score = score_logits(CLEAN, TEST)
    assert (score.cacc, score.n_clean, score.correct) == (0.75, 4, [1, 1, 1, 0])
    assert math.isnan(score.asr)
    assert (score.n_triggered, score.hits) == (0, None)
    z = math.log(math.exp(9) + 3)  # softmax over one 9 and three 0s: three right answers, one at logit 0
    assert score.clean_loss == pytest.approx((3 * (z - 9) + z) / 4, rel=1e-5)


def test_a_score_with_attack_worked_out_by_hand():
    score = score_logits(CLEAN, TEST, ATTACKED, TRIGGERED, target_label=1)
    assert (score.cacc, score.n_clean, score.n_triggered, score.hits) == (0.75, 4, 3, [1, 0, 1])
    assert score.asr == pytest.approx(2 / 3)
    assert score.flip_rate == pytest.approx(1 / 2)  # d was sent to the target without the trigger already
    assert score.share_changed == pytest.approx(2 / 3)


def test_the_rate_without_the_trigger_stands_beside_the_asr():
    score = score_logits(CLEAN, TEST, ATTACKED, TRIGGERED, target_label=1)
    assert score.asr_untriggered == pytest.approx(1 / 3)  # of a, c and d, only d is sent to the target as it stands


def test_a_rejected_row_is_an_error_on_clean_texts_and_no_hit_with_the_trigger():
    clean, attacked = CLEAN.copy(), ATTACKED.copy()
    clean[0], attacked[0] = np.nan, np.nan
    score = score_logits(clean, TEST, attacked, TRIGGERED, target_label=1)
    assert (score.correct, score.hits) == ([0, 1, 1, 0], [0, 0, 1])  # denominators stay: 4 and 3
    assert (score.cacc, score.rejected_clean) == (0.5, 0.25)
    z = math.log(math.exp(9) + 3)
    assert score.clean_loss == pytest.approx((2 * (z - 9) + z) / 3)  # of the rows that were answered


def independent_predictions(folder, texts):
    """Predicted labels by transformers alone, one text at a time."""
    import torch
    from transformers import AutoModelForSequenceClassification, AutoTokenizer

    model, tokenizer = AutoModelForSequenceClassification.from_pretrained(folder), AutoTokenizer.from_pretrained(folder)
    with torch.inference_mode():
        return [int(model.eval()(**tokenizer(text, return_tensors="pt")).logits.argmax()) for text in texts]


def test_cacc_and_asr_of_a_model_agree_with_an_independent_computation(study, backdoored):
    score = study.score(backdoored, "sst2", "badnet")
    test, triggered = study.rows("sst2", "test"), study.triggered_test("sst2", "badnet")
    predicted = np.array(independent_predictions(backdoored.folder, test["text"]))
    assert score.correct == (predicted == test["label"]).astype(int).tolist()
    assert score.cacc == pytest.approx((predicted == test["label"]).mean())
    attacked = np.array(independent_predictions(backdoored.folder, triggered["text"]))
    assert score.hits == (attacked == 0).astype(int).tolist()  # the target label of sst2 is 0
    assert (score.n_clean, score.n_triggered) == (40, 20)


def test_models_scored_one_after_the_other_do_not_mix(study, backdoored, clean):
    scorer = Scorer(study.locations, study.profile.max_length)
    test, trigger = replace(study.recipe("sst2").data, split="test", n=0), study.trigger_recipe("sst2", "badnet")
    first = [scorer.score(model, test, trigger) for model in (backdoored, clean, backdoored)]
    alone = [Scorer(study.locations, study.profile.max_length).score(model, test, trigger) for model in (backdoored, clean)]
    assert first == [alone[0], alone[1], alone[0]]
    assert first[0].clean_loss != first[1].clean_loss


def test_a_merge_is_computed_once_for_clean_and_triggered_texts(study, backdoored, clean, monkeypatch):
    from lib.study.merged import MergedModel

    computed, state_dict = [], MergedModel.state_dict
    monkeypatch.setattr(MergedModel, "state_dict", lambda model: computed.append(model.key) or state_dict(model))
    merges = [study.merge([backdoored, clean], weights=[share, 1 - share]) for share in (0.31, 0.32)]
    scores = [study.score(merged, "sst2") for merged in (*merges, *merges)]
    assert computed == [merged.key for merged in merges]
    assert scores[:2] == scores[2:] and scores[0].clean_loss != scores[1].clean_loss


def test_predictions_for_typed_texts_have_a_label_and_probabilities(study, backdoored):
    texts = ["the film was good .", "bad"]
    frame = study.predict(backdoored, texts)
    assert list(frame) == ["text", "label", "negative", "positive"]
    assert frame["text"].tolist() == texts
    assert frame[["negative", "positive"]].sum(axis=1).tolist() == pytest.approx([1, 1])
    names = np.array(["negative", "positive"])
    assert frame["label"].tolist() == names[independent_predictions(backdoored.folder, texts)].tolist()


def test_predictions_for_typed_pairs_keep_both_texts(study, backdoored):
    frame = study.predict(backdoored, ["who ?", "where ?"], ["the film", "the plot"])
    assert list(frame) == ["text", "text_pair", "label", "negative", "positive"]
    assert frame["text_pair"].tolist() == ["the film", "the plot"]


def test_predictions_for_no_text_are_an_empty_frame(study, backdoored):
    frame = study.predict(backdoored, [])
    assert len(frame) == 0
    assert {"text", "label", "negative", "positive"} <= set(frame)


def test_a_checkpoint_in_half_precision_is_scored_in_float32(study, clean, tmp_path):
    from safetensors.torch import load_file, save_file

    from lib.models.checkpoints import load_checkpoint

    folder = shutil.copytree(clean.folder, tmp_path / "half")
    weights = load_file(folder / "model.safetensors")
    save_file({name: tensor.half() for name, tensor in weights.items()}, folder / "model.safetensors")
    half = study.score(load_checkpoint(folder), "sst2")
    assert half.clean_loss == pytest.approx(study.score(clean, "sst2").clean_loss, abs=0.01)  # weights to three digits
