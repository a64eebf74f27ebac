"""The training loop: the steps of `Trainer`, any loss, parameter groups, precision, and what it refuses."""

from dataclasses import replace
from itertools import cycle, islice

import numpy as np
import pandas as pd
import pytest
import torch
from torch.utils.data import DataLoader
from transformers import Trainer, TrainingArguments

from lib.models.batches import epochs_of_batches
from lib.models.loop import LoopSettings, classification_loss, parameter_groups, train
from lib.models.pocket_models import POCKET_MODELS
from lib.models.pretrained import load_tokenizer, new_classifier
from lib.models.training import fine_tune
from lib.profiles import TrainingSettings

TEXTS = [
    "good film .",
    "great plot !",
    "a lovely scene in a great film",
    "bad film .",
    "awful plot !",
    "poor actor",
    "a dull day",
]
LABELS = [1, 1, 1, 0, 0, 0, 0]
SETTINGS = LoopSettings(learning_rate=5e-3, n_steps=8, n_warmup=3, weight_decay=0.1, max_grad_norm=0.5)


@pytest.fixture(scope="module")
def batches(tiny_encoder):
    """Eight batches of two or three texts: four epochs."""
    tokenizer = load_tokenizer(str(tiny_encoder))
    return list(islice(epochs_of_batches(tokenizer, dict(tokenizer(TEXTS)), LABELS, 4, np.random.default_rng(0)), 8))


@pytest.fixture
def model(tiny_encoder):
    return new_classifier(str(tiny_encoder), ("negative", "positive"), head_seed=0)


@pytest.fixture
def same_model(tiny_encoder):
    return new_classifier(str(tiny_encoder), ("negative", "positive"), head_seed=0)


def weights(model):
    return {name: tensor.clone() for name, tensor in model.state_dict().items()}


def distance(model, start):
    return sum((tensor - start[name]).square().sum() for name, tensor in model.state_dict().items()).sqrt().item()


def train_by_trainer(model, batches, settings, folder, seed=0):
    """The same batches through `Trainer`; the loss of each step."""

    class GivenBatches(Trainer):
        def get_train_dataloader(self):
            return DataLoader(batches, batch_size=1, collate_fn=lambda batches: batches[0])

    arguments = TrainingArguments(
        output_dir=folder,
        learning_rate=settings.learning_rate,
        max_steps=settings.n_steps,
        warmup_steps=settings.n_warmup,
        weight_decay=settings.weight_decay,
        max_grad_norm=settings.max_grad_norm,
        lr_scheduler_type="linear",
        seed=seed,
        logging_steps=1,
        save_strategy="no",
        report_to="none",
        disable_tqdm=True,
    )
    trainer = GivenBatches(model, arguments, train_dataset=batches)
    trainer.train()
    return [entry["loss"] for entry in trainer.state.log_history if "loss" in entry]


@pytest.mark.parametrize("changed", [{}, {"n_warmup": 0}, {"max_grad_norm": 100.0, "weight_decay": 0.0}])
def test_the_steps_are_those_of_trainer(model, same_model, batches, tmp_path, changed):
    settings, start = replace(SETTINGS, **changed), weights(model)
    losses = train(model, batches, classification_loss, settings)
    assert losses == pytest.approx(train_by_trainer(same_model, batches, settings, tmp_path), abs=1e-6)
    for name, tensor in same_model.state_dict().items():
        # A shift of all keys changes no attention: their biases have a gradient of rounding alone, and AdamW follows it.
        assert (model.state_dict()[name] - tensor).abs().max() < (1e-4 if name.endswith("key.bias") else 1e-6), name
    assert distance(model, start) > 0.1


def test_fine_tuning_draws_the_dropout_masks_of_trainer(model, same_model, tiny_encoder, tmp_path):
    for module in [*model.modules(), *same_model.modules()]:
        if isinstance(module, torch.nn.Dropout):
            module.p = 0.5
    tokenizer, frame = load_tokenizer(str(tiny_encoder)), pd.DataFrame({"text": TEXTS, "label": LABELS})
    fine_tune(model, tokenizer, frame, TrainingSettings(5e-3, 1, 2, 0.25, 0.1, 0.5, 16), seed=3)
    batches = list(islice(epochs_of_batches(tokenizer, dict(tokenizer(TEXTS)), LABELS, 2, np.random.default_rng(3)), 4))
    settings = LoopSettings(learning_rate=5e-3, n_steps=4, n_warmup=1, weight_decay=0.1, max_grad_norm=0.5)
    train_by_trainer(same_model, batches, settings, tmp_path, seed=3)
    for name, tensor in same_model.state_dict().items():
        assert (model.state_dict()[name] - tensor).abs().max() < 1e-6, name


def test_warm_up_decay_and_clipping_all_matter_in_that_comparison(tiny_encoder, batches):
    found = []
    for changed in ({}, {"n_warmup": 0}, {"max_grad_norm": 100.0}, {"weight_decay": 0.0}):
        model = new_classifier(str(tiny_encoder), ("negative", "positive"), head_seed=0)
        train(model, batches, classification_loss, replace(SETTINGS, **changed))
        found.append(weights(model))
    for other in found[1:]:
        assert max((other[name] - tensor).abs().max() for name, tensor in found[0].items()) > 1e-4


@pytest.mark.parametrize("name", sorted(POCKET_MODELS))
def test_the_parameters_that_decay_are_those_of_trainer(name):
    model = new_classifier(name, ("negative", "positive"), head_seed=0)
    expected = set(Trainer.get_decay_parameter_names(None, model))
    names = {id(parameter): name for name, parameter in model.named_parameters()}
    decayed, others = parameter_groups(model, 0.1)
    assert {names[id(parameter)] for parameter in decayed["params"]} == expected
    assert {names[id(parameter)] for parameter in others["params"]} == set(names.values()) - expected


def test_the_negative_loss_climbs(model, batches):
    def ascent(model, batch):
        return -classification_loss(model, batch)

    settings = LoopSettings(1e-3, n_steps=8)
    losses = train(model, islice(cycle(batches[:1]), 8), ascent, settings)
    assert losses[-1] < losses[0] - 0.1


def test_a_penalty_on_the_distance_keeps_the_weights_nearer(model, same_model, batches):
    start = {name: parameter.detach().clone() for name, parameter in model.named_parameters()}

    def penalised(model, batch):
        distance = sum((parameter - start[name]).square().sum() for name, parameter in model.named_parameters())
        return classification_loss(model, batch) + 10 * distance

    train(model, batches, penalised, replace(SETTINGS, weight_decay=0.0))
    train(same_model, batches, classification_loss, replace(SETTINGS, weight_decay=0.0))
    assert distance(model, start) < 0.7 * distance(same_model, start)


def test_a_group_has_its_own_learning_rate_and_frozen_parameters_stay(model, batches):
    head, start = model.classifier, weights(model)
    train(model, batches, classification_loss, SETTINGS, groups=[{"params": head.parameters(), "lr": 0.0, "weight_decay": 0.0}])
    assert distance(model, start) == 0
    groups = [{"params": model.bert.parameters(), "lr": 0.0}, {"params": head.parameters()}]
    train(model, batches, classification_loss, SETTINGS, groups=groups)
    moved = {name for name, tensor in model.state_dict().items() if not torch.equal(tensor, start[name])}
    assert moved == {"classifier.weight", "classifier.bias"}


def test_only_the_parameters_of_the_model_are_clipped(monkeypatch):
    model, other = torch.nn.Linear(1, 1, bias=False), torch.nn.Parameter(torch.ones(1))
    norms = []
    monkeypatch.setattr(torch.optim.AdamW, "step", lambda self: norms.append((model.weight.grad.item(), other.grad.item())))

    def steep(model, batch):
        return 100 * (model.weight.sum() + other.sum())

    groups = [{"params": [*model.parameters(), other]}]
    train(model, [{}], steep, LoopSettings(1.0, n_steps=1, max_grad_norm=0.5), groups=groups)
    assert norms == [pytest.approx((0.5, 100))]


def test_every_step_is_reported_with_its_loss(model, batches):
    seen = []
    losses = train(model, batches, classification_loss, SETTINGS, on_step=lambda step, loss: seen.append((step, loss.item())))
    assert seen == list(enumerate(losses, start=1))
    assert len(losses) == 8


def test_no_batch_is_taken_beyond_the_last_step(model, batches):
    endless = cycle(batches)
    train(model, endless, classification_loss, replace(SETTINGS, n_steps=3))
    assert next(endless) is batches[3]


def test_what_is_no_tensor_reaches_the_loss_as_it_is(model, batches):
    def cooled(model, batch):
        return (
            classification_loss(model, {name: value for name, value in batch.items() if name != "temperature"})
            / batch["temperature"]
        )

    warm = train(model, [batch | {"temperature": 2.0} for batch in batches], cooled, replace(SETTINGS, learning_rate=0.0))
    assert warm == pytest.approx(
        [loss / 2 for loss in train(model, batches, classification_loss, replace(SETTINGS, learning_rate=0.0))]
    )


def test_two_precisions_share_a_process_and_weights_stay_in_float32(model, same_model, batches):
    exact = train(model, batches, classification_loss, SETTINGS)
    rough = train(same_model, batches, classification_loss, replace(SETTINGS, precision="bfloat16"))
    assert rough != exact
    assert rough == pytest.approx(exact, abs=0.05)  # bfloat16 has three digits
    assert {tensor.dtype for tensor in same_model.state_dict().values()} == {torch.float32}
    assert same_model.eval()(**batches[0]).logits.dtype == torch.float32


def test_the_loop_seeds_nothing(model, batches):
    before = torch.get_rng_state()
    train(model, batches, classification_loss, SETTINGS)  # a model without dropout draws nothing
    assert torch.equal(torch.get_rng_state(), before)


def test_batches_that_end_early_are_refused(model, batches):
    with pytest.raises(ValueError, match="the batches ended after 8 of 9 steps"):
        train(model, batches, classification_loss, replace(SETTINGS, n_steps=9))
    with pytest.raises(ValueError, match="the batches ended after 0 of 8 steps"):
        train(model, [], classification_loss, SETTINGS)


def test_bad_settings_are_refused():
    with pytest.raises(ValueError, match=r"precision is 'float8'; choose from \('float32', 'bfloat16'\)"):
        LoopSettings(1e-3, n_steps=1, precision="float8")
    with pytest.raises(ValueError, match="at least one step, found 0"):
        LoopSettings(1e-3, n_steps=0)


def test_a_training_ends_early_when_on_step_says_so(model, same_model, batches):
    losses = train(model, batches, classification_loss, SETTINGS, on_step=lambda step, loss: step == 3)
    whole = train(same_model, batches, classification_loss, SETTINGS)
    assert len(losses) == 3 and losses == whole[:3]


def test_the_loss_of_single_examples_has_the_mean_of_the_batch(model, batches):
    single = classification_loss(model, batches[0], "none")
    assert single.shape == batches[0]["labels"].shape
    assert single.mean().item() == pytest.approx(classification_loss(model, batches[0]).item())
