"""Victims of other poisoning rates and more epochs: the right models are merged, scored and drawn."""

import matplotlib.pyplot as plt
import numpy as np
import pytest

from lib.merging.geometry import norm_matched_weights
from lib.notebook import exercises
from lib.plots.epochs import plot_epochs
from lib.plots.poisoning_rate import plot_poisoning_rates
from lib.tables.epochs import epochs_table
from lib.tables.poisoning_rate import poisoning_rates_table


@pytest.fixture(scope="module")
def by_rate(study):
    return poisoning_rates_table(study, "sst2", ["badnet"], [0.05, study.profile.poisoning_rate])


@pytest.fixture(scope="module")
def by_epochs(study):
    return epochs_table(study, "sst2", ["badnet"], [1, 2])


def test_there_is_a_row_per_rate_and_number_of_models(by_rate, study):
    n_models = 1 + len(study.other_domains("sst2"))
    assert len(by_rate) == 2 * n_models * study.profile.n_seeds
    assert by_rate["n_models"].tolist()[:n_models] == list(range(1, n_models + 1))
    assert {"task", "attack", "poisoning_rate", "n_models", "seed", "cacc", "asr", "asr_floor"} <= set(by_rate)


def test_the_usual_rate_is_the_usual_victim_and_another_rate_another_one(by_rate, study, backdoored):
    rows = by_rate[by_rate["n_models"] == 1].set_index("poisoning_rate")
    usual = study.score(backdoored, "sst2", "badnet")
    assert rows["asr"][study.profile.poisoning_rate] == usual.asr
    rare = study.model("sst2", "badnet", poisoning_rate=0.05)
    assert rare.key != backdoored.key
    assert rows["asr"][0.05] == study.score(rare, "sst2", "badnet").asr
    merged = study.merge([rare, *study.partners("sst2")])
    last = by_rate[by_rate["poisoning_rate"] == 0.05].iloc[-1]
    assert last["asr"] == study.score(merged, "sst2", "badnet").asr


def test_longer_victims_are_merged_with_partners_of_the_usual_epochs(by_epochs, study, backdoored):
    usual = study.profile.epochs
    assert by_epochs.groupby("epochs")["merge"].apply(list).to_dict() == {
        usual * factor: ["none", "uniform", "half weight", "norm matching", "more models"] for factor in (1, 2)
    }
    rows = by_epochs.set_index(["epochs", "merge"])
    assert rows.loc[(usual, "none"), "asr"] == study.score(backdoored, "sst2", "badnet").asr
    longer = study.model("sst2", "badnet", epochs=2 * usual)
    others = study.partners("sst2")
    assert rows.loc[(2 * usual, "uniform"), "asr"] == study.score(study.merge([longer, *others]), "sst2", "badnet").asr
    assert rows.loc[(2 * usual, "none"), "distance"] == longer.record["distance"]
    expected = np.mean([other.record["distance"] for other in others])
    assert rows.loc[(2 * usual, "none"), "partner_distance"] == pytest.approx(expected)


def test_a_victim_of_half_weight_has_half_of_its_uniform_share(study, backdoored):
    from lib.tables.epochs import mitigations

    others = study.partners("sst2")
    merges = mitigations(study, backdoored, others, study.partners("sst2", "same_task"))
    first, *rest = merges["half weight"][1].settings["weights"]
    assert first == pytest.approx(0.5 / (1 + len(others)))
    assert first + sum(rest) == pytest.approx(1)
    assert {name: n for name, (n, _) in merges.items()} == {
        "none": 1, "uniform": 3, "half weight": 3, "norm matching": 3, "more models": 3 + study.profile.n_same_task,
    }  # fmt: skip


def test_norm_matching_makes_every_task_vector_equally_long():
    norms = [8.0, 2.0, 4.0, 1.0]
    lengths = [norm * weight for norm, weight in zip(norms, norm_matched_weights(norms), strict=True)]
    assert lengths == pytest.approx([3.0 / 4] * 4)
    assert norm_matched_weights([5.0, 5.0]) == [0.5, 0.5]  # of equally long ones it is the uniform average


@pytest.mark.parametrize("norms", [[], [1.0, 0.0], [1.0, float("nan")], [float("inf"), 1.0], [-1.0, 1.0]])
def test_lengths_that_cannot_be_are_refused(norms):
    with pytest.raises(ValueError, match=r"norms are .*each finite and above 0"):
        norm_matched_weights(norms)


def test_figures_have_a_column_per_attack_a_line_per_kind_and_the_floor(by_rate, by_epochs):
    for plot, table, n_lines in ((plot_poisoning_rates, by_rate, 2), (plot_epochs, by_epochs, 5)):
        figure = plot(table)
        assert len(figure.axes) == 2
        named = [[line for line in axis.get_lines() if not line.get_label().startswith("_")] for axis in figure.axes]
        assert [len(lines) for lines in named] == [n_lines + 1, n_lines]  # and the clean model
        plt.close(figure)


@pytest.mark.parametrize(
    ("plot", "name", "line", "step"),
    [(plot_poisoning_rates, "by_rate", "poisoning_rate", "n_models"), (plot_epochs, "by_epochs", "merge", "epochs")],
)
def test_the_change_of_the_cacc_has_an_axis_of_its_own(plot, name, line, step, request):
    table = request.getfixturevalue(name)
    above, below = plot(table).get_axes()
    assert below.get_ylabel() == "change of the CACC, points"
    low, high = below.get_ylim()
    assert above.get_ylim() == (-3, 103) and (low, high) != (-3, 103)
    drawn = [each.get_ydata().tolist() for each in below.get_lines() if not each.get_label().startswith("_")]
    rows = table.groupby([line, step], sort=False)["cacc_change"].mean() * 100
    for value in table[line].unique():
        assert pytest.approx(rows[value].sort_index().tolist()) in drawn
    alone = [each for each in below.get_lines() if each.get_label() == "_before"]
    assert alone and all(each.get_markerfacecolor() == "white" and set(each.get_ydata()) == {0} for each in alone)
    plt.close("all")


def test_small_changes_do_not_fill_the_axis(by_rate):
    same = by_rate.assign(correct=by_rate["backdoored_correct"])
    low, high = plot_poisoning_rates(same).get_axes()[1].get_ylim()
    assert low <= -3 and high >= 3
    plt.close("all")


def test_the_exercise_on_rates_wants_the_first_above_ninety_per_cent(by_rate):
    table = by_rate.assign(asr=by_rate["poisoning_rate"] * 4.6)  # 0.23 and 0.92
    assert exercises.lowest_rate(0.2, table) == "correct"
    assert exercises.lowest_rate(0.05, table) != "correct"
    assert exercises.lowest_rate(0, table.assign(asr=0.5)) == "correct"
