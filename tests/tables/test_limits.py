"""Attackers against merge rules: which models, which trigger, which start, and what the columns say."""

import json
from types import SimpleNamespace

import matplotlib.pyplot as plt
import numpy as np
import pandas as pd
import pytest

from lib.merging import distance
from lib.models.prediction import encode, predict_logits
from lib.models.pretrained import from_hub, load_tokenizer
from lib.plots.limits import attacker_title, limits_matrix, plot_limits, plot_scaling
from lib.tables import limits
from lib.tables.attackers import ATTACKERS, chosen_attackers
from lib.tables.limits import COLUMNS, OUTCOMES, RULES, Attacked, attackers_overview, limits_table, scaling_table
from lib.tables.limits_findings import (
    compared_attackers,
    limits_findings,
    limits_outcomes,
    private_rows,
    scaling_findings,
    survivors,
)
from lib.tables.submissions import Submitted


@pytest.fixture(scope="module")
def quick(make_study, tmp_path_factory):
    """Two partners, two epochs: attackers of all kinds in seconds."""
    return make_study(tmp_path_factory.mktemp("cache"), epochs=2, n_same_task=1)


@pytest.fixture(scope="module")
def table(quick):
    return limits_table(quick, "sst2", "badnet,embedding_row,scaled,split,poisoned_base")


@pytest.fixture(scope="module")
def scaling(quick):
    scales = {"task_vector": (1, 3), "backdoor_vector": (1, 3), "trigger_row": (1, 30)}
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(limits, "SCALES", scales)
        return scaling_table(quick, "sst2")


def rows_of(table, attack, rule, **settings):
    return table[
        (table["attack"] == attack)
        & (table["merge_method"] == rule)
        & (table["settings"] == json.dumps(settings, sort_keys=True))
    ]


def test_the_columns_are_those_of_the_brief_and_rates_lie_between_zero_and_one(table):
    assert list(table) == [*COLUMNS, *OUTCOMES]
    for rate in ("cacc", "asr", "backdoored_cacc", "backdoored_asr", "asr_floor", "clean_model_cacc"):
        assert table[rate].between(0, 1).all(), rate
    assert np.allclose(table["excess_asr"], table["asr"] - table["asr_floor"])


def test_there_is_a_row_per_attacker_and_usable_rule(table):
    per_attacker = table.groupby(["attack", "settings"], sort=False)["merge_method"].agg(list)
    rules = ("none", *(rule for rule in RULES if rule != "krum"))  # three models: Krum takes five
    assert set(map(tuple, per_attacker)) == {rules}
    assert len(per_attacker) == 11
    assert (table["n_models"] == np.where(table["merge_method"] == "none", 1, 3)).all()


def test_the_submitted_model_is_scored_with_its_own_trigger(table, quick):
    trigger = quick.trigger_recipe("sst2", "badnet", words=("cf",), n_insertions=(1,))
    clean, [row] = quick.model("sst2"), [rows_of(table, "embedding_row", "none", words=1).iloc[0]]
    data = quick.planner.data("sst2", "train")
    poisoned = quick.derive("embedding_row", [clean], data, trigger=trigger)
    assert row["asr"] == row["backdoored_asr"] == quick.score(poisoned, "sst2", trigger).asr
    assert quick.score(poisoned, "sst2").asr == row["asr"]  # its own trigger is known from its recipe
    assert row["asr_floor"] == quick.score(clean, "sst2", trigger).asr
    assert row["cacc"] == quick.score(clean, "sst2", None).cacc  # accuracy is untouched by construction


def test_a_scaled_model_lies_as_far_away_as_the_scale_says(table, quick):
    ratio = {scale: rows_of(table, "scaled", "none", scale=scale)["norm_ratio"].iloc[0] for scale in (2, 5)}
    assert ratio[5] / ratio[2] == pytest.approx(2.5, rel=1e-4)
    start = quick.planner.initial([quick.model("sst2")]).state_dict()
    own = distance(quick.model("sst2", "badnet").state_dict(), start)
    others = [distance(model.state_dict(), start) for model in quick.partners("sst2")]
    assert ratio[2] == pytest.approx(2 * own / np.median(others), rel=1e-4)


def test_a_fitted_scale_lies_between_the_model_itself_and_what_costs_too_much(table, quick):
    row = rows_of(table, "scaled", "none", scale="fit").iloc[0]
    alone = rows_of(table, "badnet", "none", poisoning_rate=0.2).iloc[0]
    assert row["norm_ratio"] >= alone["norm_ratio"] * (1 - 1e-6)
    model, start = quick.model("sst2", "badnet"), quick.planner.initial([quick.model("sst2", "badnet")]).state_dict()
    own = quick.planner.data("sst2", "train", 1000)  # rows of its own that it was not trained on
    assert own.seed not in (model.recipe.data.seed, quick.planner.data("sst2", "test").seed)
    fitted = quick.derive("scaled_to_fit", [model], own)
    long, before = fitted.state_dict(), model.state_dict()
    moved = {n: (long[n] - start[n], before[n] - start[n]) for n in before if before[n].is_floating_point()}
    scales = {n: float((far * near).sum() / (near * near).sum()) for n, (far, near) in moved.items() if near.norm() > 1e-3}
    scale = scales["classifier.weight"]
    assert 1 <= scale <= 100 * (1 + 1e-4) and all(found == pytest.approx(scale, rel=1e-3) for found in scales.values())
    texts = quick.rows("sst2", "train", 1000)

    def accuracy(each):
        network = from_hub("AutoModelForSequenceClassification", str(each.folder))
        logits = predict_logits(network, encode(load_tokenizer(str(each.folder)), texts, quick.profile.max_length))
        return (logits.argmax(axis=1) == texts["label"]).mean()

    assert accuracy(fitted) >= accuracy(model) - 0.02 - 1e-9
    assert row["norm_ratio"] == pytest.approx(scale * alone["norm_ratio"], rel=1e-3)


def test_the_average_of_a_scaled_model_is_the_average_of_its_scaled_vector(table, quick):
    victim, others = quick.model("sst2", "badnet"), quick.partners("sst2")
    merged = quick.merge([victim, *others], "task_arithmetic", weights=[5 / 3, 1 / 3, 1 / 3])
    row = rows_of(table, "scaled", "weight_average", scale=5).iloc[0]
    assert quick.score(merged, "sst2", "badnet").asr == pytest.approx(row["asr"], abs=0.051)  # one text, by rounding
    assert row["asr"] != rows_of(table, "badnet", "weight_average", poisoning_rate=0.2)["asr"].iloc[0] or row["asr"] == 1


def test_two_uploads_take_the_places_of_two_models_and_the_worse_one_counts(table, quick):
    rows = rows_of(table, "split", "weight_average", uploads=2, shadows=0)
    assert rows["n_backdoored"].tolist() == [2] and rows["n_models"].tolist() == [3]
    [attacker] = [each for each in ATTACKERS if each.described == '{"shadows": 0, "uploads": 2}']
    uploads = quick.train(attacker.submitted(quick.planner, "sst2", 0).uploads)
    assert uploads[0].key != uploads[1].key
    assert distance(uploads[0].state_dict(), uploads[1].state_dict()) > 0.01
    alone = [quick.score(model, "sst2", "badnet", 0).asr for model in uploads]
    assert rows["backdoored_asr"].iloc[0] == max(alone)
    merged = quick.merge([*uploads, quick.partners("sst2")[0]])
    assert rows["asr"].iloc[0] == quick.score(merged, "sst2", "badnet", 0).asr


def test_of_several_uploads_the_one_that_obeys_the_trigger_most_counts(quick):
    clean, victim = quick.recipe("sst2"), quick.recipe("sst2", "badnet")
    asr = [quick.score(model, "sst2", "badnet").asr for model in quick.train([clean, victim])]
    assert asr[0] != asr[1]
    for uploads in ([clean, victim], [victim, clean]):
        attacked = Attacked(
            quick, "sst2", 0, Submitted(uploads, victim.trigger, quick.partner_recipes("sst2", "other_domains"))
        )
        assert attacked.worst.asr == max(asr)


def test_a_poisoned_base_is_the_start_of_its_models_and_has_a_fresh_head(quick):
    [attacker] = [each for each in ATTACKERS if each.attack == "poisoned_base" and each.settings["base"] == "poisoned"]
    submitted = attacker.submitted(quick.planner, "sst2", 0)
    [base], models = quick.train(submitted.made_from), quick.train([*submitted.uploads, *submitted.partners])
    start, plain = quick.planner.initial(models).state_dict(), quick.planner.initial([quick.model("sst2")]).state_dict()
    name = "bert.embeddings.word_embeddings.weight"
    assert (start[name] == base.state_dict()[name]).all() and not (start[name] == plain[name]).all()
    assert (start["classifier.weight"] == plain["classifier.weight"]).all()
    assert models[0].recipe.trigger is None
    assert submitted.uploads[0].data.seed != submitted.made_from[0].data.seed  # the attacker's rows are not the user's
    with pytest.raises(ValueError, match=r"started from different bases .* no common start"):
        quick.planner.initial([models[0], quick.model("sst2")])


def test_a_base_without_a_label_is_scored_with_the_trigger_that_hits_the_target_most_on_validation_texts(quick):
    one, both = (each.submitted(quick.planner, "sst2", 0) for each in ATTACKERS if each.attack == "neuba")
    assert [dict(each.settings)["words"] for each in one.candidates] == [(word,) for word in ("cf", "mn", "bb", "tq", "mb")]
    assert {recipe.base for recipe in [*one.uploads, *both.uploads, *both.partners]} == {one.made_from[0]}
    assert one.partners == quick.partner_recipes("sst2", "other_domains") and one.uploads[0].trigger is None
    assert one.made_from[0].data.seed != one.uploads[0].data.seed  # the maker's texts are not the user's
    quick.train(one.recipes)
    attacked = Attacked(quick, "sst2", 0, one)
    asr = {each.key: quick.score(attacked.uploads[0], "sst2", each, 0, "validation").asr for each in one.candidates}
    assert attacked.trigger in one.candidates and asr[attacked.trigger.key] == max(asr.values())
    assert attacked.floor.asr == quick.score(quick.model("sst2"), "sst2", attacked.trigger, 0).asr
    # On made-up validation scores, the choice follows them, whatever the test texts say.
    for wanted in one.candidates[::3]:
        faked = Attacked(quick, "sst2", 0, one)
        with pytest.MonkeyPatch.context() as patch:
            said = {each.key: SimpleNamespace(asr=float(each == wanted)) for each in one.candidates}
            patch.setattr(type(quick), "score", lambda _, model, task, each, seed, split="test", said=said: said[each.key])
            assert faked.trigger == wanted


def test_the_shadow_models_of_an_attacker_are_its_own_and_share_the_head(quick):
    [attacker] = [each for each in ATTACKERS if each.attack == "neurotoxin"]
    submitted = attacker.submitted(quick.planner, "sst2", 0)
    [upload], shadows = submitted.uploads, submitted.made_from
    assert upload.parents == tuple(shadow.key for shadow in shadows) and len(shadows) == 2
    assert dict(upload.method.settings)["share"] == 0.95 and upload.trigger == submitted.trigger
    assert {shadow.head_seed for shadow in shadows} == {0} and len({shadow.data.seed for shadow in [*shadows, upload]}) == 3
    assert attacker_title(attacker.attack, attacker.described) == "neurotoxin, 2 shadow models, 95% of the entries"


def test_private_and_shared_bases_stand_in_different_tables(table):
    private, shared = private_rows(table), private_rows(table, is_shared=True)
    assert len(private) + len(shared) == len(table)
    assert set(shared["settings"]) == {'{"base": "poisoned"}'}
    assert '{"base": "clean"}' in set(private["settings"])


def test_rows_are_chosen_by_name_or_all():
    assert {each.attack for each in chosen_attackers("scaled, collusion")} == {"scaled", "collusion"}
    assert chosen_attackers("all") == list(ATTACKERS)
    assert all(each.is_core for each in chosen_attackers("core"))
    with pytest.raises(ValueError, match=r"unknown rows \['scale'\]; choose core, all, or from \['badnet', .*'scaled'"):
        chosen_attackers("scaled,scale")
    overview = attackers_overview("scaled")
    assert overview["knowledge"].tolist() == [1, 1, 1] and "averaged" in overview["must_know"][0]


def test_scaling_has_a_row_per_kind_scale_and_rule(scaling):
    assert scaling.groupby("scaled", sort=False)["scale"].unique().map(list).to_dict() == {
        "task_vector": [1, 3], "backdoor_vector": [1, 3], "trigger_row": [1, 30],
    }  # fmt: skip
    ratios = scaling[scaling["scaled"] == "task_vector"].groupby("scale")["norm_ratio"].first()
    assert ratios[3] == pytest.approx(3 * ratios[1], rel=1e-4)
    task = scaling[scaling["scaled"] == "task_vector"]
    assert np.ptp(task["mean_cosine"]) < 1e-5  # a longer vector points where it pointed
    ones = scaling[scaling["scale"] == 1].set_index(["scaled", "merge_method"])["asr"]
    assert ones["task_vector", "median"] == ones["backdoor_vector", "median"]  # at 1 both are the backdoored model
    row = scaling[(scaling["scaled"] == "trigger_row")].groupby("scale")["submitted_cacc"].first()
    assert row[1] == row[30]


def test_the_matrix_holds_means_of_rules_and_the_floor(table):
    matrix = limits_matrix(private_rows(table))
    assert list(matrix) == [
        "submitted",
        "average",
        "clipped average",
        "row-clipped average",
        "median",
        "trimmed mean",
        "TIES",
        "Breadcrumbs",
        "clean model",
    ]
    row = rows_of(table, "scaled", "ties", scale=5).iloc[0]
    assert matrix.loc["scaled, x5", "TIES"] == row["asr"]
    assert matrix.loc["scaled, x5", "clean model"] == row["asr_floor"]
    assert limits_matrix(private_rows(table), "cacc").loc["scaled, x5", "TIES"] == row["cacc"]
    assert attacker_title("badnet", '{"poisoning_rate": 0.2}') == "BadNet, 20% poisoned"


def test_figures_are_drawn(table, scaling):
    for figure in (plot_limits(private_rows(table)), plot_scaling(scaling)):
        assert figure.axes
        plt.close(figure)


def made(rows):
    columns = ["attack", "settings", "knowledge", "merge_method", "asr", "seed"]
    frame = pd.DataFrame(rows, columns=columns)
    return frame.assign(asr_floor=0.1, excess_asr=frame["asr"] - 0.1, cacc=0.9, clean_model_cacc=0.92, norm_ratio=1.0)


def test_findings_name_who_survives_which_rule():
    rows = [
        ("badnet", "{}", 0, "weight_average", 0.1, 0),
        ("scaled", '{"scale": 5}', 1, "weight_average", 0.8, 0),
        ("scaled", '{"scale": 5}', 1, "weight_average", 0.6, 1),
        ("split", "{}", 3, "weight_average", 0.5, 0),
        ("scaled", '{"scale": 5}', 1, "median", 0.1, 0),
        ("poisoned_base", '{"base": "poisoned"}', 4, "weight_average", 0.77, 0),
    ]
    sentences = list(limits_findings(made(rows)))
    assert sentences[0].startswith("weight_average: 2 of 3 attackers keep an ASR 25 points or more above the floor: scaled")
    assert "(+60.0 points)" in sentences[0] and "split {} (+40.0 points)" in sentences[0]
    assert "median: 0 of 1 attackers" in sentences[1] and "none. CACC 90.0%" in sentences[1]
    assert sentences[2] == "No rule of the table stops 1 of 3 attackers: split {}."
    assert 'scaled {"scale": 5}, knowledge 1 (that the model' in sentences[3]
    assert "another threat model: the average has an ASR of 77.0%, floor 10.0%" in sentences[4]
    assert survivors(made(rows))["survives"].sum() == 3


def test_outcomes_count_who_survives():
    rows = [
        ("scaled", '{"scale": 5}', 1, "weight_average", 0.8, 0),
        ("scaled", '{"scale": 5}', 1, "median", 0.1, 0),
        ("split", "{}", 3, "weight_average", 0.2, 0),
        ("split", "{}", 3, "median", 0.9, 0),
        ("poisoned_base", '{"base": "poisoned"}', 4, "weight_average", 0.77, 0),
    ]
    found = limits_outcomes(made(rows))
    assert [row[1] for row in found] == [
        "1 of 2 attackers survive", "0 of 1 survive it", "ASR 77.0% after the average, floor 10.0%",
    ]  # fmt: skip


def test_the_compared_attackers_have_means_and_ranges():
    rows = [("scaled", "{}", 1, rule, asr, seed) for rule, asrs in (("none", (0.5, 0.7)), ("weight_average", (0.2, 0.4)))
            for seed, asr in enumerate(asrs)]  # fmt: skip
    [row] = compared_attackers(made(rows)).to_dict("records")
    assert row["submitted"] == "60 (50-70)" and row["weight_average"] == "30 (20-40)"
    assert row["cacc_of_average"] == "90 (90-90)" and row["floor"] == "10 (10-10)"


def test_scaling_findings_name_the_smallest_scale_that_survives():
    frame = pd.DataFrame({"scaled": ["a"] * 3 + ["b"], "scale": [1, 2, 5, 5], "asr": [0.1, 0.5, 0.9, 0.2]})
    frame = frame.assign(merge_method="weight_average", asr_floor=0.1, submitted_cacc=0.8, norm_ratio=2.0, mean_cosine=0.3)
    sentences = list(scaling_findings(frame))
    assert sentences[0].startswith("a: from scale 2 on it survives the average (ASR 50.0%")
    assert sentences[1] == "b: no scale up to 5 survives the average of the models."
