"""Golden vectors of independent implementations (merging.md 10): the rows of `weight_average` and of the merge contract."""

import json
from pathlib import Path

import numpy as np
import pytest
import torch

from lib.merging import MERGE_METHODS, check_weights, merge_state_dicts
from lib.models import Checkpoint, check_compatible

GOLDEN = json.loads((Path(__file__).parent / "golden_weight_average.json").read_text(encoding="utf-8"))
ROWS = {row["id"]: row for row in GOLDEN["rows"]}


def rows_of_kind(kind):
    return [pytest.param(row, id=name) for name, row in ROWS.items() if row["kind"] == kind]


def state_dict(tensors, dtype=torch.float64):
    return {name: torch.from_numpy(np.array(values, dtype=float)).to(dtype) for name, values in tensors.items()}  # "nan" too


@pytest.mark.parametrize("row", rows_of_kind("value"))
def test_merges_agree_with_the_golden_vectors(row):
    models = GOLDEN["fixtures"][row["fixture"]]["models"]
    dtype = torch.bfloat16 if row["fixture"] == "bfloat16" else torch.float64
    state_dicts = [state_dict(models[name], dtype) for name in row["inputs"]]
    merged = merge_state_dicts(state_dicts, MERGE_METHODS[row["method"]], row["inputs"], **row["settings"])
    assert list(merged) == list(row["output"])
    for name, expected in row["output"].items():
        tolerance = row.get("tolerance", GOLDEN["tolerance"])
        torch.testing.assert_close(merged[name], torch.tensor(expected, dtype=dtype), rtol=0, atol=tolerance)


def test_integer_buffers_agree_with_the_golden_rule():
    row = ROWS["wag-integer-buffer"]
    buffers = [{name: torch.tensor(value) for name, value in model.items()} for model in row["settings"]["buffers"].values()]
    merged = merge_state_dicts(buffers, MERGE_METHODS[row["method"]])
    assert merged["position_ids"].tolist() == row["output"]["position_ids"]
    assert str(merged["position_ids"].dtype) == f"torch.{row['output']['dtype']}"


# What the message must name, row by row.
MESSAGES = {
    "error-1": r"b and a have different tensors: 0 missing \[\], 1 extra \['v'\]",
    "error-2": r"b: tensor 'w' has shape \[1, 2\], but \[2\] in a",
    "error-3": "no model to merge",
    "error-4": r"weights \[0.7, 0.7\] sum to 1.4; they must sum to 1",
    "error-5": "1 weights for 2 models",
    "error-6": "a: tensor 'w' has values that are not finite",
    "error-12": r"b has labels \['positive', 'negative'\], but a has \['negative', 'positive'\]",
    "error-13": r"b: tensor 'w' has shape \[30523, 1\], but \[30522, 1\] in a",
}


@pytest.mark.parametrize("row", rows_of_kind("error"))
def test_the_errors_of_the_merge_contract_are_raised_and_name_what_is_wrong(row, tmp_path):
    settings = row["settings"]
    with pytest.raises(ValueError, match=MESSAGES[row["id"]]):
        if "id2label" in settings:
            check_compatible([checkpoint(tmp_path / name, labels) for name, labels in settings["id2label"].items()])
        elif "vocabulary_size" in settings:
            models = {name: {"w": torch.zeros(n, 1)} for name, n in settings["vocabulary_size"].items()}
            merge_state_dicts(list(models.values()), MERGE_METHODS["weight_average"], list(models))
        else:
            models = {name: state_dict(tensors) for name, tensors in settings["models"].items()}
            weights = check_weights(settings.get("weights"), len(models))
            merge_state_dicts(list(models.values()), MERGE_METHODS["weight_average"], list(models), weights=weights)


def checkpoint(folder, labels):
    folder.mkdir()
    (folder / "config.json").write_text(json.dumps({"model_type": "bert", "id2label": labels}))
    (folder / "tokenizer.json").write_text("{}")
    return Checkpoint(folder, folder.name, folder.name)
