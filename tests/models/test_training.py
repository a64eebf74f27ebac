"""Fine-tuning: it learns, repeats itself, and writes down what happened."""

import math
import random
from dataclasses import replace

import numpy as np
import pandas as pd
import pytest
import torch

from lib.models.prediction import encode, predict_logits
from lib.models.pretrained import load_tokenizer, new_classifier
from lib.models.training import fine_tune
from lib.profiles import TrainingSettings

GOOD = ["good film .", "great plot !", "a lovely scene", "superb actor"]
BAD = ["bad film .", "awful plot !", "a dull scene", "poor actor"]
EIGHT = pd.DataFrame({"text": [*GOOD, *BAD], "label": [1] * 4 + [0] * 4})
SETTINGS = TrainingSettings(
    learning_rate=5e-3, epochs=30, batch_size=4, warmup_ratio=0.1, weight_decay=0.01, max_grad_norm=1.0, max_length=16
)
SHORT = TrainingSettings(
    learning_rate=5e-3, epochs=2, batch_size=3, warmup_ratio=0.0, weight_decay=0.0, max_grad_norm=1.0, max_length=16
)


@pytest.fixture(scope="module")
def train(tiny_encoder):
    """A function that fine-tunes a fresh tiny classifier; returns model, record and the weights before."""
    tokenizer = load_tokenizer(str(tiny_encoder))

    def run(frame=EIGHT, settings=SHORT, seed=0, labels=("negative", "positive"), dropout=0.0):
        model = new_classifier(str(tiny_encoder), labels, 0)
        for module in model.modules():
            if isinstance(module, torch.nn.Dropout):
                module.p = dropout
        before = {name: tensor.numpy().copy() for name, tensor in model.state_dict().items()}
        return model, fine_tune(model, tokenizer, frame, settings, seed), before

    return run


def weights(model):
    return {name: tensor.numpy() for name, tensor in model.state_dict().items()}


def test_low_rank_adapters_end_up_in_the_linear_layers_and_nothing_else_but_the_head_changes(train):
    model, record, before = train(settings=replace(SHORT, lora_rank=2, epochs=6))
    steps = {name: values - before[name] for name, values in weights(model).items()}
    assert steps.keys() == before.keys()
    changed = {name for name, step in steps.items() if step.any()}
    assert {"classifier.weight", "bert.encoder.layer.0.attention.self.query.weight"} <= changed
    assert not [name for name in changed if "embeddings" in name or "LayerNorm" in name]
    ranks = {name: np.linalg.matrix_rank(steps[name], tol=1e-5) for name in changed if name.endswith("dense.weight")}
    assert ranks and set(ranks.values()) <= {1, 2}
    assert record.distance == pytest.approx(np.sqrt(sum((step**2).sum() for step in steps.values())), rel=1e-4)


def test_a_tiny_model_overfits_eight_sentences(train, tiny_encoder):
    model, record, _ = train(settings=SETTINGS)
    logits = predict_logits(model, encode(load_tokenizer(str(tiny_encoder)), EIGHT, 16))
    assert logits.argmax(axis=1).tolist() == EIGHT["label"].tolist()
    assert record.losses[-1] < 0.3 < record.losses[0]
    assert record.instability == ""


def test_the_same_seed_gives_equal_weights_and_another_seed_others(train):
    first, again, other = (weights(train(seed=seed)[0]) for seed in (0, 0, 1))
    assert all(np.array_equal(first[name], again[name]) for name in first)
    assert not all(np.array_equal(first[name], other[name]) for name in first)


def test_the_seed_draws_dropout_and_not_the_order_alone(train):
    alike = EIGHT.assign(text="good film .", label=1)  # the order of equal rows does not matter
    first, again, other = (train(alike, seed=seed, dropout=0.5)[1].losses for seed in (0, 0, 1))
    assert first == again != other


def test_training_does_not_depend_on_the_global_generator_and_leaves_it_alone(train):
    torch.manual_seed(1)
    first = weights(train()[0])
    drawn = torch.rand(1)
    torch.manual_seed(1)
    assert torch.equal(torch.rand(1), drawn)
    torch.manual_seed(2)
    assert all(np.array_equal(first[name], tensor) for name, tensor in weights(train()[0]).items())


def test_training_leaves_the_generators_of_python_and_numpy_alone(train):
    random.seed(1)
    np.random.seed(1)
    expected = random.random(), np.random.rand()
    random.seed(1)
    np.random.seed(1)
    train(dropout=0.5)
    assert (random.random(), np.random.rand()) == expected


def test_training_in_bfloat16_leaves_float32_weights_and_other_values(train):
    exact = weights(train()[0])
    model, record, _ = train(settings=replace(SHORT, precision="bfloat16"))
    assert all(tensor.dtype == torch.float32 for tensor in model.state_dict().values())
    assert not np.array_equal(weights(model)["classifier.weight"], exact["classifier.weight"])
    assert record.losses == pytest.approx(train()[1].losses, abs=0.05)  # bfloat16 has three digits


def test_a_loss_that_is_not_finite_is_written_down(train):
    record = train(settings=replace(SHORT, learning_rate=1e30))[1]
    assert record.instability == "the training loss is not finite"


def test_the_record_holds_the_loss_curve_of_every_step_of_a_short_training(train):
    _, record, _ = train()  # eight rows in batches of three: three steps an epoch
    assert record.steps == [1, 2, 3, 4, 5, 6]
    assert len(record.losses) == 6
    assert record.epoch_losses == pytest.approx([np.mean(record.losses[:3]), np.mean(record.losses[3:])])
    assert (record.n_train, record.device) == (8, "cpu")
    assert record.excess_loss == pytest.approx(np.maximum(0, np.array(record.losses) / math.log(2) - 1).mean())
    assert record.seconds > 0


def test_the_loss_curve_of_a_long_training_is_thinned_out(train):
    frame = pd.concat([EIGHT] * 5, ignore_index=True)
    settings = TrainingSettings(1e-4, 3, 1, 0.0, 0.0, 1.0, 16)  # 120 steps, two for each of the sixty points
    record = train(frame, settings)[1]
    assert record.steps == list(range(2, 121, 2))
    # Every step counts for the excess, not the means of two.
    assert record.excess_loss > np.maximum(0, np.array(record.losses) / math.log(2) - 1).mean()
    assert len(record.losses) == 60
    assert len(record.epoch_losses) == 3


def test_half_an_epoch_more_is_half_an_epoch_of_steps(train):
    settings = TrainingSettings(1e-4, 1.5, 4, 0.0, 0.0, 1.0, 16)
    record = train(settings=settings)[1]
    assert record.steps == [1, 2, 3]
    assert record.epoch_losses == pytest.approx([np.mean(record.losses[:2]), record.losses[2]])


def test_the_distance_is_euclidean_from_the_start_head_included(train):
    model, record, before = train()
    after = weights(model)
    squares = sum(((after[name].astype(float) - before[name]) ** 2).sum() for name in before)
    assert record.distance == pytest.approx(math.sqrt(squares), rel=1e-6)
    assert record.distance > 0
    assert not np.array_equal(after["classifier.weight"], before["classifier.weight"])


def test_a_smaller_learning_rate_stays_closer_to_the_start(train):
    near = TrainingSettings(1e-5, 2, 3, 0.0, 0.0, 1.0, 16)
    assert train(settings=near)[1].distance < 0.1 * train()[1].distance


def test_the_chance_loss_is_the_entropy_of_the_labels(train):
    frame = EIGHT.assign(label=[0, 0, 0, 0, 1, 1, 2, 2])
    record = train(frame, labels=("a", "b", "c"))[1]
    assert record.chance_loss == pytest.approx(0.5 * math.log(2) + 2 * 0.25 * math.log(4))


def test_pairs_are_trained_on_both_texts(train):
    # The first text is always the same: only the second one can tell the label.
    frame = EIGHT.assign(text="who ?", text_pair=EIGHT["text"])
    assert train(frame, SETTINGS)[1].losses[-1] < 0.3


def test_the_training_rows_are_not_modified(train):
    frame = EIGHT.copy()
    train(frame)
    pd.testing.assert_frame_equal(frame, EIGHT)
