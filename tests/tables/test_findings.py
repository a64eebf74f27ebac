"""Sentences on the headline: the numbers are the table's, and what a table does not have is left out."""

import pandas as pd

from lib.tables.findings import headline_findings, stability_finding


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
    assert "-80.0 points [-75.0 points, -25.0 points]. Relative 80.0% [25.0%, 75.0%] as the mean of ratios and 79.0%" in text
    assert "removed share 75.0% [25.0%, 75.0%] and 77.0%" in text
    assert "over the 1 of 2 cells in which the attack adds 10 points or more to a clean model's ASR." in text
    assert "by -1.0 points [+25.0 points, +75.0 points] on average, and by -3.0 points" in text and "on agnews" in text
    assert "Against clean models instead of the backdoored ones CACC changes by -2.0 points" in text
    assert "Least is removed for lws on agnews: 60.0%" in text
    assert "the average lies below it in 0 of 2 cells (no cell)." in text
    assert text.endswith("Brackets are 95 % t-intervals over 3 seeds.")


def test_the_headline_says_what_it_lacks():
    assert "Least" not in " ".join(headline_findings(headline(removed_share=float("nan"))))
    assert "flips" not in " ".join(headline_findings(headline(merged_asr_rise=float("nan"))))
    below = " ".join(headline_findings(headline(asr_floor=0.3)))
    assert "the average lies below it in 1 of 2 cells (badnet on sst2)." in below
    old = headline()[[name for name in headline() if "of_means" not in name and "flip" not in name and "rise" not in name]]
    text = " ".join(headline_findings(old.drop(columns=["n_cells", "n_ratio_cells", "cacc_change_vs_clean"])))
    assert "Relative 80.0% [25.0%, 75.0%], removed share 75.0% [25.0%, 75.0%], means of the cells' ratios." in text
    assert "nan" not in text and "Against clean models" not in text
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
