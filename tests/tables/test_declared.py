"""A table trains what it declares, and nothing else."""

import pandas as pd
import pytest

from lib import tables
from lib.study.store import UndeclaredError
from lib.tables.rows import Needed, Table, declares


def nothing(planner, dataset):
    return Needed()


@declares(nothing)
def sly_table(study, dataset):
    """Trains what it did not declare."""
    return pd.DataFrame([{"key": study.model(dataset).key}])


def test_an_undeclared_recipe_is_an_error_even_if_the_store_has_it(study, clean):
    with pytest.raises(UndeclaredError, match=r"1 models were not declared by the table .*: \['sst2 clean seed 0'\]"):
        sly_table(study, "sst2")
    assert study.model("sst2").key == clean.key  # outside a table everything is allowed


def test_a_table_inside_a_table_must_be_declared_by_both(study):
    @declares(lambda planner: Needed())
    def outer(study):
        return tables.transfer_table(study, "sst2")

    with pytest.raises(UndeclaredError):
        outer(study)


def test_a_variant_inside_a_table_is_bound_by_the_declaration_too(study):
    @declares(lambda planner: Needed([planner.recipe("sst2")]))
    def table(study):
        return pd.DataFrame([{"key": study.variant(epochs=1.0).model("sst2").key}])

    with pytest.raises(UndeclaredError):
        table(study)


def test_a_derived_model_is_declared_like_a_trained_one(study, clean, monkeypatch):
    from lib.defenses import Defense
    from lib.study import derived

    monkeypatch.setitem(derived.EDITS, "copy", Defense("post_training", lambda models, tokenizer, clean: models[0]))

    def needed(planner, is_declared):
        model = planner.recipe("sst2")
        return Needed([model], derived=[planner.derived("copy", [model.key])] if is_declared else [])

    @declares(needed)
    def table(study, is_declared):
        copied = study.derive("copy", [study.model("sst2")])
        return pd.DataFrame([{"cacc": study.score(copied, "sst2").cacc}])

    assert table(study, True)["cacc"].tolist() == [study.score(clean, "sst2").cacc]
    with pytest.raises(UndeclaredError, match=r"copy of 1 models"):
        table(study, False)
    both = needed(study.planner, True) + needed(study.planner, True)
    assert len(both.derived) == 2


def test_every_table_that_trains_is_a_table_with_a_declaration():
    made = {name for name in tables.__all__ if name.endswith("_table") or name == "loss_curves"}
    read_only = {"agreement_table", "headline_table", "intervals_table", "strayed_table", "tests_table", "tasks_table"}
    read_only |= {"assumptions_table", "propositions_table"}
    for name in made - read_only:
        assert isinstance(getattr(tables, name), Table), name
        assert getattr(tables, name).__doc__, name


def test_needs_add_up(study):
    recipe = study.recipe("sst2")
    both = Needed([recipe], 2) + Needed([recipe], 3)
    assert (both.models, both.n_merges) == ([recipe, recipe], 5)
