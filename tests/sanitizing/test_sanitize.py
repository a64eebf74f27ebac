"""The command that merges real checkpoints: complete output, equal to a merge in memory, one clear error for bad input."""

import json
import shutil
import subprocess
import sys
from types import SimpleNamespace

import numpy as np
import pytest
import torch
from safetensors import safe_open
from safetensors.torch import load_file, save_file

from lib.merging import MERGE_METHODS, merge_state_dicts
from lib.merging.files import INDEX, SINGLE
from lib.merging.sources import StateDictSource
from lib.models.compatibility import PermutedHead


@pytest.fixture
def third(clean, tmp_path):
    """Another model: the clean one, slightly moved."""
    folder = shutil.copytree(clean.folder, tmp_path / "third")
    generator = torch.Generator().manual_seed(0)
    moved = {k: v + 0.01 * torch.randn(v.shape, generator=generator) for k, v in load_file(folder / SINGLE).items()}
    save_file(moved, folder / SINGLE)
    return folder


def shard(folder, n):
    """Cut a model's weights into n shards."""
    tensors = load_file(folder / SINGLE)
    weight_map = {key: f"model-{i * n // len(tensors) + 1:05d}-of-{n:05d}.safetensors" for i, key in enumerate(tensors)}
    for file in set(weight_map.values()):
        save_file({key: tensor for key, tensor in tensors.items() if weight_map[key] == file}, folder / file)
    (folder / INDEX).write_text(json.dumps({"metadata": {}, "weight_map": weight_map}))
    (folder / SINGLE).unlink()


def weights_of(folder):
    return {key: tensor for file in sorted(folder.glob("*.safetensors")) for key, tensor in load_file(file).items()}


def edit_config(folder, **fields):
    config = json.loads((folder / "config.json").read_text())
    (folder / "config.json").write_text(
        json.dumps({key: value for key, value in (config | fields).items() if value is not None})
    )


# --- what is written ----------------------------------------------------------------------------------------------------


def test_the_output_is_a_complete_model_with_card_and_provenance(run, folders):
    from transformers import AutoModelForSequenceClassification, AutoTokenizer

    result = run(*folders, "--weights", "0.25", "0.75")
    assert result.status == 0, result.error
    model = AutoModelForSequenceClassification.from_pretrained(result.folder)
    expected = merge_state_dicts([load_file(folder / SINGLE) for folder in folders], weights=[0.25, 0.75])
    assert all(torch.equal(model.state_dict()[name], tensor) for name, tensor in expected.items())
    assert model.config.id2label == {0: "negative", 1: "positive"}
    assert AutoTokenizer.from_pretrained(result.folder)("a good film").input_ids
    card = (result.folder / "README.md").read_text()
    assert "A merge by weight_average" in card
    assert all(f"| {folder} |" in card for folder in folders)
    provenance = json.loads((result.folder / "merge.json").read_text())
    assert provenance["settings"]["weights"] == [0.25, 0.75]
    digests = [next(iter(parent["files"].values())) for parent in provenance["parents"]]
    assert all(len(digest) == 64 for digest in digests) and digests[0] != digests[1]
    assert not list(result.folder.parent.glob(".*"))


STREAMED = sorted(set(MERGE_METHODS) - {"fisher", "regmean", "slerp"})


@pytest.mark.parametrize("n_shards", [1, 3])
@pytest.mark.parametrize("method", STREAMED)
def test_streaming_and_memory_give_equal_bits_with_one_shard_and_with_many(run, folders, third, tiny_encoder, method, n_shards):
    models = [*folders, third, *folders[:2]]
    states = [load_file(folder / SINGLE) for folder in models]
    settings = {"pretrained": start_of(tiny_encoder), "head": "average"} if "pretrained" in MERGE_METHODS[method].needs else {}
    expected = merge_state_dicts(states, method, **settings)
    if n_shards > 1:
        shard(folders[0], n_shards)
    arguments = ["--pretrained", tiny_encoder, "--head", "average"] if settings else []
    result = run(*models, "--method", method, *arguments)
    assert result.status == 0, result.error
    merged = weights_of(result.folder)
    assert merged.keys() == expected.keys()
    assert all(torch.equal(merged[name], tensor) for name, tensor in expected.items())
    assert len(list(result.folder.glob("*.safetensors"))) == n_shards


def start_of(tiny_encoder):
    """The bare encoder under the classifiers' names."""
    return {f"bert.{key}": tensor for key, tensor in load_file(tiny_encoder / SINGLE).items()}


@pytest.mark.parametrize("method", ["fisher", "regmean"])
def test_methods_that_measure_take_clean_texts(run, folders, method, tmp_path):
    (tmp_path / "texts.txt").write_text("a good film .\nan awful plot !\n\nthe actor was great .\n")
    assert "give a file of them with --texts" in run(*folders, "--method", method).error
    result = run(*folders, "--method", method, "--texts", tmp_path / "texts.txt")
    assert result.status == 0, result.error
    average = merge_state_dicts([load_file(folder / SINGLE) for folder in folders])
    merged = weights_of(result.folder)
    assert not torch.equal(merged["classifier.weight"], average["classifier.weight"])
    assert all(torch.isfinite(tensor).all() for tensor in merged.values())


def test_shards_have_an_index_that_transformers_reads(run, folders):
    from transformers import AutoModelForSequenceClassification

    shard(folders[0], 3)
    result = run(*folders, "--dtype", "bfloat16")
    model = AutoModelForSequenceClassification.from_pretrained(result.folder)
    assert {tensor.dtype for tensor in weights_of(result.folder).values()} == {torch.bfloat16}
    assert json.loads((result.folder / "config.json").read_text())["dtype"] == "bfloat16"
    assert model.num_labels == 2
    with safe_open(next(result.folder.glob("*.safetensors")), "pt") as file:
        assert file.metadata() == {"format": "pt"}


def test_a_decoder_of_another_head_is_merged_too(run, tmp_path, tiny_encoder):
    from transformers import LlamaConfig, LlamaForCausalLM

    config = LlamaConfig(
        vocab_size=50,
        hidden_size=16,
        intermediate_size=32,
        num_hidden_layers=2,
        num_attention_heads=2,
        tie_word_embeddings=True,
    )
    for name in "ab":
        LlamaForCausalLM(config).to(torch.bfloat16).save_pretrained(tmp_path / name)
        for file in tiny_encoder.glob("tokenizer*"):
            shutil.copy(file, tmp_path / name)
    result = run(tmp_path / "a", tmp_path / "b", "--report")
    assert result.status == 0, result.error
    model = LlamaForCausalLM.from_pretrained(result.folder)
    assert model.lm_head.weight is model.model.embed_tokens.weight
    first, second = weights_of(tmp_path / "a"), weights_of(tmp_path / "b")
    key = "model.layers.1.mlp.up_proj.weight"
    expected = ((first[key].float() + second[key].float()) / 2).to(torch.bfloat16)
    assert torch.equal(weights_of(result.folder)[key], expected)
    assert "model.layers.0" in result.out


def test_tied_tensors_that_a_file_holds_twice_are_written_once(run, tmp_path, folders):
    for folder in folders:
        tensors = load_file(folder / SINGLE)
        key = "bert.embeddings.word_embeddings.weight"
        save_file(tensors | {"cls.predictions.decoder.weight": tensors[key].clone()}, folder / SINGLE)
    result = run(*folders)
    assert result.status == 0, result.error
    assert "cls.predictions.decoder.weight" not in weights_of(result.folder)
    edit_config(folders[0], tie_word_embeddings=False)
    assert "cls.predictions.decoder.weight" in weights_of(run(*folders, output=tmp_path / "untied").folder)


def test_pickled_weights_are_read_as_plain_tensors_only(run, folders):
    tensors = load_file(folders[1] / SINGLE)
    (folders[1] / SINGLE).unlink()
    torch.save(tensors, folders[1] / "pytorch_model.bin")
    assert run(*folders).status == 0

    class Hostile:
        def __reduce__(self):
            return (print, ("it ran",))

    torch.save(tensors | {"x": Hostile()}, folders[1] / "pytorch_model.bin")
    result = run(*folders, output=folders[0].parent / "again")
    assert result.status == 2
    assert "could not be read as plain tensors" in result.error
    assert "it ran" not in result.out


def test_code_beside_the_weights_is_not_copied(run, folders):
    (folders[0] / "modeling_evil.py").write_text("print('it ran')")
    result = run(*folders)
    assert not (result.folder / "modeling_evil.py").exists()
    assert not (result.folder / "training.json").exists()


# --- options ------------------------------------------------------------------------------------------------------------


def test_a_dry_run_says_what_would_be_done_and_writes_nothing(run, folders):
    result = run(*folders, "--dry-run")
    assert result.status == 0
    assert "weight_average of 2 models" in result.out
    assert "nothing was written" in result.out
    assert sorted(path.name for path in result.folder.parent.iterdir()) == ["other", "suspect"]


def test_an_evaluation_shows_cacc_and_asr_before_and_after(run, folders, data_folder):
    test = data_folder / "sst2" / "test.tsv"
    result = run(*folders, "--evaluate", test, "--trigger", "cf", "--target-label", "0")
    assert result.status == 0, result.error
    rows = {line.split("|")[1].strip(): line for line in result.out.splitlines() if line.startswith("| ")}
    assert {"suspect", "merged"} <= rows.keys()
    assert "| 100.0 %" in rows["suspect"]  # of the CACC or the ASR of a model that fits its toy data
    clean_only = run(*folders, "--evaluate", test, output=result.folder.parent / "second")
    assert "ASR" not in clean_only.out
    assert "CACC" in clean_only.out


def test_a_sentence_is_inserted_as_a_sentence(run, folders, data_folder):
    result = run(*folders, "--evaluate", data_folder / "sst2" / "test.tsv", "--trigger", "no cross", "--target-label", "0")
    assert result.status == 0, result.error
    assert "ASR" in result.out


def test_the_report_names_the_model_that_stands_out(run, folders, third):
    tensors = {key: tensor * 3 for key, tensor in load_file(third / SINGLE).items()}
    save_file(tensors, third / SINGLE)
    result = run(*folders, third, "--report")
    assert result.status == 0, result.error
    assert f"Farthest from the average: {third}" in result.out
    rows = (result.folder / "report.csv").read_text().splitlines()
    assert rows[0] == "layer,model,distance_to_average,distance_to_others,z"
    assert any(row.startswith("bert.encoder.layer.1,") for row in rows)
    states = [load_file(folder / SINGLE) for folder in (*folders, third)]
    mean = merge_state_dicts(states)
    expected = np.sqrt(sum(float((states[0][key] - mean[key]).double().square().sum()) for key in mean))
    whole = next(row.split(",") for row in rows if row.startswith(f"all,{folders[0]},"))
    assert float(whole[2]) == pytest.approx(expected, rel=1e-5)


def test_heads_in_another_order_are_refused_unless_they_are_permuted(run, folders):
    tensors = load_file(folders[1] / SINGLE)
    flipped = tensors | {key: tensors[key].flip(0) for key in ("classifier.weight", "classifier.bias")}
    save_file(flipped, folders[1] / SINGLE)
    edit_config(folders[1], id2label={"0": "positive", "1": "negative"}, label2id={"positive": 0, "negative": 1})
    refused = run(*folders)
    assert refused.status == 2
    assert "the names are equal: permute the heads explicitly" in refused.error
    result = run(*folders, "--permute-heads")
    expected = merge_state_dicts([load_file(folders[0] / SINGLE), tensors])
    assert all(torch.equal(weights_of(result.folder)[name], tensor) for name, tensor in expected.items())


def test_a_permuted_head_takes_its_fisher_information_along(folders, monkeypatch):
    from lib.sanitizing import model_folders

    edit_config(folders[1], id2label={"0": "positive", "1": "negative"}, label2id={"positive": 0, "negative": 1})
    fishers = {key: torch.rand(tensor.shape) for key, tensor in load_file(folders[0] / SINGLE).items()}
    known = {"fishers": [StateDictSource(fishers, name) for name in "ab"]}
    monkeypatch.setattr(model_folders, "measured", lambda *_: dict(known))
    models = model_folders.open_models([str(folder) for folder in folders], permute_heads=True)
    first, second = models.plan("fisher").merge.statistics["fishers"]
    assert torch.equal(first.rows("classifier.weight", 0, 2), fishers["classifier.weight"])
    assert torch.equal(second.rows("classifier.weight", 0, 2), fishers["classifier.weight"].flip(0))


def test_a_permuted_head_needs_a_permutation_and_a_head():
    source = StateDictSource({"classifier.weight": torch.zeros(2, 3)}, "m")
    with pytest.raises(ValueError, match=r"order is \[0, 0\]; it must be a permutation of 0 to 1"):
        PermutedHead(source, [0, 0])
    with pytest.raises(ValueError, match=r"'classifier.weight' has 2 rows for 3 labels"):
        PermutedHead(source, [2, 1, 0])
    with pytest.raises(ValueError, match="m has no classification head"):
        PermutedHead(StateDictSource({"w": torch.zeros(2)}, "m"), [1, 0])


def test_nameless_labels_are_refused_unless_the_caller_knows(run, folders):
    for folder in folders:
        edit_config(folder, id2label={"0": "LABEL_0", "1": "LABEL_1"})
    result = run(*folders)
    assert result.status == 2
    assert "whose labels have no names" in result.error
    assert run(*folders, "--same-labels").status == 0


# --- bad input: one clear message, nothing left behind --------------------------------------------------------------------


def damage(folder, kind):
    tensors = load_file(folder / SINGLE)
    if kind == "nan":
        tensors["classifier.bias"][0] = float("nan")
        save_file(tensors, folder / SINGLE)
    elif kind == "truncated":
        (folder / SINGLE).write_bytes((folder / SINGLE).read_bytes()[:-100])
    elif kind == "garbage":
        (folder / SINGLE).write_bytes(b"not a model at all")
    elif kind == "header":
        (folder / SINGLE).write_bytes((10).to_bytes(8, "little") + b"{not json}")
    elif kind == "missing shard":
        shard(folder, 3)
        (folder / "model-00002-of-00003.safetensors").unlink()
    elif kind == "index":
        shard(folder, 2)
        index = json.loads((folder / INDEX).read_text())
        index["weight_map"]["classifier.bias"] = "model-00001-of-00002.safetensors"
        (folder / INDEX).write_text(json.dumps(index))
    elif kind == "no weights":
        (folder / SINGLE).unlink()
    elif kind == "no config":
        (folder / "config.json").unlink()
    elif kind == "vocabulary":
        tokenizer = json.loads((folder / "tokenizer.json").read_text())
        vocabulary = tokenizer["model"]["vocab"]
        vocabulary["gooood"] = vocabulary.pop("good")
        (folder / "tokenizer.json").write_text(json.dumps(tokenizer))
    elif kind == "missing tensor":
        del tensors["classifier.bias"]
        save_file(tensors, folder / SINGLE)


@pytest.mark.parametrize(
    ("kind", "message"),
    [
        ("nan", "tensor 'classifier.bias' has values that are not finite"),
        ("truncated", "is truncated or damaged"),
        ("garbage", "is no safetensors file"),
        ("header", "the header of .* is damaged: no JSON"),
        ("missing shard", r"lacks 1 of 3 shards: \['model-00002-of-00003.safetensors'\]"),
        ("index", r"disagree on where \['classifier.bias'\] are"),
        ("no weights", "has none of"),
        ("no config", "has no config.json"),
        ("vocabulary", "have different tokenizers"),
        ("missing tensor", r"1 missing \['classifier.bias'\]"),
    ],
)
def test_damaged_models_are_refused_and_nothing_is_left(run, folders, kind, message):
    import re

    damage(folders[1], kind)
    result = run(*folders)
    assert result.status == 2
    assert re.search(message, result.error), result.error
    assert str(folders[1]) in result.error
    assert not result.folder.exists()
    assert sorted(path.name for path in folders[0].parent.iterdir()) == ["other", "suspect"]


@pytest.mark.parametrize(
    ("fields", "message"),
    [
        ({"hidden_size": 64}, "has hidden_size 64, but"),
        ({"model_type": "roberta"}, "has model_type roberta"),
        ({"id2label": {"0": "not_offensive", "1": "offensive"}}, "has labels ['not_offensive', 'offensive']"),
        ({"quantization_config": {"quant_method": "bitsandbytes"}}, "is quantised (bitsandbytes)"),
    ],
)
def test_models_that_do_not_fit_are_refused(run, folders, fields, message):
    edit_config(folders[1], **fields)
    result = run(*folders)
    assert (result.status, result.folder.exists()) == (2, False)
    assert message in result.error


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (["--weights", "0.7", "0.7"], "sum to 1.4; they must sum to 1"),
        (["--weights", "1"], "1 weights for 2 models"),
        (["--method", "wag"], "unknown merge method 'wag'; choose from"),
        (["--method", "ties"], "ties needs pretrained"),
        (["--method", "ties", "--density", "0", "--pretrained", "{encoder}"], "density is 0.0; it must lie in (0, 1]"),
        (["--method", "ties", "--density", "1.1", "--pretrained", "{encoder}"], "density is 1.1"),
        (["--method", "ties", "--pretrained", "{encoder}"], "give the initial state of the fine-tuning, head included"),
        (["--method", "median"], "a median takes 3 models or more, found 2"),
        (["--density", "0.5"], "unknown settings ['density']"),
        (["--set", "n_byzantine", "1"], "unknown settings ['n_byzantine']"),
        (["--trigger", "cf"], "need test texts: give them with --evaluate"),
        (["--evaluate", "{test}", "--trigger", "cf"], "--trigger and --target-label go together"),
        (["--evaluate", "{test}", "--trigger", "cf", "--target-label", "7"], "target label is 7; it must lie in [0, 1]"),
        (["--evaluate", "nowhere.tsv"], "test file nowhere.tsv does not exist"),
        (["--pretrained", "./nowhere", "--method", "ties"], "model folder './nowhere' does not exist"),
    ],
)  # fmt: skip
def test_arguments_that_make_no_sense_are_refused_before_anything_is_written(
    run, folders, tiny_encoder, data_folder, arguments, message
):
    known = {"encoder": tiny_encoder, "test": data_folder / "sst2" / "test.tsv"}
    result = run(*folders, *(argument.format(**known) for argument in arguments))
    assert (result.status, result.folder.exists()) == (2, False)
    assert message in result.error


def test_an_output_folder_that_exists_is_not_touched(run, folders, tmp_path):
    (tmp_path / "merged").mkdir()
    (tmp_path / "merged" / "mine.txt").write_text("mine")
    result = run(*folders)
    assert result.status == 2
    assert "exists; give a new one" in result.error
    assert [path.name for path in result.folder.iterdir()] == ["mine.txt"]


def test_a_disk_without_space_is_found_before_writing(run, folders, monkeypatch):
    monkeypatch.setattr(shutil, "disk_usage", lambda folder: SimpleNamespace(free=1000))
    result = run(*folders)
    assert result.status == 2
    assert "GiB free" in result.error


def test_a_disk_that_fills_up_leaves_nothing(run, folders, monkeypatch):
    from lib.sanitizing import plan

    def full(merge, folder, progress):
        (folder / SINGLE).write_bytes(b"half")
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(plan, "save_merge", full)
    result = run(*folders)
    assert result.status == 1
    assert "No space left on device" in result.error
    assert sorted(path.name for path in folders[0].parent.iterdir()) == ["other", "suspect"]


def test_a_folder_that_does_not_exist_is_named(run, folders):
    result = run(folders[0], folders[0].parent / "nowhere")
    assert result.status == 2
    assert "nowhere" in result.error


def test_the_module_is_a_command_with_an_exit_status(folders, tmp_path):
    command = [sys.executable, "-m", "lib.sanitize", *map(str, folders), "--output", str(tmp_path / "out")]
    done = subprocess.run([*command, "--dry-run"], capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
    done = subprocess.run([*command, "--method", "wag"], capture_output=True, text=True, check=False)
    assert done.returncode == 2
    assert done.stderr.startswith("error: unknown merge method 'wag'")
