"""What a screen says of submitted models: the right models and texts, the clean twin, and sentences that add up."""

import matplotlib.pyplot as plt
import pandas as pd
import pytest

from lib.plots.limits import plot_detection
from lib.sanitizing.screening import STATISTICS, screen
from lib.tables.detection import COLUMNS, RATES, detection_findings, detection_table, open_findings, screened_attackers


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
        return detection_table(quick, "sst2", "embedding_row,poisoned_base,collusion", "usual")


def test_there_is_a_row_per_attacker_and_statistic_with_a_clean_twin(table):
    assert list(table) == list(COLUMNS)
    per_attacker = table.groupby(["attack", "settings"], sort=False)["statistic"].agg(set)
    assert len(per_attacker) == 1 + 2 + 4 + 2
    assert all(found == set(STATISTICS) for found in per_attacker)
    assert table["attack"].iloc[0] == "clean" and (table["n_models"] == 3).all()
    assert '{"base": "poisoned"}' not in set(table["settings"])  # there no model differs from the others
    rates = table.groupby("attack")["poisoning_rate"].agg(lambda values: sorted(set(values.dropna())))
    assert rates["badnet"] == [0.2] and rates["embedding_row"] == rates["clean"] == []
    uploads = table.groupby(["attack", "settings"], sort=False)["upload"].agg(lambda each: sorted(set(each)))
    assert uploads["collusion", '{"n_backdoored": 2}'] == [1, 2] and uploads["collusion", '{"n_backdoored": 3}'] == [1, 2, 3]
    assert uploads["clean", "{}"] == [1]


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
    pd.testing.assert_frame_equal(detection_table(quick, "sst2", "embedding_row,poisoned_base,collusion", "usual"), table)


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
    frame = pd.DataFrame(rows, columns=["attack", "settings", "seed", "statistic", "is_flagged"]).assign(upload=1)
    second = frame[frame["attack"] == "badnet"].assign(attack="collusion", upload=2, is_flagged=0)
    both = [frame, second, second.assign(upload=1, is_flagged=1)]
    frame = pd.concat(both, ignore_index=True).astype({"is_flagged": bool})
    sentences = list(detection_findings(frame))
    assert sentences[0].endswith("drops the clean twin in 1 of 2 seeds.")
    assert sentences[1:4] == [
        "Attackers all of whose models it drops: badnet {}.",
        "Attackers of whose models it drops none: split {}.",
        "Attackers some of whose models it drops: collusion {} (2 of 4).",
    ]
    assert sentences[4] == "a flags 6 of 8 submitted models, and 2 of 2 clean twins."
    assert sentences[5] == "b flags 4 of 8 submitted models, and 1 of 2 clean twins."
    limits = pd.DataFrame(
        [(a, "{}", 1, rule, asr - 0.1, asr, 0.1, 0.9, 0.9, 1.0) for rule in ("weight_average", "clipped_average")
         for a, asr in (("badnet", 0.9), ("split", 0.8), ("collusion", 0.2), ("merge_aware", 0.7))],
        columns=["attack", "settings", "knowledge", "merge_method", "excess_asr", "asr", "asr_floor", "cacc",
                 "clean_model_cacc", "norm_ratio"],
    )  # fmt: skip
    still_open = list(open_findings(limits, frame))
    assert still_open[0] == (
        "Open after the screen and clipped_average: 2 of 4 attackers survive both: split {}, merge_aware {}. They survive the "
        "rule, but the screen drops a model of theirs: badnet {}."
    )
    assert "the table has merge_aware; not tried: norm_bounded (" in still_open[1] and "decoy_rows" in still_open[1]


def test_a_profile_of_rows_is_refused_by_name():
    with pytest.raises(ValueError, match="unknown rows"):
        screened_attackers("nobody")
    with pytest.raises(ValueError, match=r"detection_rates is 'low'; choose from \['all', 'usual'\]"):
        screened_attackers("core", "low")


def test_the_low_rates_can_be_left_out_and_are_not_declared_then(quick):
    found = {
        rates: {model.poisoning_rate for model in detection_table.needed(quick.planner, "sst2", "badnet", rates).models}
        for rates in RATES
    }
    assert found["all"] - found["usual"] == {0.01, 0.05, 0.1}
