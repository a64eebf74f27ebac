"""DAN: distances worked out by hand, thresholds per class, and the filter in front of a model."""

import numpy as np
import pytest
import torch

from lib.defenses.dan import Distances, class_distances, class_thresholds, score, standardised
from lib.models.prediction import Texts, mean_states_of


def test_the_distance_is_that_of_the_nearest_class_and_standardised():
    distances = Distances(np.array([[0.0], [10.0]]), np.array([[1.0]]))
    assert distances(np.array([[4.0], [9.0], [10.0]])).tolist() == [16, 1, 0]
    calibrated = Distances(distances.centres, distances.precision, mean=1.0, deviation=1.4)
    assert calibrated(np.array([[4.0]]))[0] == pytest.approx(10.71, abs=0.005)


def test_centres_and_precision_are_those_of_the_classes():
    states, labels = np.array([[0.0, 1], [2, 1], [10, 0], [10, 4]]), np.array([0, 0, 1, 1])
    found = class_distances(states, labels, shrinkage=0.1)
    assert found.centres.tolist() == [[1, 1], [10, 2]]
    # Centred: (-1, 0), (1, 0), (0, -2), (0, 2): variances 1/2 and 2, whose mean is 5/4.
    np.testing.assert_allclose(found.precision, np.diag([1 / (0.9 * 0.5 + 0.125), 1 / (0.9 * 2 + 0.125)]))


def test_an_invertible_affine_map_changes_nothing_without_shrinkage():
    rng = np.random.default_rng(0)
    states, labels, held = rng.normal(size=(80, 4)), rng.integers(0, 3, 80), rng.normal(size=(20, 4))
    matrix, shift = rng.normal(size=(4, 4)), rng.normal(size=4)
    plain = standardised(class_distances(states, labels, 0), held)
    mapped = standardised(class_distances(states @ matrix + shift, labels, 0), held @ matrix + shift)
    np.testing.assert_allclose(plain(held), mapped(held @ matrix + shift), rtol=1e-6)
    assert plain(held).mean() == pytest.approx(0, abs=1e-9) and plain(held).std() == pytest.approx(1)
    far = held + 100
    assert (plain(far) > plain(held).max()).all()
    np.testing.assert_allclose(score([plain, plain], np.stack([held, far], axis=1)), (plain(held) + plain(far)) / 2)


def test_classes_with_few_texts_take_the_common_threshold_and_the_false_rejections_stay_in_bounds():
    scores, predicted = np.arange(100.0), np.repeat([0, 1], [95, 5])
    thresholds = class_thresholds(scores, predicted, frr=0.05)
    assert thresholds.keys() == {None, 0}
    assert (scores > thresholds[None]).sum() == 4 and (scores[:95] > thresholds[0]).sum() == 4
    assert class_thresholds(scores, predicted, frr=0.2).keys() == {None, 0, 1}


def test_states_are_means_over_the_tokens_of_a_text_whatever_the_batch(study, clean):
    rows = study.rows("sst2", "test")[["text"]].head(30).copy()
    rows.loc[3, "text"] = "good ."
    together = mean_states_of(clean, Texts(rows, 48))
    assert together.shape == (30, 2, 32)
    from transformers import AutoModelForSequenceClassification, AutoTokenizer

    network = AutoModelForSequenceClassification.from_pretrained(clean.folder).eval()
    inputs = AutoTokenizer.from_pretrained(clean.folder)("good .", return_tensors="pt")
    with torch.no_grad():
        layers = network(**inputs, output_hidden_states=True).hidden_states
    expected = [layer[0].mean(dim=0).numpy() for layer in layers[1:]]
    np.testing.assert_allclose(together[3], expected, rtol=1e-4, atol=1e-5)


def test_dan_stands_in_front_of_a_model_and_rejects_what_lies_far(study, backdoored):
    guarded = study.defend("dan", backdoored, frr=0.2)
    before, after = study.score(backdoored, "sst2"), study.score(guarded, "sst2")
    assert (after.n_clean, after.n_triggered) == (before.n_clean, before.n_triggered)
    rows = study.rows("sst2", "test")[["text"]]
    assert after.rejected_clean == guarded.guard(rows)[1].mean() < 0.6
    strange = rows.assign(text="news today bank profit army treaty chip robot goal match ' ? ! , friend")
    assert guarded.guard(strange)[1].all()
    alone = [guarded.guard(rows.iloc[[row]])[1][0] for row in range(8)]
    assert guarded.guard(rows)[1][:8].tolist() == alone


def test_bad_settings_are_errors(study, backdoored):
    for settings, message in (
        ({"frr": 1}, "frr is 1; it must lie between 0 and 1"),
        ({"shrinkage": -0.1}, "shrinkage is -0.1; it must lie from 0 to 1"),
        ({"shrinkage": 0}, r"the covariance of 16 clean texts in 32 dimensions has no inverse; raise shrinkage"),
    ):
        with pytest.raises(ValueError, match=message):
            study.score(study.defend("dan", backdoored, **settings), "sst2")
    with pytest.raises(ValueError, match="at least 10 clean texts, found 4"):
        from lib.defenses import dan

        dan.fit(backdoored, study.rows("sst2", "validation").head(4), seed=0, max_length=48)
