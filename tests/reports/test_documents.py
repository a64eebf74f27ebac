"""What the READMEs quote: every number is that of a committed table, and nothing that looks like a result is typed."""

import re

import pandas as pd
import pytest

from lib.paths import NOTEBOOKS, ROOT
from lib.reports import findings_document
from lib.reports.overview import FINDINGS
from lib.reports.writing import BEGIN, END, blocks_of
from lib.sanitizing.model_card import PROTECTION

README, FIGURES = ROOT / "README.md", ROOT / "figures"
NUMBER = r"[+-]?\d+(?:\.\d+)?"
PLACES = ("pocket", "small")
# What looks like a result and is none: an address, a version, the kind of an interval.
NO_RESULTS = ("arXiv 2402.19334", "abs/2402.19334", "Python 3.11", "95 % intervals")


def table(place, name):
    return pd.read_csv(FIGURES / place / f"{name}.csv")


def seeded(name, place="small"):
    """A table; of real data the one with three seeds."""
    return table("three_seeds/small" if place == "small" else place, name)


def block(name, readme=README):
    text = readme.read_text("utf-8")
    return text.split(BEGIN.format(name=name))[1].split(END.format(name=name))[0].strip()


def shown(*rates):
    """Rates and their differences as the README writes them."""
    return [f"{100 * rate:.1f}" for rate in rates]


@pytest.mark.parametrize("readme", [README, NOTEBOOKS / "README.md"], ids=["README", "notebooks"])
def test_generated_parts_are_those_of_the_committed_tables_and_notebooks(readme):
    for name, content in blocks_of(readme, FIGURES).items():
        assert block(name, readme) == content, f"run `python -m lib.reports`: {name} of {readme} is out of date"


def test_model_cards_say_what_the_readme_says_of_whom_a_merge_protects_against():
    assert PROTECTION.read_text("utf-8").strip() == block("protection"), "run `python -m lib.reports`"


def test_every_number_of_the_protection_is_in_the_tables():
    limits = table("pocket", "14_limits")
    means = limits.groupby(["attack", "settings", "merge_method"])[["asr", "asr_floor"]].mean()
    asr = means["asr"].unstack()
    data, shared = asr.loc[["badnet", "insertsent"]], asr.loc[("poisoned_base", '{"base": "poisoned"}')]
    expecting = asr.loc[["embedding_row", "scaled", "backdoor_vector", "merge_aware", "split"]].drop('{"words": 1}', level=1)
    most, pair = asr.loc[("collusion", '{"n_backdoored": 3}')], ["weight_average", "row_clipped_average"]
    expected = ["5"]
    for rows, rules in ((data, ["none", "weight_average"]), (expecting, pair)):
        expected += [number for rule in rules for number in shown(rows[rule].min(), rows[rule].max())]
    floor = means["asr_floor"].unstack().loc[["badnet", "insertsent"], "none"].mean()
    expected[5:5] = [*shown(floor), "3", "14"]
    expected += ["3", "5", *shown(*most[pair]), *shown(*shared[pair])]
    assert re.findall(NUMBER, block("protection")) == expected


def test_the_document_of_all_findings_is_that_of_the_committed_tables():
    assert (FIGURES / "README.md").read_text("utf-8") == findings_document(FIGURES), "run `python -m lib.reports`"


def test_every_number_of_the_answer_is_in_the_tables():
    expected = []
    for place in PLACES:
        headline = table(place, "90_headline")
        mean, cells = headline.iloc[-1], headline[(headline["task"] != "all") & (headline["attack"] != "all")]
        expected += shown(mean["backdoored_asr"], mean["merged_asr"], mean["asr_floor"])
        expected.append(f"{100 * mean['cacc_change']:+.1f}")
        expected += [str(len(set(cells["task"]))), str(len(set(cells["attack"]))), str(mean["n_seeds"])]
    assert re.findall(NUMBER, block("answer")) == expected


def removed_and_change(rows):
    mean = rows.rename(columns={"teacher_asr": "backdoored_asr"}).mean(numeric_only=True)
    gone = (mean["backdoored_asr"] - mean["asr"]) / (mean["backdoored_asr"] - mean["asr_floor"])
    return [*shown(gone), f"{100 * mean['cacc_change']:+.1f}"]


def test_every_number_of_the_findings_is_in_the_tables():
    expected = []
    for place in PLACES:
        mean = table(place, "90_headline").iloc[-1]
        deciding, students = seeded("17_partners", place), table(place, "15_distillation")
        pairs = [
            ["partners == 'same_task'", "partners == 'other_domains'"],
            [
                "method == 'distil' and student_start == 'same' and texts == 'own'",
                "method == 'weight_average' and student == teacher",
            ],
        ]
        found = [
            [number for query in pair for number in removed_and_change(whole.query(query))]
            for whole, pair in zip((deciding, students), pairs, strict=True)
        ]
        cost = [f"{100 * mean[f'cacc_change{end}']:+.1f}" for end in ("", "_low", "_high")]
        expected.append([shown(mean["removed_share"]), cost, *found])
    most = [table(place, "08_collusion").query("merge_method == 'weight_average' and n_backdoored == 3") for place in PLACES]
    shared = [shown(rows["asr"].mean()) for rows in most]
    text = (FIGURES / "README.md").read_text("utf-8")
    weights = re.findall(r"variation of the mean ASR over weights .*? explains ([\d.]+)%", text)  # pocket, then real
    rows = [line.split(" | ") for line in block("findings").splitlines()[2:]]
    pocket, real = ([re.findall(NUMBER, row[column]) for row in rows] for column in (1, 2))
    assert pocket == [*expected[0], weights[:1], shared[0]]
    assert real == [*expected[1], weights[1:2], shared[1]]


def n_attacks(cells):
    """The number of attacks of each task as the README writes it: once, if all have as many."""
    numbers = cells.groupby("task", sort=False)["attack"].nunique().astype(str).tolist()
    return numbers[:1] if len(set(numbers)) == 1 else numbers


def test_every_number_on_real_data_is_in_the_tables():
    lines = block("real data").splitlines()
    items = [re.findall(NUMBER, re.sub(r"SST-2", "", line)) for line in lines]
    averages = [("small", "90_headline"), ("three_seeds/small", "90_headline"), ("three_seeds/small", "04_reduction_same_task")]
    pairs = []
    for averages_of in averages:
        rows = table(*averages_of)
        mean, cells = rows.iloc[-1], rows.query("attack != 'all' and task != 'all'")
        means = rows.query("attack == 'all'").query("task != 'all'" if mean["n_seeds"] > 1 else "task == 'all'")
        pairs.append([])
        for _, row in means.iterrows():
            changes = [f"{100 * row[f'cacc_change{end}']:+.1f}" for end in ("", "_low", "_high")]
            pairs[-1] += [*shown(row["removed_share"]), *changes]
        pairs[-1] += [*n_attacks(cells), str(mean["n_seeds"])]
    by_task = seeded("04_reduction_same_task").query("attack == 'all' and task != 'all'").set_index("task")["removed_share"]
    assert by_task["sst2"] > 0.9 > by_task["olid"] and "is reached on SST-2 and not reached on OLID" in lines[1]
    by_task = seeded("90_headline").query("attack == 'all' and task != 'all'").set_index("task")["removed_share_high"]
    assert by_task["sst2"] > 0.75 > by_task["olid"] and lines[0].count("much is left") == lines[0].count("On OLID") == 1
    left = seeded("04_merging").query("task == 'olid' and partners == 'other_domains' and n_models == 5")
    rates = left[["asr", "asr_untriggered", "clean_model_asr_untriggered"]].mean()
    assert items[0] == [*pairs[0], *pairs[1], *shown(*rates)]
    partners, merging = seeded("04_partners"), seeded("04_merging").query("partners == 'same_task' and n_models == 5")
    alone = shown(*(partners.query(f"partners == '{kind}'")["cacc"].mean() for kind in ("other_domains", "same_task")))
    buys = 100 * (merging["cacc"] - merging["partners_only_cacc"]).mean()
    assert items[1] == ["4", *pairs[2], "90", "1", *alone, "17", f"{buys:+.1f}"]
    means = table("small", "12_defenses").groupby("defense")[["excess_asr", "cacc_change"]].mean()
    average, before = means.loc["average"], means.loc["none"]
    gone = shown(1 - average["excess_asr"] / before["excess_asr"])
    named = re.findall(r"([a-z ]+) \(([+-][\d.]+)\)", block("real data").split("less is left by ")[1])
    for name, change in named:
        mean = means.loc[name.strip().replace(" ", "_")]
        assert mean["excess_asr"] < average["excess_asr"] and change == f"{100 * mean['cacc_change']:+.1f}"
    defenses = table("small", "12_defenses")
    size = [*n_attacks(defenses), str(defenses["seed"].nunique())]
    assert items[2] == [*size, *gone, f"{100 * average['cacc_change']:+.1f}", *(change for _, change in named), "12"]


def test_what_was_not_run_on_real_data_is_said_to_be_missing():
    for finding, line in zip(FINDINGS, block("findings").splitlines()[2:], strict=True):
        is_there = (FIGURES / finding.real / f"{finding.table}.csv").is_file()
        assert ("not run" in line) != is_there


def test_the_statements_of_the_readme_hold_in_the_tables():
    for place in ("pocket", "small"):
        assert table(place, "90_headline").iloc[-1]["removed_share"] > 0.5
        chosen = table(place, "06_chosen").query("partners == 'other_domains' and choice == 'highest accuracy'")
        assert chosen["asr"].mean() > 2 * chosen["asr_floor"].mean()
        distilled = table(place, "15_distillation").query("method == 'distil' and student_start == 'same' and texts == 'own'")
        assert (distilled["excess_asr"] < 0.1 * distilled["teacher_asr"]).all()
    collusion = table("pocket", "08_collusion").query("merge_method == 'weight_average'").groupby("n_backdoored")["asr"].mean()
    assert collusion[3] > 0.5 > collusion[2]


def test_nothing_that_looks_like_a_result_is_typed_in_the_readme():
    text = README.read_text("utf-8")
    for name in ("answer", "findings", "real data", "protection", "learning path"):
        text = text.replace(block(name), "")
    text = re.sub(r"```.*?```", "", text, flags=re.DOTALL)
    for known in NO_RESULTS:
        text = text.replace(known, "")
    assert re.findall(r"\d+(?:\.\d+)? ?%|\d+\.\d+|\d+ points", text) == []


def test_the_readme_is_one_page():
    assert len(README.read_text("utf-8").splitlines()) <= 150


def test_every_link_of_a_readme_leads_to_a_file():
    for readme in (README, *ROOT.glob("*/README.md"), *ROOT.glob("lib/*/README.md")):
        for target in re.findall(r"(?<!!)\[[^\]]+\]\(([^)#]+)\)", readme.read_text("utf-8")):
            if not target.startswith("http"):
                assert (readme.parent / target).exists(), f"{readme}: {target}"


def test_every_word_of_the_glossary_is_explained_once_and_in_order():
    rows = re.search(r"\| word \| meaning \|\n\|---\|---\|\n(.*?)\n\n", (NOTEBOOKS / "README.md").read_text("utf-8"), re.S)[1]
    words = [row.split(" | ")[0].strip("| ").lower() for row in rows.splitlines()]
    assert words == sorted(words) and len(words) == len(set(words))
    for word in ("basin", "head", "nats", "hierarchical", "sign flip", "holm", "fisher information", "task vector", "floor"):
        assert any(word in entry or word in row for entry, row in zip(words, rows.splitlines(), strict=True)), word


def test_verdicts_of_now_are_those_of_the_committed_table():
    text = (NOTEBOOKS / "README.md").read_text("utf-8").split("| claim of the paper | before | now |")[1]
    rows = [[field.strip() for field in line.split("|")[1:-1]] for line in text.splitlines()[2:] if line.startswith("|")]
    verdicts = table("pocket", "90_agreement").set_index("claim")["verdict"]
    assert len(rows) == 9
    assert {claim: now for claim, _, now, _ in rows} == {claim: verdicts[claim] for claim, *_ in rows}
