"""Models and datasets from the Hub: real `from_pretrained` and `load_dataset` against a stand-in of the Hub on loopback.

`HF_ENDPOINT` and `HF_HOME` are read when the libraries are imported, so every test asks a process of its own.
"""

import io
import json
import os
import subprocess
import sys

import pandas as pd
import pytest
from hub_stand_in import COMMIT, hub

MODEL, SHADY = "someone/tiny-bert", "someone/shady-bert"

ONLINE = f"""
import json
from lib.datasets import load_dataset
from lib.models.pretrained import fingerprint
from lib.study.study import Study

task = load_dataset("sst2", "real")
settings = dict(n_train=40, n_validation=0, epochs=6, batch_size=8, learning_rate=3e-3, max_length=48, n_jobs=1)
study = Study("small", pretrained="{MODEL}", **settings)
model = study.model("sst2", attack="badnet")
score = study.score(model, "sst2", attack="badnet")
for _ in range(30):  # a table looks a model's recipe up for every row
    study.recipe("sst2")
print(json.dumps({{
    "task": [task.source, len(task.train), len(task.validation), len(task.test), list(task.label_names)],
    "test": task.test.to_dict("list"),
    "data": task.fingerprint,
    "model": fingerprint("{MODEL}"),
    "key": study.recipe("sst2").key,
    "labels": model.label_names,
    "cacc": score.cacc,
    "counts": [score.n_clean, score.n_triggered, model.record["n_train"]],
}}))
"""
KEYS = f"""
import json
from lib.datasets import load_dataset
from lib.models.pretrained import fingerprint
print(json.dumps({{"data": load_dataset("sst2", "real").fingerprint, "model": fingerprint("{MODEL}")}}))
"""
DATA_ONLY = """
import json
from lib.datasets import load_dataset
print(json.dumps({"data": load_dataset("sst2", "real").fingerprint}))
"""
SANITIZE = f"""
import json, os
from pathlib import Path
from lib.sanitize import main
output = Path(os.environ["HF_HOME"]) / "merged"
status = main(["{MODEL}", "{SHADY}", "--output", str(output)])
print(json.dumps([status, sorted(path.name for path in output.iterdir())]))
"""
WITHOUT_NETWORK = f"""
import json
from concurrent.futures import ThreadPoolExecutor
from lib.datasets import load_dataset
from lib.models.pretrained import new_classifier

def error_of(call):
    try:
        call()
    except Exception as error:
        return f"{{type(error).__name__}}: {{error}}"

calls = [lambda: load_dataset("sst2", "real"), lambda: new_classifier("{MODEL}", ["a", "b"], 0)]
with ThreadPoolExecutor(2) as pool:
    print(json.dumps(list(pool.map(error_of, calls))))
"""


def start(code, home, endpoint, **variables):
    """A process in which the Hub lies at `endpoint`."""
    cleared = {name: value for name, value in os.environ.items() if not name.startswith(("HF_", "FREE_LUNCH_"))}
    variables = {"HF_ENDPOINT": endpoint, "HF_HOME": str(home), "FREE_LUNCH_CACHE": str(home / "cache"), **variables}
    return subprocess.Popen(
        [sys.executable, "-c", code], env=cleared | variables, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True
    )


def answer(process):
    """What the process printed in its last line, as JSON, and what it said on the side."""
    out, said = process.communicate(timeout=300)
    assert process.returncode == 0, said
    return json.loads(out.splitlines()[-1]), said


def parquet(text_column, texts, labels):
    buffer = io.BytesIO()
    pd.DataFrame({"idx": range(len(texts)), text_column: texts, "label": labels}).to_parquet(buffer, index=False)
    return buffer.getvalue()


def files_of(text_column, **splits):
    return {f"data/{split}-00000-of-00001.parquet": parquet(text_column, *rows) for split, rows in splits.items()}


@pytest.fixture(scope="module")
def repositories(tiny_encoder, data_folder):
    """A tiny BERT, and SST-2 as on the Hub, whose test split has no labels."""
    frames = [pd.read_csv(data_folder / "sst2" / f"{split}.tsv", sep="\t", quoting=3) for split in ("train", "test")]
    train, validation = ((frame["text"].tolist(), frame["label"].tolist()) for frame in frames)
    unlabelled = (validation[0][:5], [-1] * 5)
    files = {file.name: file.read_bytes() for file in tiny_encoder.iterdir()}
    return {
        f"models/{MODEL}": files,
        f"models/{SHADY}": files | {"modeling_evil.py": b"raise SystemExit('it ran')", "optimizer.pt": b"large"},
        "datasets/stanfordnlp/sst2": files_of("sentence", train=train, validation=validation, test=unlabelled),
    }


@pytest.fixture(scope="module")
def runs(repositories, tmp_path_factory):
    """All processes of this module; those that need no other one run side by side."""
    homes = {name: tmp_path_factory.mktemp(name) for name in ("home", "other_home", "empty_home")}
    without_network = start(WITHOUT_NETWORK, homes["empty_home"], "http://127.0.0.1:9")  # nothing listens there
    with hub(repositories) as (endpoint, asked):
        other_machine = start(DATA_ONLY, homes["other_home"], endpoint)
        online = answer(start(ONLINE, homes["home"], endpoint))
        other_machine = answer(other_machine)
        sanitized = answer(start(SANITIZE, homes["home"], endpoint))
    offline = answer(start(KEYS, homes["home"], "http://127.0.0.1:9", HF_HUB_OFFLINE="1"))
    return {
        "online": online,
        "other machine": other_machine,
        "sanitized": sanitized,
        "offline": offline,
        "without network": answer(without_network),
        "asked": asked,
    }


def test_a_dataset_comes_from_the_hub_with_its_validation_split_as_test(runs, data_folder):
    said = runs["online"][0]
    assert said["task"] == ["hub", 90, 10, 40, ["negative", "positive"]]  # a tenth of train is carved for validation
    test = pd.read_csv(data_folder / "sst2" / "test.tsv", sep="\t", quoting=3)
    assert said["test"] == test.to_dict("list")


def test_models_of_the_hub_are_merged_without_their_code(runs):
    status, files = runs["sanitized"][0]
    assert status == 0
    assert {"README.md", "config.json", "merge.json", "model.safetensors", "tokenizer.json"} <= set(files)
    assert any(path.startswith(f"{SHADY}/resolve") and path.endswith("model.safetensors") for path in runs["asked"])
    assert not any("modeling_evil.py" in path or "optimizer.pt" in path for path in runs["asked"])


def test_a_model_of_the_hub_is_fine_tuned_and_scored(runs):
    said = runs["online"][0]
    assert said["labels"] == ["negative", "positive"]
    assert said["counts"] == [40, 20, 40]
    assert 0 <= said["cacc"] <= 1


def test_the_commit_of_a_hub_model_is_part_of_its_fingerprint(runs):
    assert runs["online"][0]["model"] == f"{MODEL}@{COMMIT}"


def test_the_hub_is_not_asked_again_for_every_recipe(runs):
    about_the_model = [path for path in runs["asked"] if path.startswith((f"api/models/{MODEL}", f"{MODEL}/resolve"))]
    assert len(about_the_model) < 30


def test_another_machine_gets_the_same_fingerprint_of_a_dataset(runs):
    assert runs["other machine"][0]["data"] == runs["online"][0]["data"]


def test_what_was_downloaded_once_works_offline_with_the_same_keys(runs):
    said = runs["offline"][0]
    assert said == {name: runs["online"][0][name] for name in ("data", "model")}


def test_without_network_and_folder_the_errors_name_both_ways_out(runs):
    dataset, model = runs["without network"][0]
    assert dataset.startswith("ConnectionError: could not get 'stanfordnlp/sst2' from the Hub (http://127.0.0.1:9)")
    assert "connect to the network" in dataset
    assert "set FREE_LUNCH_DATA (or data_dir) to a folder with sst2/train.tsv" in dataset
    assert model.startswith(f"ConnectionError: could not get model '{MODEL}' from the Hub")
    assert "connect to the network" in model
    assert "give a folder with config.json, model.safetensors and the tokenizer as `pretrained`" in model
