"""The screen: a model that is not like the others is flagged, honest ones are not, and two statistics must agree."""

import json
import math
import shutil

import pytest
from safetensors.torch import load_file, save_file

from lib.merging import merge_state_dicts
from lib.merging.files import SINGLE
from lib.models.checkpoints import Checkpoint
from lib.models.prediction import encode, predict_logits, probabilities
from lib.models.pretrained import from_hub, load_tokenizer
from lib.sanitizing import screening
from lib.sanitizing.margins import OTHER, OWN
from lib.sanitizing.screening import STATISTICS, agreed, flagged, is_outlier, screen
from lib.sanitizing.screening_report import screening_record, screening_text

EVEN = {role: dict.fromkeys(STATISTICS, 0.5) for role in (OWN, OTHER)}  # margins
WORDS = "bert.embeddings.word_embeddings.weight"


def source(folder):
    return Checkpoint(folder, str(folder), "the start").source()


def test_honest_models_are_measured_by_all_statistics_and_none_is_flagged(honest, initial, clean_texts):
    found = screen(honest, source(initial), clean_texts)
    assert list(dict.fromkeys(found.table["statistic"])) == list(STATISTICS)
    assert not found.table["is_flagged"].any()
    assert (found.dropped, found.spared, found.kept, found.notes) == ({}, {}, [0, 1, 2, 3, 4], ())
    assert found.table.groupby("statistic")["rank"].min().eq(1).all() and found.table["rank"].max() == 5
    cosines = found.table[found.table["statistic"] == "mean_cosine"]["value"]
    assert cosines.between(0.4, 0.6).all()  # half of what they learned is common
    audit = found.table[found.table["statistic"] == "vocabulary"]["value"]
    assert audit.max() < 0.001


def test_a_model_with_one_strange_row_is_flagged_by_two_statistics_and_named_with_its_word(attacked, initial, clean_texts):
    found = screen(attacked, source(initial), clean_texts)
    flags = found.table[found.table["is_flagged"]]
    assert set(flags["model"]) == {"attacked"} and {"vocabulary", "row_norm"} <= set(flags["statistic"])
    assert flags["rank"].tolist() == [1] * len(flags)
    assert found.kept == [1, 2, 3, 4] and "vocabulary and row_norm" in found.dropped[0]
    [first, *_] = found.words[found.words["model"] == "attacked"]["token"]
    assert first == "cf"


def test_one_statistic_alone_drops_nobody(attacked):
    found = screen(attacked)
    assert found.table["statistic"].unique().tolist() == ["row_norm"]
    assert found.table.set_index("model")["is_flagged"].to_dict() == {
        "attacked": True, "model 1": False, "model 2": False, "model 3": False, "model 4": False,
    }  # fmt: skip
    assert found.dropped == {} == found.spared
    assert [note.split(" ")[0] for note in found.notes] == ["mean_cosine", "vocabulary"]


def test_never_are_fewer_than_three_models_left(attacked, initial, clean_texts):
    found = screen(attacked[:3], source(initial), clean_texts)
    assert found.dropped == {} and list(found.spared) == [0]
    assert "kept although flagged by" in screening_text(found)


def test_leaving_a_model_out_changes_the_probabilities_of_the_average_by_what_it_says(honest, clean_texts):
    found = screen(honest[:3], None, clean_texts)
    values = found.table[found.table["statistic"] == "leave_one_out"]["value"].tolist()
    states = [load_file(model.folder / SINGLE) for model in honest[:3]]
    network = from_hub("AutoModelForSequenceClassification", str(honest[0].folder))
    encoded = encode(load_tokenizer(str(honest[0].folder)), clean_texts, 64)

    def answers(chosen):
        network.load_state_dict(merge_state_dicts(chosen))
        return probabilities(predict_logits(network, encoded))

    for place, value in enumerate(values):
        change = answers(states) - answers([state for other, state in enumerate(states) if other != place])
        assert value == pytest.approx(abs(change[:, 0]).mean(), abs=1e-6) and value > 0  # of two labels either one tells it


def test_frozen_embeddings_leave_the_audit_empty_and_the_screen_says_so(honest, initial, tmp_path, clean_texts):
    begin, frozen = load_file(initial / SINGLE)[WORDS], []
    for number, model in enumerate(honest[:3]):
        folder = shutil.copytree(model.folder, tmp_path / str(number))
        save_file(load_file(folder / SINGLE) | {WORDS: begin}, folder / SINGLE, metadata={"format": "pt"})
        frozen.append(Checkpoint(folder, str(folder), folder.name))
    found = screen(frozen, source(initial), clean_texts)
    rows = found.table[found.table["statistic"] == "vocabulary"]
    assert rows["value"].isna().all() and rows["rank"].isna().all() and not rows["is_flagged"].any()
    assert any("no embedding row moved in any model, as with LoRA" in note for note in found.notes)
    assert "| empty" in screening_text(found)
    assert json.loads(json.dumps(screening_record(found)))["statistics"][3]["value"] is None


def test_differences_too_small_to_matter_are_not_flagged_whatever_the_margin():
    small = STATISTICS["vocabulary"]
    assert not is_outlier(0.015, [0.0005] * 4, small, 0.5) and is_outlier(0.025, [0.0005] * 4, small, 0.5)


def test_the_first_model_has_the_margin_of_the_texts_own_domain():
    margins = {OWN: {"leave_one_out": 4.0}, OTHER: {"leave_one_out": 1.0}}
    for first, second in ((0.3, 0.1), (0.1, 0.3)):
        table = flagged({"leave_one_out": [first, second, 0.1, 0.1]}, list("abcd"), margins)
        assert table.set_index("model")["is_flagged"].to_dict() == {"a": False, "b": second == 0.3, "c": False, "d": False}
    assert flagged({"leave_one_out": [0.6, 0.1, 0.1, 0.1]}, list("abcd"), margins)["is_flagged"].tolist()[0]


def test_the_table_has_others_and_ranks_by_statistic():
    table = flagged({"mean_cosine": [0.5, 0.1, 0.5], "row_norm": [3.0, math.nan, 3.0]}, ["a", "b", "c"], EVEN)
    row = table[(table["statistic"] == "mean_cosine") & (table["model"] == "b")].iloc[0]
    assert (row["others_low"], row["others_high"], row["rank"], row["n_models"], row["is_flagged"]) == (0.5, 0.5, 1, 3, True)
    assert row["needs"] == "pretrained"
    assert table[table["statistic"] == "mean_cosine"]["rank"].tolist() == [2, 1, 2]
    assert list(table.columns) == [
        "model", "statistic", "needs", "value", "others_low", "others_high", "rank", "n_models", "is_flagged",
    ]  # fmt: skip


def test_the_model_with_most_flags_goes_first_and_the_last_ones_are_spared():
    values = {
        "mean_cosine": [0.5, 0.1, 0.1, 0.5, 0.5, 0.5],
        "vocabulary": [0.0, 0.0, 0.9, 0.9, 0.0, 0.0],
        "row_norm": [3.0, 9.0, 9.0, 3.0, 3.0, 3.0],
    }
    dropped, spared = agreed(flagged(values, list("abcdef"), EVEN))
    assert list(dropped) == [2, 1] and spared == {}
    assert dropped[1] == "flagged by mean_cosine and row_norm"
    dropped, spared = agreed(flagged({name: found[:4] for name, found in values.items()}, list("abcd"), EVEN))
    assert list(dropped) == [2] and spared == {1: "flagged by mean_cosine and row_norm"}


def test_what_cannot_be_screened_is_refused(honest, initial, clean_texts):
    with pytest.raises(ValueError, match="a screen takes 3 models or more, found 2"):
        screen(honest[:2])
    with pytest.raises(ValueError, match="no text to screen with"):
        screen(honest, None, clean_texts.head(0))
    with pytest.raises(ValueError, match=r"the weights do not fit the architecture: .* are missing"):
        broken = [each.source() for each in honest]
        for each in broken:
            each.tensors = {name: info for name, info in each.tensors.items() if name != "classifier.bias"}
        screen(honest, None, clean_texts, sources=broken)


def test_the_rule_of_the_docstring_names_every_statistic():
    assert all(f"| `{statistic}` |" in (screening.__doc__ or "") for statistic in STATISTICS)
