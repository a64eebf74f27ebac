"""Number of partners and weight of the victim, varied apart: the right merges, and sentences that follow from the table."""

import matplotlib.pyplot as plt
import pandas as pd
import pytest

from lib.plots.plane import plot_plane
from lib.study.study import Study
from lib.tables.collusion import collusion_table
from lib.tables.plane import WEIGHTS, plane_findings, plane_table


@pytest.fixture(scope="module")
def plane(study):
    return plane_table(study, ["sst2"], ["badnet"], n_same_task=1)


def test_every_kind_and_number_has_every_weight(plane):
    groups = plane.groupby(["partners", "n_partners"])["domains"].unique().map(list).to_dict()
    assert groups == {
        ("same_task", 1): ["sst2 1"],
        ("other_domains", 1): ["yelp", "cr"],
        ("other_domains", 2): ["yelp+cr"],
    }
    assert plane.groupby(["partners", "domains"])["weight"].apply(tuple).unique().tolist() == [WEIGHTS]


def test_groups_of_every_number_have_the_same_partners(make_study, tmp_path):
    from lib.tables.plane import _groups

    planner = make_study(tmp_path, n_other_domains=3, n_same_task=5).planner
    assert _groups(planner, "sst2", 0) == [
        *(("same_task", (i,)) for i in range(5)),
        *(("same_task", pair) for pair in ((0, 1), (2, 3))),  # the fifth has no second
        ("same_task", (0, 1, 2, 3)),
        *(("other_domains", (i,)) for i in range(3)),
        ("other_domains", (0, 1)),
    ]


def test_partners_share_what_the_victim_leaves(plane, study, backdoored):
    rows = plane[plane["domains"] == "yelp+cr"].set_index("weight")
    others = study.partners("sst2")
    merged = study.score(study.merge([backdoored, *others], weights=[0.2, 0.4, 0.4]), "sst2", "badnet")
    assert (rows["asr"][0.2], rows["cacc"][0.2]) == (merged.asr, merged.cacc)
    assert rows["asr"][1.0] == study.score(backdoored, "sst2", "badnet").asr
    alone = study.score(study.merge(others), "sst2", "badnet")
    assert rows["asr"][0.0] == alone.asr == rows["partners_only_asr"].unique().item()


def test_the_merges_that_are_scored_are_counted_once(study, make_study, tmp_path):
    # Groups same task 1, yelp, cr, yelp+cr: four weights between the ends each, and at weight 0 the average of two.
    needed = plane_table.needed(study.planner, ["sst2"], ["badnet"], n_same_task=1)
    assert needed.n_merges == 4 * 4 + 1
    assert plane_table.needed(study.planner, ["sst2"], ["badnet", "insertsent"], n_same_task=1).n_merges == 2 * (4 * 4 + 1)
    # Of four models of the task there are four alone, two pairs, and all together.
    four = make_study(tmp_path, n_same_task=4).planner
    assert plane_table.needed(four, ["sst2"], ["badnet"]).n_merges == needed.n_merges + 4 * 6 + 3
    # Real rows are dealt among as many partners as the profile has: more would be other victims.
    more = plane_table.needed(study.planner, ["sst2"], ["badnet"])
    assert {recipe.key for recipe in more.models} == {recipe.key for recipe in needed.models}
    none = plane_table.needed(study.planner, ["sst2"], ["badnet"], n_same_task=0)
    assert {recipe.data.dataset for recipe in none.models if not recipe.trigger} == {"sst2", "yelp", "cr"}


def test_the_models_of_the_same_task_are_those_of_the_colluding_attackers_notebook():
    planner = Study("pocket").planner
    plane, collusion = (
        {recipe.key for recipe in table.needed(planner, *arguments).models if not recipe.trigger}
        for table, arguments in ((plane_table, (["sst2"], ["badnet"])), (collusion_table, ("sst2", "badnet", 5)))
    )
    assert collusion < plane


def by_hand(weight_effect, number_effect, n_seeds=3):
    """A plane whose ASR is a sum of what weight and number do; near and far partners differ by 10 points of CACC."""
    rows = [
        {
            **{"task": "sst2", "attack": "badnet", "partners": kind, "n_partners": n, "weight": weight, "seed": seed},
            **{"asr": 0.1 + weight_effect * weight + number_effect * n, "cacc": 0.9 - 0.1 * (kind == "far") + 0.01 * weight},
        }
        for kind in ("near", "far")
        for n in (1, 2)
        for weight in WEIGHTS
        for seed in range(n_seeds)
    ]
    return pd.DataFrame(rows)


def test_weight_and_number_get_their_shares():
    only_weight, only_number = (" ".join(plane_findings(by_hand(*effects))) for effects in ((0.5, 0), (0, 0.1)))
    assert "(single averages have 15.0 to 35.0 %), the weight of the backdoored model explains 100.0%" in only_weight
    assert "the number of partners 0.0%; 0.0% is noise" in only_weight
    assert "the weight of the backdoored model explains 0.0%, the number of partners 100.0%" in only_number
    assert "At weight 0.2, 2 instead of 1 partners (near): ASR +0.0 points [+0.0, +0.0]" in only_weight
    assert "At weight 0.2, 2 instead of 1 partners (far): ASR +10.0 points [+10.0, +10.0]" in only_number


def test_near_and_far_partners_are_compared_at_equal_weight_and_number():
    text = list(plane_findings(by_hand(0.5, 0)))[-1]
    assert text == (
        "At weight 0.2 and equal number, far instead of near partners: "
        "ASR +0.0 points [+0.0, +0.0], CACC -10.0 points [-10.0, -10.0]."
    )
    assert "far instead of near" not in " ".join(plane_findings(by_hand(0.5, 0).query("partners == 'near'")))
    with pytest.raises(ValueError, match=r"weight is 0.25; choose from \[0.1, 0.2, 0.33, 0.5\]"):
        next(plane_findings(by_hand(0.5, 0), weight=0.25))


def test_the_figure_has_a_panel_per_kind_and_a_line_per_number(plane):
    figure = plot_plane(plane)
    axes = figure.get_axes()
    assert [axis.get_title().splitlines()[-1] for axis in axes] == [
        "clean models of the same task",
        "clean models of other domains",
    ]
    lines = {line.get_label(): line.get_ydata() for line in axes[1].get_lines()}
    rows = plane[plane["domains"] == "yelp+cr"]
    assert list(lines["attack success rate (ASR), 2 partners"]) == pytest.approx((rows["asr"] * 100).tolist())
    single = plane[(plane["partners"] == "other_domains") & (plane["n_partners"] == 1)].groupby("weight")["cacc"].mean() * 100
    assert list(lines["clean accuracy (CACC), 1 partner"]) == pytest.approx(single.tolist())
    plt.close(figure)
