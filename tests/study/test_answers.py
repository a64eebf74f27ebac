"""Answers without weights: tables are made again from them without a training, and they hold neither weights nor texts."""

import json
import shutil
import zipfile

import pandas as pd
import pytest

from lib.answers import main
from lib.models.adapters import ANSWERS_ONLY, read_weights
from lib.paths import MANIFEST
from lib.study.answers import ANSWERS, INDEX, forget_answers, has_all_answers, keep_answers, restore_answers
from lib.study.making import Maker
from lib.study.store import Store
from lib.tables import merging_table

CASE = (["sst2"], ["badnet"], "")


def write_manifest(figures, study, **others):
    """A manifest of one table, and of others."""
    table = {"notebook": "04_merging_sanitizes", "runs": sorted(study.used_keys)}
    (figures / MANIFEST).write_text(json.dumps({"04_merging": table, **others}), encoding="utf-8")


@pytest.fixture(scope="module")
def held(tmp_path_factory, make_study, study):
    """A folder with a manifest of one table and the answers behind it, and the table."""
    figures, own = tmp_path_factory.mktemp("figures"), make_study(study.store.root)  # uses what this table uses, no more
    table = merging_table(own, *CASE)
    write_manifest(figures, own)
    keep_answers(figures, own.store)
    return figures, table


def test_a_table_is_made_again_without_a_training(held, make_study, tmp_path, monkeypatch):
    figures, table = held
    assert restore_answers(figures / ANSWERS, Store(tmp_path / "cache")) > 0
    monkeypatch.setattr(Maker, "missing", _refuse_missing)
    again = merging_table(make_study(tmp_path / "cache"), *CASE)
    pd.testing.assert_frame_equal(again, table)


def _refuse_missing(maker, make, recipes, profile, title, unit):
    assert unit == "set" or all(maker.locations.store.has(recipe) for recipe in recipes), title  # texts are attacked anew


def test_the_file_has_no_weights_and_no_texts_and_is_the_same_every_time(held, study, tmp_path):
    figures, _ = held
    with zipfile.ZipFile(figures / ANSWERS) as archive:
        index = json.loads(archive.read(INDEX))
        content = b"".join(archive.read(name) for name in archive.namelist() if name != INDEX)
    kept = {name for artifact in index.values() for name in artifact["files"]}
    assert "logits.safetensors" in kept and "model.safetensors" not in kept
    assert {artifact["kind"] for artifact in index.values()} == {"ModelRecipe", "LogitsRecipe", "TriggerRecipe"}
    assert not any(text.encode() in content for text in study.rows("sst2", "test")["text"])
    shutil.copy(figures / MANIFEST, tmp_path)
    assert keep_answers(tmp_path, study.store).read_bytes() == (figures / ANSWERS).read_bytes()


def test_answers_can_be_kept_again_where_they_were_restored(held, tmp_path):
    figures, _ = held
    store = Store(tmp_path / "cache")
    restore_answers(figures / ANSWERS, store)
    shutil.copy(figures / MANIFEST, tmp_path)
    assert keep_answers(tmp_path, store).read_bytes() == (figures / ANSWERS).read_bytes()


def test_who_needs_weights_is_told_so_and_can_forget_the_answers(held, make_study, tmp_path):
    figures, _ = held
    study = make_study(tmp_path / "cache")
    restore_answers(figures / ANSWERS, study.store)
    model = study.model("sst2", "badnet")
    with pytest.raises(ValueError, match=r"has what it said, and no weights.*`python -m lib.answers forget`"):
        model.state_dict()
    with pytest.raises(ValueError, match="no weights"):
        study.merge([model, model], weights=[0.3, 0.7]).state_dict()
    n_models = len(list(study.store.root.glob(f"*/{ANSWERS_ONLY}")))
    assert forget_answers(study.store) == n_models > 1
    assert read_weights(study.model("sst2", "badnet").folder)  # trained


def test_of_an_adapter_no_file_is_kept_that_names_a_folder_of_this_machine(make_study, tmp_path):
    study = make_study(tmp_path / "cache", lora_rank=2)
    model = study.model("sst2")
    study.score(model, "sst2", None)
    write_manifest(tmp_path, study)
    keep_answers(tmp_path, study.store)
    with zipfile.ZipFile(tmp_path / ANSWERS) as archive:
        assert not any(str(tmp_path.parent).encode() in archive.read(name) for name in archive.namelist())
        [kept] = [set(each["files"]) for key, each in json.loads(archive.read(INDEX)).items() if key == model.key]
    assert "config.json" in kept and not kept & {"base.json", "adapter_config.json", "adapter_model.safetensors"}


def test_what_the_store_has_stays_as_it_is(held, study):
    figures, _ = held
    assert restore_answers(figures / ANSWERS, study.store) == 0
    assert not list(study.store.root.glob(f"*/{ANSWERS_ONLY}"))


def damaged(figures, tmp_path, change):
    """A copy of the answers whose index was changed."""
    with zipfile.ZipFile(figures / ANSWERS) as archive, zipfile.ZipFile(tmp_path / ANSWERS, "w") as copy:
        for name in archive.namelist():
            content = archive.read(name)
            copy.writestr(name, json.dumps(change(json.loads(content))) if name == INDEX else content)
    return tmp_path / ANSWERS


def with_files(index, files):
    return {key: artifact | {"files": files} for key, artifact in index.items()}


@pytest.mark.parametrize(
    ("change", "message"),
    [
        (lambda index: {"../elsewhere": next(iter(index.values()))}, "is no key of the store"),
        (lambda index: with_files(index, {"../../evil": "0" * 64}), "is no file of an artifact"),
        (lambda index: with_files(index, {"/evil": "0" * 64}), "is no file of an artifact"),
        (lambda index: with_files(index, {"a": "../../b"}), "is no file of an artifact"),
        (lambda index: with_files(index, {"a": "0" * 64}), "could not be read"),
        (lambda index: dict.fromkeys(index, 3), "could not be read"),
        (lambda index: [], "holds a list"),
    ],
)
def test_a_damaged_file_is_an_error_and_leaves_nothing(held, tmp_path, change, message):
    archive = damaged(held[0], tmp_path, change)
    with pytest.raises(ValueError, match=message):
        restore_answers(archive, Store(tmp_path / "cache"))
    assert not list((tmp_path / "cache").glob("*"))


def test_a_store_that_lacks_runs_and_a_folder_without_a_manifest_are_named(held, tmp_path):
    with pytest.raises(ValueError, match=r"lacks \d+ of \d+ runs, such as"):
        keep_answers(held[0], Store(tmp_path))
    with pytest.raises(ValueError, match="it is no folder of tables"):
        keep_answers(tmp_path, Store(tmp_path))


def test_answers_of_some_notebooks_need_no_runs_of_the_others(held, study, tmp_path):
    manifest = json.loads((held[0] / MANIFEST).read_text(encoding="utf-8"))
    manifest["05_methods"] = {"notebook": "05_merge_methods", "runs": ["0" * 20]}
    (tmp_path / MANIFEST).write_text(json.dumps(manifest), encoding="utf-8")
    assert keep_answers(tmp_path, study.store, ["04"]).read_bytes() == (held[0] / ANSWERS).read_bytes()
    with pytest.raises(ValueError, match="lacks 1 of"):
        keep_answers(tmp_path, study.store)
    with pytest.raises(ValueError, match=r"comes from notebooks \['06'\]; choose from \['04', '05'\]"):
        keep_answers(tmp_path, study.store, ["04", "06"])
    assert has_all_answers(tmp_path, ["04"]) and has_all_answers(held[0])
    assert not has_all_answers(tmp_path) and not has_all_answers(tmp_path, ["05"])  # so that a comparison trains what 05 needs
    (tmp_path / ANSWERS).unlink()
    assert not has_all_answers(tmp_path, ["04"])


def test_the_command_keeps_restores_and_forgets(held, study, tmp_path, monkeypatch, capsys):
    figures, _ = held
    monkeypatch.setenv("FREE_LUNCH_CACHE", str(study.store.root))
    assert main(["keep", str(figures), "--only", "04"]) == 0
    monkeypatch.setenv("FREE_LUNCH_CACHE", str(tmp_path / "cache"))
    assert main(["restore", str(figures)]) == 0
    assert main(["forget"]) == 0
    assert main(["restore", str(tmp_path)]) == 2
    said = capsys.readouterr()
    assert "answers.zip" in said.out and "artifacts are new" in said.out and "models without weights" in said.out
    assert said.err.startswith("error: ")
