"""Checkpoints that somebody broke on purpose: exit status 2, one line that names the file, nothing written, nothing run."""

import builtins
import io
import json
import os
import struct
from pathlib import Path

import pytest
import torch
from safetensors.torch import load_file

from lib.folders import MAX_DEPTH, parse_json, read_json
from lib.merging.files import INDEX, SINGLE

BRACKETS = "[" * 100_000
NESTED = '{"a":' * (MAX_DEPTH + 5) + "1" + "}" * (MAX_DEPTH + 5)
SHARD = "model-00001-of-00001.safetensors"
NEEDS = "tensor 'classifier.bias' needs dtype, shape and data_offsets"


def fields(**changed):
    """Change fields of config.json."""

    def change(folder):
        config = json.loads((folder / "config.json").read_text())
        (folder / "config.json").write_text(json.dumps(config | changed))

    return change


def content(name, text):
    """Put another content into a file."""
    return lambda folder: (folder / name).write_bytes(text if isinstance(text, bytes) else text.encode())


def header(edit):
    """Change the header of the weights."""

    def change(folder):
        stored = (folder / SINGLE).read_bytes()
        length = int.from_bytes(stored[:8], "little")
        found = json.loads(stored[8 : 8 + length])
        text = json.dumps(edit(found) or found).encode()
        (folder / SINGLE).write_bytes(struct.pack("<Q", len(text)) + text + stored[8 + length :])

    return change


def entry(**changed):
    """Change fields of the header's entry of one tensor; None takes a field out."""

    def edit(found):
        kept = found["classifier.bias"] | changed
        found["classifier.bias"] = {field: value for field, value in kept.items() if value is not None}

    return header(edit)


def overlapping(found):
    """Two tensors in one place, and a hole where the other was."""
    one, other, *_ = [key for key in found if key.endswith("LayerNorm.bias")]
    found[other]["data_offsets"] = found[one]["data_offsets"]


def index(weight_map):
    """Weights in one shard, with an index that maps them, changed by a function or replaced."""

    def change(folder):
        (folder / SINGLE).rename(folder / SHARD)
        usual = dict.fromkeys(load_file(folder / SHARD), SHARD)
        mapped = weight_map(usual) if callable(weight_map) else weight_map
        (folder / INDEX).write_text(json.dumps({"metadata": {}, "weight_map": mapped}))

    return change


def index_text(text):
    """An index of another content."""
    return lambda folder: [index({})(folder), content(INDEX, text)(folder)]


def instead(name, make):
    """Something that is no file in the place of one."""
    return lambda folder: [(folder / name).unlink(), make(folder / name)]


def loop(path):
    path.symlink_to(path.name)


def pickled(what):
    """A pickle in the place of the weights."""
    return lambda folder: [(folder / SINGLE).unlink(), torch.save(what, folder / "pytorch_model.bin")]


# What is done to the second of two models, and a part of the error.
HOSTILE = {
    "config of brackets": (content("config.json", BRACKETS), "config.json is damaged: its brackets are nested too deeply"),
    "config nested": (content("config.json", NESTED), "config.json is damaged: its brackets are nested too deeply"),
    "config empty": (content("config.json", ""), "config.json is damaged: no JSON"),
    "config cut short": (content("config.json", '{"model_type": "be'), "config.json is damaged: no JSON"),
    "config of NUL bytes": (content("config.json", b"\0" * 1000), "config.json is damaged: no JSON"),
    "config not UTF-8": (content("config.json", b'{"model_type": "b\xff"}'), "config.json is damaged: not UTF-8 at byte 17"),
    "config in UTF-16": (content("config.json", '{"a": 1}'.encode("utf-16")), "config.json is damaged: not UTF-8"),
    "config is a list": (content("config.json", "[]"), "config.json is damaged: it holds a list; an object is needed"),
    "config is a number": (content("config.json", "7"), "config.json is damaged: it holds a int"),
    "config with a long number": (content("config.json", '{"a": ' + "9" * 5000 + "}"), "config.json is damaged: no JSON"),
    "config is a folder": (instead("config.json", os.mkdir), "has no config.json"),
    "config is a loop": (instead("config.json", loop), "has no config.json"),
    "config is a pipe": (instead("config.json", os.mkfifo), "has no config.json"),
    "config is endless": (instead("config.json", lambda path: path.symlink_to("/dev/zero")), "has no config.json"),
    "id2label is a list": (fields(id2label=["negative", "positive"]), "config.json has id2label ['negative', 'positive'];"),
    "id2label is text": (fields(id2label="negative"), "config.json has id2label 'negative'; it must map 0, 1, ... to names"),
    "id2label of words": (fields(id2label={"a": "b"}), "config.json has id2label {'a': 'b'}"),
    "id2label with a gap": (fields(id2label={"0": "a", "7": "b"}), "config.json has id2label {'0': 'a', '7': 'b'}"),
    "id2label without names": (fields(id2label={"0": ["a"], "1": None}), "config.json has id2label {'0': ['a']"),
    "id2label steers terminals": (fields(id2label={"0": "a\n---", "1": "\x1b[2J"}), "config.json has id2label"),
    "id2label is long": (fields(id2label={"0": ["x" * 10**6]}), "config.json has id2label {'0': ['xxx"),
    "num_labels is huge": (fields(num_labels=10**9), "config.json has 2 labels, but num_labels is 1000000000"),
    "num_labels is text": (fields(num_labels="two"), "config.json has 2 labels, but num_labels is 'two'"),
    "architectures is a number": (fields(architectures=5), "config.json has architectures 5; it must be of type list"),
    "architectures has numbers": (fields(architectures=[5]), "config.json has architectures [5]; they must be names"),
    "model_type is a list": (fields(model_type=["bert"]), "config.json has model_type ['bert']; it must be of type str"),
    "vocab_size is text": (fields(vocab_size="99"), "config.json has vocab_size '99'; it must be of type int"),
    "vocab_size is endless": (fields(vocab_size=float("inf")), "config.json has vocab_size inf; it must be of type int"),
    "quantization_config is text": (fields(quantization_config="x"), "config.json has quantization_config 'x'; it must be"),
    "generation config of brackets": (content("generation_config.json", BRACKETS), "generation_config.json is damaged"),
    "tokenizer config is a list": (content("tokenizer_config.json", "[1]"), "tokenizer_config.json is damaged: it holds a li"),
    "tokenizer config of brackets": (content("tokenizer_config.json", BRACKETS), "tokenizer_config.json is damaged"),
    "tokenizer of brackets": (content("tokenizer.json", BRACKETS), "tokenizer.json is damaged: its brackets"),
    "tokenizer empty": (content("tokenizer.json", ""), "tokenizer.json is damaged: no JSON"),
    "tokenizer without a model": (content("tokenizer.json", "{}"), "other could not be loaded"),
    "tokenizer of no known kind": (content("tokenizer.json", '{"model": {"type": "Evil"}}'), "other could not be loaded"),
    "special tokens not UTF-8": (content("special_tokens_map.json", b"\xff\xfe"), "special_tokens_map.json is damaged"),
    "weights empty": (content(SINGLE, b""), "model.safetensors is no safetensors file: 0 bytes"),
    "weights with an endless header": (content(SINGLE, b"\xff" * 100), "model.safetensors is no safetensors file"),
    "weights are a folder": (instead(SINGLE, os.mkdir), "other has none of"),
    "weights are a loop": (instead(SINGLE, loop), "other has none of"),
    "weights are a pipe": (instead(SINGLE, os.mkfifo), "other has none of"),
    "header of brackets": (content(SINGLE, struct.pack("<Q", 100_000) + BRACKETS.encode()), "the header of"),
    "header not UTF-8": (content(SINGLE, struct.pack("<Q", 4) + b'{"\xff"}'), "the header of"),
    "header is a list": (header(list), "model.safetensors is damaged: it holds a list"),
    "header without tensors": (content(SINGLE, struct.pack("<Q", 2) + b"{}"), "model.safetensors has no tensors"),
    "entry is a number": (header(lambda found: found | {"classifier.bias": 7}), NEEDS),
    "entry without a type": (entry(dtype=None), "model.safetensors: tensor 'classifier.bias' has type None"),
    "entry without a shape": (entry(shape=None), NEEDS),
    "entry without offsets": (entry(data_offsets=None), NEEDS),
    "type is a list": (entry(dtype=["F32"]), "model.safetensors: tensor 'classifier.bias' has type ['F32']"),
    "type is unknown": (entry(dtype="F31"), "tensor 'classifier.bias' has type 'F31'; known are"),
    "shape is text": (entry(shape="2"), NEEDS),
    "shape has text": (entry(shape=["2"]), NEEDS),
    "shape is negative": (entry(shape=[-1, -2]), NEEDS),
    "shape is a fraction": (entry(shape=[2.0]), NEEDS),
    "shape is true": (entry(shape=[2, True]), NEEDS),
    "shape is huge and empty": (entry(shape=[2**62, 0], data_offsets=[0, 0]), "tensor 'classifier.bias' has shape [46116860"),
    "shape has too many axes": (entry(shape=[2] + [1] * 500), "tensor 'classifier.bias' has shape [2, 1, 1,"),
    "offsets are negative": (entry(data_offsets=[-8, 0]), NEEDS),
    "offsets are text": (entry(data_offsets=["0", "8"]), NEEDS),
    "offsets are three": (entry(data_offsets=[0, 8, 16]), NEEDS),
    "offsets run backwards": (entry(data_offsets=[8, 0]), "tensor 'classifier.bias' takes -8 bytes"),
    "offsets are beyond the file": (entry(data_offsets=[2**63, 2**63 + 8]), "model.safetensors has a damaged header"),
    "tensors overlap": (header(overlapping), "model.safetensors has a damaged header"),
    "index of brackets": (index_text(BRACKETS), "model.safetensors.index.json is damaged: its brackets"),
    "index without a map": (index_text("{}"), "model.safetensors.index.json is damaged: weight_map is None"),
    "index maps a list": (index(["a"]), "model.safetensors.index.json is damaged: weight_map is ['a']"),
    "index maps nothing": (index({}), "model.safetensors.index.json is damaged: weight_map is {}"),
    "index maps to numbers": (index({"a": 1}), "model.safetensors.index.json is damaged: 'a' is in 1"),
    "index leaves the folder": (index({"a": "../suspect/model.safetensors"}), "index.json is damaged: 'a' is in '../suspect"),
    "index maps to the root": (index({"a": "/etc/passwd"}), "index.json is damaged: 'a' is in '/etc/passwd'"),
    "index maps to other files": (index({"a": "config.json"}), "index.json is damaged: 'a' is in 'config.json'"),
    "index maps to NUL": (index({"a": "a\0.safetensors"}), "index.json is damaged: 'a' is in 'a\\x00.safetensors'"),
    "index has another tensor": (index(lambda usual: usual | {"evil": SHARD}), "disagree on where ['evil'] are"),
    "pickle is a list": (pickled([1, 2]), "pytorch_model.bin could not be read as plain tensors"),
    "pickle holds numbers": (pickled({"a": 1}), "pytorch_model.bin could not be read as plain tensors: 'a' is a int"),
    "pickle is nested": (pickled({"model": {"a": torch.zeros(2)}}), "as plain tensors: 'model' is a dict"),
    "pickle holds sparse tensors": (pickled({"a": torch.eye(3).to_sparse()}), "as plain tensors: 'a' is a Tensor"),
    "pickle is empty": (pickled({}), "pytorch_model.bin has no tensors"),
}


@pytest.mark.parametrize("name", HOSTILE)
def test_a_hostile_checkpoint_is_one_line_of_error_and_nothing_is_written(run, folders, name):
    change, message = HOSTILE[name]
    change(folders[1])
    before = {path: path.lstat().st_mtime_ns for path in sorted(folders[1].rglob("*"))}
    result = run(*folders)
    assert result.status == 2
    assert message in result.error
    assert str(folders[1]) in result.error
    assert result.error.startswith("error: ")
    assert len(result.error.splitlines()) == 1
    assert len(result.error) < 1100
    assert result.error.rstrip("\n").isprintable()
    assert not result.folder.exists()
    assert sorted(path.name for path in folders[0].parent.iterdir()) == ["other", "suspect"]
    assert {path: path.lstat().st_mtime_ns for path in sorted(folders[1].rglob("*"))} == before


@pytest.mark.parametrize("name", ["config.json", "tokenizer.json", "tokenizer_config.json", SINGLE])
def test_a_file_that_may_not_be_read_is_named(run, folders, monkeypatch, name):
    usual = io.open

    def refuse(file, *arguments, **settings):
        if str(file) == str(folders[1] / name):
            raise PermissionError(13, "Permission denied", str(file))
        return usual(file, *arguments, **settings)

    monkeypatch.setattr(io, "open", refuse)
    monkeypatch.setattr(builtins, "open", refuse)
    monkeypatch.setattr(Path, "read_bytes", lambda path: refuse(path, "rb").read())
    result = run(*folders)
    assert (result.status, result.folder.exists()) == (2, False)
    assert result.error == f"error: {folders[1] / name} could not be read: Permission denied\n"


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (["~nobody-of-this-name/model"], "model folder '~nobody-of-this-name/model' could not be opened"),
        ([""], "model folder '' does not exist"),
        (["x" * 5000], "File name too long"),
        (["{other}", "--texts", "{other}", "--method", "regmean"], "other could not be read: Is a directory"),
        (["{other}", "--texts", "{other}/model.safetensors", "--method", "regmean"], "could not be read: it is not UTF-8"),
        (["{other}", "--evaluate", "{other}/model.safetensors"], "model.safetensors is not UTF-8"),
        (["{other}", "--weights", "nan", "nan"], "weights are [nan, nan]; every weight must be finite"),
        (["{other}", "--weights", "inf", "1"], "weights are [inf, 1.0]; every weight must be finite"),
        (["{other}", "--set", "seed", BRACKETS], "unknown settings ['seed']"),
    ],
    ids=lambda value: " ".join(value)[:40] if isinstance(value, list) else value[:30],
)
def test_hostile_arguments_are_one_line_of_error(run, folders, arguments, message):
    result = run(folders[0], *(argument.format(other=folders[1]) for argument in arguments))
    assert (result.status, result.folder.exists()) == (2, False)
    assert message in result.error
    assert len(result.error.splitlines()) == 1
    assert len(result.error) < 1100


def test_json_is_read_up_to_the_deepest_bracket_that_is_allowed(tmp_path):
    deep = '{"a":' * MAX_DEPTH + "1" + "}" * MAX_DEPTH
    assert parse_json(deep.encode(), "here")["a"]
    with pytest.raises(ValueError, match="here is damaged: its brackets are nested too deeply"):
        parse_json(f'{{"a":{deep}}}'.encode(), "here")
    with pytest.raises(ValueError, match=r"none\.json is no file that can be read"):
        read_json(tmp_path / "none.json")
    (tmp_path / "large.json").touch()
    os.truncate(tmp_path / "large.json", 10**9)
    with pytest.raises(ValueError, match=r"large\.json has 1000000000 bytes; at most 100000000 are read"):
        read_json(tmp_path / "large.json")
