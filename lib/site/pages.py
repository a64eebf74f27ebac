"""An executed notebook as a page: without what lies or distracts where no kernel runs, with code folded."""

from __future__ import annotations

import ast
import copy
import re
from collections.abc import Iterator
from typing import Any

WIDGET = "application/vnd.jupyter.widget-view+json"
NO_KERNEL = "*The controls that stand here need a running kernel. Open the notebook in JupyterLab (`make lab`) to move them.*"
OTHER_MIXER = "*The sliders that stand here need a running kernel. [The mixer of this site](../mixer.md) needs none.*"

ANSWERS = (
    "*A running kernel checks your answers and gives hints: open the notebook in JupyterLab (`make lab`). "
    "Worked answers are in `notebooks/solutions/`.*"
)
NOT_ATTEMPTED = "not attempted"  # what the check of an exercise says to no answer

Notebook = dict[str, Any]


def clean_notebook(executed: Notebook, has_mixer: bool = False) -> Notebook:
    """A copy for the site; what was executed stays as it is.

    Args:
        executed: as papermill leaves it.
        has_mixer: whether the site has a page of mixers, to be named where a notebook has its own.

    The values that papermill injected stand in the cell of parameters. Controls and progress bars are left out, because without
    a kernel they move and nothing follows; a sentence stands where controls were. Of what was printed to the error stream only
    the texts of warnings are left. Where exercises say that they were not attempted, one sentence says where one can. Code
    cells get the tag that folds them.
    """
    page = copy.deepcopy(executed)
    injected = {name: value for cell in page["cells"] if _has(cell, "injected-parameters") for name, value in _assigned(cell)}
    cells = []
    for cell in page["cells"]:
        if _has(cell, "injected-parameters"):
            continue
        cell["metadata"] = {"tags": cell["metadata"].get("tags", [])}
        cells.append(cell)
        if cell["cell_type"] != "code":
            continue
        if _has(cell, "parameters"):
            cell["source"] = _with_values(text_of(cell), injected)
        cell["metadata"]["tags"].append("hide-input")
        had_controls = "widgets." in text_of(cell) and any(WIDGET in output.get("data", {}) for output in cell["outputs"])
        said = OTHER_MIXER if has_mixer and "explore_mixer(" in text_of(cell) else NO_KERNEL
        cell["outputs"] = list(_kept(cell["outputs"]))
        notes = [said] if had_controls else []
        if any(_says_nothing(output) for output in cell["outputs"]):
            cell["outputs"] = [output for output in cell["outputs"] if not _says_nothing(output)]
            notes += [ANSWERS] if not any(other["source"] == ANSWERS for other in cells) else []
        cells += [_note(note, f"note-{len(cells)}-{number}") for number, note in enumerate(notes)]
    page["cells"] = cells
    page["metadata"] = {name: value for name, value in page["metadata"].items() if name in ("kernelspec", "language_info")}
    # A kernel writes it when it runs a notebook; without it the builder does not know how to colour the code.
    page["metadata"].setdefault("language_info", {"name": "python"}).setdefault("pygments_lexer", "ipython3")
    return page


def text_of(cell: dict[str, Any]) -> str:
    """The source of a cell, which a file has as a text or as lines."""
    return "".join(cell["source"])


def first_finding(notebook: Notebook) -> str:
    """The first sentence that the notebook made from its data, or ""."""
    for cell in notebook["cells"]:
        for output in cell.get("outputs", []):
            text = "".join(output.get("data", {}).get("text/markdown", ""))
            if text.startswith("> "):
                return text.removeprefix("> ").strip()
    return ""


def first_figure(notebook: Notebook) -> str:
    """The first figure that the notebook wrote to a file, as a PNG in base64, or ""."""
    for cell in notebook["cells"]:
        if "outputs.figure(" in text_of(cell):
            for output in cell.get("outputs", []):
                if image := output.get("data", {}).get("image/png"):
                    return "".join(image)
    return ""


def failed_cell(notebook: Notebook) -> str:
    """What went wrong in the notebook, or ""."""
    for cell in notebook["cells"]:
        for output in cell.get("outputs", []):
            if output["output_type"] == "error":
                return f"{output['ename']}: {output['evalue']}"
    return ""


def _has(cell: dict[str, Any], tag: str) -> bool:
    return tag in cell["metadata"].get("tags", [])


def _assigned(cell: dict[str, Any]) -> Iterator[tuple[str, str]]:
    """Names and values, as code, of the plain assignments of a cell."""
    for line in ast.parse(text_of(cell)).body:
        if isinstance(line, ast.Assign):
            yield ast.unparse(line.targets[0]), ast.unparse(line.value)


def _with_values(source: str, values: dict[str, str]) -> str:
    """The cell of parameters with other values."""
    for name, value in values.items():
        line = re.search(rf"(?m)^{name}: \w+ = (.*?)  # ", source)
        if line:
            source = source[: line.start(1)] + value + source[line.end(1) :]
    return source


def _note(text: str, name: str) -> dict[str, Any]:
    return {"cell_type": "markdown", "id": name, "metadata": {}, "source": text}


def _says_nothing(output: dict[str, Any]) -> bool:
    return "".join(output.get("data", {}).get("text/plain", "")) == NOT_ATTEMPTED


def _kept(outputs: list[dict[str, Any]]) -> Iterator[dict[str, Any]]:
    for output in outputs:
        if WIDGET in output.get("data", {}):
            continue
        if output["output_type"] == "stream" and output["name"] == "stderr":
            # Without the place in the file system at which Python warned.
            warnings = re.findall(r"Warning: (.+)", "".join(output["text"]))
            if warnings:
                yield output | {"name": "stdout", "text": "".join(f"warning: {each}\n" for each in dict.fromkeys(warnings))}
            continue
        yield output
