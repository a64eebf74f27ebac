"""The table of clean sets: whose texts, which role, and sentences that add up."""

import pandas as pd
import pytest

from lib.sanitizing.margins import OTHER, OWN
from lib.sanitizing.screening import STATISTICS
from lib.tables.clean_sets import COLUMNS, clean_sets_findings, clean_sets_table, excesses_of, judged, models_dropped


@pytest.fixture(scope="module")
def table(make_study, tmp_path_factory):
    quick = make_study(tmp_path_factory.mktemp("cache"), epochs=1, n_same_task=1)
    return clean_sets_table(quick, ["sst2"], [3], every_domain=True)


def test_every_domain_is_once_the_one_of_the_texts_and_its_model_has_that_role(table):
    assert list(table) == list(COLUMNS)
    domains = table["model"].unique().tolist()
    assert domains[0] == "sst2" and len(domains) == 3 and set(table["texts"]) == set(domains)
    assert len(table) == len(domains) ** 2 * len(STATISTICS)
    own = table[table["role"] == OWN]
    assert (own["model"] == own["texts"]).all() and len(own) == len(domains) * len(STATISTICS)
    first = table.groupby(["texts", "statistic"], sort=False)["model"].first()
    assert all(texts == model for (texts, _), model in first.items())
    # what does not depend on texts is the same whoever comes first
    cosines = table[table["statistic"] == "mean_cosine"].groupby("model")["value"]
    assert (cosines.max() - cosines.min() < 1e-6).all() and cosines.mean().nunique() == 3


def rows_of(values, seed=0):
    """Values of one statistic of four models, the first of the texts' domain."""
    return [
        {"task": "a", "texts": "a", "seed": seed, "model": model, "statistic": statistic, "value": value, "n_models": 4}
        for statistic, found in values.items()
        for model, value in zip("abcd", found, strict=True)
    ]


def test_margins_are_those_of_the_role_and_two_flags_drop():
    frame = pd.DataFrame(rows_of({"leave_one_out": [0.4, 0.4, 0.1, 0.1], "row_norm": [3.0, 9.0, 3.0, 3.0]}))
    margins = {OWN: {"leave_one_out": 5.0, "row_norm": 1.0}, OTHER: {"leave_one_out": 1.0, "row_norm": 1.0}}
    found = judged(frame, margins)
    assert found.set_index(["statistic", "model"])["excess"].round(6).to_dict() == {
        ("leave_one_out", "a"): 3.0, ("leave_one_out", "b"): 3.0, ("leave_one_out", "c"): 0.0, ("leave_one_out", "d"): 0.0,
        ("row_norm", "a"): 0.0, ("row_norm", "b"): 2.0, ("row_norm", "c"): 0.0, ("row_norm", "d"): 0.0,
    }  # fmt: skip
    assert models_dropped(found)["is_dropped"].tolist() == [False, True, False, False]
    assert excesses_of(found)[OWN] == {"leave_one_out": [pytest.approx(3.0)], "row_norm": [0.0]}
    sentences = list(clean_sets_findings(found))
    assert sentences[0].startswith("Of 4 clean models in 1 sets without any attacker the screen drops 1 (25.0%")
    assert "is dropped in 0 of 1 sets; of the models of other domains 1 of 3" in sentences[1]
    assert sentences[2] == "leave_one_out flags 0 of 1 clean models of the texts' own domain and 1 of 3 of other domains."
