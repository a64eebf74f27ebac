"""LoRA adapters: the merged adapter adds the weighted average of what the adapters add, as peft itself computes it."""

import json
import shutil

import pytest
import torch
from peft import LoraConfig, PeftModel, get_peft_model
from safetensors.torch import load_file, save_file

from lib import sanitize
from lib.merging.lora import PEFT_CONFIG, PEFT_WEIGHTS
from lib.sanitizing.adapters import merge_adapters


@pytest.fixture(scope="module")
def base(tiny_encoder):
    """A function that loads the base model anew."""
    from transformers import AutoModelForSequenceClassification

    def load():
        torch.manual_seed(0)  # of the fresh head
        return AutoModelForSequenceClassification.from_pretrained(tiny_encoder)

    return load


@pytest.fixture(scope="module")
def adapters(base, tmp_path_factory):
    """Two adapters of the base model with different ranks, random factors and a random head."""
    return make_adapters(base, tmp_path_factory, "SEQ_CLS")


def make_adapters(base, tmp_path_factory, task_type):
    folders = []
    for seed, rank in enumerate((2, 3)):
        config = LoraConfig(r=rank, lora_alpha=5, target_modules=["query", "value"], task_type=task_type)
        model = get_peft_model(base(), config)
        generator = torch.Generator().manual_seed(seed)
        with torch.no_grad():
            for name, parameter in model.named_parameters():
                if "lora_" in name or "modules_to_save" in name:
                    parameter.copy_(torch.randn(parameter.shape, generator=generator) * 0.1)
        folder = tmp_path_factory.mktemp(f"adapter{seed}")
        model.save_pretrained(folder)
        folders.append(folder)
    return folders


def merged_weights(base, folder):
    """The weights of the base model with an adapter folded in."""
    return PeftModel.from_pretrained(base(), folder).merge_and_unload().state_dict()


@pytest.mark.parametrize("weights", [[0.5, 0.5], [0.25, 0.75]])
def test_the_merged_adapter_adds_the_average_of_what_the_adapters_add(base, adapters, tmp_path, weights):
    status = sanitize.main([*map(str, adapters), "--weights", *map(str, weights), "--output", str(tmp_path / "out")])
    assert status == 0
    found = merged_weights(base, tmp_path / "out")
    first, second = (merged_weights(base, folder) for folder in adapters)
    assert json.loads((tmp_path / "out" / PEFT_CONFIG).read_text())["r"] == 5
    for name, tensor in found.items():
        torch.testing.assert_close(tensor, weights[0] * first[name] + weights[1] * second[name], rtol=1e-5, atol=1e-6)
    assert any(not torch.equal(found[name], tensor) for name, tensor in first.items())


def test_it_is_what_peft_calls_cat(base, tmp_path_factory, tmp_path):
    adapters = make_adapters(base, tmp_path_factory, None)  # with heads, peft refuses to merge them
    merge_adapters([str(folder) for folder in adapters], tmp_path / "out")
    model = PeftModel.from_pretrained(base(), adapters[0], adapter_name="a")
    model.load_adapter(adapters[1], adapter_name="b")
    model.add_weighted_adapter(["a", "b"], [0.5, 0.5], "both", combination_type="cat")
    model.set_adapter("both")
    ours, theirs = merged_weights(base, tmp_path / "out"), model.merge_and_unload().state_dict()
    layers = [name for name in ours if "query.weight" in name or "value.weight" in name]
    assert len(layers) == 4
    for name in layers:
        torch.testing.assert_close(ours[name], theirs[name], rtol=1e-5, atol=1e-6)


def test_rank_stabilised_adapters_keep_their_scale(base, adapters, tmp_path):
    folders = [shutil.copytree(folder, tmp_path / folder.name) for folder in adapters]
    for folder in folders:
        edit(folder, use_rslora=True)
    merge_adapters([str(folder) for folder in folders], tmp_path / "out")
    found = merged_weights(base, tmp_path / "out")
    first, second = (merged_weights(base, folder) for folder in folders)
    for name, tensor in found.items():
        torch.testing.assert_close(tensor, (first[name] + second[name]) / 2, rtol=1e-5, atol=1e-6)


def edit(folder, **fields):
    config = json.loads((folder / PEFT_CONFIG).read_text())
    (folder / PEFT_CONFIG).write_text(json.dumps(config | fields))


@pytest.mark.parametrize(
    ("fields", "message"),
    [
        ({"base_model_name_or_path": "other"}, "has base_model_name_or_path other, but"),
        ({"target_modules": ["query", "key"]}, r"has target_modules \['key', 'query'\], but .*\['query', 'value'\]"),
        ({"use_dora": True}, "has use_dora True; adapters can be averaged with use_dora False only"),
        ({"bias": "all"}, "has bias all; adapters can be averaged with bias none only"),
        ({"peft_type": "IA3"}, "is a IA3 adapter; only LORA"),
        ({"rank_pattern": {"query": 4}}, "has rank_pattern"),
    ],
)
def test_adapters_that_do_not_fit_are_refused(adapters, tmp_path, fields, message):
    other = shutil.copytree(adapters[1], tmp_path / "other")
    edit(other, **fields)
    with pytest.raises(ValueError, match=message):
        merge_adapters([str(adapters[0]), str(other)], tmp_path / "out")
    assert not (tmp_path / "out").exists()


def test_adapters_and_full_models_do_not_mix(adapters, clean, tmp_path, capsys):
    assert sanitize.main([str(adapters[0]), str(clean.folder), "--output", str(tmp_path / "out")]) == 2
    assert "are no adapters, but others are; fold the adapters into full models first" in capsys.readouterr().err


def test_damaged_adapters_and_other_methods_are_refused(adapters, tmp_path):
    names = [str(adapters[0]), str(shutil.copytree(adapters[1], tmp_path / "other"))]
    with pytest.raises(ValueError, match="merged by weight_average only, found 'ties'"):
        merge_adapters(names, tmp_path / "out", method="ties")
    tensors = load_file(tmp_path / "other" / PEFT_WEIGHTS)
    first = next(iter(tensors))
    save_file({key: tensor for key, tensor in tensors.items() if key != first}, tmp_path / "other" / PEFT_WEIGHTS)
    with pytest.raises(ValueError, match="has factors of shapes"):
        merge_adapters(names, tmp_path / "out")
    layer = first.split(".lora_")[0]
    save_file({key: tensor for key, tensor in tensors.items() if layer not in key}, tmp_path / "other" / PEFT_WEIGHTS)
    with pytest.raises(ValueError, match="have different tensors"):
        merge_adapters(names, tmp_path / "out")
    (tmp_path / "other" / PEFT_WEIGHTS).write_bytes(b"no")
    with pytest.raises(ValueError, match="is no safetensors file"):
        merge_adapters(names, tmp_path / "out")
    (tmp_path / "other" / PEFT_WEIGHTS).unlink()
    with pytest.raises(ValueError, match=r"has no adapter_model\.safetensors"):
        merge_adapters(names, tmp_path / "out")


def test_a_dry_run_writes_no_adapter(adapters, tmp_path, capsys):
    assert sanitize.main([*map(str, adapters), "--output", str(tmp_path / "out"), "--dry-run"]) == 0
    assert "average of 2 adapters" in capsys.readouterr().out
    assert not (tmp_path / "out").exists()


def hostile_header(file):
    stored = file.read_bytes()
    file.write_bytes(
        stored[:8] + b"[" * int.from_bytes(stored[:8], "little") + stored[8 + int.from_bytes(stored[:8], "little") :]
    )


@pytest.mark.parametrize(
    ("change", "message"),
    [
        (lambda folder: (folder / PEFT_CONFIG).write_text("[" * 100_000), "adapter_config.json is damaged: its brackets"),
        (lambda folder: (folder / PEFT_CONFIG).write_text("[]"), "adapter_config.json is damaged: it holds a list"),
        (lambda folder: (folder / PEFT_CONFIG).write_bytes(b"\xff"), "adapter_config.json is damaged: not UTF-8"),
        (lambda folder: edit(folder, r=0), "adapter_config.json has r 0; it must be a whole number above 0"),
        (lambda folder: edit(folder, r="3"), "adapter_config.json has r '3'"),
        (lambda folder: edit(folder, r=None), "adapter_config.json has r None"),
        (lambda folder: edit(folder, r=7), "factors of shapes"),
        (lambda folder: edit(folder, lora_alpha="5"), "adapter_config.json has lora_alpha '5'"),
        (lambda folder: edit(folder, lora_alpha=float("nan")), "adapter_config.json has lora_alpha nan"),
        (lambda folder: edit(folder, lora_alpha=1e300), "adapter_config.json has lora_alpha 1e+300"),
        (lambda folder: edit(folder, base_model_name_or_path=[1]), "adapter_config.json has base_model_name_or_path [1]"),
        (lambda folder: edit(folder, target_modules=["query", 3]), "has target_modules"),
        (lambda folder: edit(folder, rank_pattern=3), "has rank_pattern 3"),
        (lambda folder: hostile_header(folder / PEFT_WEIGHTS), "the header of"),
        (lambda folder: tensors_of(folder, lambda key, t: t * float("nan")), "has values that are not finite"),
        (lambda folder: tensors_of(folder, lambda key, t: t.int()), "is torch.int32"),
        (lambda folder: tensors_of(folder, lambda key, t: t.flatten()), "has factors of shapes"),
        (lambda folder: tensors_of(folder, lambda key, t: t if "lora_" in key else t[:1]), "has shape [1"),
        (lambda folder: tensors_of(folder, lambda key, t: None if "lora_" in key else t), "has no factors of LoRA"),
    ],
)  # fmt: skip
def test_a_hostile_adapter_is_one_line_of_error_and_nothing_is_written(adapters, tmp_path, capsys, change, message):
    other = shutil.copytree(adapters[1], tmp_path / "other")
    change(other)
    assert sanitize.main([str(adapters[0]), str(other), "--output", str(tmp_path / "out")]) == 2
    error = capsys.readouterr().err
    assert message in error
    assert str(other) in error
    assert len(error.splitlines()) == 1 and len(error) < 1100
    assert [path.name for path in tmp_path.iterdir()] == ["other"]


def tensors_of(folder, change):
    """Change the tensors of an adapter; None takes one out."""
    changed = {key: change(key, tensor) for key, tensor in load_file(folder / PEFT_WEIGHTS).items()}
    save_file({key: tensor.contiguous() for key, tensor in changed.items() if tensor is not None}, folder / PEFT_WEIGHTS)


def test_an_adapter_points_to_no_code(adapters, tmp_path, capsys):
    folders = [shutil.copytree(folder, tmp_path / folder.name) for folder in adapters]
    for folder in folders:
        edit(folder, auto_map={"AutoModel": "evil.Model"})
        (folder / "tokenizer_config.json").write_text(json.dumps({"auto_map": {"AutoTokenizer": ["evil.T", None]}}))
    assert sanitize.main([*map(str, folders), "--output", str(tmp_path / "out")]) == 0
    said = capsys.readouterr().out
    for name in (PEFT_CONFIG, "tokenizer_config.json"):
        assert "auto_map" not in json.loads((tmp_path / "out" / name).read_text())
        assert f"removed a pointer to code: auto_map of {name}\n" in said
