"""Tables of notebook 13 on tiny models: ends of the ways, identities, bounds, and what a store without them says."""

import numpy as np
import pandas as pd
import pytest

from lib import tables
from lib.attacks.poisoning import PLACEBOS, halved
from lib.metrics.columns import column_of
from lib.study import MissingRunsError
from lib.study.probes import plan_probe, probed
from lib.tables.why import findings
from lib.tables.why.predict import TEXTS, WEIGHTS, with_predictions
from lib.tables.why.propositions import FAILS, HOLDS, ROUGHLY, Checked
from lib.tables.why.rank import BACKDOORED, control_recipes
from lib.tables.why.ways import Way, ways_of

PLACES = (0, 0.2, 0.5, 0.8, 1)
ATTACKS = ["badnet", "insertsent"]


@pytest.fixture(scope="module")
def margins(why_frames):
    return why_frames["margins"]


@pytest.fixture(scope="module")
def assumptions(why_frames):
    return why_frames["assumptions"]


@pytest.fixture(scope="module")
def kept(why_frames):
    return why_frames["kept"]


@pytest.fixture(scope="module")
def certificates(why_frames):
    return why_frames["certificates"]


@pytest.fixture(scope="module")
def modules(why_frames):
    return why_frames["modules"]


@pytest.fixture(scope="module")
def rank(why_frames):
    return why_frames["rank"]


@pytest.fixture(scope="module")
def plane(why_frames):
    return why_frames["plane"]


@pytest.fixture(scope="module")
def hidden(why_frames):
    return why_frames["hidden"]


@pytest.fixture(scope="module")
def predicted(why_frames):
    return why_frames["predicted"]


def at(margins, place, split="triggered"):
    return margins[(margins["coefficient"] == place) & (margins["split"] == split)]


def test_strength_is_whole_in_the_victim_and_nothing_in_the_partner(margins):
    assert at(margins, 0)["strength_share"].tolist() == pytest.approx([1.0] * 4)
    assert at(margins, 1)["strength"].tolist() == pytest.approx([0.0] * 4)  # two attacks, two kinds of partners


def test_the_ends_of_a_way_are_their_own_ensemble(margins):
    for place in (0, 1):
        rows = at(margins, place)
        assert (rows["asr"] == rows["asr_counted"]).all()
    assert at(margins, 0)["delta_size"].tolist() == pytest.approx([0.0] * 4)
    ends = margins[margins["coefficient"].isin([0, 1]) & margins["delta_probed"].notna()]
    assert len(ends) and ends["delta_probed"].tolist() == pytest.approx([0.0] * len(ends), abs=1e-6)
    one_partner = margins[margins["partners"] == "same_task"]
    assert at(one_partner, 1)["delta_size"].tolist() == pytest.approx([0.0] * 2)


def test_the_leads_are_those_of_the_scores(study, margins):
    row = at(margins, 0.8)[lambda rows: (rows["attack"] == "badnet") & (rows["partners"] == "other_domains")].iloc[0]
    models = [study.model("sst2", "badnet"), *study.partners("sst2")]
    score = study.score(study.merge(models, weights=[1 - 0.8, 0.4, 0.4]), "sst2", "badnet", 0)
    assert row["asr"] == score.asr
    assert row["n_texts"] == score.n_triggered


def test_p1_and_p5_hold_on_every_stored_case(margins):
    assert at(margins, 0.5)["identity_error"].max() < 1e-4
    triggered = margins[margins["split"] == "triggered"]
    assert (triggered["rule_agreement"] == 1).all()  # two labels
    assert (triggered["asr"] <= triggered["asr_cantelli"]).all()


def test_derivatives_are_taken_on_ways_to_other_domains_only(margins):
    has_bound = margins["curvature_bound"].notna()
    assert set(margins[has_bound]["partners"]) == {"other_domains"} and not margins[~has_bound]["bounded_share"].notna().any()
    inside = margins[has_bound & margins["coefficient"].between(0.1, 0.9)]
    assert (inside["bounded_share"] > 0.8).all()  # an estimate from five points
    assert (inside["delta_probed"] <= inside["curvature_bound"])[inside["bounded_share"] == 1].all()
    assert (inside["error_probed"].dropna() <= inside["error_guaranteed"].dropna()).all()


def test_every_proposition_gets_a_verdict(margins):
    found = tables.propositions_table(margins)
    assert found["proposition"].tolist() == ["P1", "P2", "P3", "P4", "P5", "P6"]
    assert found["share_held"].between(0, 1).all()
    assert found.set_index("proposition").loc[["P1", "P3", "P5"], "verdict"].tolist() == [HOLDS] * 3
    for share, verdict in ((1.0, HOLDS), (0.99, ROUGHLY), (0.8, ROUGHLY), (0.5, FAILS)):
        assert Checked("P", "", 1, share, "").verdict == verdict
    without = margins.assign(bounded_share=np.nan, error_guaranteed=np.nan, asr_guaranteed=np.nan)
    assert tables.propositions_table(without)["proposition"].tolist() == ["P1", "P3", "P5", "P6"]


def test_assumptions_are_measured_per_way(assumptions):
    assert set(assumptions["assumption"]) == {"A0", "A1", "A2", "A3", "P6"}
    strength = assumptions[assumptions["measure"] == "strength, mean"]
    assert len(strength) == 4 and (strength["value"] > 0).all()
    correlations = assumptions[assumptions["measure"].str.startswith("correlation")]["value"].dropna()
    assert correlations.between(-1, 1).all()


def test_the_plain_average_lies_on_its_own_curve(kept):
    average = kept[kept["variant"] == "weight average"].iloc[0]
    assert average["kept"] == pytest.approx(1 / 3, abs=1e-4) and average["weight_sum"] == pytest.approx(1, abs=1e-4)
    scaled = kept[kept["variant"] == "task arithmetic"].iloc[0]
    assert scaled["weight_left"] == pytest.approx(1 / 3, abs=1e-3)  # whatever the coefficient
    assert (kept["off_curve"] - (kept["asr"] - kept["asr_on_curve"])).abs().max() < 1e-9


def test_certificates_are_less_than_what_is_measured_and_an_average_has_none(certificates):
    assert (certificates["certified_cacc"] <= certificates["cacc"]).all()
    assert (certificates["certified_safe"] <= 1 - certificates["asr"]).all()
    unbounded = certificates[certificates["combination"].isin(["average of the weights", "mean of the logits"])]
    assert (unbounded[["certified_cacc", "certified_safe"]] == 0).all().all()
    vote = certificates[(certificates["combination"] == "vote") & (certificates["n_models"] == 3)]
    assert vote["n_bad"].tolist() == [1, 2] and vote["certified_cacc"].iloc[1] == 0  # two of three decide
    assert vote["certified_cacc"].iloc[0] > 0


def test_shapley_values_sum_to_victim_minus_twin(modules):
    whole = modules[modules["kind"] == "whole"].set_index("group")["lead"]
    assert modules[modules["kind"] == "shapley"]["lead"].sum() == pytest.approx(whole["all"] - whole["none"], abs=1e-5)
    assert modules[modules["kind"] == "necessity"]["norm_share"].sum() == pytest.approx(1)


def test_whole_models_are_the_victim_and_the_twin(study, modules):
    whole = modules[modules["kind"] == "whole"].set_index("group")
    for group, model in (("all", study.model("sst2", "badnet")), ("none", study.model("sst2"))):
        score = study.score(model, "sst2", "badnet", 0)
        assert whole["asr"][group] == pytest.approx(score.asr)
        assert whole["cacc"][group] == pytest.approx(score.cacc)


def test_the_whole_difference_is_the_other_model_and_controls_have_half_of_the_poison(study, rank):
    full = rank[(rank["density"] == 1) & (rank["matrix"] == "all")].set_index("control")
    assert full["energy"].tolist() == pytest.approx([1.0] * 4)
    assert full["asr"][BACKDOORED] == pytest.approx(study.score(study.model("sst2", "badnet"), "sst2", "badnet", 0).asr)
    assert full["length_ratio"][BACKDOORED] == pytest.approx(1)
    widest = rank[(rank["n_directions"] == 32) & (rank["matrix"] == "all")]  # 32 wide
    assert widest["energy"].tolist() == pytest.approx([1.0] * 4)
    assert set(rank["control"]) == set(control_recipes(study.planner, ("sst2", "badnet", 0)))


def test_placebos_keep_one_half_of_the_poison(study):
    train, poisoned = study.rows("sst2"), study.poisoned_train("sst2", "badnet")
    trigger_only, labels_only = (halved(train, poisoned, placebo) for placebo in PLACEBOS)
    assert trigger_only["text"].equals(poisoned["text"]) and trigger_only["label"].equals(train["label"])
    assert labels_only["text"].equals(train["text"]) and labels_only["label"].equals(poisoned["label"])
    assert len({recipe.key for recipe in control_recipes(study.planner, ("sst2", "badnet", 0)).values()}) == 4
    with pytest.raises(ValueError, match="unknown placebo 'half'"):
        halved(train, poisoned, "half")
    with pytest.raises(ValueError, match="not the same rows"):
        halved(train.head(3), poisoned, "labels_only")


def test_a_placebo_changes_the_key_and_nothing_else_does(study):
    recipes = control_recipes(study.planner, ("sst2", "badnet", 0))
    assert "placebo" not in recipes[BACKDOORED].as_dict()
    assert recipes["placebo: labels only"].as_dict()["placebo"] == "labels_only"
    assert "placebo labels_only" in recipes["placebo: labels only"].name


def test_the_plane_has_its_models_at_its_corners(study, plane):
    named = plane[plane["name"] != ""].set_index("name")
    assert named.loc["clean twin", ["x", "y"]].tolist() == [0, 0]
    assert named["y"]["backdoored model"] == pytest.approx(0) and named["x"]["backdoored model"] > 0
    assert named["asr"]["backdoored model"] == pytest.approx(
        study.score(study.model("sst2", "badnet"), "sst2", "badnet", 0).asr
    )
    assert "average of 3 models" in named.index
    picture = tables.Picture(plane)
    row = plane[(plane["name"] == "") & (plane["of_victim"].round(2) == 0.5) & (plane["of_partner"].round(2) == 0.5)].iloc[0]
    assert picture.at(0.5, 0.5)["clean_loss"] == pytest.approx(row["clean_loss"])
    with pytest.raises(ValueError, match="lies beyond the grid"):
        picture.at(2.0, 0.0)
    with pytest.raises(ValueError, match="n_steps is 2"):
        tables.picture_table(study, "sst2", "badnet", 2)


def test_states_move_fully_in_the_victim_and_ends_are_linear(study, hidden):
    alone = hidden[hidden["coefficient"] == 0]
    assert alone["moved"].tolist() == pytest.approx([1.0] * len(alone), abs=1e-2)  # states are kept in half precision
    assert alone["linearity_triggered"].tolist() == pytest.approx([1.0] * len(alone), abs=1e-3)
    assert (hidden["attention_ratio"].dropna() >= 0).all()
    points = tables.state_points(study, "sst2", "badnet")
    assert set(points["split"]) == {"clean", "triggered"} and points["coefficient"].nunique() == 6


def test_predictions_never_see_the_attack_that_they_are_asked_about(predicted):
    assert len(predicted) == 2
    rows = pd.DataFrame({"attack": ["a", "a", "b", "b"], "half_coefficient": [0.2, 0.4, 0.6, 0.8]})
    rows = rows.assign(**dict.fromkeys((*WEIGHTS, *TEXTS), 1.0))
    found = with_predictions(rows)
    assert found["from_mean"].tolist() == pytest.approx([0.7, 0.7, 0.3, 0.3])
    assert found["from_weights"].tolist() == pytest.approx([0.7, 0.7, 0.3, 0.3])  # features that do not vary say nothing
    changed = with_predictions(rows.assign(half_coefficient=[0.2, 0.4, 0.0, 0.0]))
    assert changed["from_texts"].tolist()[2:] == found["from_texts"].tolist()[2:]
    alone = with_predictions(rows[rows["attack"] == "a"])
    assert alone[["from_mean", "from_weights"]].isna().all().all()


def test_examples_show_the_leads_of_single_texts(study):
    shown = tables.example_leads(study, "sst2", "badnet", n=3)
    assert len(shown) == 3
    assert (shown["twin"] - shown["strength"]).tolist() == pytest.approx(shown["backdoored"].tolist(), abs=0.02)


def test_every_column_is_known(why_frames):
    for name, table in why_frames.items():
        if name == "states":  # a figure, no table
            continue
        assert not [name for name in table if column_of(name) is None]


def test_every_table_is_put_into_sentences(margins, kept, certificates, modules, rank, hidden, predicted):
    written = {
        findings.margin_findings: margins, findings.domains_findings: margins, findings.kept_findings: kept,
        findings.certificate_findings: certificates, findings.module_findings: modules, findings.rank_findings: rank,
        findings.hidden_findings: hidden, findings.predict_findings: predicted,
        findings.proposition_findings: tables.propositions_table(margins),
    }  # fmt: skip
    said = {find.__name__: list(find(table)) for find, table in written.items()}
    for name in ("margin_findings", "kept_findings", "certificate_findings", "module_findings", "hidden_findings"):
        assert said[name], name
    assert all("nan" not in sentence for sentences in said.values() for sentence in sentences)
    assert said["margin_findings"][0].startswith("Why does merging dilute a backdoor?")
    assert said["certificate_findings"][0].startswith("What can be guaranteed?")


def test_bad_input_is_named(study):
    with pytest.raises(ValueError, match="must rise from 0 to 1"):
        ways_of(study, ["sst2"], ["badnet"], [0, 0.7, 0.5, 1])
    with pytest.raises(ValueError, match="unknown probe 'look'"):
        plan_probe(study, "look", [study.model("sst2")], "sst2", 0)
    with pytest.raises(ValueError, match="0 models and the first 0 texts"):
        plan_probe(study, "averages", [], "sst2", 0)


def test_a_study_that_only_reads_refuses_to_look(study, make_study):
    reading = make_study(study.store.root, only_stored=True)
    way = Way(reading, "sst2", "badnet", 0, "other_domains", PLACES)
    recipe = way.plan("averages", [way.victim, way.twin], "clean", weights=((0.37, 0.63),))
    with pytest.raises(MissingRunsError, match="looks are not in the store"):
        probed(reading, [recipe])


def test_a_failing_look_is_named(study):
    wrong = plan_probe(study, "averages", [study.model("sst2")], "sst2", 0, weights=((0.5,),))
    with pytest.raises(RuntimeError, match=r"'averages sst2 clean seed 0', failed: ValueError: weights \[0.5\] sum to 0.5"):
        probed(study, [wrong])
