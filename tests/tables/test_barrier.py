"""Victims that strayed: what the table says of each follows from the way to the clean model, not from its warning."""

import pandas as pd
import pytest

from lib.tables.barrier import barrier_table, strayed_findings, strayed_table


def path(name, cacc, loss, instability="", rate=1e-3, seed=0, distance=5.0):
    """The way of a victim to a model of CACC 0.9 and loss 0.3, at three places, out of order."""
    rows = {"coefficient": [1.0, 0.0, 0.5], "cacc": [0.9, cacc[0], cacc[1]], "clean_loss": [0.3, loss[0], loss[1]]}
    same = {"victim": name, "learning_rate": rate, "seed": seed, "clean_model_cacc": 0.9, "excess_loss": 0.03}
    same |= {"distance": distance, "clean_model_distance": 5.0}
    return pd.DataFrame(rows).assign(**same, instability=instability)


STRAYED = pd.concat(
    [
        path("whole", (0.88, 0.91), (0.3, 0.25)),
        path("hidden", (0.83, 0.60), (0.4, 0.9), "the loss lay high", rate=9e-3),
        path("unwarned", (0.85, 0.80), (0.4, 0.5), None, rate=9e-3, seed=1, distance=20.0),  # as it comes back from a CSV
        path("lost", (0.50, 0.50), (0.7, 0.9), "nothing was learnt", rate=9e-3, seed=2),
    ],
    ignore_index=True,
)


def test_a_victim_is_judged_alone_and_on_the_way():
    table = strayed_table(STRAYED).set_index("victim")
    assert table["barrier"].to_dict() == pytest.approx({"whole": 0.0, "hidden": 0.55, "unwarned": 0.15, "lost": 0.4})
    assert table["lowest_cacc"].tolist() == [0.88, 0.60, 0.80, 0.50]
    assert table["backdoored_cacc"].tolist() == [0.88, 0.83, 0.85, 0.50]
    assert table["is_good_alone"].tolist() == [True, True, True, False]
    assert table["is_broken"].tolist() == [False, True, True, True]
    assert table["moved"].tolist() == [1.0, 1.0, 4.0, 1.0]
    assert table["is_warned"].tolist() == [False, True, True, True]


def test_the_sentences_follow_from_the_table():
    found = list(strayed_findings(strayed_table(STRAYED)))
    assert found[0].startswith("Learning rate 0.001: of 1 backdoored models 1 are good alone")
    assert found[0].endswith("0 have a barrier above 0.05 nats, 0 both: good alone and broken in averages.")
    assert "of 3 backdoored models 2 are good alone" in found[1] and "3 have a barrier above 0.05 nats, 2 both" in found[1]
    assert found[2].startswith("hidden: CACC 83.0% alone and 60.0% at worst")
    assert found[2].endswith("barrier 0.55 nats. It moved 1.0 times as far as that model; the loss lay high.")
    assert found[3].endswith("It moved 4.0 times as far as that model; its losses fell as if nothing had happened.")
    assert "a warning in 2 of 3 models with a barrier and 0 of 1 without." in found[4]
    assert found[4].endswith("By its losses or by its distance from the start it does so in 3 of 3 and 0 of 1.")


def test_the_sentences_are_the_same_when_the_table_comes_from_its_file(tmp_path):
    strayed = strayed_table(STRAYED)
    strayed.to_csv(tmp_path / "06_strayed.csv", index=False)
    assert list(strayed_findings(pd.read_csv(tmp_path / "06_strayed.csv"))) == list(strayed_findings(strayed))


def test_both_rates_and_every_seed_are_in_the_table(study):
    both = barrier_table(study, "sst2", "badnet", [0, 0.5, 1])
    rates = (study.profile.learning_rate, study.profile.unstable_learning_rate)
    assert both["victim"].unique().tolist() == [f"rate {rate:g}, seed 0" for rate in rates]
    assert len(strayed_table(both)) == 2
