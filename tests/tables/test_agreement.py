"""The comparison with the paper: every claim has intervals, a rule, and can be agreed to, refuted or left undecided."""

from itertools import cycle

import numpy as np
import pandas as pd
import pytest

from lib.metrics.reduction import reduction_table
from lib.tables.agreement import ATTACKS, CLAIMS, TASKS, agreement_table


def outcomes(share):
    return [1] * round(1000 * share) + [0] * round(1000 - 1000 * share)


def reductions(merged_asr, cacc=0.9, tasks=TASKS, attacks=ATTACKS, spread=0.005, seeds=(0, 1, 2)):
    """Table `04_reduction_other_domains` of a study in which every victim has an ASR of 1 above a floor of 0.1.

    The merged ASR of the tasks alternates between the two that are given.
    """
    rows = [
        {
            **{"task": task, "attack": attack, "seed": seed, "hits": outcomes(asr + spread * (seed - 1))},
            **{"correct": outcomes(cacc), "backdoored_correct": outcomes(0.9)},
            **{"backdoored_hits": outcomes(1), "floor_hits": outcomes(0.1)},
        }
        for task, asr in zip(tasks, cycle(merged_asr), strict=False)
        for attack in attacks
        for seed in seeds
    ]
    return reduction_table(pd.DataFrame(rows))


def agreement(folder, **tables):
    for name, table in tables.items():
        table.to_csv(folder / f"{name}.csv", index=False)
    return agreement_table(folder).set_index("claim")


def test_what_was_not_run_is_neither_agreement_nor_disagreement(tmp_path):
    table = agreement_table(tmp_path)
    assert len(table) == len(CLAIMS)
    assert set(table["verdict"]) == {"not run"}
    assert table["we_agree_if"].str.contains("interval").all()
    assert all(np.isfinite([claim.at_least, claim.at_most]).any() for claim in CLAIMS)


@pytest.mark.parametrize(
    ("merged", "cacc", "spread", "expected"),
    [
        ((0.15, 0.12), 0.91, 0.005, ["agree", "agree", "agree", "agree", "agree"]),
        ((0.15, 0.80), 0.91, 0.005, ["disagree", "agree", "agree", "disagree", "disagree"]),
        ((0.15, 0.12), 0.80, 0.005, ["agree", "disagree", "disagree", "agree", "agree"]),
        # Means as in the first case, but the seeds differ too much to tell.
        ((0.15, 0.12), 0.91, 0.100, ["undecided", "agree", "agree", "undecided", "undecided"]),
    ],
)
def test_reductions_are_judged_by_their_rules(tmp_path, merged, cacc, spread, expected):
    found = agreement(tmp_path, **{"04_reduction_other_domains": reductions(merged, cacc, spread=spread)})
    assert found["verdict"].iloc[:5].tolist() == expected


def test_a_claim_on_more_than_was_measured_is_refuted_by_a_part_and_never_agreed_to(tmp_path):
    part = {"tasks": ("sst2", "olid"), "attacks": ("badnet",)}
    found = agreement(tmp_path, **{"04_reduction_other_domains": reductions((0.15, 0.12), 0.91, **part)}).iloc[:5]
    assert found["verdict"].tolist() == ["undecided"] * 5
    assert found["found"].str.endswith("; not measured: agnews, qnli").tolist() == [True] * 4 + [False]
    assert found["found"].iloc[4].endswith("; not measured: insertsent, syntactic, lws, bite")
    found = agreement(tmp_path, **{"04_reduction_other_domains": reductions((0.80, 0.80), 0.80, **part)}).iloc[:5]
    assert found["verdict"].tolist() == ["undecided", "undecided", "disagree", "disagree", "disagree"]


def test_where_we_disagree_the_reason_comes_from_other_tables(tmp_path):
    changes = {"merge": 0.015, "weak partners": -0.048, "other domain": -0.009, "all": -0.042}
    parts = [
        {"task": task, "measure": measure, "part": part, "change": (1 if task == "sst2" else -0.5) * change}
        for task in ("sst2", "agnews")
        for measure in ("cacc", "asr")
        for part, change in changes.items()
    ]
    tables = {"04_reduction_other_domains": reductions((0.15, 0.12), 0.80), "17_parts": pd.DataFrame(parts)}
    told = agreement(tmp_path, **tables)["reason"]
    assert told.iloc[2] == told.iloc[1]
    assert told.iloc[2] == (
        "sst2: the weakness of the partners makes -4.8 points of CACC, the merge itself +1.5 points, their domain -0.9 points "
        "(17_parts). agnews: the merge itself makes -0.8 points of CACC, the weakness of the partners +2.4 points, "
        "their domain +0.4 points (17_parts)."
    )
    assert not told.drop(told.index[[1, 2]]).any()  # nothing to explain
    agreed = agreement(tmp_path, **tables | {"04_reduction_other_domains": reductions((0.15, 0.12), 0.91)})
    assert agreed["verdict"].iloc[2] == "agree" and not agreed["reason"].any()
    (tmp_path / "17_parts.csv").unlink()
    assert not agreement(tmp_path, **{"04_reduction_other_domains": tables["04_reduction_other_domains"]})["reason"].any()


def test_what_is_left_on_a_task_is_told_with_and_without_the_trigger(tmp_path):
    before = {"backdoored_asr": 0.99, "backdoored_asr_untriggered": 0.38, "clean_model_asr_untriggered": 0.36}
    rows = [
        {"task": "olid", "partners": kind, "n_models": n, "asr": asr, "asr_untriggered": 0.56, **before}
        for kind, n, asr in (
            ("same_task", 5, 0.4),
            ("other_domains", 2, 0.95),
            ("other_domains", 5, 0.75),
            ("other_domains", 5, 0.85),
        )
    ]
    tables = {"04_reduction_other_domains": reductions((0.80, 0.80)), "04_merging": pd.DataFrame(rows)}
    assert agreement(tmp_path, **tables)["reason"]["on SST-2, OLID, AG News and QNLI alike"] == (
        "olid: of the ASR of 80.0% the average does 56.0% without the trigger, a clean model 36.0%; the trigger itself adds "
        "+24.0 points, before +61.0 points (04_merging)."
    )


def test_one_seed_decides_nothing(tmp_path):
    found = agreement(tmp_path, **{"04_reduction_other_domains": reductions((0.15, 0.12), seeds=(0,))})
    assert found["verdict"].iloc[:5].tolist() == ["undecided"] * 5
    assert found["found"].iloc[0].startswith("relative 87.0% (one seed)")


def test_what_was_found_has_its_intervals_and_both_forms_of_a_ratio(tmp_path):
    table = reductions((0.15, 0.13))
    found, mean = agreement(tmp_path, **{"04_reduction_other_domains": table})["found"], table.iloc[-1]
    bounds = f"[{mean.relative_low:.1%}, {mean.relative_high:.1%}]"
    assert found.iloc[0].startswith(f"relative 86.0% {bounds}; relative of means 86.0% {bounds}; removed share ")
    assert found.iloc[3].startswith("sst2 94.4% [") and "; olid 96.7% [" in found.iloc[3]


def test_a_task_with_nothing_to_remove_is_not_judged(tmp_path):
    rows = reductions((0.15, 0.12))
    ratios = [name for name in rows if name.startswith(("relative", "removed_share"))]
    rows.loc[rows["task"] == "olid", ratios] = float("nan")
    found = agreement(tmp_path, **{"04_reduction_other_domains": rows}).loc["on SST-2, OLID, AG News and QNLI alike"]
    assert found["verdict"] == "agree"
    assert "olid" not in found["found"]


def seeded(rows, *names):
    """Rows of three seeds that differ by a point."""
    table = pd.concat([pd.DataFrame(rows).assign(seed=seed) for seed in range(3)], ignore_index=True)
    moved = {name: table[name] + 0.01 * (table["seed"] - 1) for name in names}
    return table.assign(**moved)


def test_backdoored_partners_architectures_and_methods_are_judged_by_their_rules(tmp_path):
    methods = pd.DataFrame({"variant": ["weight average", "Fisher", "TIES"], "asr": [0.10, 0.12, 0.13]})
    methods = pd.concat([methods.assign(seed=seed, asr=methods["asr"] + 0.1 * seed) for seed in range(3)])
    together = {"n_models": 5, "same_target": True, "backdoored_asr": 1.0, "asr_floor": 0.1}
    alone = seeded([together | {"n_models": 1, "asr": 1.0}, together | {"asr": 0.2}], "asr")
    columns = ["architecture", "n_models", "backdoored_asr", "asr", "asr_floor"]
    rows = [["a", 1, 1.0, 1.0, 0.1], ["a", 3, 1.0, 0.2, 0.1], ["b", 3, 1.0, 0.2, 0.1], ["weak", 3, 0.15, 0.1, 0.1]]
    small = pd.DataFrame(rows, columns=columns).assign(recipe="common")
    small["model_type"] = small["architecture"].map({"a": "bert", "b": "llama", "weak": "llama"})
    small = seeded(small, "asr")
    rivals = pd.DataFrame({"defense": ["average", "abl", "onion"], "asr": [0.1, 0.8, 0.5], "cacc": [0.9, 0.91, 0.88]})
    rivals = pd.concat([rivals.assign(seed=seed, asr=rivals["asr"] + 0.01 * seed) for seed in range(3)])
    tables = {"05_methods": methods, "08_backdoored": alone, "11_architectures": small, "12_defenses": rivals}
    found = agreement(tmp_path, **tables).iloc[5:9]
    assert found["verdict"].tolist() == ["agree"] * 4
    assert "CACC of onion minus that of the average -2.0 points" in found["found"].iloc[3]
    assert "weak" not in found["found"].iloc[1]  # it adds too little to the floor
    assert found["found"].iloc[2].startswith("weight average minus Fisher -2.0 points [-2.0 points, -2.0 points]")

    lacking = {"11_architectures": small[small["model_type"] == "bert"], "12_defenses": rivals[rivals["defense"] != "abl"]}
    found = agreement(tmp_path, **lacking).iloc[[6, 8]]
    assert found["verdict"].tolist() == ["undecided"] * 2
    assert [text.split("; ")[-1] for text in found["found"]] == ["not measured: a decoder", "not measured: ABL"]

    masked = agreement(tmp_path, **{"12_defenses": rivals.replace("onion", "onion_masked")}).iloc[8]
    assert masked["verdict"] == "agree" and "ASR of onion_masked minus that of the average +40.0 points" in masked["found"]

    tables["05_methods"] = methods.assign(asr=methods["asr"] + 0.1 * (methods["variant"] == "TIES"))
    tables["08_backdoored"] = alone.assign(asr=alone["asr"] + 0.4)
    tables["11_architectures"] = small.assign(asr=np.where(small["architecture"] == "b", small["asr"] + 0.7, small["asr"]))
    tables["12_defenses"] = rivals.assign(asr=np.where(rivals["defense"] == "onion", 0.05, rivals["asr"]))
    assert agreement(tmp_path, **tables)["verdict"].iloc[5:9].tolist() == ["disagree"] * 4

    tables["08_backdoored"] = alone.assign(asr=alone["asr"] + 0.12 * (alone["seed"] - 1))
    tables["05_methods"] = methods.assign(asr=methods["asr"] + 0.02 * methods["seed"] * (methods["variant"] == "TIES"))
    wavering = rivals["asr"] - 0.5 * (rivals["defense"] == "onion") * rivals["seed"]
    tables["12_defenses"] = rivals.assign(asr=wavering)
    assert agreement(tmp_path, **tables)["verdict"].iloc[[5, 7, 8]].tolist() == ["undecided"] * 3


EXPECTING = "without knowledge of the attack, even if the attacker expects the merge"


def attackers(*excess, spread=0.01, seeds=(0, 1, 2), rule="weight_average"):
    """Table `14_limits` of a study: `attack, settings, knowledge, uploads, excess ASR`."""
    rows = [
        {"attack": attack, "settings": settings, "knowledge": knowledge, "n_backdoored": n, "seed": seed}
        | {"merge_method": rule, "excess_asr": value + spread * (seed - 1)}
        for attack, settings, knowledge, n, value in excess
        for seed in seeds
    ]
    return pd.DataFrame(rows)


STOPPED = (("scaled", '{"scale": 2}', 1, 1, 0.1), ("merge_aware", '{"shadows": 2}', 2, 1, 0.15))
SURVIVING = ("scaled", '{"scale": 5}', 1, 1, 0.9)
NOT_JUDGED = (
    ("badnet", "{}", 0, 1, 0.9), ("collusion", '{"n_backdoored": 3}', 3, 3, 0.9),
    ("poisoned_base", '{"base": "clean"}', 4, 1, 0.9), ("merge_aware", '{"base": "poisoned"}', 2, 1, 0.9),
)  # fmt: skip


@pytest.mark.parametrize(
    ("table", "expected"),
    [
        (attackers(*STOPPED), "agree"),
        (attackers(*STOPPED, *NOT_JUDGED), "agree"),
        (attackers(*STOPPED, SURVIVING), "disagree"),
        (attackers(*STOPPED, spread=0.2), "undecided"),  # the seeds differ too much
        (attackers(*STOPPED, seeds=(0,)), "undecided"),
        (attackers(*NOT_JUDGED), "undecided"),  # nobody who knows of a merge was run
        (pd.concat([attackers(*STOPPED), attackers(SURVIVING, rule="ties")]), "agree"),
    ],
)
def test_attackers_who_expect_the_merge_are_judged_by_what_the_average_leaves(tmp_path, table, expected):
    assert agreement(tmp_path, **{"14_limits": table})["verdict"][EXPECTING] == expected


def test_what_is_left_is_told_of_every_attacker_and_of_those_with_several_models_beside(tmp_path):
    found = agreement(tmp_path, **{"14_limits": attackers(*STOPPED, *NOT_JUDGED)})["found"][EXPECTING]
    first, second, *others = found.split("; ")
    assert first.startswith("scaled (scale 2) +10.0 points [+7.5 points, +12.5 points]")
    assert second.startswith("merge_aware (shadows 2) +15.0 points")
    assert [each.split(" +")[0] for each in others] == ["collusion (n_backdoored 3)"]


def test_why_attackers_survive_is_told_by_a_merge_that_limits_rows(tmp_path):
    clipped = attackers(("scaled", '{"scale": 5}', 1, 1, 0.05), ("merge_aware", "{}", 2, 1, 0.45), rule="row_clipped_average")
    table = pd.concat([attackers(SURVIVING, ("merge_aware", "{}", 2, 1, 0.7), *NOT_JUDGED), clipped])
    assert agreement(tmp_path, **{"14_limits": table})["reason"][EXPECTING] == (
        "An average sets no limit to what one model adds: these attackers keep +80.0 points on average, and +25.0 points if "
        "the length of every row's update is limited (row_clipped_average, 14_limits). Then merge_aware keeps most, "
        "+45.0 points."
    )
    alone = attackers(SURVIVING)  # no such merge was run
    assert agreement(tmp_path, **{"14_limits": alone}).loc[EXPECTING, ["verdict", "reason"]].tolist() == ["disagree", ""]
