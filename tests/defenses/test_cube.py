"""CUBE: the rule by hand, clusters of blobs, the vectors of an encoder, and CUBE as the study calls it."""

import numpy as np
import pytest
import torch

from lib.defenses.cube import clusters_of, cube, in_largest_cluster
from lib.defenses.suspicious_encoder import text_vectors
from lib.models.prediction import encode, predict_logits
from lib.models.pretrained import load_tokenizer, new_classifier


def test_of_each_label_the_largest_cluster_is_kept_and_others_that_are_as_large():
    clusters = np.repeat([1, 2, -1, 2, 3], [60, 25, 15, 40, 40])
    labels = np.repeat([0, 1], [100, 80])
    kept = in_largest_cluster(labels, clusters)
    assert kept[:60].all() and not kept[60:100].any()  # label 0: 60 of cluster 1 stay, 25 and 15 go
    assert kept[100:].all()  # label 1: 40 and 40, both half


def test_noise_is_a_cluster_like_any_other():
    assert in_largest_cluster(np.zeros(5, dtype=int), np.array([-1, -1, -1, 4, 4])).tolist() == [True, True, True, False, False]


def test_the_names_of_clusters_and_the_order_of_rows_do_not_matter():
    rng = np.random.default_rng(0)
    labels, clusters = rng.integers(0, 3, 200), rng.integers(-1, 4, 200)
    kept = in_largest_cluster(labels, clusters)
    names = np.array([3, -1, 2, 0, 1])
    assert (in_largest_cluster(labels, names[clusters + 1]) == kept).all() and 0 < kept.sum() < 200
    order = rng.permutation(200)
    assert (in_largest_cluster(labels[order], clusters[order]) == kept[order]).all()


def test_ten_of_a_hundred_that_lie_apart_are_left_out():
    rng = np.random.default_rng(0)
    vectors = rng.normal(size=(200, 6))
    vectors[90:100] += 30  # the same label as the 90 before them
    vectors[100:] -= 30
    labels = np.repeat([0, 1], 100)
    kept = in_largest_cluster(labels, clusters_of(vectors, min_samples=5))
    assert not kept[90:100].any()
    assert kept[:90].mean() > 0.9 and kept[100:].mean() > 0.9  # a few at the rim are noise


@pytest.mark.parametrize(("n", "asked", "expected"), [(80, 0, 5), (1000, 0, 20), (20_000, 0, 100), (80, 7, 7)])
def test_the_neighbours_of_a_dense_row_follow_the_size_of_the_set(monkeypatch, n, asked, expected):
    import sklearn.cluster

    seen = []

    class Noting:
        def __init__(self, **settings):
            seen.append(settings)

        def fit_predict(self, components):
            return np.zeros(len(components), dtype=int)

    monkeypatch.setattr(sklearn.cluster, "HDBSCAN", Noting)
    clusters_of(np.random.default_rng(0).normal(size=(n, 3)), min_samples=asked)
    assert seen[0]["min_samples"] == expected and seen[0]["min_cluster_size"] == 5


def test_vectors_are_what_the_last_layer_of_an_encoder_reads(suspicious, tokenizer, clean_rows):
    texts = encode(tokenizer, clean_rows, 48)
    pooled, hidden = (text_vectors(suspicious, texts, kind) for kind in ("pooled", "hidden"))
    with torch.no_grad():
        logits = suspicious.classifier(torch.from_numpy(pooled)).numpy()
        from_hidden = suspicious.bert.pooler(torch.from_numpy(hidden)[:, None]).numpy()
    np.testing.assert_allclose(logits, predict_logits(suspicious, texts), atol=1e-5)
    np.testing.assert_allclose(from_hidden, pooled, atol=1e-5)
    assert not suspicious.classifier._forward_pre_hooks


@pytest.mark.parametrize("side", ["left", "right"])
def test_vectors_of_a_decoder_are_those_of_its_last_token(clean_rows, side):
    decoder, tokenizer = new_classifier("pocket-llama", ("negative", "positive"), 0), load_tokenizer("pocket-llama")
    tokenizer.padding_side = side
    decoder.config.pad_token_id = tokenizer.pad_token_id
    rows = clean_rows.head(4).assign(text=["a film", "the film was really good .", "bad", "a plot"])
    texts = encode(tokenizer, rows, 48)
    for kind in ("pooled", "hidden"):
        with torch.no_grad():
            logits = decoder.score(torch.from_numpy(text_vectors(decoder, texts, kind))).numpy()
        np.testing.assert_allclose(logits, predict_logits(decoder, texts), atol=1e-4)


def test_bad_settings_are_errors(study, training, backdoored, suspicious, tokenizer, clean_rows):
    train, given = study.rows("sst2"), {"suspicious_model": str(backdoored.folder), "training": training}
    for wrong in ({"n_components": 0}, {"min_samples": -1}, {"min_cluster_size": 1}):
        with pytest.raises(ValueError, match="they must be at least 1, 0 and 2"):
            cube(train, **given, **wrong)
    with pytest.raises(ValueError, match=r"have labels \[0\]; at least two are needed"):
        cube(train[train["label"] == 0], **given)
    with pytest.raises(ValueError, match=r"unknown kind of vectors 'mean'; choose from \['pooled', 'hidden'\]"):
        text_vectors(suspicious, encode(tokenizer, clean_rows, 48), "mean")


def test_the_study_trains_on_the_largest_clusters_and_no_mark_is_seen(study, backdoored, watch, assert_no_peeking):
    calls = watch("cube")
    model = study.defend("cube", backdoored)
    assert_no_peeking(calls, [80])
    [(_, given)] = calls
    # The model without a defense is the one of the store; it is not trained again.
    assert given == {"suspicious_model": str(backdoored.folder), "training": backdoored.recipe.training} | {
        "n_components": 20,
        "min_samples": 0,
        "min_cluster_size": 5,
    }
    is_kept = cube(*calls[0][0], **given)
    assert model.record["n_train"] == is_kept.sum() < 80
    assert study.score(model, "sst2").n_triggered == study.score(backdoored, "sst2").n_triggered


def test_the_suspicious_model_is_trained_first_where_it_is_not_there(study):
    recipe = study.recipe("sst2", "badnet", seed=1, defense="cube")
    undefended = study.recipe("sst2", "badnet", seed=1)
    assert not study.store.has(undefended)
    study.train([recipe])
    assert study.store.has(recipe) and study.store.has(undefended)
