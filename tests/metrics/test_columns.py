"""One map of columns serves tables, verification and figures: it must know whatever is committed."""

import pandas as pd
import pytest

from lib.metrics.columns import COLUMNS, KINDS, column_of, title_of
from lib.paths import ROOT

TABLES = sorted((ROOT / "figures").glob("*/*.csv"))


@pytest.mark.parametrize("path", TABLES, ids=lambda path: f"{path.parent.name}/{path.stem}")
def test_every_column_of_a_committed_table_is_known_and_holds_what_its_kind_says(path):
    table = pd.read_csv(path)
    for name in table:
        column = column_of(name)
        if path.stem == "02_regimes" and column is None:  # one column per label of the task
            continue
        assert column is not None, name
        if column.kind == "rate":
            assert table[name].dropna().between(0, 1).all(), name
        if column.kind in ("change", "measure", "setting", "p_value"):
            assert pd.api.types.is_numeric_dtype(table[name]), name
        assert column.kind != "outcomes", name


def test_every_kind_is_explained_and_used():
    assert {column.kind for column in COLUMNS.values()} == set(KINDS)


def test_bounds_are_like_what_they_bound_and_titles_fall_back_on_meanings():
    assert column_of("asr_low") is column_of("asr_high") is COLUMNS["asr"]
    assert title_of("asr") == "attack success rate (ASR)"
    assert title_of("merged_asr") == COLUMNS["merged_asr"].meaning
    assert title_of("somebody_elses") == "somebody_elses"
