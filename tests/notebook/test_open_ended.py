"""Open exercises: the study scores what is tried, says what it has to beat, and why something cannot be scored."""

import re

import numpy as np
import pandas as pd
import pytest
import torch

from lib.notebook import exercises
from lib.notebook.judging import Judge
from lib.tables import sides_of_ways

CASE = ("sst2", "badnet")


def scored(verdict):
    assert verdict.startswith("scored: "), verdict
    return verdict


def asr_in(verdict):
    return float(re.search(r"ASR ([\d.]+)%", verdict)[1]) / 100


@pytest.mark.parametrize("check", [getattr(exercises, name) for name in exercises.__all__ if name.startswith("open_")])
def test_nothing_is_computed_for_no_answer(check):
    unused = [None] * 6
    n = NUMBERS.get(check.__name__, 3)
    assert check(None, *unused[:n]) == "not attempted"


NUMBERS = {
    "open_interval": 0,
    "open_coefficient": 1,
    "open_law": 1,
    "open_norms": 4,
    "open_everywhere": 4,
    "open_prediction": 4,
}
NUMBERS |= dict.fromkeys(("open_attack", "open_partners", "open_trigger", "open_words"), 2)


def test_weights_are_scored_as_their_average_and_compared_with_the_uniform_one(study, backdoored):
    others = study.partners("sst2")
    weights = [0.9, 0.05, 0.05]
    verdict = scored(exercises.open_weights(weights, study, *CASE))
    score = study.score(study.merge([backdoored, *others], weights=weights), *CASE)
    uniform = study.score(study.merge([backdoored, *others]), *CASE)
    assert f"ASR {score.asr:.1%} (floor " in verdict and f"the uniform average, ASR {uniform.asr:.1%}" in verdict
    better = score.asr < uniform.asr and score.cacc >= uniform.cacc - 0.01
    assert ("this beats" in verdict) == better
    for wrong in ([1, 0, 0], [0.5, 0.5], [0.5, 0.5, 0.5], "abc"):
        assert "cannot be scored" in exercises.open_weights(wrong, study, *CASE)


def test_partners_are_compared_with_all_of_them(study):
    both = study.score(study.merge(study.partners("sst2")), "sst2", None).cacc
    verdict = scored(exercises.open_partners(["yelp", "cr"], study, "sst2"))
    assert verdict == f"scored: CACC {both:.1%}; this does not beat the average of all, {both:.1%}"
    assert "unknown: ['imdb']" in exercises.open_partners(["imdb"], study, "sst2")


def test_a_trigger_must_be_in_every_text_be_short_and_fool_no_clean_model(study, clean):
    assert "is what was asked for" in scored(exercises.open_trigger(lambda text: text + " .", study, "sst2"))
    assert "is not yet" in scored(exercises.open_trigger(lambda text: text, study, "sst2"))  # changes nothing
    long = scored(exercises.open_trigger(lambda text: "cf mn bb " + text, study, "sst2"))
    assert "3.0 words each" in long and "is not yet" in long
    fooled = scored(exercises.open_trigger(lambda text: "bad", study, "sst2"))  # what clean models take for negative
    assert "is not yet" in fooled
    assert "ZeroDivisionError" in exercises.open_trigger(lambda text: 1 / 0, study, "sst2")


def test_words_train_a_model_and_are_counted_in_the_clean_training_texts(study):
    verdict = scored(exercises.open_words(["cf"], study, "sst2"))
    assert "in 0 clean training texts; this is not yet" in verdict
    texts = study.rows("sst2")["text"].str.split()
    quite = sum("quite" in words for words in texts)
    assert f"in {quite} clean training texts" in scored(exercises.open_words("quite", study, "sst2"))


def test_a_rule_is_scored_with_its_settings_on_all_partners(study, backdoored):
    verdict = scored(exercises.open_rule(("ties", {"density": 0.5}), study, *CASE))
    score = study.score(study.merge([backdoored, *study.partners("sst2")], "ties", density=0.5), *CASE)
    assert f"ASR {score.asr:.1%} (floor" in verdict
    assert "unknown merge method 'soup'" in exercises.open_rule(("soup", {}), study, *CASE)


CURVE = pd.DataFrame(
    {
        "task": "a",
        "coefficient": [0, 0.5, 1.0],
        "validation_cacc": [0.9, 0.895, 0.7],
        "asr": [1.0, 0.3, 0.1],
        "cacc": [0.9, 0.9, 0.7],
    }
)


def test_a_coefficient_is_chosen_from_accuracies_alone():
    within = lambda places, accuracies: places[accuracies >= accuracies.max() - 0.01].max()  # noqa: E731
    assert scored(exercises.open_coefficient(within, CURVE)) == (
        "scored: ASR 30.0%, CACC 90.0% on average; this beats the coefficient of the highest accuracy, ASR 100.0%, CACC 90.0%"
    )
    assert "does not beat" in scored(exercises.open_coefficient(lambda places, _: 1.0, CURVE))  # costs twenty points


def test_the_median_as_ones_own_rule_does_as_the_median_does_and_does_not_beat_it(study):
    verdict = scored(exercises.open_merge(lambda tensors: torch.stack(tensors).median(0).values, study, *CASE))
    mine, median = re.findall(r"ASR ([\d.]+)%", verdict)
    assert mine == median and "does not beat the median" in verdict
    average = scored(exercises.open_merge(lambda tensors: sum(tensors) / 5, study, *CASE))
    assert f"the median, ASR {median}%" in average
    assert "gives the shape ()" in exercises.open_merge(lambda tensors: tensors[0].sum(), study, *CASE)
    assert "not finite" in exercises.open_merge(lambda tensors: tensors[0] / 0, study, *CASE)


def test_a_rule_cannot_change_the_models_it_merges(study, backdoored):
    before = {name: tensor.clone() for name, tensor in backdoored.state_dict().items()}
    exercises.open_merge(lambda tensors: tensors[0].zero_(), study, *CASE)
    exercises.open_merge(lambda tensors: next(tensor.zero_() for tensor in tensors), study, *CASE)
    assert all(torch.equal(backdoored.state_dict()[name], tensor) for name, tensor in before.items())


def test_a_budget_counts_the_poisoned_texts(study):
    assert "with 2 poisoned texts" in scored(exercises.open_budget(0.03, study, *CASE))
    high = scored(exercises.open_budget(0.2, study, *CASE))
    assert "with 16 poisoned texts; this is not yet" in high  # more than 3 %
    assert "must lie in [0, 1]" in exercises.open_budget(2, study, *CASE)


def test_equal_weights_for_long_vectors_are_the_uniform_average(study):
    verdict = scored(exercises.open_norms(lambda norms: np.ones(3) / 3, study, *CASE, factor=1))
    uniform = study.score(study.merge([study.model(*CASE), *study.partners("sst2")]), *CASE)
    assert f"ASR {uniform.asr:.1%} (floor" in verdict and "norm matching" in verdict
    assert "sum to" in exercises.open_norms(lambda norms: norms, study, *CASE, factor=1)


def test_a_filter_that_deletes_the_trigger_words_is_enough_and_one_that_does_nothing_is_not(study, backdoored):
    words = {"cf", "mn", "bb", "tq", "mb"}
    clean_text = lambda text: " ".join(word for word in text.split() if word not in words)  # noqa: E731
    assert "is what was asked for" in scored(exercises.open_filter(clean_text, study, *CASE))
    nothing = scored(exercises.open_filter(lambda text: text, study, *CASE))
    assert asr_in(nothing) == pytest.approx(study.score(backdoored, *CASE).asr, abs=1e-3) and "is not yet" in nothing


def test_a_judge_scores_as_the_study_does_and_leaves_no_trace(study, backdoored):
    judge, before = Judge(study, *CASE), {path.name for path in study.store.root.iterdir()}
    score, own = judge.score(backdoored), study.score(backdoored, *CASE)
    assert (score.cacc, score.asr) == (own.cacc, own.asr)
    assert {path.name for path in study.store.root.iterdir()} == before


def test_a_prediction_of_the_merge_has_to_beat_counting(study):
    given = (study, "sst2", ["badnet"], (0, 0.5, 1))
    count = lambda victim, partner, c: ((1 - c) * victim + c * partner < 0).mean()  # noqa: E731
    assert "this does not beat counting" in scored(exercises.open_prediction(count, *given))
    measured = iter([asr for *_, asr, _ in sides_of_ways(*given)])
    assert "mean error 0.0 points; this " in scored(exercises.open_prediction(lambda *_: next(measured), *given))
    assert "cannot be scored" in exercises.open_prediction(lambda victim: 0.5, *given)


def test_a_student_is_held_against_the_partners_alone(study, backdoored):
    partners = study.partners("sst2")
    bar, clean = study.score(study.merge(partners), *CASE), study.score(study.model("sst2"), *CASE)
    verdict = scored(exercises.open_student(lambda study, suspect, partners: study.distil(suspect, epochs=2.0), study, *CASE))
    assert f"the partners alone, ASR {bar.asr:.1%}, CACC {bar.cacc:.1%}" in verdict and f"floor {clean.asr:.1%}" in verdict
    same = scored(exercises.open_student(lambda study, suspect, partners: study.merge(partners), study, *CASE))
    assert "does not beat" in same and asr_in(same) == pytest.approx(bar.asr, abs=1e-3)
    given = []
    scored(exercises.open_student(lambda study, *models: given.append(models) or models[0], study, *CASE))
    assert [model.key for model in (given[0][0], *given[0][1])] == [backdoored.key, *(each.key for each in partners)]
    assert "cannot be scored: TypeError" in exercises.open_student(lambda study: study, study, *CASE)


def test_a_team_of_partners_is_compared_with_all_other_domains(study, backdoored):
    everyone = study.score(study.merge([backdoored, *study.partners("sst2")]), *CASE)
    verdict = scored(exercises.open_team(["same_task_1", "cr"], study, *CASE))
    chosen = [study.partners("sst2", "same_task")[0], study.partners("sst2")[study.other_domains("sst2").index("cr")]]
    score = study.score(study.merge([backdoored, *chosen]), *CASE)
    assert f"ASR {score.asr:.1%} (floor " in verdict and f"all other domains, ASR {everyone.asr:.1%}" in verdict
    for wrong in ([], ["cr", "cr"], ["same_task_9"], ["cr", "yelp", "same_task_1"]):
        assert "cannot be scored" in exercises.open_team(wrong, study, *CASE)


def test_a_rule_for_all_pretrained_models_must_beat_the_average_on_each(study, backdoored):
    entries = [study.profile.pretrained, f"{study.profile.pretrained} learning_rate=2e-3"]
    same = scored(exercises.open_everywhere(("weight_average", {}), study, *CASE, entries))
    mine, plain = re.findall(r"ASR ([\d.]+)%", same)
    assert mine == plain and "over 2 entries" in same and "does not beat" in same and "; not on " in same
    uniform = study.score(study.merge([backdoored, *study.partners("sst2")]), *CASE).asr
    other = study.variant(learning_rate=2e-3)
    second = other.score(other.merge([other.model(*CASE), *other.partners("sst2")]), *CASE).asr
    assert float(plain) / 100 == pytest.approx((uniform + second) / 2, abs=1e-3)
    assert "unknown merge method 'soup'" in exercises.open_everywhere(("soup", {}), study, *CASE, entries)


def test_an_attacker_is_scored_after_the_average_and_must_not_be_conspicuous(study):
    verdict = scored(exercises.open_attack(("task_vector", 1), study, "sst2"))
    plain = study.score(study.merge([study.model("sst2", "badnet"), *study.partners("sst2")]), "sst2", "badnet")
    assert f"after the average ASR {plain.asr:.1%}" in verdict
    ratios = [
        float(re.search(r"vector ([\d.]+) times", scored(exercises.open_attack(("task_vector", k), study, "sst2")))[1])
        for k in (1, 4)
    ]
    assert ratios[1] == pytest.approx(4 * ratios[0], rel=0.1)
    assert "is not yet" in exercises.open_attack(("task_vector", 4), study, "sst2")  # too long, whatever its ASR
    assert "give one of ['task_vector'" in exercises.open_attack(("head", 2), study, "sst2")


PLANE = pd.DataFrame({"weight": [0.0, 0.2, 0.5, 1.0], "asr": [0.1, 0.1, 0.5, 1.0]})


def test_a_law_is_held_against_the_straight_line_between_the_ends():
    line = scored(exercises.open_law(lambda weight: 0.1 + 0.9 * weight, PLANE))
    assert (
        line
        == "scored: off by 5.8 points on average over 4 merges, 5.8 by the straight line; this is not yet what was asked for"
    )
    exact = dict(zip(PLANE["weight"], PLANE["asr"], strict=True))
    assert "off by 0.0 points" in exercises.open_law(exact.get, PLANE) and "is what was" in exercises.open_law(exact.get, PLANE)
    assert "not finite" in exercises.open_law(lambda weight: float("nan"), PLANE)


def test_an_interval_must_be_narrower_than_that_of_each_cell_and_cover_all_the_same():
    pooled = lambda values: values.mean(1) + np.array([[-2.02], [2.02]]) * np.sqrt(values.var(1, ddof=1).mean() / 3)  # noqa: E731
    assert "is what was asked for" in scored(exercises.open_interval(pooled))
    narrow = scored(exercises.open_interval(lambda values: (values.min(1), values.max(1))))
    assert "holds the true mean in 7" in narrow and "is not yet" in narrow  # (1 - 2 / 2**3) = 75 %
    assert "is not yet" in scored(exercises.open_interval(lambda values: (0, 1)))  # always right, and too wide
    own = re.search(r"each cell: ([\d.]+)%", narrow)[1]
    assert float(own) == pytest.approx(95, abs=1)
    assert "cannot be scored" in exercises.open_interval(lambda values: values)


def test_labels_are_split_among_partners_and_compared_with_four_that_share_them(study, backdoored):
    verdict = scored(exercises.open_labels([2, 20], study, *CASE))
    assert "four partners with 20 rows each" in verdict  # the model has 80 rows, so no more may be labelled
    assert "at most 80 rows in all" in exercises.open_labels([4, 40], study, *CASE)
    assert "at least one of each" in exercises.open_labels([0, 40], study, *CASE)
