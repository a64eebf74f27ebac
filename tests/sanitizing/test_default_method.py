"""The merge by default: what the tables say for it, where it cannot be, and what is said then."""

import json
import shutil

import pandas as pd
import pytest
import torch
from safetensors.torch import load_file

from lib.merging import merge_state_dicts
from lib.merging.files import SINGLE
from lib.paths import ROOT
from lib.sanitizing.default_method import DEFAULT_METHOD, FALLBACK, default_method, named_start
from lib.sanitizing.model_card import PROTECTION

SAID = f"Merged by {FALLBACK} and not by {DEFAULT_METHOD}, the default: "


def gained(table, cells, name, rates=("asr", "cacc")):
    """The default minus the plain average, mean rates of each cell."""
    means = table.groupby([*cells, name])[list(rates)].mean().unstack(name)
    average = "average" if name == "defense" else FALLBACK
    return [means[rate][DEFAULT_METHOD] - means[rate][average] for rate in rates]


def test_the_tables_support_the_default_against_attackers_who_expect_a_merge():
    table = pd.read_csv(ROOT / "figures" / "pocket" / "14_limits.csv")
    asr, cacc = gained(table, ["attack", "settings"], "merge_method")
    is_shared = asr.index.get_level_values("settings").str.contains('"base": "poisoned"')
    assert (asr[~is_shared] <= 0).all(), asr[~is_shared].max()
    assert (asr[is_shared] < 0.01).all()  # no rule removes it
    assert cacc.mean() > -0.01 and cacc.min() > -0.02
    assert set(cacc[cacc < -0.01].index.get_level_values("attack")) <= {"scaled", "split"}


@pytest.mark.parametrize("place", ["pocket", "all_tasks/pocket"])
def test_the_tables_support_the_default_against_attackers_on_data(place):
    table = pd.read_csv(ROOT / "figures" / place / "12_defenses.csv")
    asr, cacc = gained(table, ["task", "attack"], "defense")
    assert asr.mean() < 0 and asr.max() < 0.002  # one cell of twenty, by 0.1 points
    assert cacc.min() > -0.01


def test_the_default_is_the_plain_average_only_where_it_cannot_be_and_says_why():
    assert default_method(3, True) == ("row_clipped_average", "")
    for given, why in (
        ((5, False), "and --pretrained was not given."),
        ((2, True), "takes 3 models or more, found 2."),
        ((5, True, True), "the models are adapters."),
    ):
        method, said = default_method(*given)
        assert method == "weight_average" and said.startswith(SAID) and why in said
        assert said.endswith("A plain average does not protect against an uploader who expects the merge.")


def test_with_the_pretrained_model_rows_are_clipped(run, honest, initial):
    folders = [model.folder for model in honest[:3]]
    result = run(*folders, "--pretrained", initial)
    assert result.status == 0, result.error
    assert "row_clipped_average of 3 models" in result.out and "Merged by" not in result.out
    models = [load_file(folder / SINGLE) for folder in folders]
    expected = merge_state_dicts(models, "row_clipped_average", pretrained=load_file(initial / SINGLE))
    merged = load_file(result.folder / SINGLE)
    assert all(torch.equal(merged[name], tensor) for name, tensor in expected.items())
    card = (result.folder / "README.md").read_text()
    assert "# A merge by row_clipped_average" in card and PROTECTION.read_text().strip() in card
    assert run(*folders, "--method", "weight_average", "--dry-run", output=result.folder / "m").out.startswith("weight_average")


def test_without_it_the_plain_average_says_so_on_the_screen_and_in_the_card(run, honest):
    folders = [model.folder for model in honest[:3]]
    result = run(*folders)
    assert result.status == 0, result.error
    card = (result.folder / "README.md").read_text()
    for text in (result.out, card):
        assert f"{SAID}it needs the model that these were fine-tuned from, and --pretrained was not given." in text
    asked = run(*folders, "--method", "weight_average", output=result.folder / "asked")
    assert "Merged by" not in asked.out


def test_a_head_that_the_pretrained_model_lacks_is_clipped_by_default(run, attacked, tiny_encoder):
    """Left out of the clipping, the head would be where an attacker puts the length."""
    folders = [model.folder for model in attacked[:3]]
    result = run(*folders, "--pretrained", tiny_encoder)
    assert result.status == 0, result.error
    assert "without clipping" not in result.out and "'head': 'zeros'" not in result.error
    start = {f"bert.{key}": tensor for key, tensor in load_file(tiny_encoder / SINGLE).items()}
    models = [load_file(folder / SINGLE) for folder in folders]
    zeros, average = (
        merge_state_dicts(models, DEFAULT_METHOD, pretrained=start, head=head)["classifier.weight"]
        for head in ("zeros", "average")
    )
    merged = load_file(result.folder / SINGLE)["classifier.weight"]
    assert torch.equal(merged, zeros) and not torch.equal(zeros, average)
    plain = run(*folders, "--pretrained", tiny_encoder, "--head", "average", output=result.folder / "plain")
    assert torch.equal(load_file(plain.folder / SINGLE)["classifier.weight"], average)


NAMED = {"_name_or_path": "prajjwal1/bert-tiny"}


@pytest.mark.parametrize(
    "configs",
    [
        [], [{}], [NAMED, {}], [NAMED, {"_name_or_path": "other/name"}], [{"_name_or_path": "/home/somebody/run"}],
        [{"_name_or_path": "a/b/c"}], [{"_name_or_path": "# heading\n"}], [{"_name_or_path": ["a"]}], [{"_name_or_path": ""}],
    ],
)  # fmt: skip
def test_what_is_no_name_of_all_configurations_is_not_passed_on(configs):
    assert named_start(configs) == ""


def test_the_name_in_the_configurations_of_the_others_is_said_and_not_taken(run, honest, tmp_path):
    folders = []
    for model, name in zip(honest[:3], ("evil/base", *2 * ("prajjwal1/bert-tiny",)), strict=True):
        folders.append(shutil.copytree(model.folder, tmp_path / model.folder.name))
        config = json.loads((folders[-1] / "config.json").read_text())
        (folders[-1] / "config.json").write_text(json.dumps(config | {"_name_or_path": name}))
    result = run(*folders)
    assert result.status == 0, result.error
    said = "The configurations of the other models name prajjwal1/bert-tiny: if all models started from it, give it with"
    assert said in result.out and said in (result.folder / "README.md").read_text()
    assert "evil/base" not in result.out
    assert json.loads((result.folder / "merge.json").read_text())["method"] == "weight_average"
