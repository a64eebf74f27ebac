"""Table of the defenses: the same texts for all, what each needs and costs, and sentences that follow from the table."""

import matplotlib.pyplot as plt
import numpy as np
import pandas as pd
import pytest

from lib.defenses import DEFENSES, SPECIAL
from lib.metrics.columns import column_of
from lib.plots.defenses import GROUPS, NAMED, defense_title, needs_group, plot_defenses, plot_defenses_by_attack
from lib.study.choices import chosen_defenses
from lib.study.costs import cost_of
from lib.study.store import MissingRunsError, UndeclaredError
from lib.study.study import Study
from lib.tables.defenses import assumptions_table, compared_with_merging, defense_findings, defense_means, defenses_table

SHOWN = ["strip", "z_def", "fine_tune_clean", "average", "small_weight", "partners_only", "logit_ensemble"]


@pytest.fixture(scope="module")
def table(study):
    return defenses_table(study, ["sst2"], ["badnet", "insertsent"], SHOWN)


def test_every_defense_meets_every_backdoored_model(table):
    assert table.groupby("attack")["defense"].apply(list).to_dict() == {
        key: ["none", "clean_model", *SHOWN] for key in ("badnet", "insertsent")
    }
    for column in table:
        assert column_of(column), column


def test_rows_are_what_the_study_scores(table, study, backdoored, clean):
    rows = table[table["attack"] == "badnet"].set_index("defense")
    others = study.partners("sst2")
    for name, model in {
        "none": backdoored,
        "average": study.merge([backdoored, *others]),
        "small_weight": study.merge([backdoored, others[0]], weights=[0.2, 0.8]),
        "z_def": study.model("sst2", "badnet", defense="z_def"),
        "strip": study.defend("strip", backdoored),
    }.items():
        score = study.score(model, "sst2", "badnet")
        assert (rows["asr"][name], rows["cacc"][name], rows["rejected_clean"][name]) == (
            score.asr,
            score.cacc,
            score.rejected_clean,
        )
    assert rows["n_train"]["none"] == 80 and 0 < rows["n_train"]["z_def"] <= 80 and np.isnan(rows["n_train"]["average"])
    assert rows["excess_asr"]["clean_model"] == 0 == rows["cacc_change"]["none"]
    assert rows["asr_floor"].unique().tolist() == [study.score(clean, "sst2", "badnet").asr]


def test_what_is_needed_is_declared(study, backdoored):
    needed = defenses_table.needed(study.planner, ["sst2"], ["badnet"], SHOWN)
    assert [recipe.defense.name for recipe in needed.models if recipe.defense] == ["z_def"]
    assert [recipe.method.name for recipe in needed.derived] == ["fine_tune_clean"]
    assert needed.n_merges == 5 + 1  # strip and three merges; of the ensemble two other models
    with study.declared([]), pytest.raises(UndeclaredError, match="1 models were not declared"):
        study.defend("fine_tune_clean", backdoored)


def test_costs_are_measured_once(table, study, backdoored):
    costs = table.set_index(["attack", "defense"])[["seconds", "milliseconds_per_text"]]
    assert (costs.loc["badnet"] == costs.loc["insertsent"]).all(axis=None)
    seconds = costs.loc["badnet"]["seconds"]
    assert seconds["none"] == seconds["clean_model"] == seconds["logit_ensemble"] == 0
    assert (seconds[["strip", "z_def", "fine_tune_clean", "average"]] > 0).all()
    # Of so few rows it leaves none out: its training is the one without a defense, and costs as much.
    own, first = study.recipe("sst2", "badnet", defense="z_def"), study.recipe("sst2", "badnet")
    assert seconds["z_def"] == study.store.core_seconds(own) + study.store.core_seconds(first)
    per_text = costs.loc["badnet"]["milliseconds_per_text"]
    assert per_text["strip"] > 3 * per_text["none"]  # it asks the model about twenty copies
    guarded = study.defend("strip", backdoored)
    assert cost_of(study, guarded, "sst2").seconds == seconds["strip"]
    assert "guard" not in vars(guarded)  # read from the store, not measured again
    reader = Study("small", cache_dir=study.locations.cache_dir, data_dir=study.locations.data_dir, only_stored=True)
    with pytest.raises(MissingRunsError, match="1 costs of strip for sst2 badnet seed 0 are not in the store"):
        cost_of(reader, study.defend("strip", backdoored, frr=0.1), "sst2")


def test_a_defense_that_trains_on_all_rows_first_pays_for_it(make_study, tmp_path):
    study = make_study(tmp_path, epochs=2)
    recipe = study.recipe("sst2", "badnet", defense="cube")
    [model] = study.train([recipe])
    both = study.store.core_seconds(recipe) + study.store.core_seconds(recipe.undefended)
    assert cost_of(study, model, "sst2").seconds == both


def test_assumptions_stand_beside_results(table, study):
    shown = assumptions_table(study, table).set_index("defense")
    assert list(shown.index) == SHOWN
    assert shown["needs_training_data"][shown["needs_training_data"]].index.tolist() == ["z_def"]
    assert shown["is_training"][shown["is_training"]].index.tolist() == ["z_def", "fine_tune_clean"]
    n_validation = len(study.rows("sst2", "validation"))
    assert shown["clean_rows"].to_dict() == dict.fromkeys(SHOWN, 0) | dict.fromkeys(("strip", "fine_tune_clean"), n_validation)


def by_hand(asr, cacc, n_seeds=3):
    """A table of two attacks: ASR and CACC of each defense; the seeds differ a little, all in the same way."""
    rows = [
        {
            **{"task": "sst2", "attack": attack, "defense": name, "seed": seed, "needs": "other models", "asr_floor": 0.1},
            **{"asr": asr[name][i] + 0.001 * seed, "cacc": cacc[name] + 0.001 * seed, "excess_asr": asr[name][i] - 0.1},
            **{"cacc_change": cacc[name] - 0.9, "cacc_change_vs_clean": cacc[name] - 0.91, "asr_untriggered": 0.1},
            **{"flip_rate": 0.1, "rejected_clean": 0.0, "rejected_triggered": 0.0},
            **{"seconds": 2.0, "milliseconds_per_text": 0.5, "n_train": 80 if name == "none" else float("nan")},
        }
        for seed in range(n_seeds)
        for name in asr
        for i, attack in enumerate(("badnet", "bite"))
    ]
    return pd.DataFrame(rows)


ASR = {"none": (0.9, 0.9), "average": (0.2, 0.2), "abl": (0.3, 0.15), "onion": (0.6, 0.8), "gms": (0.15, 0.1)}
CACC = {"none": 0.9, "average": 0.89, "abl": 0.86, "onion": 0.88, "gms": 0.885}


def test_differences_to_the_average_are_over_the_same_cells():
    against = compared_with_merging(by_hand(ASR, CACC)).set_index("defense")
    assert against["asr_difference"].round(6).to_dict() == {"none": 0.7, "abl": 0.025, "onion": 0.5, "gms": -0.075}
    assert against["n_lower_asr"].to_dict() == {"none": 0, "abl": 1, "onion": 0, "gms": 2}
    np.testing.assert_allclose(against["asr_difference_low"], against["asr_difference"])  # the seeds agree


def test_sentences_say_who_leaves_less_and_at_which_cost():
    merged, abl, onion, better, weak = defense_findings(by_hand(ASR, CACC))
    assert "from +80.0 points to +10.0 points and changes the CACC by -1.0 points. It takes 2.00 seconds" in merged
    assert "ASR +2.5 points [+2.5, +2.5], CACC -3.0 points" in abl
    assert "leaves less on 1 of 2 cells of tasks and attacks; by attack, on badnet, abl on bite" in abl
    assert "leaves less on 2 of 2 cells of tasks and attacks; by attack, on badnet, bite, onion on none" in onion
    assert better.endswith("of CACC: gms (ASR -7.5 points [-7.5, -7.5], CACC -0.5 points [-0.5, -0.5]; needs other models).")
    assert weak.endswith("stays behind: onion +60.0 points.")


def test_a_sentence_counts_the_rows_that_filters_leave_out():
    table = by_hand(ASR | {"cube": (0.9, 0.9)}, CACC | {"cube": 0.9})
    table.loc[table["defense"] == "cube", "n_train"] = 60
    assert "Of 80 training rows, the filters of training data leave out on average: cube 20." in list(defense_findings(table))


def test_one_seed_proves_nothing_better():
    sentences = list(defense_findings(by_hand(ASR, CACC, n_seeds=1)))
    assert not any("interval over seeds" in sentence for sentence in sentences)
    assert "(one seed)" in sentences[1]
    [lower] = [sentence for sentence in sentences if sentence.startswith("With one seed, less mean ASR")]
    assert lower.endswith("of CACC: gms (ASR -7.5 points (one seed), CACC -0.5 points (one seed); needs other models).")


def test_a_masked_language_model_speaks_for_onion_where_there_is_no_causal_one():
    asr, cacc = ({name.replace("onion", "onion_masked"): value for name, value in rates.items()} for rates in (ASR, CACC))
    assert any(sentence.startswith("onion_masked leaves") for sentence in defense_findings(by_hand(asr, cacc)))
    both = by_hand(ASR | {"onion_masked": ASR["onion"]}, CACC | {"onion_masked": CACC["onion"]})
    assert not any(sentence.startswith("onion_masked leaves") for sentence in defense_findings(both))


def test_a_table_without_the_average_is_an_error():
    table = by_hand(ASR, CACC)
    with pytest.raises(ValueError, match="'average' must be among them"):
        compared_with_merging(table[table["defense"] != "average"])


def test_every_defense_has_a_group_in_the_figure():
    for name, defense in DEFENSES.items():
        assert needs_group(", ".join(defense.needs)) in GROUPS, name
    with pytest.raises(ValueError, match="unknown needs 'luck'"):
        needs_group("luck")


def test_the_figure_has_a_line_per_defense_the_one_that_leaves_least_on_top(table):
    figure = plot_defenses(table)
    left, right = figure.get_axes()
    shown = table[table["defense"] != "clean_model"]
    means = 100 * shown.groupby("defense")[["excess_asr", "cacc_change"]].mean()
    titles = {defense_title(name): name for name in means.index}
    order = [titles[label.get_text()] for label in left.get_yticklabels()]
    assert sorted(order) == sorted(means.index) and "no defense" in titles
    for axis, measure in ((left, "excess_asr"), (right, "cacc_change")):
        dots = [float(container.lines[0].get_xdata()[0]) for container in axis.containers]
        assert dots == pytest.approx(means.loc[order, measure].tolist())
    assert means.loc[order, "excess_asr"].is_monotonic_increasing
    hollow = [container.lines[0].get_markerfacecolor() == "white" for container in left.containers]
    assert [name for name, is_hollow in zip(order, hollow, strict=True) if is_hollow] == ["none"]
    assert "mean of 2 attacks" in figure.get_suptitle()
    assert "BadNet" in plot_defenses(table[table["attack"] == "badnet"]).get_suptitle()
    plt.close("all")


def test_each_attack_has_a_panel_with_a_mark_per_defense(table):
    figure = plot_defenses_by_attack(table)
    axes = [axis for axis in figure.get_axes() if axis.get_visible()]
    assert [axis.get_title() for axis in axes] == ["BadNet", "InsertSent"]
    shown = table[(table["defense"] != "clean_model") & (table["attack"] == "badnet")]
    means = 100 * shown.groupby("defense")[["cacc_change", "excess_asr"]].mean()
    marks = [line.get_xydata()[0].tolist() for line in axes[0].lines if line.get_marker() == "o"]
    assert np.array(sorted(marks)) == pytest.approx(np.array(sorted(means.to_numpy().tolist())))
    named = {text.get_text() for text in axes[0].texts}
    assert named == {defense_title(name) for name in means.index if name in NAMED} and "average" in named
    plt.close("all")


def test_means_are_over_tasks_and_seeds(table):
    means = defense_means(table, ["attack"])
    assert len(means) == 2 * (2 + len(SHOWN))
    assert defense_means(table)["excess_asr"].iloc[0] == pytest.approx(table[table["defense"] == "none"]["excess_asr"].mean())


def test_a_wrong_defense_lists_the_known_ones():
    assert chosen_defenses("all") == [name for name in DEFENSES if name not in ("onion_published", *SPECIAL)]
    with pytest.raises(ValueError, match="unknown defense 'prayer'; choose from"):
        chosen_defenses("onion, prayer")
    with pytest.raises(ValueError, match="defense is 'onion'; 'average' must be among them"):
        chosen_defenses("onion")
