"""Parts of documents between markers, the list of notebooks, and what a folder without tables says."""

import json
import shutil

import pandas as pd
import pytest

from lib import paths
from lib.reports import findings_document, replace_block, write_reports
from lib.reports.learning_path import described, learning_path
from lib.reports.overview import answer_block, findings_block
from lib.reports.protection import protection_block
from lib.reports.reading import Part
from lib.tables.agreement import agreement_table


def test_a_block_is_replaced_and_what_stands_around_it_stays():
    text = "before\n<!-- generated: x -->\nold\nold\n<!-- end of x -->\nafter\n"
    assert replace_block(text, "x", "new") == "before\n<!-- generated: x -->\nnew\n<!-- end of x -->\nafter\n"
    assert replace_block(replace_block(text, "x", "new"), "x", "new") == replace_block(text, "x", "new")
    assert r"a \1 b" in replace_block(text, "x", r"a \1 b")


@pytest.mark.parametrize(
    "text", ["", "<!-- generated: x -->", "<!-- end of x --><!-- generated: x -->", 2 * "<!-- end of x -->"]
)
def test_a_document_without_its_markers_is_an_error(text):
    with pytest.raises(ValueError, match="one pair is needed"):
        replace_block(text, "x", "new")


def test_reports_of_another_folder_leave_the_checkout_alone(tmp_path, monkeypatch):
    monkeypatch.setenv("FREE_LUNCH_FIGURES", str(tmp_path / "figures"))
    readme = (paths.ROOT / "README.md").read_bytes()
    assert write_reports() == [tmp_path / "figures" / "README.md"]
    assert (paths.ROOT / "README.md").read_bytes() == readme
    assert (tmp_path / "figures" / "README.md").read_text("utf-8") == findings_document(tmp_path / "figures")


def test_verdicts_follow_the_tables_that_are_there_now(tmp_path):
    committed = paths.ROOT / "figures" / "pocket"
    pocket, other = tmp_path / "pocket", tmp_path / "other"  # of the other profile notebook 90 never ran
    for folder in (pocket, other):
        folder.mkdir()
        shutil.copy(committed / "12_defenses.csv", folder)
    shutil.copy(committed / "90_agreement.csv", pocket)
    written = write_reports(tmp_path)
    assert written[:2] == [pocket / "90_agreement.csv", pocket / "90_agreement.md"]
    assert not (other / "90_agreement.csv").exists()
    before, now = (pd.read_csv(folder / "90_agreement.csv").set_index("table") for folder in (committed, pocket))
    assert (now.drop("12_defenses")["verdict"] == "not run").all() and not (before["verdict"] == "not run").any()
    assert now.loc["12_defenses", "found"] == before.loc["12_defenses", "found"]
    assert "not run" in (pocket / "90_agreement.md").read_text("utf-8")


def test_the_verdicts_of_the_checkout_are_those_of_its_tables():
    for path in sorted((paths.ROOT / "figures").glob("**/90_agreement.csv")):
        pd.testing.assert_frame_equal(pd.read_csv(path, keep_default_na=False), agreement_table(path.parent))


def test_a_folder_without_tables_says_so_in_every_place(tmp_path):
    text = findings_document(tmp_path)
    assert "*Not run here: there is no `05_means.csv`.*" in text
    assert "\n- " not in text.split("## ", 1)[1]  # no finding
    with pytest.raises(ValueError, match=r"has no 90_headline.csv; run `make study` first"):
        answer_block(tmp_path)
    assert findings_block(tmp_path).count("not run") == 2 * 6


def test_that_partners_of_the_task_cost_nothing_is_said_only_if_both_tables_say_so(tmp_path):
    for place in ("pocket", "small", "three_seeds/small"):
        (tmp_path / place).mkdir(parents=True)
        for name in ("90_headline", "17_partners"):
            pd.read_csv(paths.ROOT / "figures" / place / f"{name}.csv").to_csv(tmp_path / place / f"{name}.csv", index=False)
    assert "cost nothing on either" in answer_block(tmp_path)
    partners = tmp_path / "three_seeds" / "small" / "17_partners.csv"
    pd.read_csv(partners).assign(cacc_change=-0.01).to_csv(partners, index=False)
    assert "cost nothing" not in answer_block(tmp_path)
    partners.unlink()
    assert "cost nothing" not in answer_block(tmp_path)


def test_a_folder_without_all_attackers_has_no_word_on_protection(tmp_path):
    assert "was not measured" in protection_block(tmp_path)
    limits = pd.read_csv(paths.ROOT / "figures" / "pocket" / "14_limits.csv")
    (tmp_path / "pocket").mkdir()
    limits[limits["attack"] != "split"].to_csv(tmp_path / "pocket" / "14_limits.csv", index=False)
    assert "was not measured" in protection_block(tmp_path)
    limits.assign(asr=0.5).to_csv(tmp_path / "pocket" / "14_limits.csv", index=False)
    assert "it leaves 50.0 %, and the" in protection_block(tmp_path)


def test_a_column_that_a_table_does_not_have_is_named(tmp_path):
    (tmp_path / "x.csv").write_text("a,b\n1,\n")
    assert list(Part("x", lambda table: [str(table["a"][0])], ("a",)).lines(tmp_path)) == ["1"]
    found = list(Part("x", lambda _: pytest.fail("there is nothing to say"), ("b", "c")).lines(tmp_path))
    assert found == ["*Not measured here: `x.csv` has no `b`, `c`.*"]


def notebook(folder, name, *cells):
    path = folder / f"{name}.ipynb"
    path.write_text(json.dumps({"cells": [{"cell_type": kind, "source": [text]} for kind, text in cells]}), "utf-8")
    return path


def test_a_notebook_is_listed_with_its_question_and_its_minutes(tmp_path):
    prose = (
        "# 00 Title\n\n**Question.** Somebody asks. Is it so?\n"
        + "word " * 93
        + "## Exercise (1 of 3 in difficulty, 2 minutes: easy)"
    )
    path = notebook(tmp_path, "00_first", ("markdown", prose), ("code", "\n".join(["x = 1"] * 30)))
    # About 100 words and 30 lines of ten words are four minutes, and the exercise takes two.
    assert described(path) == ("Is it so?", 10)
    assert learning_path(tmp_path, tmp_path.parent).splitlines()[-1] == (
        f"| [00_first]({tmp_path.name}/00_first.ipynb) | Is it so? | 10 | start |"
    )


def test_a_notebook_without_a_question_or_a_level_is_an_error(tmp_path):
    with pytest.raises(ValueError, match=r"01_x.ipynb has no line that begins with \*\*Question"):
        described(notebook(tmp_path, "01_x", ("markdown", "# 01 X")))
    notebook(tmp_path, "77_y", ("markdown", "**Question.** Why?"))
    (tmp_path / "01_x.ipynb").unlink()
    with pytest.raises(ValueError, match=r"77_y.ipynb has no level; add one of"):
        learning_path(tmp_path, tmp_path)
