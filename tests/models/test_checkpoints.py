"""Pretrained models and checkpoints: found, fingerprinted, given a head, and compared before a merge."""

import json
import shutil

import pytest
import torch
from safetensors.torch import load_file, save_file

from lib.models.checkpoints import Checkpoint, load_checkpoint
from lib.models.compatibility import check_compatible
from lib.models.pretrained import fingerprint, load_tokenizer, new_classifier, resolve_pretrained

LABELS = ("negative", "positive")


@pytest.fixture
def model_folder(tiny_encoder, tmp_path):
    """A copy of the tiny encoder that a test may damage."""
    return shutil.copytree(tiny_encoder, tmp_path / "model")


@pytest.fixture
def variant(clean, tmp_path):
    """A function that copies the clean model under a name, after changing its files."""

    def make(name, config=None, change=lambda folder: None):
        folder = shutil.copytree(clean.folder, tmp_path / name)
        content = json.loads((folder / "config.json").read_text()) | (config or {})
        (folder / "config.json").write_text(json.dumps(content))
        change(folder)
        return Checkpoint(folder, name, name)

    return make


def rename_a_token(folder):
    tokenizer = folder / "tokenizer.json"
    tokenizer.write_text(tokenizer.read_text().replace('"film"', '"movies"'))


# --- pretrained models -----------------------------------------------------------------------------------------------------


def test_a_folder_is_taken_as_it_is_and_a_hub_id_is_left_alone(tiny_encoder):
    assert resolve_pretrained(str(tiny_encoder)) == str(tiny_encoder)
    assert resolve_pretrained("google/bert_uncased_L-4_H-256_A-4") == "google/bert_uncased_L-4_H-256_A-4"


@pytest.mark.parametrize("name", ["/nowhere/model", "./nowhere", "~/nowhere", "some/where/model", ""])
def test_a_model_folder_that_does_not_exist_raises(name):
    with pytest.raises(ValueError, match=rf"model folder '{name}' does not exist; give a folder, a Hub id, or one of \["):
        resolve_pretrained(name)


@pytest.mark.parametrize("missing", ["model.safetensors", "config.json"])
def test_a_model_folder_without_weights_or_config_raises_and_says_what_was_found(model_folder, missing):
    (model_folder / missing).unlink()
    with pytest.raises(ValueError, match=r"needs config.json and \*.safetensors; found \[.*'tokenizer.json'") as caught:
        resolve_pretrained(str(model_folder))
    assert f"'{missing}'" not in str(caught.value)


def test_an_empty_model_folder_raises(tmp_path):
    with pytest.raises(ValueError, match=r"needs config.json and .*; found nothing"):
        new_classifier(str(tmp_path), LABELS, 0)


def test_a_model_folder_with_damaged_weights_raises_and_names_it(model_folder):
    weights = model_folder / "model.safetensors"
    weights.write_bytes(weights.read_bytes()[:1000])
    with pytest.raises(ValueError, match=f"model folder {model_folder} could not be loaded"):
        new_classifier(str(model_folder), LABELS, 0)


def test_a_model_folder_without_a_tokenizer_raises_and_names_it(model_folder):
    for file in model_folder.glob("tokenizer*"):
        file.unlink()
    with pytest.raises(ValueError, match=f"model folder {model_folder} could not be loaded"):
        load_tokenizer(str(model_folder))


def test_a_fingerprint_stands_for_the_content_of_a_folder(tiny_encoder, model_folder):
    assert fingerprint(str(model_folder)) == fingerprint(str(tiny_encoder))
    seen = {fingerprint(str(model_folder))}
    weights = load_file(model_folder / "model.safetensors")
    save_file({name: tensor + 1 for name, tensor in weights.items()}, model_folder / "model.safetensors")
    seen.add(fingerprint(str(model_folder)))
    rename_a_token(model_folder)
    seen.add(fingerprint(str(model_folder)))
    config = json.loads((model_folder / "config.json").read_text())
    (model_folder / "config.json").write_text(json.dumps(config | {"hidden_act": "relu"}))
    seen.add(fingerprint(str(model_folder)))
    assert len(seen) == 4


# --- heads and tokenizers --------------------------------------------------------------------------------------------------


def head(model):
    return model.state_dict()["classifier.weight"]


def test_models_of_one_head_seed_share_the_head_and_those_of_another_do_not(tiny_encoder):
    first, again, other = (new_classifier(str(tiny_encoder), LABELS, seed) for seed in (3, 3, 4))
    assert torch.equal(head(first), head(again))
    assert not torch.equal(head(first), head(other))


def test_the_head_does_not_depend_on_the_global_generator_and_leaves_it_alone(tiny_encoder):
    torch.manual_seed(1)
    first = new_classifier(str(tiny_encoder), LABELS, 3)
    state = torch.get_rng_state()
    torch.manual_seed(2)
    assert torch.equal(head(new_classifier(str(tiny_encoder), LABELS, 3)), head(first))
    torch.manual_seed(1)
    assert torch.equal(torch.get_rng_state(), state)


def test_everything_but_the_head_is_pretrained(tiny_encoder):
    pretrained = load_file(tiny_encoder / "model.safetensors")
    weights = new_classifier(str(tiny_encoder), LABELS, 0).state_dict()
    assert set(weights) == {f"bert.{name}" for name in pretrained} | {"classifier.weight", "classifier.bias"}
    assert all(torch.equal(weights[f"bert.{name}"], tensor) for name, tensor in pretrained.items())


def test_a_classifier_knows_its_labels_and_computes_in_float32(model_folder):
    weights = load_file(model_folder / "model.safetensors")  # bundled models are stored in half precision
    save_file({n: t.half() for n, t in weights.items()}, model_folder / "model.safetensors", metadata={"format": "pt"})
    model = new_classifier(str(model_folder), ("World", "Sports", "Business"), 0)
    assert model.config.id2label == {0: "World", 1: "Sports", 2: "Business"}
    assert model.config.label2id == {"World": 0, "Sports": 1, "Business": 2}
    assert head(model).shape == (3, 32)
    assert {tensor.dtype for tensor in model.parameters()} == {torch.float32}


def test_a_tokenizer_without_a_padding_token_pads_with_its_end_of_text_token(model_folder):
    from transformers import PreTrainedTokenizerFast

    for file in model_folder.glob("tokenizer_config*"):
        file.unlink()
    PreTrainedTokenizerFast(tokenizer_file=str(model_folder / "tokenizer.json"), eos_token="[SEP]").save_pretrained(
        model_folder
    )
    assert load_tokenizer(str(model_folder)).pad_token == "[SEP]"


# --- checkpoints -----------------------------------------------------------------------------------------------------------


def test_a_checkpoint_is_loaded_from_any_folder(clean, tmp_path):
    folder = shutil.copytree(clean.folder, tmp_path / "download")
    (folder / "training.json").unlink()
    checkpoint = load_checkpoint(folder)
    assert (checkpoint.name, checkpoint.label_names, checkpoint.record) == ("download", LABELS, {})
    expected = load_file(clean.folder / "model.safetensors")
    assert all(torch.equal(tensor, expected[name]) for name, tensor in checkpoint.state_dict().items())
    assert clean.record["n_train"] == 80


def test_the_key_of_a_loaded_checkpoint_follows_its_content(clean, tmp_path):
    folder = shutil.copytree(clean.folder, tmp_path / "download")
    before = load_checkpoint(folder)
    weights = load_file(folder / "model.safetensors")
    save_file({name: tensor * 2 for name, tensor in weights.items()}, folder / "model.safetensors")
    after = load_checkpoint(folder)
    assert after.key != before.key
    assert torch.equal(after.state_dict()["classifier.weight"], 2 * weights["classifier.weight"])


def test_more_than_ten_labels_stay_in_order(tmp_path):
    (tmp_path / "config.json").write_text(json.dumps({"id2label": {str(i): f"label {i}" for i in range(12)}}))
    assert Checkpoint(tmp_path, "key", "name").label_names == tuple(f"label {i}" for i in range(12))


def test_a_checkpoint_folder_that_is_missing_or_lacks_its_weights_raises(clean, tmp_path):
    with pytest.raises(ValueError, match=r"model folder .*nowhere does not exist"):
        load_checkpoint(tmp_path / "nowhere")
    folder = shutil.copytree(clean.folder, tmp_path / "download")
    (folder / "model.safetensors").rename(folder / "model-00001-of-00002.safetensors")
    with pytest.raises(ValueError, match=r"has none of .*model.safetensors.index.json"):
        load_checkpoint(folder)
    (folder / "model-00001-of-00002.safetensors").unlink()
    with pytest.raises(ValueError, match=r"needs config.json and \*.safetensors; found"):
        load_checkpoint(folder)


# --- what must agree before a merge ----------------------------------------------------------------------------------------


def test_models_of_one_study_are_compatible(clean, backdoored, variant):
    check_compatible([clean, backdoored, variant("copy")])


@pytest.mark.parametrize(
    ("config", "message"),
    [
        ({"model_type": "distilbert"}, "other has model_type distilbert, but sst2 clean seed 0 has bert"),
        ({"architectures": ["BertModel"]}, r"other has architectures \['BertModel'\], but .*only models of one architecture"),
        ({"id2label": {"0": "not_offensive", "1": "offensive"}}, r"other has labels \['not_offensive', 'offensive'\], but"),
        ({"id2label": {"0": "positive", "1": "negative"}}, r"other has labels \['positive', 'negative'\].*names and order"),
        ({"id2label": {"0": "negative", "1": "positive", "2": "neutral"}}, "other has labels .*'neutral'"),
    ],
)
def test_another_architecture_or_other_labels_are_refused(clean, variant, config, message):
    with pytest.raises(ValueError, match=message):
        check_compatible([clean, variant("other", config)])


def test_another_tokenizer_is_refused(clean, variant):
    with pytest.raises(ValueError, match="other and sst2 clean seed 0 have different tokenizers"):
        check_compatible([clean, variant("other", change=rename_a_token)])


def test_other_special_tokens_are_refused(clean, variant):
    def swap(folder):
        config = json.loads((folder / "tokenizer_config.json").read_text())
        (folder / "tokenizer_config.json").write_text(json.dumps(config | {"mask_token": "[UNK]"}))
        tokenizer = json.loads((folder / "tokenizer.json").read_text())
        (folder / "tokenizer.json").write_text(json.dumps(tokenizer | {"version": "1.0"}, indent=1))

    with pytest.raises(ValueError, match="other and sst2 clean seed 0 have different tokenizers"):
        check_compatible([clean, variant("other", change=swap)])


def test_the_same_tokenizer_written_differently_is_accepted(clean, variant):
    def rewrite(folder):
        tokenizer = json.loads((folder / "tokenizer.json").read_text())
        (folder / "tokenizer.json").write_text(json.dumps(tokenizer, indent=4))

    check_compatible([clean, variant("other", change=rewrite)])


def test_the_third_model_is_checked_too(clean, backdoored, variant):
    with pytest.raises(ValueError, match="other has labels"):
        check_compatible([clean, backdoored, variant("other", {"id2label": {"0": "a", "1": "b"}})])
