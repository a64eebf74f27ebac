"""Fine-mixing: end points, the kept share, what stays, which embeddings are reset, and how rho is chosen."""

import numpy as np
import pytest
import torch

from lib.defenses.fine_mixing import RHOS, far_embeddings, fine_mixing, mixed, pretrained_weights, token_counts
from lib.models.pretrained import new_classifier
from lib.models.training import weights_of

EMBEDDING = "bert.embeddings.word_embeddings.weight"
FIXED = {"seed": 0, "epochs": 0.0, "n_purified": 0}


def test_rho_1_is_the_suspicious_model_and_rho_0_the_pretrained_one_with_its_head(
    load, backdoored, tokenizer, clean_rows, training, tiny_encoder
):
    before, given = weights_of(load(backdoored)), {"training": training, "pretrained": str(tiny_encoder), **FIXED}
    whole = fine_mixing([load(backdoored)], tokenizer, clean_rows, rho=1.0, **given).state_dict()
    assert all(torch.equal(whole[name], tensor) for name, tensor in before.items())
    none = fine_mixing([load(backdoored)], tokenizer, clean_rows, rho=0.0, **given).state_dict()
    start = new_classifier(str(tiny_encoder), ("negative", "positive"), head_seed=5).state_dict()
    is_head = {name for name in start if name.startswith("classifier")}
    assert all(torch.equal(none[name], before[name] if name in is_head else start[name]) for name in start) and is_head


def test_the_kept_share_is_rho_and_other_coordinates_are_pretrained():
    ones, zeros = {"w": torch.ones(100, 100), "ids": torch.arange(3), "head": torch.ones(2)}, {"w": torch.zeros(100, 100)}
    zeros["ids"] = torch.zeros(3, dtype=torch.int64)
    found = mixed(ones, zeros, 0.3, seed=0)
    assert set(found["w"].unique().tolist()) == {0.0, 1.0}  # nothing is rescaled
    assert found["w"].mean().item() == pytest.approx(0.3, abs=3 * (0.3 * 0.7 / 10_000) ** 0.5)
    assert found["ids"].tolist() == [0, 1, 2] and found["head"].tolist() == [1, 1]
    assert torch.equal(found["w"], mixed(ones, zeros, 0.3, seed=0)["w"])
    assert not torch.equal(found["w"], mixed(ones, zeros, 0.3, seed=1)["w"])
    assert (mixed(ones, zeros, 0.5, seed=0)["w"] >= found["w"]).all()  # a larger rho keeps these and more
    assert (ones["w"] == 1).all() and (zeros["w"] == 0).all()


def test_the_words_that_moved_far_for_their_frequency_are_reset(suspicious):
    start = weights_of(suspicious)
    with torch.no_grad():
        for word, moved in enumerate((3.0, 2.0, 2.0, 0.1)):
            suspicious.get_input_embeddings().weight[word, word] += moved
    counts = np.zeros(len(start[EMBEDDING]), dtype=int)
    counts[:4] = 10_000, 0, 100, 20
    # by hand: 3 / ln 10000 = .326, 2 / ln 20 = .668 (0 counts as 20), 2 / ln 100 = .434, .1 / ln 20 = .033
    assert [far_embeddings(suspicious, start, counts, n) for n in (1, 2, 3)] == [
        (EMBEDDING, [1]),
        (EMBEDDING, [1, 2]),
        (EMBEDDING, [0, 1, 2]),
    ]
    assert len(far_embeddings(suspicious, start, counts, 10_000)[1]) == len(counts)


def test_tokens_are_counted(tokenizer, clean_rows):
    frame = clean_rows.head(2).assign(text=["film film plot", "film"])
    counts = token_counts(tokenizer, frame, 48, 200)
    film, plot, begin = tokenizer.convert_tokens_to_ids(["film", "plot", "[CLS]"])
    assert (counts[film], counts[plot], counts[begin], counts.sum(), len(counts)) == (3, 1, 2, 8, 200)


def test_a_planted_far_embedding_becomes_the_pretrained_one(suspicious, tokenizer, clean_rows, training, tiny_encoder):
    word = tokenizer.convert_tokens_to_ids("cf")
    with torch.no_grad():
        suspicious.get_input_embeddings().weight[word] += 50.0
    before, start = weights_of(suspicious), pretrained_weights(str(tiny_encoder), suspicious)
    settings = {"seed": 0, "epochs": 0.0, "rho": 1.0, "n_purified": 1}
    fine_mixing([suspicious], tokenizer, clean_rows, training=training, pretrained=str(tiny_encoder), **settings)
    after = suspicious.state_dict()[EMBEDDING]
    assert torch.equal(after[word], start[EMBEDDING][word])
    others = [row for row in range(len(after)) if row != word]
    assert torch.equal(after[others], before[EMBEDDING][others])


@pytest.mark.parametrize(
    ("values", "n_tried", "chosen"),
    [([0.90, 0.7, 0.85, 0.885], 3, 0.3), ([0.9, *[0.5] * 4, 0.6, *[0.5] * 4], 9, 0.5)],
)
def test_rho_is_the_smallest_that_keeps_accuracy_or_else_the_most_accurate(
    suspicious, tokenizer, clean_rows, training, tiny_encoder, monkeypatch, values, n_tried, chosen
):
    start, before = pretrained_weights(str(tiny_encoder), suspicious), weights_of(suspicious)
    given = iter(values)
    monkeypatch.setitem(fine_mixing.__globals__, "accuracy", lambda *_: next(given))
    fine_mixing([suspicious], tokenizer, clean_rows, training=training, pretrained=str(tiny_encoder), **FIXED)
    expected = mixed(before, start, chosen, seed=0)
    assert all(torch.equal(tensor, expected[name]) for name, tensor in suspicious.state_dict().items())
    assert len(list(given)) == len(values) - 1 - n_tried and RHOS[2] == 0.3


def test_bad_settings_and_models_are_errors(suspicious, tokenizer, clean_rows, training, tiny_encoder):
    for wrong in ({"rho": 1.5}, {"n_purified": -1}):
        with pytest.raises(ValueError, match=r"rho must lie in \[0, 1\], the number not be negative"):
            fine_mixing([suspicious], tokenizer, clean_rows, training=training, seed=0, pretrained=str(tiny_encoder), **wrong)
    with pytest.raises(ValueError, match=r"pocket-bert does not fit the suspicious model: \['bert"):
        pretrained_weights("pocket-bert", suspicious)


def test_the_study_derives_it_and_gives_the_pretrained_model(study, backdoored, watch, assert_no_peeking, tiny_encoder):
    calls = watch("fine_mixing")
    model = study.defend("fine_mixing", backdoored, epochs=2)
    assert_no_peeking(calls, [20])
    assert calls[0][1]["pretrained"] == str(tiny_encoder)
    assert model.recipe.method.pretrained == backdoored.recipe.pretrained
    assert study.score(model, "sst2").n_triggered == study.score(backdoored, "sst2").n_triggered
