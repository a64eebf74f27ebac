"""What a screen says of submitted models: the right models and texts, the clean twin, and sentences that add up."""

import matplotlib.pyplot as plt
import pandas as pd
import pytest

from lib.plots.limits import plot_detection
from lib.sanitizing.screening import STATISTICS, screen
from lib.tables.detection import COLUMNS, RATES, detection_findings, detection_table, screened_attackers


@pytest.fixture(scope="module")
def quick(make_study, tmp_path_factory):
    return make_study(tmp_path_factory.mktemp("cache"), epochs=2, n_same_task=1)


@pytest.fixture(scope="module")
def seen():
    return []


@pytest.fixture(scope="module")
def table(quick, seen):
    def watched(models, pretrained, texts, **settings):
        seen.append((models, pretrained, texts))
        return screen(models, pretrained, texts, **settings)

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr("lib.sanitizing.screening.screen", watched)
        return detection_table(quick, "sst2", "embedding_row,poisoned_base")


def test_there_is_a_row_per_attacker_and_statistic_with_a_clean_twin(table):
    assert list(table) == list(COLUMNS)
    per_attacker = table.groupby(["attack", "settings"], sort=False)["statistic"].agg(set)
    assert len(per_attacker) == 1 + 2 * len(RATES) + 4
    assert all(found == set(STATISTICS) for found in per_attacker)
    assert table["attack"].iloc[0] == "clean" and (table["n_models"] == 3).all()
    assert '{"base": "poisoned"}' not in set(table["settings"])  # there no model differs from the others
    rates = table.groupby("attack")["poisoning_rate"].agg(lambda values: sorted(set(values.dropna())))
    assert rates["badnet"] == list(RATES) and rates["embedding_row"] == rates["clean"] == []


def test_the_screen_sees_the_submitted_model_first_and_no_label(quick, table, seen):
    models, start, texts = seen[0]
    assert models[0] == quick.model("sst2") and models[1:] == quick.partners("sst2")
    assert list(texts) == ["text"]
    assert texts["text"].tolist() == quick.rows("sst2", "validation")["text"].tolist()
    assert start.name == quick.planner.initial(models).source().name


def test_screens_are_read_from_the_store_as_they_were_measured(quick, table, seen, monkeypatch):
    n_attackers = len(table[["attack", "settings"]].drop_duplicates())
    assert len(seen) == n_attackers  # each once
    monkeypatch.setattr("lib.sanitizing.screening.screen", None)
    pd.testing.assert_frame_equal(detection_table(quick, "sst2", "embedding_row,poisoned_base"), table)


def test_a_row_a_thousand_times_as_long_is_seen_by_its_norm_and_the_poisoned_row_is_not(table):
    norms = table[(table["statistic"] == "row_norm") & (table["attack"] == "embedding_row")].set_index("settings")
    assert norms.loc['{"row_scale": 1000}', "is_flagged"] and norms.loc['{"row_scale": 1000}', "rank"] == 1
    assert not norms.loc['{"words": 1}', "is_flagged"]
    assert norms.loc['{"row_scale": 1000}', "value"] > 100


def test_others_are_the_other_models(quick, table):
    row = table[(table["statistic"] == "mean_cosine") & (table["attack"] == "clean")].iloc[0]
    models = [quick.model("sst2"), *quick.partners("sst2")]
    whole = screen(models, quick.planner.initial(models).source(), quick.rows("sst2", "validation")).table
    values = whole[whole["statistic"] == "mean_cosine"]["value"].tolist()
    assert row["value"] == pytest.approx(values[0])
    assert [row["others_low"], row["others_high"]] == pytest.approx([min(values[1:]), max(values[1:])])


def test_the_figure_is_drawn(table):
    figure = plot_detection(table)
    assert [axis.get_title() for axis in figure.axes] == ["BadNet", "InsertSent"]
    plt.close(figure)


def test_findings_count_what_two_statistics_agree_on():
    rows = [
        ("clean", "{}", s, stat, flag)
        for s, flags in enumerate([(1, 0), (1, 1)])
        for stat, flag in zip("ab", flags, strict=True)
    ]
    rows += [("badnet", "{}", s, stat, 1) for s in range(2) for stat in "ab"]
    rows += [("split", "{}", s, stat, int(stat == "a")) for s in range(2) for stat in "ab"]
    frame = pd.DataFrame(rows, columns=["attack", "settings", "seed", "statistic", "is_flagged"]).astype({"is_flagged": bool})
    sentences = list(detection_findings(frame))
    assert sentences[0].endswith("drops the clean twin in 1 of 2 seeds.")
    assert sentences[1:3] == ["Attackers that it drops every time: badnet {}.", "Attackers that it drops never: split {}."]
    assert sentences[3] == "a flags 4 of 4 submitted models, and 2 of 2 clean twins."
    assert sentences[4] == "b flags 2 of 4 submitted models, and 1 of 2 clean twins."


def test_a_profile_of_rows_is_refused_by_name():
    with pytest.raises(ValueError, match="unknown rows"):
        screened_attackers("nobody")
