"""Merged models: checked before, computed when needed, identified by a key, saved whole."""

import json
import os
import shutil

import numpy as np
import pytest
import torch
from safetensors.numpy import load_file

from lib.models.checkpoints import Checkpoint, load_checkpoint
from lib.study.merged import merge


def weights_of(checkpoint):
    return load_file(checkpoint.folder / "model.safetensors")


def test_the_merged_weights_are_the_mean_of_the_files(backdoored, clean):
    merged = merge([backdoored, clean], weights=[0.75, 0.25]).state_dict()
    first, second = weights_of(backdoored), weights_of(clean)
    assert set(merged) == set(first)
    for name, tensor in merged.items():
        expected = 0.75 * first[name].astype(float) + 0.25 * second[name]
        np.testing.assert_allclose(tensor.numpy(), expected, rtol=0, atol=1e-6)  # float32 against float64


def test_weights_of_one_and_zero_give_the_first_model_bit_for_bit(backdoored, clean):
    merged = merge([backdoored, clean], weights=[1, 0]).state_dict()
    assert all(np.array_equal(merged[name].numpy(), tensor) for name, tensor in weights_of(backdoored).items())


def test_merging_does_not_change_the_parents(backdoored, clean):
    before = {name: tensor.clone() for name, tensor in backdoored.state_dict().items()}
    for tensor in merge([backdoored, clean]).state_dict().values():
        tensor.zero_()
    for tensor in merge([backdoored]).state_dict().values():
        tensor.zero_()
    assert all(torch.equal(backdoored.state_dict()[name], tensor) for name, tensor in before.items())


def test_the_key_says_which_parents_in_which_order_with_which_weights(backdoored, clean):
    keys = {
        merge([backdoored, clean]).key,
        merge([clean, backdoored]).key,
        merge([backdoored]).key,
        merge([backdoored, clean], weights=[0.75, 0.25]).key,
    }
    assert len(keys) == 4
    assert merge([backdoored, clean], weights=[0.5, 0.5]).key == merge([backdoored, clean]).key
    assert merge([backdoored, clean], weights=(1, 0)).key == merge([backdoored, clean], weights=[1.0, 0.0]).key


def test_a_merged_model_has_a_name_labels_and_the_first_parents_folder(backdoored, clean):
    merged = merge([backdoored, clean])
    assert merged.name == "weight_average of sst2 badnet seed 0, sst2 clean seed 0"
    assert merged.label_names == ("negative", "positive")
    assert merged.folder == backdoored.folder


@pytest.mark.parametrize(
    ("settings", "message"),
    [
        ({"method": "wag"}, r"unknown merge method 'wag'; choose from \["),
        ({"weights": [1.0]}, "1 weights for 2 models"),
        ({"weights": [0.7, 0.7]}, "they must sum to 1"),
        ({"weights": [1.5, -0.5]}, r"outside \[0, 1\] only with extrapolate=True"),
    ],
)
def test_settings_that_make_no_sense_raise_before_any_weight_is_read(backdoored, clean, settings, message):
    with pytest.raises(ValueError, match=message):
        merge([backdoored, clean], **settings)


def test_no_model_raises():
    with pytest.raises(ValueError, match="no model to merge; give at least one"):
        merge([])


def test_extrapolation_goes_beyond_the_models(backdoored, clean):
    merged = merge([backdoored, clean], weights=[1.5, -0.5], extrapolate=True).state_dict()
    first, second = weights_of(backdoored), weights_of(clean)
    name = "classifier.weight"
    np.testing.assert_allclose(merged[name].numpy(), 1.5 * first[name] - 0.5 * second[name], atol=1e-6)


def test_a_model_of_other_labels_is_refused(study, backdoored, clean, tmp_path):
    folder = shutil.copytree(clean.folder, tmp_path / "olid")
    config = json.loads((folder / "config.json").read_text())
    (folder / "config.json").write_text(json.dumps(config | {"id2label": {"0": "not_offensive", "1": "offensive"}}))
    with pytest.raises(ValueError, match=r"olid has labels \['not_offensive', 'offensive'\], but sst2 badnet seed 0 has"):
        study.merge([backdoored, load_checkpoint(folder)])


@pytest.fixture
def larger(clean, tmp_path):
    """A model of the same type and labels, but twice as wide."""
    from transformers import AutoConfig, AutoModelForSequenceClassification

    config = AutoConfig.from_pretrained(clean.folder, hidden_size=64)
    AutoModelForSequenceClassification.from_config(config).save_pretrained(tmp_path / "larger")
    for file in clean.folder.glob("tokenizer*"):
        shutil.copy(file, tmp_path / "larger")
    return load_checkpoint(tmp_path / "larger")


def test_a_model_of_another_size_is_refused_before_the_weights_are_needed(backdoored, larger):
    with pytest.raises(ValueError, match=r"larger.*(hidden_size|shape).*64.*32"):
        merge([backdoored, larger])


def test_weights_of_another_size_are_refused_and_named(backdoored, larger):
    from lib.study.merged import MergedModel

    with pytest.raises(ValueError, match=r"larger: tensor '.*' has shape \[.*64\], but \[.*32\] in sst2 badnet seed 0"):
        MergedModel((backdoored, larger), "weight_average").state_dict()


def test_a_model_with_a_nan_is_refused_and_named(backdoored, clean, tmp_path):
    from safetensors.numpy import save_file

    folder = shutil.copytree(clean.folder, tmp_path / "broken")
    weights = weights_of(clean)
    weights["classifier.bias"][0] = np.nan
    save_file(weights, folder / "model.safetensors")
    with pytest.raises(ValueError, match=r"broken: tensor 'classifier.bias' has values that are not finite"):
        merge([backdoored, load_checkpoint(folder)], weights=[1, 0]).state_dict()


# --- saving ----------------------------------------------------------------------------------------------------------------


def test_a_saved_merge_is_a_complete_model(backdoored, clean, tmp_path):
    from transformers import AutoModelForSequenceClassification, AutoTokenizer

    merged = merge([backdoored, clean])
    folder = merged.save(tmp_path / "out" / "merged")
    model = AutoModelForSequenceClassification.from_pretrained(folder)
    assert all(torch.equal(model.state_dict()[name], tensor) for name, tensor in merged.state_dict().items())
    assert model.config.id2label == {0: "negative", 1: "positive"}
    first, second = (AutoTokenizer.from_pretrained(path) for path in (folder, backdoored.folder))
    assert first("the film was good .") == second("the film was good .")
    assert load_checkpoint(folder).label_names == ("negative", "positive")


def test_a_saved_merge_is_as_readable_as_any_other_folder(backdoored, tmp_path):
    folder = merge([backdoored]).save(tmp_path / "out" / "merged")
    assert folder.stat().st_mode == folder.parent.stat().st_mode


def test_an_output_folder_that_exists_is_not_overwritten(backdoored, tmp_path):
    (tmp_path / "mine.txt").write_text("keep")
    with pytest.raises(ValueError, match=f"output folder {tmp_path} exists; give a new one"):
        merge([backdoored]).save(tmp_path)
    assert [path.name for path in tmp_path.iterdir()] == ["mine.txt"]


def test_a_save_that_fails_leaves_nothing(backdoored, tmp_path, monkeypatch):
    def full(*arguments):
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(os, "replace", full)
    with pytest.raises(OSError, match="No space left"):
        merge([backdoored]).save(tmp_path / "out" / "merged")
    assert list((tmp_path / "out").iterdir()) == []


def test_a_merge_of_checkpoints_without_a_study_works(backdoored, tmp_path):
    copies = [Checkpoint(shutil.copytree(backdoored.folder, tmp_path / name), name, name) for name in ("a", "b")]
    merged = merge(copies).state_dict()
    assert all(np.array_equal(merged[name].numpy(), tensor) for name, tensor in weights_of(backdoored).items())
