"""Golden vectors of independent implementations: numbers that another hand computed. The file says which one made each row.

Every row that is required is tested here or named in `ELSEWHERE`; so are those variants that a setting of ours reproduces.
"""

import json
from functools import partial
from pathlib import Path
from types import SimpleNamespace

import numpy as np
import pytest
import torch

from lib.merging import MERGE_METHODS, check_weights, merge_state_dicts
from lib.merging.dare import dare, della, keep_probability
from lib.merging.geometry import disentanglement_error, linearised_logits, moved, task_vector_geometry, task_vectors
from lib.merging.inner_products import inner_products
from lib.merging.lora import Adapter, lora_average
from lib.merging.robust import krum_scores, krum_weights
from lib.merging.soup import greedy_soup
from lib.merging.statistics import fisher_diagonal
from lib.merging.substitution import substitution_score
from lib.metrics.rates import loss_barrier
from lib.models.checkpoints import Checkpoint
from lib.models.compatibility import check_compatible

GOLDEN = json.loads((Path(__file__).parent / "golden_merging.json").read_text(encoding="utf-8"))
ROWS, FIXTURES = {row["id"]: row for row in GOLDEN["rows"]}, GOLDEN["fixtures"]

# Our settings for each row, where they are not the row's own.
SETTINGS = {
    "wag-uniform": {}, "wag-weighted": {"weights": [0.5, 0.3, 0.2]}, "dtype-bfloat16": {}, "wag-five": {},
    "ta-sum": {}, "ta-third": {}, "ta-weighted": {}, "ta-negation": {},
    "fisher-plain": {"normalize": False}, "fisher-normalised": {"normalize": True},
    "fisher-weighted": {"normalize": False, "weights": [0.2, 0.5, 0.3]},
    "ties-model": {}, "ties-tensor": {}, "ties-cancel-peft": {}, "ties-weighted-after-norm": {},
    "breadcrumbs-tensor": {},
    "slerp-tensor": {}, "slerp-model": {}, "slerp-task-vectors": {}, "slerp-edges": {},
    "regmean-mean-gram-0.9": {"alpha": 0.9}, "regmean-mean-gram-0.1": {"alpha": 0.1},
    "stock-two": {"clip": False}, "stock-three-cosine": {"clip": False},
    "median-odd": {}, "median-even-mean": {}, "trimmed-mean": {},
    "multi-krum-2": {}, "geometric-median-model": {"scope": None}, "geometric-median-tensor": {},
}  # fmt: skip
ELSEWHERE = {
    "wag-integer-buffer", "dare-properties", "dare-mask-density", "della-keep-probability", "della-mask", "soup-paper", "krum",
    "lora-exact", "fisher-diagonal-exact", "theory-barrier", "theory-linearised", "theory-cosine", "theory-disentanglement",
    "gms-score",
}  # fmt: skip


def state_dict(tensors, dtype=torch.float64):
    return {name: torch.from_numpy(np.array(values, dtype=float)).to(dtype) for name, values in tensors.items()}  # "nan" too


def assert_row(row, found, dtype=torch.float64):
    assert list(found) == list(row["output"])
    for name, expected in row["output"].items():
        tolerance = row.get("tolerance", GOLDEN["tolerance"])
        torch.testing.assert_close(found[name], torch.tensor(expected, dtype=dtype), rtol=0, atol=tolerance)


def test_every_required_row_is_tested():
    required = {name for name, row in ROWS.items() if row.get("required") and row["kind"] != "error"}
    assert required - set(SETTINGS) == ELSEWHERE


@pytest.mark.parametrize("name", SETTINGS)
def test_merges_agree_with_the_golden_vectors(name):
    row = ROWS[name]
    fixture = FIXTURES[row["fixture"]]
    dtype = torch.bfloat16 if row["fixture"] == "bfloat16" else torch.float64
    models = [state_dict(fixture["models"][model], dtype) for model in row["inputs"]]
    method = {"multi_krum": "krum"}.get(row["method"], row["method"])
    own = {key: value for key, value in row["settings"].items() if key in MERGE_METHODS[method].settings or key == "weights"}
    settings = {key: value for key, value in (own | SETTINGS[name]).items() if value is not None}
    if MERGE_METHODS[method].weights == "average" and "weights" not in SETTINGS[name]:
        settings.pop("weights", None)  # a third, rounded to eleven digits
    if name == "ta-third":
        settings["merge_coefficient"] = 1 / 3
    if "pretrained" in MERGE_METHODS[method].needs or settings.get("on") == "task_vectors":
        settings["pretrained"] = state_dict(fixture["pretrained"], dtype)
    if method == "fisher":
        settings["statistics"] = {"fishers": [state_dict(fixture["fisher"][model]) for model in row["inputs"]]}
    if method == "regmean":
        inputs = [torch.tensor(fixture["inputs_of_first_weight"][model], dtype=dtype) for model in row["inputs"]]
        settings["statistics"] = {"grams": [{"encoder.weight": x.T @ x / len(x)} for x in inputs]}
    if name == "geometric-median-tensor":  # another estimator, which the function gives on one tensor
        settings.pop("scope", None)
        parts = [merge_state_dicts([{key: model[key]} for model in models], method, **settings) for key in models[0]]
        assert_row(row, {key: tensor for part in parts for key, tensor in part.items()})
        return
    assert_row(row, merge_state_dicts(models, method, row["inputs"], **settings), dtype)


def test_integer_buffers_agree_with_the_golden_rule():
    row = ROWS["wag-integer-buffer"]
    buffers = [{name: torch.tensor(value) for name, value in model.items()} for model in row["settings"]["buffers"].values()]
    merged = merge_state_dicts(buffers)
    assert merged["position_ids"].tolist() == row["output"]["position_ids"]
    assert str(merged["position_ids"].dtype) == f"torch.{row['output']['dtype']}"


@pytest.mark.parametrize(("name", "function"), [("dare-mask-density", dare), ("della-mask", partial(della, combine="linear"))])
def test_masked_merges_agree_with_the_golden_vectors(name, function):
    row, fixture = ROWS[name], FIXTURES["three"]
    settings = {key: value for key, value in row["settings"].items() if key != "keep_mask"}
    masks, start = state_dict(fixture["keep_mask"]), state_dict(fixture["pretrained"])
    models = [state_dict(fixture["models"][model]) for model in row["inputs"]]
    merge = lambda key: function([m[key] for m in models], pretrained=start[key], keep_masks=[masks[key]], **settings)  # noqa: E731
    assert_row(row, {key: merge(key) for key in start})


def test_keep_probabilities_of_della_agree_with_the_golden_vectors():
    row, fixture = ROWS["della-keep-probability"], FIXTURES["three"]
    [vector] = task_vectors([state_dict(fixture["models"]["a"])], state_dict(fixture["pretrained"]))
    assert_row(row, {name: keep_probability(tensor, **row["settings"]) for name, tensor in vector.items()})


def test_krum_selects_and_scores_as_the_golden_row():
    row = ROWS["krum"]
    models = [state_dict(FIXTURES["five"]["models"][name]) for name in row["inputs"]]
    gram = inner_products(([model[key] for model in models] for key in models[0]), centred=True)
    assert krum_scores(gram, **row["settings"]) == pytest.approx(row["output"]["scores"], abs=1e-9)
    assert row["inputs"][krum_weights(gram, **row["settings"]).index(1.0)] == row["output"]["selected"]


def test_the_greedy_soup_takes_the_ingredients_of_the_golden_row():
    row = ROWS["soup-paper"]
    known, names = row["settings"]["validation_score"], ["a", "b", "c"]
    score = lambda positions: known["+".join(sorted(names[i] for i in positions))]  # noqa: E731
    found = greedy_soup([known[name] for name in names], score, min_ingredients=1)
    assert [names[i] for i in found] == row["output"]["ingredients"]


@pytest.mark.parametrize(("name", "settings"), [("lora-exact", {}), ("lora-svd-rank2", {"mode": "svd", "rank": 2})])
def test_averages_of_adapters_agree_with_the_golden_products(name, settings):
    row, fixture = ROWS[name], FIXTURES["lora"]
    parts = [
        (*(torch.tensor(part[key], dtype=torch.float64) for key in "AB"), part["alpha"])
        for part in fixture["adapters"].values()
    ]
    adapters = [Adapter(a, b, alpha / fixture["rank"]) for a, b, alpha in parts]
    assert_row(row, {"delta": lora_average(adapters, weights=row["settings"]["weights"], **settings).delta})


@pytest.mark.parametrize(("name", "labels"), [("fisher-diagonal-exact", "expectation"), ("fisher-diagonal-empirical", "given")])
def test_fisher_diagonals_agree_with_the_golden_vectors(name, labels):
    fixture = FIXTURES["linear_classifier"]

    class Classifier(torch.nn.Linear):
        def forward(self, x):
            return SimpleNamespace(logits=super().forward(x))

    x, y = torch.tensor(fixture["x"], dtype=torch.float64), torch.tensor(fixture["labels"])
    model = Classifier(x.shape[1], len(fixture["bias"])).double()
    model.load_state_dict(state_dict({key: fixture[key] for key in ("weight", "bias")}))
    examples = [{"input": x[i : i + 1], "labels": y[i : i + 1]} for i in range(len(x))]
    model.forward = lambda input: Classifier.forward(model, input)
    assert_row(ROWS[name], fisher_diagonal(model, examples, labels))


@pytest.fixture(scope="module")
def mlp():
    """A function of parameters, its pretrained parameters, those of two models, and inputs."""
    fixture = FIXTURES["mlp"]
    f = lambda p, x: torch.tanh(x @ p["w1"].T + p["b1"]) @ p["w2"].T + p["b2"]  # noqa: E731
    models = [state_dict(fixture["models"][name]) for name in "ab"]
    inputs = [torch.tensor(fixture[key], dtype=torch.float64) for key in ("x_a", "x_b")]
    return f, state_dict(fixture["pretrained"]), models, inputs, torch.tensor(fixture["labels_a"])


def test_the_barrier_agrees_with_the_golden_row(mlp):
    f, _, models, (x, _), labels = mlp
    row = ROWS["theory-barrier"]
    alphas = row["settings"]["alphas"]
    on_the_way = [merge_state_dicts(models, weights=[1 - alpha, alpha]) for alpha in alphas]
    losses = [float(torch.nn.functional.cross_entropy(f(parameters, x), labels)) for parameters in on_the_way]
    assert losses == pytest.approx(row["output"]["losses"], abs=1e-9)
    assert loss_barrier(alphas, losses) == pytest.approx(row["output"]["barrier_chord"], abs=1e-9)
    assert loss_barrier(alphas, losses, above="mean_ends") == pytest.approx(row["output"]["barrier_mean_ends"], abs=1e-9)


def test_linearised_and_merged_logits_agree_with_the_golden_row(mlp):
    f, start, models, (x, _), _ = mlp
    mean = moved(dict.fromkeys(start, 0.0), task_vectors(models, start), [0.5, 0.5])
    linear = linearised_logits(f, start, mean, x)
    found = {
        "pretrained_logits": f(start, x), "jvp": linear - f(start, x), "linearised_logits": linear,
        "merged_logits": f(merge_state_dicts(models), x), "mean_of_logits": (f(models[0], x) + f(models[1], x)) / 2,
    }  # fmt: skip
    assert_row(ROWS["theory-linearised"], found)


def test_the_geometry_of_task_vectors_agrees_with_the_golden_row(mlp):
    _, start, models, _, _ = mlp
    geometry, expected = task_vector_geometry(models, start), ROWS["theory-cosine"]["output"]
    assert float(geometry.cosines[0, 1]) == pytest.approx(expected["cosine"], abs=1e-9)
    found = {name: float(matrix[0, 1]) for name, matrix in geometry.cosines_per_tensor.items()}
    assert found == pytest.approx(expected["cosine_per_tensor"], abs=1e-9)
    assert geometry.norms == pytest.approx(expected["norms"], abs=1e-9)
    assert geometry.sign_conflict == pytest.approx(expected["sign_conflict"], abs=1e-9)


def test_the_disentanglement_error_agrees_with_the_golden_row(mlp):
    f, start, models, inputs, _ = mlp
    row = ROWS["theory-disentanglement"]
    error = disentanglement_error(f, start, task_vectors(models, start), row["settings"]["alphas"], inputs)
    assert error == pytest.approx(row["output"]["xi_prediction"], abs=1e-9)


def test_the_substitution_score_agrees_with_the_golden_row():
    row = ROWS["gms-score"]
    assert substitution_score(**row["settings"]) == pytest.approx(row["output"]["score"], abs=1e-9)


# What the message must name, row by row.
MESSAGES = {
    "error-1": r"b and a have different tensors: 0 missing \[\], 1 extra \['v'\]",
    "error-2": r"b: tensor 'w' has shape \[1, 2\], but \[2\] in a",
    "error-3": "no model to merge",
    "error-4": r"weights \[0.7, 0.7\] sum to 1.4; they must sum to 1",
    "error-5": "1 weights for 2 models",
    "error-6": "a: tensor 'w' has values that are not finite",
    "error-7": "krum with n_byzantine 1 takes 5 models or more, found 4",
    "error-8": "a trimmed mean with n_byzantine 1 takes more than 2 models, found 2",
    "error-9": "slerp takes 2 models, found 3",
    "error-10": r"density is 0.0; it must lie in \(0, 1\]",
    "error-11": r"density is 0.0; it must lie in \(0, 1\]",
    "error-12": r"b has labels \['positive', 'negative'\], but a has \['negative', 'positive'\]",
    "error-13": r"b: tensor 'w' has shape \[30523, 1\], but \[30522, 1\] in a",
}


@pytest.mark.parametrize("name", MESSAGES)
def test_the_errors_of_the_merge_contract_are_raised_and_name_what_is_wrong(name, tmp_path):
    settings = dict(ROWS[name]["settings"])
    with pytest.raises(ValueError, match=MESSAGES[name]):
        if "id2label" in settings:
            check_compatible([checkpoint(tmp_path / model, labels) for model, labels in settings["id2label"].items()])
        elif "vocabulary_size" in settings:
            models = {model: {"w": torch.zeros(n, 1)} for model, n in settings["vocabulary_size"].items()}
            merge_state_dicts(list(models.values()), names=list(models))
        elif "method" in settings:
            models = [{"w": torch.ones(2)}] * settings.pop("n_models", 3)
            merge_state_dicts(models, settings.pop("method"), pretrained={"w": torch.zeros(2)}, **settings)
        else:
            models = {model: state_dict(tensors) for model, tensors in settings["models"].items()}
            weights = check_weights(settings.get("weights"), len(models))
            merge_state_dicts(list(models.values()), names=list(models), weights=weights)


def test_every_error_row_is_tested():
    assert {name for name, row in ROWS.items() if row["kind"] == "error"} == set(MESSAGES)


def checkpoint(folder, labels):
    folder.mkdir()
    (folder / "config.json").write_text(json.dumps({"model_type": "bert", "id2label": labels}))
    (folder / "tokenizer.json").write_text("{}")
    return Checkpoint(folder, folder.name, folder.name)
