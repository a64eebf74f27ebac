"""Sentences made from tables: the numbers are the tables', and a table that is not there is said to be missing."""

import pandas as pd

from lib.tables.findings import _SENTENCES, ablation_findings, headline_findings, stability_finding

RATES = {"asr_floor": 0.05, "cacc": 0.9}
TABLES = {
    "05_means": pd.DataFrame(
        {
            "variant": ["average", "TIES", "victim"],
            "merge_method": ["a", "t", "none"],
            "asr": [0.1, 0.4, 1],
            "cacc": [0.9, 0.8, 1],
        }
    ),
    "06_chosen": pd.DataFrame(
        [
            {"partners": kind, "choice": choice, "coefficient": 0.4, "asr": asr, **RATES}
            for kind, choice, asr in (
                ("other_domains", "highest", 0.7),
                ("other_domains", "far", 0.1),
                ("same_task", "far", 0.9),
            )
        ]
    ),
    "07_partner_kinds": pd.DataFrame({"n_partners": [1, 1], "partners": ["same_task", "other_domains"], "asr": [0.3, 0.4]}),
    "07_plane": pd.DataFrame(
        [
            {"task": "sst2", "attack": "badnet", "partners": "near", "n_partners": n, "weight": weight, "seed": seed}
            | {"asr": weight, "cacc": 0.9}
            for n in (1, 2)
            for weight in (0.0, 0.1, 0.2, 0.5, 1.0)
            for seed in (0, 1, 2)
        ]
    ),
    "08_collusion": pd.DataFrame(
        {"merge_method": ["median"] * 3, "n_backdoored": [0, 1, 2], "n_models": [2] * 3, "asr": [0.05, 0.5, 1.0]}
    ),
    "09_poisoning_rate": pd.DataFrame(
        {"poisoning_rate": [0.01, 0.01, 0.2, 0.2], "n_models": [1, 3, 1, 3], "asr": [0.2, 0.1, 1.0, 0.15], "asr_floor": 0.05}
    ),
    "10_epochs": pd.DataFrame({"epochs": [2, 8, 8], "merge": ["uniform", "none", "uniform"], "asr": [0.1, 1.0, 0.125]}),
    "11_architectures": pd.DataFrame(
        {
            "architecture": ["a"] * 4,
            "recipe": ["common"] * 2 + ["tuned"] * 2,
            "n_models": [1, 3] * 2,
            "asr": [1.0, 0.1, 0.9, 0.3],
        }
    ),
    "11_heads": pd.DataFrame({"heads": ["shared", "own"], "n_models": [3, 3], "asr": [0.1, 0.2], "cacc": [0.9, 0.8]}),
}
EXPECTED = {
    "05_means": "average leaves the lowest mean ASR (10.0%, CACC 90.0%), TIES the highest (40.0%, CACC 80.0%)",
    "06_chosen": "highest: coefficient 0.40, ASR 70.0%, CACC 90.0%; far: coefficient 0.40, ASR 10.0%, CACC 90.0% (floor 5.0%)",
    "07_partner_kinds": "1 partners: same_task 30.0%, other_domains 40.0%",
    "07_plane": "the weight of the backdoored model explains 100.0%, the number of partners 0.0%",
    "08_collusion": "With 0 to 2 of 2 models that share one backdoor the ASR is: median 5%, 50%, 100%",
    "09_poisoning_rate": "1%: 20.0% to 10.0%, 20%: 100.0% to 15.0% (floor 5.0%)",
    "10_epochs": "A victim of 8 epochs keeps in the merge an ASR of: uniform 12.5%",
    "11_architectures": "a (common) 100% to 10%, a (tuned) 90% to 30%",
    "11_heads": "shared heads ASR 10.0%, CACC 90.0%, own heads ASR 20.0%, CACC 80.0%",
}


def test_every_table_has_its_sentence_with_its_own_numbers(tmp_path):
    for name, table in TABLES.items():
        table.to_csv(tmp_path / f"{name}.csv", index=False)
    found = dict(ablation_findings(tmp_path))
    assert set(found) == set(_SENTENCES) == set(EXPECTED)
    for name, part in EXPECTED.items():
        assert part in found[name], name


def test_a_table_that_is_not_there_was_not_run(tmp_path):
    assert set(dict(ablation_findings(tmp_path)).values()) == {"not run"}


def headline(**changes):
    names = ("merged_asr", "merged_asr_rise", "merged_flip_rate", "points", "relative", "relative_of_means", "removed_share")
    names += ("removed_share_of_means", "cacc_change", "cacc_change_vs_clean")
    ends = {f"{name}{end}": bound for name in names for end, bound in (("_low", 0.25), ("_high", 0.75))}
    row = {"backdoored_asr": 1.0, "asr_floor": 0.1, "points": 0.8, "relative": 0.8, "relative_of_means": 0.79, **ends}
    row |= {"removed_share_of_means": 0.77, "backdoored_asr_rise": 0.9, "merged_asr_rise": 0.2, "backdoored_flip_rate": 1.0}
    row |= {"merged_flip_rate": 0.22, "n_seeds": 3, "n_cells": 2, "cacc_change_vs_clean": -0.02, "n_ratio_cells": 1}
    cells = [
        row | {"task": "sst2", "attack": "badnet", "merged_asr": 0.2, "removed_share": 0.9, "cacc_change": 0.01},
        row | {"task": "agnews", "attack": "lws", "merged_asr": 0.4, "removed_share": 0.6, "cacc_change": -0.03},
        row | {"task": "sst2", "attack": "all", "merged_asr": 0.2, "removed_share": 0.9, "cacc_change": 0.01},
        row | {"task": "agnews", "attack": "all", "merged_asr": 0.4, "removed_share": 0.5, "cacc_change": -0.03},
        row | {"task": "all", "attack": "all", "merged_asr": 0.3, "removed_share": 0.75, "cacc_change": -0.01},
    ]
    return pd.DataFrame(cells).assign(**changes)


def test_the_headline_names_the_mean_in_all_its_forms_and_the_worst_cells():
    text = " ".join(headline_findings(headline()))
    assert "from ASR 100.0% to 30.0% [25.0%, 75.0%] on average over 2 cells" in text
    assert "adds +90.0 points before the merge and +20.0 points [+25.0 points, +75.0 points] after it" in text
    assert "it flips 100.0% and 22.0% [25.0%, 75.0%] of the texts" in text
    assert "-80.0 points [-75.0 points, -25.0 points]; relative 80.0% [25.0%, 75.0%] as the mean of ratios and 79.0%" in text
    assert "removed share 75.0% [25.0%, 75.0%] and 77.0%" in text
    assert "over the 1 of 2 cells in which the attack adds 10 points or more to the floor." in text
    assert "by -1.0 points [+25.0 points, +75.0 points] on average, and by -3.0 points" in text and "on agnews" in text
    assert "Against clean models instead of the victims CACC changes by -2.0 points" in text
    assert "Least is removed for lws on agnews: 60.0%" in text
    assert text.endswith("Brackets are 95 % t-intervals over 3 seeds.")


def test_the_headline_says_what_it_lacks():
    assert "Least" not in " ".join(headline_findings(headline(removed_share=float("nan"))))
    assert "flips" not in " ".join(headline_findings(headline(merged_asr_rise=float("nan"))))
    assert "one seed says nothing about other trainings" in " ".join(headline_findings(headline(n_seeds=1)))


def merging(*n_unstable):
    """Largest averages of one task and four seeds or fewer, of which the unstable ones keep their backdoor."""
    rates = {"asr_floor": 0.1, "backdoored_asr": 1.0, "backdoored_cacc": 0.9}
    return pd.DataFrame(
        [
            {"task": "qnli", "partners": "other_domains", "n_models": 5, "seed": seed, "n_unstable": n, **rates}
            | ({"asr": 0.9, "cacc": 0.5} if n else {"asr": 0.2, "cacc": 0.91})
            for seed, n in enumerate(n_unstable)
        ]
    )


def test_unstable_trainings_behind_the_averages_are_told_and_left_out_once():
    assert stability_finding(merging(0, 0)) == "Every training behind these averages was stable."
    found = stability_finding(merging(0, 2, 0, 1))
    assert found.startswith("2 of 4 averages hold a model whose training was unstable (qnli 2).")
    assert found.endswith("Without them: ASR 100.0% to 20.0%, floor 10.0%, CACC +1.0 points.")
    assert stability_finding(merging(1)).endswith("was unstable (qnli 1).")
