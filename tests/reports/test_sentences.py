"""Sentences and small tables made from tables: the numbers are the tables', read from files."""

import pandas as pd
import pytest

from lib.reports import grids, later_sentences, sentences
from lib.reports.chapters import CHAPTERS, chapter_lines

RATES = {"asr_floor": 0.05, "cacc": 0.9}


def said(write, rows):
    return "\n".join(write(pd.DataFrame(rows)))


def test_methods_that_mix_are_told_apart_from_those_that_select():
    rows = [
        ("average", "a", 0.1, 0.9),
        ("TIES", "t", 0.4, 0.95),
        ("SLERP, 2 models", "slerp", 0.5, 0.94),
        ("Krum", "krum", 0.05, 0.8),
        ("backdoored model", "none", 1, 1),
    ]
    text = said(sentences.methods, [dict(zip(("variant", "merge_method", "asr", "cacc"), row, strict=True)) for row in rows])
    assert (
        "Of 2 ways to mix all models, average leaves the lowest mean ASR (10.0%, CACC 90.0%), TIES the highest (40.0%" in text
    )
    assert "SLERP, 2 models leaves 50.0% (CACC 94.0%), but it mixes fewer models" in text
    assert "Krum leaves 5.0% (CACC 80.0%), but it is no merge of all models" in text and "*replaced*, not repaired" in text
    assert "Beaten by no other method in both rates: Krum, average, TIES." in text


def test_the_share_kept_is_said_not_to_explain_everything():
    rows = [("TIES", 0.4, 0.4), ("DARE", 0.7, 0.3), ("average", 0.2, 0.1), ("Krum", 0.0, 0.05)]
    text = said(sentences.kept, [dict(zip(("variant", "kept", "asr"), row, strict=True)) for row in rows])
    assert "rank correlation of 0.50 over 3 methods" in text
    assert "TIES keeps 40% and has ASR 40.0%. More is kept at a lower ASR by: DARE (70%, ASR 30.0%)." in text
    assert "Nothing of it is kept by Krum: there the backdoored model was replaced." in text
    few = said(
        sentences.kept, [{"variant": name, "kept": kept, "asr": kept} for name, kept in (("TIES", 0.4), ("average", 0.2))]
    )
    assert "TIES" not in few and "Nothing" not in few


def test_sweeps_say_where_the_asr_is_lowest_and_what_a_small_value_does():
    values = {0.1: (0.5, 0.45, 0.6), 0.4: (0.1, 0.05, 0.9), 1.0: (0.3, 0.05, 0.95)}
    rows = [
        {"variant": "TIES", "setting": "merge_coefficient", "value": value, "asr": asr, "asr_untriggered": own, "cacc": cacc}
        for value, (asr, own, cacc) in values.items()
    ]
    assert said(sentences.sweeps, rows) == (
        "TIES, merge coefficient: lowest ASR 10.0% at 0.4 (CACC 90.0%); at the smallest value, 0.1, ASR 50.0% (without the "
        "trigger 45.0%; CACC 60.0%)."
    )
    sums = [{"coefficient": value, "asr": asr, "cacc": cacc} for value, (asr, _, cacc) in values.items()]
    assert "CACC is highest (95.0%) at coefficient 1, where ASR is 30.0%" in said(sentences.task_arithmetic, sums)
    assert "at 0.1 CACC is 60.0% and ASR 50.0%." in said(sentences.task_arithmetic, sums)


def test_rules_that_choose_a_coefficient_stand_beside_each_other():
    rows = [
        {"partners": kind, "choice": rule, "coefficient": c, "asr": asr, **RATES}
        for kind, rule, c, asr in (
            ("other_domains", "far", 0.4, 0.7),
            ("other_domains", "far", 0.6, 0.5),
            ("same_task", "far", 1, 0.1),
        )
    ]
    text = said(sentences.chosen, rows)
    assert "| far | 0.50 | 60.0 | 5.0 | 90.0 |" in text and "rule (same task)" in text


def test_a_higher_learning_rate_is_compared_where_it_differs_most():
    rows = [
        {"coefficient": c, "learning_rate": rate, "asr": asr, "cacc": 0.9 - rate}
        for c, low, high in ((0, 1, 1), (0.6, 0.37, 0.7), (1, 0.2, 0.2))
        for rate, asr in ((0.05, low), (0.3, high))
    ]
    assert said(sentences.rates_of_training, rows) == (
        "A backdoored model trained at 0.3 instead of 0.05 (CACC alone 60.0% and 85.0%): the largest difference is at "
        "coefficient 0.6, ASR 70.0% instead of 37.0%."
    )


def test_attacks_name_the_weakest_and_the_costliest():
    row = {"asr_floor": 0.1, "clean_model_cacc": 0.9}
    rows = [
        row | {"task": "sst2", "attack": "badnet", "asr": 1.0, "cacc": 0.9, "share_changed": 1.0},
        row | {"task": "olid", "attack": "lws", "asr": 0.8, "cacc": 0.84, "share_changed": 0.95},
    ]
    text = said(sentences.attacks, rows)
    assert (
        "Mean ASR over 2 cells of tasks and attacks: 90.0%. The lowest is 80.0% (LWS on olid), where a clean model has 10.0%"
        in text
    )
    assert "is -3.0 points from that of clean models on average, and -6.0 points at most (LWS on olid)" in text
    assert "LWS on olid changes the smallest share of the texts, 95.0%." in text
    assert "| olid | LWS | 80.0 | 10.0 | 84.0 | 90.0 |" in said(grids.by_attack, rows)


def test_averages_stand_by_number_of_partners_and_only_where_all_cells_have_it():
    rows = [
        {
            "task": task,
            "attack": "badnet",
            "partners": "other_domains",
            "n_models": n,
            "asr": 1 / n,
            "asr_floor": 0.1,
            "cacc": 0.9,
        }
        for task, most in (("sst2", 3), ("olid", 2))
        for n in range(1, most + 1)
    ]
    text = said(lambda table: grids.by_number(table, "other_domains", ["task"]), rows)
    assert "| sst2 | 100.0 | 50.0, 33.3 | 10.0 | 90.0 | 90.0, 90.0 |" in text
    assert "| mean of 2 cells | 100.0 | 50.0 | 10.0 | 90.0 | 90.0 |" in text
    missing = said(lambda table: grids.by_number(table, "same_task", ["task"]), rows)
    assert missing == "*Not run here: `04_merging.csv` has no partners `same_task`.*"


def test_tests_and_verdicts_are_copied_with_their_rules():
    row = {"claim": "it falls", "mean_difference": 0.5, "n_seeds": 3, "sign_flip_p": 0.25, "holm_p": 1.0}
    assert "| it falls | +50.0 | 3 | 0.250 | 1.000 |" in said(grids.tests, [row])
    bounds = {"mean_difference_low": 0.4, "mean_difference_high": 0.6}
    assert "| it falls | +50.0 [+40.0, +60.0] | 3 |" in said(grids.tests, [row | bounds])
    verdict = {"claim": "it falls", "verdict": "agree", "found": "50 %", "we_agree_if": "above 0", "table": "04_x"}
    verdict["reason"] = float("nan")
    rows = [verdict, verdict | {"found": float("nan"), "verdict": "not run"}, verdict | {"reason": "It does so."}]
    assert said(grids.verdicts, rows).splitlines()[2:] == [
        "| it falls | **agree** | 50 % | above 0 |", "| it falls | **not run** | no table `04_x` | above 0 |",
        "| it falls | **agree** | 50 %. It does so | above 0 |",
    ]  # fmt: skip


LATER = {
    later_sentences.backdoored: (
        [
            {"n_models": n, "same_target": True, "backdoored_asr": 0.9, "asr": 0.9 / n, "asr_floor": 0.1}
            for n in (1, 2)
        ],
        "2 models, each with another attack, one target label: mean ASR 90.0% alone, 45.0% averaged; a clean model has 10.0%.",
    ),
    later_sentences.collusion: (
        [{"merge_method": "median", "n_backdoored": k, "n_models": 2, "asr": k / 2} for k in (0, 1, 2)],
        "| median | 0.0 | 50.0 | 100.0 |",
    ),
    later_sentences.poisoning_rates: (
        [
            {"attack": "lws", "poisoning_rate": rate, "n_models": n, "asr": rate / n, "asr_floor": 0.05}
            for rate in (0.01, 0.2)
            for n in (1, 2)
        ],
        "| LWS | 1.0, 0.5 | 20.0, 10.0 | 5.0 |",
    ),
    later_sentences.epochs: (
        [
            {"epochs": n, "merge": merge, "asr": 0.1 * n, "distance": n, "partner_distance": 2, **RATES}
            for n in (2, 8)
            for merge in ("none", "uniform")
        ],
        "A backdoored model of 8 epochs lies 4.0 times as far",
    ),
    later_sentences.architectures: (
        [
            {"architecture": "a", "recipe": "common", "n_models": n, "n_parameters": 5e5, "asr": 1 / n, **RATES}
            for n in (1, 2)
        ],
        "| a (common recipe) | 0.50 | 100.0 | 50.0 | 5.0 | 90.0 |",
    ),
    later_sentences.heads: (
        [{"heads": kind, "n_models": 3, "asr": asr, "cacc": 0.9} for kind, asr in (("shared", 0.1), ("own", 0.2))],
        "shared heads: ASR 10.0%, CACC 90.0%; own heads: ASR 20.0%, CACC 90.0%.",
    ),
    later_sentences.stealth: (
        [{"attack": "bite", "share_changed": 0.99, "words_changed": 0.5, "perplexity_ratio": 4, "similarity": 0.8}],
        "| BITE | 99.0 | 50.0 | 4.0 | 0.80 |",
    ),
    sentences.transfer: (
        [
            {"task": "sst2", "trained_on": name, "tested_on": "sst2", "domain_distance": "near", "cacc": 0.9}
            | {"relative_cacc": 0.95}
            for name in ("sst2", "yelp")
        ],
        "| sst2 | near: yelp | 90.0 | 0.95 |",
    ),
    sentences.partner_kinds: (
        [{"n_partners": 1, "partners": "same_task", "asr": 0.3, "cacc": 0.9}],
        "| 1 x same task | 30.0 | 90.0 |",
    ),
}  # fmt: skip


@pytest.mark.parametrize("write", LATER, ids=lambda write: write.__name__)
def test_a_table_is_told_with_its_own_numbers(write):
    rows, expected = LATER[write]
    assert expected in said(write, rows)


def test_every_chapter_has_something_to_say_of_the_pocket_study():
    from lib.paths import ROOT

    for chapter in CHAPTERS:
        if "pocket" in chapter.places:
            lines = list(chapter_lines(chapter, ROOT / "figures" / "pocket"))
            assert lines and not any("nan" in line for line in lines), chapter.title
