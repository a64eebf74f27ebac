"""What a notebook writes: CSV and Markdown tables, PNG and SVG figures, and a manifest that names no machine."""

import json
from pathlib import Path

import matplotlib.pyplot as plt
import pandas as pd
import pytest

from lib.notebook.outputs import Outputs
from lib.study import Study

FRAME = pd.DataFrame({"attack": ["badnet", "insertsent"], "seed": [0, 1], "asr": [0.123456, 1.0], "hits": [[0, 1], [1, 1]]})


@pytest.fixture
def outputs(study, tmp_path, monkeypatch):
    monkeypatch.setenv("FREE_LUNCH_FIGURES", str(tmp_path / "figures"))
    return Outputs(study, "04_merging_sanitizes", task="sst2", attack="all")


def manifest(outputs):
    return json.loads((outputs.folder / "manifest.json").read_text())


def figure():
    drawn, axis = plt.subplots()
    axis.plot([0, 1], [1, 0])
    plt.close(drawn)
    return drawn


def test_files_lie_in_the_folder_of_the_profile(outputs, tmp_path):
    assert outputs.folder == tmp_path / "figures" / "small"


def test_figures_are_told_data_and_model_of_the_profile(study, make_study, tmp_path):
    real = Outputs(study, "04_merging_sanitizes").subject
    assert (real.is_synthetic, real.model) == (False, Path(study.profile.pretrained).name)
    hub = Outputs(make_study(tmp_path, pretrained="sentence-transformers/all-MiniLM-L6-v2"), "04_merging_sanitizes")
    assert hub.subject.line(["sst2"]) == "SST-2, all-MiniLM-L6-v2"
    pocket = Outputs(Study("pocket", cache_dir=tmp_path), "04_merging_sanitizes")
    assert pocket.subject.line(["sst2"]) == "Pocket English, pocket-bert: SST-2-like"


def test_another_profile_is_described_by_its_manifest_or_its_defaults(outputs, study):
    outputs.table(FRAME, "90_headline")
    assert outputs.subject_of("small", "90_headline") == outputs.subject  # a folder instead of the model of the profile
    assert outputs.subject_of("small", "04_merging").model == "all-MiniLM-L6-v2"
    assert outputs.subject_of("pocket", "00_story").line(()) == "Pocket English, pocket-bert"


def test_a_table_is_written_as_csv_and_markdown_without_columns_of_lists(outputs):
    written = outputs.table(FRAME, "04_merging")
    assert list(written) == ["attack", "seed", "asr"]
    assert (outputs.folder / "04_merging.csv").read_text() == "attack,seed,asr\nbadnet,0,0.1235\ninsertsent,1,1.0\n"
    lines = (outputs.folder / "04_merging.md").read_text().splitlines()
    cells = [[cell.strip() for cell in line.strip("|").split("|")] for line in lines]
    assert cells[0] == ["attack", "seed", "asr"]
    assert set(lines[1]) <= set("|:- ")
    assert [row[:2] for row in cells[2:]] == [["badnet", "0"], ["insertsent", "1"]]
    assert float(cells[2][2]) == 0.1235


def test_a_column_with_some_lists_is_left_out_too_and_the_frame_is_not_modified(outputs):
    frame = FRAME.assign(curve=[None, [1, 2]])
    before = frame.copy(deep=True)
    assert list(outputs.table(frame, "x")) == ["attack", "seed", "asr"]
    pd.testing.assert_frame_equal(frame, before)


def test_a_figure_is_written_as_png_and_svg_with_text_as_text(outputs):
    drawn = figure()
    drawn.axes[0].set_title("the title")
    assert outputs.figure(drawn, "04_merging") is drawn
    assert (outputs.folder / "04_merging.png").read_bytes()[:4] == b"\x89PNG"
    assert "the title" in (outputs.folder / "04_merging.svg").read_text()


def test_equal_figures_have_equal_bytes(outputs):
    outputs.figure(figure(), "first")
    outputs.figure(figure(), "second")
    for suffix in ("png", "svg"):
        assert (outputs.folder / f"first.{suffix}").read_bytes() == (outputs.folder / f"second.{suffix}").read_bytes()


def test_the_manifest_says_what_made_an_output(outputs, study, backdoored):
    study.model("sst2", attack="badnet")
    outputs.table(FRAME, "04_merging")
    entry = manifest(outputs)["04_merging"]
    assert (entry["notebook"], entry["parameters"]) == ("04_merging_sanitizes", {"task": "sst2", "attack": "all"})
    assert sorted(entry["files"]) == ["04_merging.csv", "04_merging.md"]
    assert backdoored.key in entry["runs"]
    assert entry["profile"]["n_train"] == 80
    assert {"torch", "transformers", "numpy"} <= set(entry["versions"])


def test_a_table_and_a_figure_of_one_name_are_both_in_the_manifest(outputs):
    outputs.table(FRAME, "04_merging")
    outputs.figure(figure(), "04_merging")
    text = json.dumps(manifest(outputs))
    assert all(f"04_merging.{suffix}" in text for suffix in ("csv", "md", "png", "svg"))


def test_outputs_of_several_notebooks_stand_side_by_side_and_new_ones_replace_old_ones(outputs, study):
    outputs.table(FRAME, "04_merging")
    Outputs(study, "03_backdoored_models").table(FRAME, "03_attacks")
    Outputs(study, "04_merging_sanitizes", task="olid").table(FRAME, "04_merging")
    entries = manifest(outputs)
    assert list(entries) == ["03_attacks", "04_merging"]
    assert entries["04_merging"]["parameters"] == {"task": "olid"}


def test_no_path_of_this_machine_is_in_any_file(study, outputs, tmp_path):
    data = str(study.locations.data_dir)
    Outputs(study, "04", data_dir=data, overrides={"data_dir": data, "n_train": 5}).table(FRAME, "04_merging")
    outputs.figure(figure(), "05_figure")
    for file in outputs.folder.iterdir():
        content = file.read_bytes().decode("utf-8", "replace")
        for path in (data, str(tmp_path), study.profile.pretrained, str(study.locations.cache_dir)):
            assert path not in content, file.name


def test_only_finished_files_are_left(outputs):
    outputs.table(FRAME, "04_merging")
    outputs.figure(figure(), "04_merging")
    names = {path.name for path in outputs.folder.iterdir() if not path.name.startswith(".")}
    assert names == {"04_merging.csv", "04_merging.md", "04_merging.png", "04_merging.svg", "manifest.json"}
    assert not list(outputs.folder.glob(".*.partial"))


def test_reports_are_written_beside_the_folders_of_all_profiles(outputs, tmp_path):
    outputs.table(FRAME, "x")
    assert outputs.reports() == ["figures/README.md"]
    text = (tmp_path / "figures" / "README.md").read_text(encoding="utf-8")
    assert text.startswith("# All findings") and "there is no `90_headline.csv`" in text
