"""`--screen`: the screen before the merge, on the command line and in the model card."""

import json

import pytest
import torch
from safetensors.torch import load_file, save_file

from lib.merging import merge_state_dicts
from lib.merging.files import SINGLE
from lib.sanitizing.screened import screen_then_merge
from lib.sanitizing.screening import STATISTICS


@pytest.fixture
def texts(clean_texts, tmp_path):
    """A file of clean texts."""
    file = tmp_path / "texts.txt"
    file.write_text("\n".join(clean_texts["text"]))
    return file


def test_screen_then_merge_merges_those_that_are_left(attacked, initial, texts):
    names = [str(model.folder) for model in attacked]
    found, plan = screen_then_merge(names, "weight_average", pretrained=str(initial), texts=texts)
    assert [model.name for model in plan.models.checkpoints] == names[1:]
    assert plan.roles == ["other"] * 4 and plan.screening is found
    with pytest.raises(ValueError, match="weights are one per model, but a screen may drop some"):
        screen_then_merge(names, "weight_average", weights=[0.2] * 5)


def test_the_command_screens_merges_and_says_so_in_the_card(run, attacked, initial, texts):
    names = [model.folder for model in attacked]
    arguments = [*names, "--screen", "--texts", texts, "--pretrained", initial]
    dry = run(*arguments, "--dry-run")
    assert dry.status == 0, dry.error
    assert f"- dropped: {names[0]}, flagged by" in dry.out and not dry.folder.exists()
    result = run(*arguments)
    assert result.status == 0, result.error
    states, start = [load_file(name / SINGLE) for name in names[1:]], load_file(initial / SINGLE)
    expected = merge_state_dicts(states, "row_clipped_average", pretrained=start)
    assert all(torch.equal(load_file(result.folder / SINGLE)[name], tensor) for name, tensor in expected.items())
    card, provenance = (result.folder / "README.md").read_text(), json.loads((result.folder / "merge.json").read_text())
    assert "## Screened before merging" in card and f"- dropped: {names[0]}, flagged by" in card
    assert all(f"{statistic} (" in card for statistic in STATISTICS)
    assert [parent["role"] for parent in provenance["parents"]] == ["other"] * 4
    assert provenance["screening"]["dropped"][0]["model"] == str(names[0])
    assert len(provenance["screening"]["statistics"]) == 4 * 5


def test_a_screen_that_drops_the_suspect_keeps_labels_in_the_order_of_what_is_merged(run, attacked, initial, texts):
    folder = attacked[0].folder
    config = json.loads((folder / "config.json").read_text())
    config |= {"id2label": {"0": "positive", "1": "negative"}, "label2id": {"positive": 0, "negative": 1}}
    (folder / "config.json").write_text(json.dumps(config))
    state = load_file(folder / SINGLE)
    flipped = {name: state[name].flip(0).contiguous() for name in ("classifier.weight", "classifier.bias")}
    save_file(state | flipped, folder / SINGLE, metadata={"format": "pt"})
    names = [model.folder for model in attacked]
    arguments = ["--screen", "--permute-heads", "--texts", texts, "--pretrained", initial, "--method", "weight_average"]
    result = run(*names, *arguments)
    assert result.status == 0, result.error
    assert json.loads((result.folder / "config.json").read_text())["id2label"] == {"0": "negative", "1": "positive"}
    expected = merge_state_dicts([load_file(name / SINGLE) for name in names[1:]])
    assert torch.equal(load_file(result.folder / SINGLE)["classifier.weight"], expected["classifier.weight"])


def test_without_a_screen_the_card_has_none_and_says_whom_an_average_stops(run, honest):
    result = run(*(model.folder for model in honest[:2]))
    card = (result.folder / "README.md").read_text()
    assert "## Screened" not in card
    assert "protects against an uploader who was careless" in card and "does not protect against one who expects" in card


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (["--screen", "--weights", "0.2", "0.4", "0.4"], "weights are one per model, but a screen may drop some"),
        (["--screen", "--texts", "nowhere.txt"], "nowhere.txt could not be read"),
        (["--screen", "--pretrained", "./nowhere"], "model folder './nowhere' does not exist"),
    ],
)
def test_screens_that_make_no_sense_are_refused_before_anything_is_written(run, honest, arguments, message):
    result = run(*(model.folder for model in honest[:3]), *arguments)
    assert (result.status, result.folder.exists()) == (2, False)
    assert message in result.error


def test_a_clipped_average_says_which_tensors_it_does_not_clip(run, honest, tiny_encoder):
    folders = [model.folder for model in honest[:3]]
    arguments = ["--method", "row_clipped_average", "--pretrained", tiny_encoder, "--dry-run"]
    plain = run(*folders, *arguments, "--head", "average")
    assert plain.status == 0, plain.error
    assert "2 tensors that the pretrained model lacks were averaged without clipping (classifier" in plain.out
    assert "without clipping" not in run(*folders, *arguments, "--head", "zeros").out
