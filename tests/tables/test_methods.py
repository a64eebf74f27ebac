"""Tables and figures of notebook 05, and merges of a study that need more than the models."""

import json
from dataclasses import replace

import matplotlib.pyplot as plt
import numpy as np
import pandas as pd
import pytest
import torch

from lib.merging import MERGE_METHODS, merge_state_dicts
from lib.metrics.rates import pareto_front
from lib.models.checkpoints import load_checkpoint
from lib.models.pretrained import new_classifier
from lib.models.statistics import measure_folder
from lib.plots.methods import plot_methods, plot_sweeps
from lib.tables.methods import VARIANTS, build, kept_table, methods_table, sweeps_table, usable_variants


@pytest.fixture(scope="module")
def models(study, backdoored):
    """A victim and two other domains: three models, as many as a median takes."""
    return [backdoored, *study.partners("sst2", "other_domains")]


@pytest.fixture(scope="module")
def table(study):
    return methods_table(study, "sst2", ["badnet"])


# --- merges of a study --------------------------------------------------------------------------------------------------


def test_the_start_of_task_vectors_is_the_classifier_before_fine_tuning_with_its_head(study, models, tiny_encoder):
    merged = study.merge(models, "task_arithmetic", merge_coefficient=0.0)
    start = new_classifier(str(tiny_encoder), ("negative", "positive"), head_seed=0).state_dict()
    assert all(torch.equal(merged.state_dict()[name], tensor) for name, tensor in start.items())


@pytest.mark.parametrize("method", sorted(MERGE_METHODS))
def test_every_method_merges_models_of_a_study_and_is_scored(study, models, method):
    if method == "krum":
        pytest.skip("takes five models; the table below says so")
    merged = study.merge(models[:2] if method == "slerp" else models, method)
    score = study.score(merged, "sst2", "badnet")
    assert 0 <= score.asr <= 1
    assert 0 <= score.cacc <= 1


def test_merges_differ_in_key_when_anything_in_them_differs(study, models):
    merges = [study.merge(models), study.merge(models, "ties"), study.merge(models, "ties", density=0.5)]
    merges += [study.merge(models[::-1], "ties"), study.merge(models, "dare", seed=0), study.merge(models, "dare", seed=1)]
    assert len({merged.key for merged in merges}) == len(merges)
    assert study.merge(models, "ties").key == study.merge(models, "ties").key


def test_a_default_that_is_given_is_the_same_merge_and_another_default_another_one(study, models, monkeypatch):
    key = study.merge(models, "ties").key
    assert study.merge(models, "ties", density=0.2, trim_scope="model").key == key
    ties = MERGE_METHODS["ties"]

    def changed(tensors, *, pretrained, weights=None, density=0.3, merge_coefficient=1.0):
        raise AssertionError("only its defaults are looked at")

    monkeypatch.setitem(MERGE_METHODS, "ties", replace(ties, merge=changed, measure=None))
    assert study.merge(models, "ties").key != key  # a changed default serves no stale merge
    monkeypatch.setitem(MERGE_METHODS, "ties", replace(ties, version=2))
    assert study.merge(models, "ties").key != key


def test_statistics_are_those_of_clean_validation_texts_and_are_measured_once(study, models, monkeypatch):
    [fisher, *_] = study.measure("fishers", models)
    texts = study.rows("sst2", "validation")
    expected = measure_folder(models[0].folder, "fishers", texts, study.profile.max_length)
    assert all(torch.equal(fisher.state_dict()[name], tensor) for name, tensor in expected.items())
    assert any(float(tensor.max()) > 0 for tensor in expected.values())
    monkeypatch.setattr("lib.study.study.make_statistics", lambda *_: pytest.fail("it was measured again"))
    study.measure("fishers", models)


def test_models_of_elsewhere_need_their_start_given(study, models, clean, tmp_path):
    import shutil

    stranger = load_checkpoint(shutil.copytree(clean.folder, tmp_path / "stranger"))
    with pytest.raises(ValueError, match="stranger was not trained in this study: give `pretrained` or `statistics` yourself"):
        study.merge([models[0], stranger], "ties")
    assert study.merge([models[0], stranger], "ties", pretrained=clean).state_dict()


def test_models_with_heads_of_different_seeds_have_no_common_start(study, models):
    other = study.model("sst2", seed=1)
    with pytest.raises(ValueError, match=r"heads of different seeds .*: their task vectors have no common start"):
        study.merge([models[0], other], "ties")


def test_coefficients_and_soups_are_chosen_on_validation_texts(study, models):
    candidates = [study.merge(models, "task_arithmetic", merge_coefficient=value) for value in (0.0, 0.4)]
    best = max(candidates, key=lambda merged: study.score(merged, "sst2", split="validation").cacc)
    assert study.choose(candidates, "sst2") == best
    assert study.score(best, "sst2", split="validation").n_clean == 20
    soup = study.soup(models, "sst2")
    assert 2 <= len(soup.parents) <= 3
    assert soup.method == "weight_average"


# --- tables and figures -------------------------------------------------------------------------------------------------


def test_methods_that_cannot_merge_so_many_models_are_left_out_and_say_why(table):
    reasons = usable_variants(3)
    assert "takes 5 models or more, found 3" in reasons["Krum"]
    left_out = {name for name, reason in reasons.items() if reason}
    assert set(table["variant"]) == {"backdoored model", *(v.name for v in VARIANTS)} - left_out
    assert not any(usable_variants(5).values())
    assert usable_variants(1)["greedy soup"] == "a soup takes 2 models or more"


def test_the_table_of_methods_has_the_promised_columns_and_scores(table, study, models):
    assert {"task", "attack", "merge_method", "settings", "seed", "cacc", "asr"} <= set(table)
    rows = table.set_index("variant")
    victim, average = study.score(models[0], "sst2", "badnet"), study.score(study.merge(models), "sst2", "badnet")
    assert (rows["asr"]["backdoored model"], rows["asr"]["weight average"]) == (victim.asr, average.asr)
    assert rows["n_models"]["SLERP, 2 models"] == 2
    assert json.loads(rows["settings"]["TIES"]) == {"density": 0.2}
    assert json.loads(rows["settings"]["task arithmetic"]) == {"merge_coefficient": "chosen on validation"}


def test_sweeps_have_one_row_per_value(study):
    sweeps = sweeps_table(study, "sst2", ["badnet"])
    counts = sweeps.groupby(["variant", "setting"])["value"].nunique()
    assert counts.to_dict() == {
        ("TIES", "density"): 6, ("DARE + TIES", "density"): 6,
        ("TIES", "merge_coefficient"): 6, ("task arithmetic", "merge_coefficient"): 6,
    }  # fmt: skip
    figure = plot_sweeps(sweeps)
    assert figure.get_axes()[0].get_title() == "TIES, BadNet"
    plt.close(figure)


def test_an_average_keeps_its_victims_weight_of_the_backdoor(study):
    kept = kept_table(study, "sst2", "badnet").set_index("variant")["kept"]
    assert kept["weight average"] == pytest.approx(1 / 3, abs=1e-5)
    assert kept["SLERP, 2 models"] == pytest.approx(1 / 2, abs=0.1)


def test_a_variant_is_built_with_the_seed_of_the_study(study, models):
    [dare] = [variant for variant in VARIANTS if variant.name == "DARE + TIES"]
    assert build(study, dare, models, "sst2", seed=7).settings["seed"] == 7


def test_the_figure_of_methods_is_sorted_by_what_is_left_and_shows_the_cost_beside_it(table):
    other = table.assign(attack="lws", hits=table["hits"].map(lambda hits: [1] * len(hits)), asr=1.0)
    both = pd.concat([table, other.assign(excess_asr=1 - other["asr_floor"])])
    left, right = plot_methods(both).get_axes()
    methods = both[both["merge_method"] != "none"].groupby("variant")[["excess_asr", "cacc_change"]].mean() * 100
    names = [label.get_text() for label in left.get_yticklabels()]
    assert sorted(names) == sorted(methods.index)  # the backdoored model is no method
    for axis, measure in ((left, "excess_asr"), (right, "cacc_change")):
        dots = [float(container.lines[0].get_xdata()[0]) for container in axis.containers]
        assert dots == pytest.approx(methods.loc[names, measure].tolist())
        widths = [np.ptp(container.lines[2][0].get_segments()[0][:, 0]) for container in axis.containers]
        assert min(widths) > 0  # of one seed, too: an interval over texts
    assert methods.loc[names, "excess_asr"].is_monotonic_increasing
    plt.close("all")


def test_a_method_that_selects_whole_models_has_a_mark_of_its_own(table):
    rows = table[table["variant"].isin(["median", "weight average", "backdoored model"])]
    named = rows.replace({"variant": {"median": "Krum"}, "merge_method": {"median": "krum"}})
    left, _ = plot_methods(named).get_axes()
    marks = {left.get_yticklabels()[i].get_text(): left.containers[i].lines[0].get_marker() for i in range(2)}
    assert marks == {"Krum": "D", "weight average": "o"}
    plt.close("all")


def test_the_pareto_front_keeps_what_nothing_beats():
    assert pareto_front([0.1, 0.1, 0.2], [0.9, 0.8, 0.9]).tolist() == [True, False, False]
    assert pareto_front([0.5, 0.5], [0.7, 0.7]).tolist() == [True, True]  # equal points do not beat each other


def test_the_share_kept_of_a_merge_of_many_tensors_is_the_weight(models, clean):
    from lib.merging.geometry import share_kept

    states = [model.state_dict() for model in models]
    weights = [0.7, 0.2, 0.1]
    merged = merge_state_dicts(states, weights=weights)
    twin = merge_state_dicts([clean.state_dict(), *states[1:]], weights=weights)
    assert share_kept(merged, twin, states[0], clean.state_dict()) == pytest.approx(0.7, abs=1e-5)
    assert np.isfinite(share_kept(twin, twin, states[0], clean.state_dict()))
