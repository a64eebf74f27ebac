"""What points to code outside transformers does not travel into a merged model, and is named; everything else does."""

import json
import shutil

import pytest

from lib.folders import copy_model_files, without_code

CODE = {"AutoConfig": "evil--modeling_evil.Config", "AutoModelForSequenceClassification": "modeling_evil.Model"}


def edit(file, **fields):
    content = json.loads(file.read_text()) if file.is_file() else {}
    file.write_text(json.dumps(content | fields))


def test_pointers_to_code_are_left_out_and_named(run, folders):
    config, tokenizer = (json.loads((folders[0] / f"{name}.json").read_text()) for name in ("config", "tokenizer_config"))
    harmless = {"label2id": {"auto_map": 0, "positive": 1}, "max_length": 5}
    for folder in folders:
        edit(folder / "config.json", auto_map=CODE, custom_pipelines={"evil": {"impl": "evil.Pipe"}}, **harmless)
        edit(folder / "config.json", attn_implementation="evil/kernel", text_config={"auto_map": CODE, "hidden_size": 3})
        edit(folder / "tokenizer_config.json", auto_map={"AutoTokenizer": ["evil.Tokenizer", None]})
        edit(folder / "generation_config.json", auto_map=CODE, max_length=5)
    result = run(*folders)
    assert result.status == 0, result.error
    merged = {path.name: json.loads(path.read_text()) for path in result.folder.glob("*.json")}
    assert merged["config.json"] == config | harmless | {"text_config": {"hidden_size": 3}}
    assert merged["tokenizer_config.json"] == tokenizer
    assert merged["generation_config.json"] == {"max_length": 5}
    fields = ["attn_implementation", "auto_map", "custom_pipelines", "text_config.auto_map"]
    names = [f"{field} of config.json" for field in fields]
    names += ["auto_map of generation_config.json", "auto_map of tokenizer_config.json"]
    assert sorted(merged["merge.json"]["removed"]) == sorted(names)
    card = (result.folder / "README.md").read_text()
    assert "pointed to code" in card
    for name in names:
        assert f"removed a pointer to code: {name}\n" in result.out
        assert f"- {name}\n" in card


def test_a_model_without_code_is_copied_byte_for_byte_and_nothing_is_said(run, folders):
    result = run(*folders)
    for name in ("tokenizer.json", "tokenizer_config.json"):
        assert (result.folder / name).read_bytes() == (folders[0] / name).read_bytes()
    assert "removed" not in result.out
    assert "pointed to code" not in (result.folder / "README.md").read_text()


def test_files_of_code_with_a_tokenizers_name_are_not_copied(clean, tmp_path):
    source = shutil.copytree(clean.folder, tmp_path / "model")
    hostile = {"vocab.py", "vocab.pkl", "chat_template.py", "modeling_evil.py"}
    for name in hostile:
        (source / name).write_text("print('it ran')")
    (source / "chat_template.jinja").write_text("{{ messages }}")
    (tmp_path / "copy").mkdir()
    copied = copy_model_files(source, tmp_path / "copy")
    assert {"config.json", "tokenizer.json", "chat_template.jinja"} <= set(copied)
    assert not hostile & set(copied)
    assert set(copied) == {path.name for path in (tmp_path / "copy").iterdir()}


def test_a_copy_may_be_changed_where_the_original_may_not(clean, tmp_path):
    source = shutil.copytree(clean.folder, tmp_path / "model")
    (source / "config.json").chmod(0o444)
    (tmp_path / "copy").mkdir()
    copy_model_files(source, tmp_path / "copy")
    assert (tmp_path / "copy" / "config.json").stat().st_mode & 0o200


def test_a_merge_of_our_own_study_is_saved_without_code_too(study, backdoored, clean, tmp_path):
    from lib.models.checkpoints import load_checkpoint

    source = shutil.copytree(backdoored.folder, tmp_path / "model")
    edit(source / "config.json", auto_map=CODE)
    saved = study.merge([load_checkpoint(source), clean]).save(tmp_path / "saved")
    assert "auto_map" not in json.loads((saved / "config.json").read_text())


def test_a_model_that_is_nothing_but_code_of_its_own_is_refused_and_nobody_is_asked(clean, tmp_path, monkeypatch):
    from lib.models.pretrained import load_config

    monkeypatch.setattr("builtins.input", lambda *_: "y")
    source = shutil.copytree(clean.folder, tmp_path / "model")
    (source / "modeling_evil.py").write_text("open('it ran', 'w')")
    edit(source / "config.json", auto_map={"AutoConfig": "modeling_evil.Config"}, model_type="evil")
    monkeypatch.chdir(tmp_path)
    with pytest.raises(ValueError, match=r"model folder .*model could not be loaded"):
        load_config(str(source))
    assert not (tmp_path / "it ran").exists()


def test_only_names_of_kernels_on_the_hub_are_pointers_to_code():
    config = {"attn_implementation": "sdpa", "experts_implementation": {"": "grouped"}, "labels": ["auto_map"]}
    assert without_code(config) == (config, [])
    assert without_code({"_attn_implementation": {"vision": "a/b"}, "x\ny": {"auto_map": 1}}) == (
        {"x\ny": {}},
        ["_attn_implementation", "'x\\ny'.auto_map"],
    )
