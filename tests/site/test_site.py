"""The pages of the site: what is left out of an executed notebook, what is added, and where its links lead."""

import base64
import copy
import json
import sys

import pytest

from lib import paths
from lib.site import build, clean_notebook, write_sources
from lib.site.glossary import Word, glossary_page, link_words, read_words
from lib.site.mixers import Piece, mixer_pieces, mixer_sections
from lib.site.pages import WIDGET, failed_cell, first_figure, first_finding, text_of
from lib.site.sources import document, notebook_page, relinked
from lib.study import Study

PNG = base64.b64encode(b"\x89PNG not really").decode()
PARAMETERS = 'profile: str = "pocket"  # a key of PROFILES\noverrides: dict = {}  # fields\nattack: str = "badnet"  # an attack'
STEM = "00_free_lunch_in_five_minutes"


def code(source, *outputs, tags=()):
    metadata = {"tags": list(tags), "papermill": {"duration": 1.5}}
    return {
        "cell_type": "code",
        "id": source[:4],
        "metadata": metadata,
        "source": source,
        "outputs": list(outputs),
        "execution_count": 1,
    }


def text(source):
    return {"cell_type": "markdown", "id": "t", "metadata": {}, "source": source.splitlines(keepends=True)}


def shown(**data):
    return {
        "output_type": "display_data",
        "metadata": {},
        "data": {name.replace("_", "/"): value for name, value in data.items()},
    }


def widget():
    return {"output_type": "display_data", "metadata": {}, "data": {WIDGET: {"model_id": "1"}, "text/plain": "VBox()"}}


def printed(stream, said):
    return {"output_type": "stream", "name": stream, "text": [said]}


@pytest.fixture
def executed():
    """A notebook as papermill leaves it."""
    return {
        "nbformat": 4,
        "nbformat_minor": 5,
        "metadata": {"kernelspec": {"name": "python3"}, "widgets": {"state": {}}, "papermill": {"output_path": "/home/me"}},
        "cells": [
            text("# 00 Title\n\n**Question.** Does the *trigger* work? See [findings](../figures/README.md)."),
            code(PARAMETERS, tags=["parameters"]),
            code('# Parameters\nprofile = "small"\nattack = "lws"\n', tags=["injected-parameters"]),
            code("study.train(recipes)", widget(), printed("stderr", "/home/me/x.py:3: UserWarning: unstable training\n  x")),
            code('outputs.figure(plot(table), "00_story");', shown(image_png=PNG)),
            code("display(finding(said))", shown(text_markdown="> The ASR falls.")),
            text("The trigger again, and `ASR` in code, and [a module](../lib/paths.py)."),
            code("widgets.explore_merge(study)", widget(), shown(text_html="<p>static</p>")),
        ],
    }  # fmt: skip


def sources(notebook, kind="code"):
    return [text_of(cell) for cell in notebook["cells"] if cell["cell_type"] == kind]


def test_injected_values_stand_in_the_cell_of_parameters_and_their_own_cell_is_dropped(executed):
    page = clean_notebook(executed)
    assert not any("# Parameters" in source for source in sources(page))
    assert sources(page)[0] == PARAMETERS.replace('"pocket"', "'small'").replace('"badnet"', "'lws'")


def test_widgets_and_their_state_are_stripped_and_a_sentence_says_how_to_move_controls(executed):
    page = clean_notebook(executed)
    assert WIDGET not in json.dumps(page) and "widgets" not in page["metadata"]
    assert json.dumps(page).count("need a running kernel") == 1  # of the controls, not of the progress bar
    assert "JupyterLab" in text_of(page["cells"][-1])
    assert page["cells"][-2]["outputs"] == [shown(text_html="<p>static</p>")]


def test_exercises_say_once_where_they_can_be_tried_in_place_of_not_attempted(executed):
    for source in ("exercises.average(my_average)", "exercises.removed(my_share)"):
        executed["cells"].append(code(source, shown(text_plain="not attempted")))
    executed["cells"].append(code("exercises.asr(my_asr)", shown(text_plain="correct")))
    page = clean_notebook(executed)
    assert json.dumps(page).count("A running kernel checks your answers") == 1 and "not attempted" not in json.dumps(page)
    assert [text_of(cell)[:9] for cell in page["cells"][-4:]] == ["exercises", "*A runnin", "exercises", "exercises"]
    assert "correct" in json.dumps(page)


def test_code_is_folded_and_nothing_names_the_machine(executed):
    page = clean_notebook(executed)
    assert all("hide-input" in cell["metadata"]["tags"] for cell in page["cells"] if cell["cell_type"] == "code")
    assert "/home/me" not in json.dumps(page)
    assert "warning: unstable training" in json.dumps(page)


def test_what_was_executed_is_not_changed(executed):
    before = copy.deepcopy(executed)
    notebook_page(executed, f"notebooks/{STEM}.ipynb", ["figures/README.md"], [Word(("trigger",), "what is put in")])
    assert executed == before


def test_words_are_linked_once_and_links_to_what_is_no_page_are_text(executed):
    words = [Word(("trigger",), "what is put in"), Word(("ASR", "attack success rate"), "a share")]
    page = notebook_page(executed, f"notebooks/{STEM}.ipynb", ["figures/README.md"], words)
    first, second, _ = sources(page, "markdown")
    assert "the *[trigger](#word-trigger)* work? See [findings](../figures/README.md)" in first
    assert second == "The trigger again, and `ASR` in code, and a module."


def test_links_hold_across_folders():
    pages = ["figures/README.md", "notebooks/00_x.ipynb", "glossary.md"]
    assert relinked("[a](../notebooks/00_x.ipynb#cost)", "figures/README.md", pages) == "[a](../notebooks/00_x.ipynb#cost)"
    assert relinked("[a](../../README.md)", "lib/merging/README.md", pages) == "[a](../../index.md)"
    assert relinked("![a picture](pocket/90_answer.png)", "figures/README.md", pages) == "a picture"
    shown = [*pages, "notebooks/screens/mixer.png"]
    assert relinked("![mixer](screens/mixer.png)", "notebooks/README.md", shown) == "![mixer](screens/mixer.png)"


def test_every_form_of_a_word_finds_its_entry_and_longer_ones_come_first():
    words = [Word(("attack",), "x"), Word(("ASR", "attack success rate"), "y"), Word(("label",), "z")]
    said = link_words("# attack\nAttack success rates of attacks; `label`, [label](x), relabel.", words, set())
    assert said == ("# attack\n[Attack success rates](#word-asr) of [attacks](#word-attack); `label`, [label](x), relabel.")


def test_the_glossary_has_every_word_of_the_notebooks():
    words = read_words(paths.NOTEBOOKS / "README.md")
    assert {"ASR", "backdoor", "trigger", "victim"} <= {form for word in words for form in word.forms}
    assert len({word.anchor for word in words}) == len(words)
    page = glossary_page(words)
    assert all(f"({word.anchor})=\n## " in page for word in words)


def test_a_document_without_words_is_an_error(tmp_path):
    (tmp_path / "README.md").write_text("# Nothing\n")
    with pytest.raises(ValueError, match="no table of words under a heading '## Words'"):
        read_words(tmp_path / "README.md")


def test_pictures_of_the_screens_are_small_and_on_the_site(tmp_path):
    pictures = sorted((paths.NOTEBOOKS / "screens").glob("*.png"))
    assert {"mixer", "playground", "report"} <= {picture.stem for picture in pictures}
    assert all(picture.stat().st_size < 150_000 for picture in pictures)
    write_sources(tmp_path, tmp_path / "sources", "pocket")
    page = (tmp_path / "sources" / "notebooks" / "README.md").read_text("utf-8")
    for picture in pictures:
        assert f"](screens/{picture.name})" in page
        assert (tmp_path / "sources" / "notebooks" / "screens" / picture.name).read_bytes() == picture.read_bytes()


def test_what_stands_on_the_index_and_in_the_glossary_is_not_said_twice():
    page = document((paths.NOTEBOOKS / "README.md").read_text("utf-8"), "notebooks/README.md", ["figures/README.md"])
    assert "[The learning path](../index.md)" in page and "[The glossary](../glossary.md)" in page
    assert "| level |" not in page and "| meaning |" not in page and "generated" not in page
    assert "## How to read the numbers" in page


def test_the_index_has_the_figure_and_the_sentence_of_each_notebook_and_names_what_is_missing(executed, tmp_path):
    assert (first_figure(executed), first_finding(executed)) == (PNG, "The ASR falls.")
    (tmp_path / "executed").mkdir()
    (tmp_path / "executed" / f"{STEM}.ipynb").write_text(json.dumps(executed), "utf-8")
    told = write_sources(tmp_path / "executed", tmp_path / "sources", "pocket")
    index = (tmp_path / "sources" / "index.md").read_text("utf-8")
    assert f"### [00 A free lunch in five minutes](notebooks/{STEM}.ipynb)" in index and "> The ASR falls." in index
    assert (tmp_path / "sources" / "pictures" / f"{STEM}.png").read_bytes() == base64.b64decode(PNG)
    assert f"\nnotebooks/{STEM}\n" in index and "\nnotebooks/04_merging_sanitizes\n" not in index
    assert "04_merging_sanitizes was not executed" in told and f"{STEM} was not executed" not in told


def test_a_notebook_that_failed_is_named(executed):
    assert failed_cell(executed) == ""
    executed["cells"].append(
        code("1 / 0", {"output_type": "error", "ename": "ZeroDivisionError", "evalue": "x", "traceback": []})
    )
    assert failed_cell(executed) == "ZeroDivisionError: x"


PIECE = Piece("SST-2-like, BadNet", '<div id="mixer-sst2-badnet-0"><svg/></div><script>start("[a](b.md)");</script>')


def test_the_mixer_has_a_page_of_its_own_that_the_index_and_the_page_of_notebook_06_lead_to(executed, tmp_path):
    executed["cells"].append(code("widgets.explore_mixer(study)", widget(), shown(text_html="<p>static</p>")))
    (tmp_path / "executed").mkdir()
    stem = "06_merge_coefficient"
    (tmp_path / "executed" / f"{stem}.ipynb").write_text(json.dumps(executed), "utf-8")
    for name, mixers in (("with", [PIECE]), ("without", [])):
        write_sources(tmp_path / "executed", tmp_path / name, "pocket", mixers)
    index = (tmp_path / "with" / "index.md").read_text("utf-8")
    assert "[the merge mixer](mixer.md)" in index and "\nmixer\nfigures/README\n" in index
    page = (tmp_path / "with" / "mixer.md").read_text("utf-8")
    assert f"## SST-2-like, BadNet\n\n```{{raw}} html\n{PIECE.html}\n```" in page
    assert f"[06](notebooks/{stem}.ipynb)" in page
    notebook = (tmp_path / "with" / "notebooks" / f"{stem}.ipynb").read_text("utf-8")
    assert notebook.count("[The mixer of this site](../mixer.md)") == 1 and notebook.count("Open the notebook") == 1
    assert not (tmp_path / "without" / "mixer.md").exists()
    assert "mixer" not in (tmp_path / "without" / "index.md").read_text("utf-8")
    assert "mixer.md" not in (tmp_path / "without" / "notebooks" / f"{stem}.ipynb").read_text("utf-8")


def test_a_mixer_is_made_from_the_store_and_what_is_not_there_is_named(study, tmp_path):
    pieces, told = mixer_pieces(study, ["sst2/badnet"], n_steps=1)
    assert [piece.title for piece in pieces] == ["SST-2, BadNet"] and told == []
    assert 'id="mixer-sst2-badnet-0"' in mixer_sections(pieces)
    empty = Study("pocket", cache_dir=tmp_path, only_stored=True)
    pieces, told = mixer_pieces(empty, ["sst2/badnet"])
    assert pieces == [] and told == ["no mixer of sst2/badnet: its models are not in the store; notebook 04 trains them"]


@pytest.mark.parametrize("cell", ["sst2", "sst2/no_attack", "no_task/badnet"])
def test_a_cell_that_there_is_not_gets_no_mixer_but_an_error(study, cell):
    with pytest.raises(ValueError, match=f"{cell.split('/')[-1] if 'no_a' in cell else cell.split('/')[0]}.*"):
        mixer_pieces(study, [cell])


def test_without_executed_notebooks_the_study_runs_first_and_that_is_said(monkeypatch, capsys):
    ran = []
    monkeypatch.setattr("lib.run_notebooks.main", lambda arguments: ran.append(arguments) or 1)
    assert build.main("pocket") == 1
    assert ran == [["--profile", "pocket"]]
    assert "no notebook of profile pocket was executed yet: first the study runs" in capsys.readouterr().out


def test_without_sphinx_the_command_says_what_installs_it(monkeypatch, tmp_path, capsys):
    monkeypatch.setitem(sys.modules, "sphinx.application", None)
    monkeypatch.setenv("FREE_LUNCH_EXECUTED", str(tmp_path))
    (tmp_path / "pocket").mkdir()
    (tmp_path / "pocket" / f"{STEM}.ipynb").write_text("{}")
    assert build.main("pocket") == 2
    assert "the site needs Sphinx: `make report` installs it" in capsys.readouterr().err


def test_the_site_builds_without_a_warning_and_opens_without_a_server(executed, tmp_path):
    pytest.importorskip("sphinx", reason="the site is built only where requirements-site.txt is installed")
    pytest.importorskip("myst_nb", reason="the site is built only where requirements-site.txt is installed")
    (tmp_path / "executed").mkdir()
    (tmp_path / "executed" / f"{STEM}.ipynb").write_text(json.dumps(executed), "utf-8")
    build.build(tmp_path / "executed", tmp_path / "site", "pocket")
    page = (tmp_path / "site" / "notebooks" / f"{STEM}.html").read_text("utf-8")
    assert 'href="../glossary.html#word-trigger"' in page
    assert 'src="http' not in page and 'rel="stylesheet" href="http' not in page
