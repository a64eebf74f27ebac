"""What decides the price of an average: the right partners, a fair match, and parts that add up."""

import matplotlib.pyplot as plt
import numpy as np
import pandas as pd
import pytest

from lib.datasets import SAME_TASK_SEED_STEP, part_of
from lib.dry_run import offline_planner
from lib.plots.deciding import KINDS, plot_deciding, plot_partner_strength
from lib.plots.style import Subject
from lib.study.partner_planning import with_part_of_rows
from lib.tables.deciding import (
    CAUSES,
    FEW,
    MATCHED,
    _sets_of_partners,
    deciding_parts,
    deciding_table,
    with_matched,
)
from lib.tables.deciding_findings import deciding_findings, removed_and_price

CASE = ("sst2", "badnet", 0)


@pytest.fixture(scope="module")
def two(make_study, tmp_path_factory):
    """A study with as many partners on the task as other domains."""
    return make_study(tmp_path_factory.mktemp("deciding"), n_same_task=2)


@pytest.fixture(scope="module")
def table(two):
    return deciding_table(two, ["sst2"], ["badnet"], [12, 24], 100)


def invented(n_seeds=2):
    """A table in which the merge costs 0.5, weakness 2 and the domain 1 point of CACC, and each adds ASR."""
    shown = {
        "same_task": (2000, 0.95, -0.005, 0.02),
        "same_task_few": (200, 0.80, -0.025, 0.03),
        "same_task_lacking": (2000, 0.70, -0.045, 0.02),
        "other_domains": (2000, 0.82, -0.035, 0.07),
        "other_domains_more": (4000, 0.88, -0.025, 0.05),
    }
    rows = []
    for seed in range(n_seeds):
        for partners, (n_rows, strength, change, excess) in shown.items():
            row = {"task": "agnews", "attack": "badnet", "partners": partners, "n_rows": n_rows, "seed": seed, "n_partners": 4}
            row |= {"partner_cacc": strength, "partner_validation_cacc": strength, "partners_only_cacc": strength, "cacc": 0.9}
            row |= {"backdoored_asr": 0.9, "asr_floor": 0.1}
            rows.append(row | {"cacc_change": change + seed / 1000, "excess_asr": excess})
    return pd.DataFrame(rows)


def test_every_kind_has_the_same_victim_and_as_many_partners(table, two):
    assert table["partners"].tolist() == ["same_task", FEW, FEW, "other_domains", "other_domains_more"]
    assert table["n_rows"].tolist() == [two.profile.n_train, 12, 24, two.profile.n_train, 100]
    assert set(table["n_partners"]) == {2}
    for column in ("backdoored_cacc", "backdoored_asr", "clean_model_cacc", "asr_floor"):
        assert table[column].nunique() == 1


def test_a_row_is_the_uniform_average_with_its_partners_and_their_own_accuracies(table, two):
    victim = two.model(*CASE)
    recipes = [with_part_of_rows(recipe, 12) for recipe in two.partner_recipes("sst2", "same_task", 0)]
    others, row = two.train(recipes), table.iloc[1]
    assert row["asr"] == two.score(two.merge([victim, *others]), *CASE).asr
    assert row["partners_only_cacc"] == two.score(two.merge(others), *CASE).cacc
    alone = [two.score(model, "sst2", None, seed=0).cacc for model in others]
    assert row["partner_cacc"] == np.mean(alone)
    assert row["weakest_partner_cacc"] == min(alone)
    validated = [two.score(model, "sst2", None, seed=0, split="validation").cacc for model in others]
    assert row["partner_validation_cacc"] == np.mean(validated)


def test_weak_partners_see_a_part_of_the_strong_ones_rows(two):
    recipe = two.recipe("sst2", seed=SAME_TASK_SEED_STEP, head_seed=0)
    whole = two.variant().rows("sst2", "train", SAME_TASK_SEED_STEP)
    from lib.study.artifacts import load_rows

    weak = load_rows(with_part_of_rows(recipe, 12).data, two.locations)
    assert len(weak) == 12
    assert set(weak["text"]) <= set(whole["text"])
    lacking = load_rows(with_part_of_rows(recipe, without_label=1).data, two.locations)
    assert sorted(lacking["text"]) == sorted(whole.loc[whole["label"] == 0, "text"])
    assert with_part_of_rows(recipe).key == recipe.key  # nothing that was made before gets another key


def test_a_label_that_is_left_out_needs_a_task_with_more_than_two(make_study, tmp_path):
    study = make_study(tmp_path, n_same_task=1, tasks=("agnews",), n_other_domains=1, source="pocket", pretrained="pocket-bert")
    needed = deciding_table.needed(study.planner, ["agnews"], ["badnet"], [8], 0, "Business")
    assert sum(recipe.data.without_label == 2 for recipe in needed.models) == 1
    for task, label in (("sst2", "negative"), ("agnews", "Weather")):
        needed = deciding_table.needed(study.planner, [task], ["badnet"], [8], 0, label)
        assert all(recipe.data.without_label == -1 for recipe in needed.models)


def test_the_match_is_the_nearest_on_validation_texts_the_strong_ones_among_them():
    found = with_matched(invented())
    matched = found[found["partners"] == MATCHED]
    assert matched["n_rows"].tolist() == [200, 200]
    strong = invented()
    strong.loc[strong["partners"] == "other_domains", "partner_validation_cacc"] = 0.94
    assert with_matched(strong).query(f"partners == '{MATCHED}'")["n_rows"].tolist() == [2000, 2000]


def test_the_parts_of_the_price_add_up():
    parts = deciding_parts(invented()).set_index(["measure", "part"])["change"]
    assert parts["cacc"].round(4).to_dict() == {
        "merge": -0.0045, "weak partners": -0.02, "other domain": -0.01, "all": -0.0345, "more rows": 0.01,
        "missing label": -0.04,
    }  # fmt: skip
    for measure in ("cacc", "asr"):
        assert sum(parts[measure, cause] for cause in CAUSES) == pytest.approx(parts[measure, "all"])
    assert parts["asr", "other domain"] == pytest.approx(0.04)


def test_sentences_name_the_largest_part_and_say_what_was_matched():
    done, first, second, third, more, lacking = deciding_findings(invented(), {"agnews": "AG News"})
    assert done == (
        "AG News: well-trained models of the task itself remove 97.5% of the removable ASR at -0.5 points of CACC, models of "
        "other domains 91.2% of the removable ASR at -3.5 points of CACC. Keeping the backdoored model changes the CACC of "
        "these partners by -5.0 and +8.0 points."
    )
    assert first.startswith("AG News: with models of other domains the CACC changes by -3.5 points")
    assert first.endswith("Most of the price comes from the weakness of the partners.")
    assert "domain +4.0 points" in second
    assert third.endswith("on as few rows as match best (mean 200) 80.0%.")
    assert "+1.0 points" in more
    assert "-4.0 points" in lacking
    unsure = invented()
    unsure.loc[(unsure["partners"] == FEW) & (unsure["seed"] == 1), "cacc_change"] = 0.1
    unsure.loc[(unsure["partners"] == FEW) & (unsure["seed"] == 0), "cacc_change"] = -0.3
    assert list(deciding_findings(unsure))[1].endswith("the weakness of the partners, but its interval holds zero.")
    free = invented().assign(cacc_change=0.0)
    assert list(deciding_findings(free))[1].endswith("None of the three costs half a point.")


def test_partners_are_judged_by_what_they_remove_and_what_they_cost():
    removed, change = removed_and_price(invented(1), "other_domains")
    assert (removed, change) == (pytest.approx(1 - 0.07 / 0.8), pytest.approx(-0.035))
    with pytest.raises(ValueError, match="no partners 'cousins'"):
        removed_and_price(invented(1), "cousins")


def test_what_a_table_lacks_is_not_spoken_of():
    known = invented(1)
    known = known[~known["partners"].isin(["other_domains_more", "same_task_lacking"])]
    assert len(list(deciding_findings(known))) == 4
    assert set(deciding_parts(known)["part"]) == {*CAUSES, "all"}


@pytest.mark.parametrize(
    ("few", "problem"), [([], "few_rows is empty"), ([10_000], "cannot keep 10000 of"), ([-1], "cannot keep -1 of")]
)
def test_bad_numbers_of_rows_are_refused_before_any_training(two, few, problem):
    with pytest.raises(ValueError, match=problem):
        deciding_table.needed(two.planner, ["sst2"], ["badnet"], few)


def test_there_are_as_many_partners_on_the_task_as_other_domains_whatever_the_profile_has(make_study, tmp_path):
    for n_same_task in (1, 4):
        planner = make_study(tmp_path, n_same_task=n_same_task).planner
        needed = deciding_table.needed(planner, ["sst2"], ["badnet"], [12], 0)
        strong = [recipe for recipe in needed.models if recipe.seed >= 1000 and not recipe.data.kept]
        assert len(strong) == len(planner.other_domains("sst2")) == 2


def test_a_profile_of_all_rows_has_no_more_rows_and_its_tables_count_them():
    planner = offline_planner("paper")
    sets = _sets_of_partners(planner, "sst2", 0, [200], 4000, "")
    assert [(named["partners"], named["n_rows"]) for named, _ in sets] == [
        ("same_task", 67_349), ("same_task_few", 200), ("other_domains", 3_600_000),
    ]  # fmt: skip
    more = [named["n_rows"] for named, _ in _sets_of_partners(offline_planner("small"), "sst2", 0, [200], 4000, "")]
    assert more == [3000, 200, 3000, 4000]


def test_a_part_of_rows_keeps_the_shares_and_refuses_what_is_not_there():
    rows = pd.DataFrame({"text": [str(i) for i in range(40)], "label": [0] * 30 + [1] * 10})
    kept = part_of(rows, 20)
    assert kept["label"].value_counts().to_dict() == {0: 15, 1: 5}
    assert kept["text"].is_unique
    with pytest.raises(ValueError, match="cannot keep 41 of 40 rows"):
        part_of(rows, 41)
    with pytest.raises(ValueError, match="no row has the label 2"):
        part_of(rows, without_label=2)


def test_figures_show_every_kind(table):
    figure = plot_deciding(table, Subject(False, "tiny"))
    labels = {text.get_text() for text in figure.axes[0].get_yticklabels()}
    assert labels == {"own task", "own task, 12 rows", "own task, 24 rows", "other domains", "other domains, up to 100 rows"}
    strength = plot_partner_strength(table)
    assert strength.axes[0].get_title() == "SST-2"
    assert set(table["partners"]) <= set(KINDS)
    plt.close("all")
