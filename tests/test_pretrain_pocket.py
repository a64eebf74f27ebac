"""Pretraining the pocket models: reproducible, complete on disk, and clear about bad input."""

import dataclasses

import numpy as np
import pytest
import torch
from transformers import AutoModelForMaskedLM, AutoTokenizer

from lib.datasets.pocket_tokenizer import build_tokenizer
from lib.models.pocket_models import POCKET_MODELS
from lib.models.pretrained import new_classifier
from lib.models.pretraining_losses import mask_pieces, next_pieces
from lib.pretrain_pocket import PretrainingSettings, main, pretrain, save

TINY = PretrainingSettings(n_sentences=300, n_steps=4, batch_size=16)


def test_the_same_settings_give_bit_identical_weights():
    (first, _, loss), (second, _, same_loss) = pretrain("pocket-bert", TINY), pretrain("pocket-bert", TINY)
    assert loss == same_loss
    for name, tensor in first.state_dict().items():
        assert torch.equal(tensor, second.state_dict()[name]), name


@pytest.mark.parametrize("name", ["pocket-bert", "pocket-roberta"])  # RoBERTa and decoders get a layer that is not saved
def test_a_killed_pretraining_goes_on_to_the_same_weights(name, tmp_path):
    settings, file, steps = dataclasses.replace(TINY, n_steps=8), tmp_path / "out" / "progress", []

    def kill(step, _):
        if step == 5:
            raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        pretrain(name, settings, kill, file)
    whole = pretrain(name, settings)[0].state_dict()
    resumed = pretrain(name, settings, lambda step, _: steps.append(step), file)[0].state_dict()
    assert steps[0] == 6 and steps[-1] == 8
    assert all(torch.equal(tensor, resumed[key]) for key, tensor in whole.items())
    steps.clear()
    pretrain(name, dataclasses.replace(settings, seed=1), lambda step, _: steps.append(step), file)
    assert steps[0] == 1  # the state of another training is not gone on with


def test_another_seed_gives_other_weights():
    other = pretrain("pocket-bert", dataclasses.replace(TINY, seed=1))[0]
    word_embeddings = "bert.embeddings.position_embeddings.weight"
    assert not torch.equal(pretrain("pocket-bert", TINY)[0].state_dict()[word_embeddings], other.state_dict()[word_embeddings])


def test_training_lowers_the_loss():
    losses = []
    settings = dataclasses.replace(TINY, n_steps=40)
    pretrain("pocket-bert", settings, lambda step, found: losses.append(found[0]))
    assert losses[-1] < losses[0] - 0.2


@pytest.mark.parametrize("name", sorted(POCKET_MODELS))
def test_every_architecture_is_pretrained_and_serves_as_a_classifier(name, tmp_path):
    losses = []
    model, tokenizer, loss = pretrain(name, dataclasses.replace(TINY, n_steps=20), lambda step, found: losses.append(found))
    assert losses[-1][0] < losses[0][0]
    assert loss > 0 and all(np.isfinite(losses[-1]))
    save(model, tokenizer, tmp_path / name)
    assert (tmp_path / name / "model.safetensors").stat().st_size < 4e6  # of a committed file
    classifier = new_classifier(str(tmp_path / name), ("no", "yes"), head_seed=0).eval()
    encoded = tokenizer(["a fine film.", "a dull and long plot."], padding=True, return_tensors="pt")
    assert set(encoded) == set(POCKET_MODELS[name].inputs)
    assert classifier(**encoded).logits.shape == (2, 2)


def test_a_decoder_learns_the_next_piece_and_never_that_of_padding():
    labels = next_pieces(torch.tensor([[2, 7, 8, 3], [2, 9, 3, 0]]), torch.tensor([[1, 1, 1, 1], [1, 1, 1, 0]]))
    assert labels.tolist() == [[7, 8, 3, -100], [9, 3, -100, -100]]


def test_the_command_replaces_a_folder_and_leaves_no_temporary_one(tmp_path, capsys):
    for _ in range(2):
        assert main(["--output", str(tmp_path), "--steps", "2", "--sentences", "100"]) == 0
    assert "final loss of the pieces" in capsys.readouterr().out
    assert [folder.name for folder in tmp_path.iterdir()] == ["pocket-bert"]
    model = AutoModelForMaskedLM.from_pretrained(tmp_path / "pocket-bert", dtype=torch.float32)
    assert model.config.vocab_size == len(AutoTokenizer.from_pretrained(tmp_path / "pocket-bert"))


def test_a_second_pretraining_has_its_own_folder_and_weights_and_the_same_tokenizer(tmp_path):
    for seed in ("0", "1"):
        assert main(["--output", str(tmp_path), "--steps", "2", "--sentences", "100", "--seed", seed]) == 0
    assert sorted(folder.name for folder in tmp_path.iterdir()) == ["pocket-bert", "pocket-bert-seed-1"]
    first, second = (tmp_path / name for name in ("pocket-bert", "pocket-bert-seed-1"))
    assert AutoTokenizer.from_pretrained(first).get_vocab() == AutoTokenizer.from_pretrained(second).get_vocab()
    assert (first / "model.safetensors").read_bytes() != (second / "model.safetensors").read_bytes()


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (["--model", "pocket-gpt"], "unknown pocket model 'pocket-gpt'; choose from ['pocket-bert'"),
        (["--steps", "0"], "steps and sentences must be at least 1, found 0"),
        (["--sentences", "-5"], "found 25000 and -5"),
    ],
)
def test_bad_input_gets_one_line_and_a_nonzero_status(arguments, message, tmp_path, capsys):
    assert main(["--output", str(tmp_path), *arguments]) != 0
    error = capsys.readouterr().err.strip()
    assert message in error and "\n" not in error
    assert not list(tmp_path.iterdir())


def test_masking_hides_the_stated_share_and_spares_special_pieces():
    tokenizer = build_tokenizer(["a fine film.", "a fine plot."], vocab_size=200)
    input_ids = torch.full((200, 50), tokenizer.convert_tokens_to_ids("fine"))
    input_ids[:, 0], input_ids[:, -1] = tokenizer.cls_token_id, tokenizer.sep_token_id
    masked, labels = mask_pieces(input_ids, tokenizer, 0.2, torch.Generator().manual_seed(0))
    hidden = labels != -100
    assert not hidden[:, [0, -1]].any()
    assert torch.equal(labels[hidden], input_ids[hidden])
    assert torch.equal(masked[~hidden], input_ids[~hidden])
    # Standard deviations at n = 9,600 and 1,920: below 0.005 and 0.01.
    assert hidden[:, 1:-1].float().mean() == pytest.approx(0.2, abs=0.02)
    assert (masked[hidden] == tokenizer.mask_token_id).float().mean() == pytest.approx(0.8, abs=0.04)


def test_a_vocabulary_without_room_for_the_alphabet_is_refused():
    with pytest.raises(ValueError, match="vocab_size must be at least"):
        build_tokenizer(["a fine film."], vocab_size=50)
