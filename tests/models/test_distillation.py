"""Distillation: the loss against numbers worked out by hand, maps of attention, and students that never see a label."""

import numpy as np
import pandas as pd
import pytest
import torch

from lib.models.distillation import attention_loss, attention_maps, distil, distillation_loss, soft_targets
from lib.models.prediction import encode, predict_logits
from lib.models.training import weights_of

TEACHER = np.array([[2.0, 0.5, -1.0], [0.0, 3.0, 1.0]])


def targets_at(temperature, logits=TEACHER):
    return torch.from_numpy(soft_targets([logits], temperature))


def test_a_student_that_says_the_same_has_no_loss_and_no_gradient():
    for temperature in (1.0, 2.0, 4.0):
        said = torch.tensor(TEACHER, dtype=torch.float32, requires_grad=True)
        loss = distillation_loss(said, targets_at(temperature), temperature)
        loss.backward()
        assert loss.item() == pytest.approx(0, abs=1e-6)
        assert said.grad.abs().max() < 1e-6


def test_the_loss_is_the_divergence_worked_out_by_hand():
    teacher, student = np.array([[0.0, np.log(3)]]), torch.zeros(1, 2)  # (1/4, 3/4) against (1/2, 1/2)
    expected = 0.25 * np.log(0.25 / 0.5) + 0.75 * np.log(0.75 / 0.5)
    assert distillation_loss(student, targets_at(1.0, teacher), 1.0).item() == pytest.approx(expected, abs=1e-6)


def test_the_factor_keeps_the_scale_of_the_gradient():
    small, norms = 0.01, []
    for temperature in (1.0, 4.0):
        said = torch.zeros(2, 3, requires_grad=True)
        distillation_loss(said, targets_at(temperature, small * TEACHER), temperature).backward()
        norms.append(said.grad.norm().item())
    assert norms[1] / norms[0] == pytest.approx(1, abs=0.01)


def test_at_a_high_temperature_it_is_half_the_mean_square_of_the_centred_difference():
    generator = np.random.default_rng(0)
    teacher, student = generator.normal(size=(5, 3)), generator.normal(size=(5, 3))
    difference = (teacher - student) - (teacher - student).mean(axis=1, keepdims=True)
    expected = 0.5 * np.square(difference).mean(axis=1).mean()  # over labels and texts
    # In double precision: at T = 1000 the probabilities differ in the fourth digit.
    said = (torch.from_numpy(teacher) / 1000).softmax(-1)
    assert distillation_loss(torch.from_numpy(student), said, 1000.0).item() == pytest.approx(expected, rel=1e-3)


def test_targets_of_several_teachers_are_the_mean_of_their_probabilities():
    surer = np.array([[0.0, 0.0], [0.0, 50.0]])
    assert soft_targets([surer, np.zeros((2, 2))], 1.0) == pytest.approx(np.array([[0.5, 0.5], [0.25, 0.75]]))
    assert soft_targets([surer] * 3, 2.0) == pytest.approx(soft_targets([surer], 2.0))
    with pytest.raises(ValueError, match=r"shapes \[\]; one shape is needed, and one teacher at least"):
        soft_targets([], 1.0)
    with pytest.raises(ValueError, match=r"shapes \[\(1, 2\), \(2, 2\)\]; one shape is needed"):
        soft_targets([surer, surer[:1]], 1.0)


def test_maps_of_attention_are_unit_vectors_that_no_rotation_of_the_hidden_space_changes():
    generator = torch.Generator().manual_seed(0)
    states = [torch.randn(2, 4, 6, generator=generator) for _ in range(3)]
    mask = torch.tensor([[1, 1, 1, 1], [1, 1, 0, 0]])
    rotation = torch.linalg.qr(torch.randn(6, 6, generator=generator)).Q
    maps = attention_maps(states, mask)
    assert maps.shape == (3, 2, 4)
    assert torch.allclose(maps.norm(dim=-1), torch.ones(3, 2))
    assert maps[:, 1, 2:].abs().max() == 0  # padding
    assert torch.allclose(maps, attention_maps([layer @ rotation for layer in states], mask), atol=1e-6)
    assert not torch.allclose(
        attention_maps(states, mask, 1.0), attention_maps([s @ rotation for s in states], mask, 1.0), atol=1e-3
    )


def test_the_distance_of_maps_is_a_mean_over_positions_that_are_texts():
    maps, mask = torch.zeros(2, 1, 3), torch.tensor([[1, 1, 0]])
    others = torch.tensor([[[1.0, 0.0, 9.0]], [[0.0, 2.0, 9.0]]])
    assert attention_loss(maps, others, mask).item() == pytest.approx((1 + 4) / 4)
    assert attention_loss(others, others, mask).item() == 0


def learnt(network, tokenizer, texts, logits, training, **given):
    settings = {"temperature": 2.0, "epochs": 4.0, **given}
    return distil([], tokenizer, texts, initial=network, teacher_logits=logits, training=training, seed=0, **settings)


@pytest.fixture(scope="module")
def training(study):
    return study.planner.training({})


def test_a_student_comes_to_say_what_its_teacher_says_and_reads_no_label(start, tokenizer, train, training):
    score = np.where(train["text"].str.contains("film|plot"), 3.0, -3.0)  # has nothing to do with the labels
    teacher = np.stack([score, -score], axis=1)
    read = train[["text"]]
    before, weights = predict_logits(start, encode(tokenizer, read, 48)), weights_of(start)
    learnt(start, tokenizer, read, [teacher], training, epochs=20.0)
    after, first = predict_logits(start, encode(tokenizer, read, 48)), weights_of(start)
    agreement = [(said.argmax(1) == teacher.argmax(1)).mean() for said in (before, after)]
    assert agreement[1] > agreement[0] + 0.2
    start.load_state_dict(weights)
    learnt(start, tokenizer, read.assign(label=1 - train["label"]), [teacher], training, epochs=20.0)
    assert all(torch.equal(tensor, first[name]) for name, tensor in start.state_dict().items())


def test_no_epoch_leaves_the_student_as_it_is(start, tokenizer, train, training):
    before = weights_of(start)
    assert learnt(start, tokenizer, train, [np.zeros((len(train), 2))], training, epochs=0.0) is start
    assert all(torch.equal(tensor, before[name]) for name, tensor in start.state_dict().items())


def test_bad_settings_and_logits_of_other_texts_are_errors(start, tokenizer, training):
    texts = pd.DataFrame({"text": ["a", "b"]})
    with pytest.raises(ValueError, match="temperature is 0 and epochs 1; give above 0, and 0 or more"):
        learnt(start, tokenizer, texts, [np.zeros((2, 2))], training, temperature=0, epochs=1)
    with pytest.raises(
        ValueError, match=r"logits of shape \(3, 2\) for 2 texts; the student has 2 labels, so \(2, 2\) is needed"
    ):
        learnt(start, tokenizer, texts, [np.zeros((3, 2))], training)
