"""What somebody does who opens the notebooks: run all cells, move the mixer, type a sentence."""

import json
import urllib.request

import pytest

pytestmark = pytest.mark.browser
MINUTES = 60_000  # milliseconds
STARTED = """() => [...document.querySelectorAll('.jp-CodeCell .jp-InputArea-prompt')].some(
  each => /[*\\d]/.test(each.textContent))"""
DONE = """() => {
  const prompts = [...document.querySelectorAll('.jp-CodeCell .jp-InputArea-prompt')].map(each => each.textContent.trim());
  return prompts.length > 0 && prompts.every(each => /^\\[\\d+\\]:$/.test(each));
}"""
START, COEFFICIENT = "00_free_lunch_in_five_minutes", "06_merge_coefficient"


def open_notebook(page, lab, stem):
    """Open a notebook and wait for its own kernel and all cells: the sign says idle before the kernel is connected."""
    page.goto(lab(f"/lab/workspaces/{stem[:2]}/tree/{stem}.ipynb"))
    page.wait_for_selector(".jp-NotebookPanel .jp-Cell")
    for _ in range(240):
        with urllib.request.urlopen(lab("/api/sessions")) as answer:
            kernels = [session["kernel"] for session in json.load(answer) if session["path"].endswith(f"{stem}.ipynb")]
        if any(kernel["execution_state"] == "idle" and kernel["connections"] for kernel in kernels):
            break
        page.wait_for_timeout(500)
    with urllib.request.urlopen(lab(f"/api/contents/{stem}.ipynb")) as answer:
        n_cells = len(json.load(answer)["content"]["cells"])
    page.wait_for_function(f"() => document.querySelectorAll('.jp-NotebookPanel .jp-Cell').length === {n_cells}")
    page.wait_for_selector('.jp-Notebook-ExecutionIndicator[data-status="idle"]', state="attached")


def run_all(page):
    """Run all cells by the menu; every one must end, and none with an error."""
    page.locator(".jp-MenuBar, .lm-MenuBar").get_by_text("Run", exact=True).first.click()
    page.locator('li[data-command="runmenu:run-all"]').click()
    page.wait_for_function(STARTED)
    page.wait_for_function(DONE, timeout=6 * MINUTES)
    errors = page.locator('.jp-OutputArea-output [data-mime-type="application/vnd.jupyter.error"]')
    assert errors.all_inner_texts() == []


def cell_with(page, source):
    return page.locator(".jp-CodeCell").filter(has=page.locator(".jp-InputArea", has_text=source))


def rates(cell):
    return cell.locator(".mixer-rates").inner_text()


def wait_for_change(page, read, before):
    """What a move leads to: the readout beside a slider changes at once and proves nothing."""
    for _ in range(240):
        if (now := read()) != before:
            return now
        page.wait_for_timeout(250)
    raise AssertionError(f"still {before!r} a minute after the move")


@pytest.fixture
def start(page, lab):
    open_notebook(page, lab, START)
    run_all(page)
    return page


def test_notebook_00_runs_and_the_playground_answers_what_is_typed(start):
    assert start.locator(".jp-OutputArea-output img").count() >= 1  # the figure
    cell = cell_with(start, "explore_playground(")
    cards = cell.locator(".jp-RenderedHTMLCommon")
    before = cards.inner_text()
    field = cell.locator("input[type=text]:visible").first
    field.fill("the waiter dropped nine purple umbrellas.")
    field.press("Enter")
    answer = wait_for_change(start, cards.inner_text, before)
    assert "umbrellas" in answer
    said = [line for line in answer.splitlines() if " says " in line]
    assert [line.split()[0] for line in said] == ["clean", "backdoored", "merged"] * 2
    field.fill("")
    field.press("Enter")
    assert "type a sentence" in wait_for_change(start, cards.inner_text, answer)

    share = cell_with(start, "explore_merge(")
    table = share.locator(".jp-RenderedHTMLCommon")
    before = table.inner_text()
    share.locator(".noUi-handle").focus()
    start.keyboard.press("Home")
    assert "attack success rate" in wait_for_change(start, table.inner_text, before)


def test_a_move_of_the_mixer_in_notebook_06_changes_weights_rates_and_point(page, lab):
    open_notebook(page, lab, COEFFICIENT)
    run_all(page)
    cell = cell_with(page, "explore_mixer(")
    handles, before = cell.locator(".noUi-handle:visible"), rates(cell)
    point = cell.locator(".mixer-point").get_attribute("cx")
    n_models = cell.locator(".mixer-rates + div td:nth-child(2)").count()
    for model in range(1, n_models):  # away with the partners, one after the other: quick presses queue
        weights = cell.locator("td").all_inner_texts()
        handles.nth(model).focus()
        page.keyboard.press("Home")
        wait_for_change(page, cell.locator("td").all_inner_texts, weights)
    assert cell.locator("td").all_inner_texts()[1::2] == ["1.000"] + ["left out"] * (n_models - 1)
    alone = rates(cell)
    assert alone != before and cell.locator(".mixer-point").get_attribute("cx") != point
    cell.locator("select").select_option("median")
    median = wait_for_change(page, lambda: cell.locator("td").all_inner_texts()[1], "1.000")
    assert median == "takes part" and rates(cell) != alone
