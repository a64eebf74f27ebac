"""Write what is made from tables alone: verdicts, `figures/README.md`, parts of the READMEs between markers, model cards."""

from __future__ import annotations

import re
from pathlib import Path

from lib import paths
from lib.reports.chapters import findings_document
from lib.reports.learning_path import learning_path
from lib.reports.overview import answer_block, findings_block
from lib.reports.protection import protection_block
from lib.reports.real_data import real_block
from lib.sanitizing.model_card import PROTECTION
from lib.tables.agreement import AGREEMENT, agreement_table

BEGIN, END = "<!-- generated: {name} -->", "<!-- end of {name} -->"


def replace_block(text: str, name: str, content: str) -> str:
    """A document with the part between the markers of a name replaced.

    Raises:
        ValueError: for a document that does not have both markers once, in order.

    >>> replace_block("a <!-- generated: x -->old<!-- end of x --> b", "x", "new").splitlines()
    ['a <!-- generated: x -->', 'new', '<!-- end of x --> b']
    """
    begin, end = BEGIN.format(name=name), END.format(name=name)
    found = re.findall(f"{re.escape(begin)}.*?{re.escape(end)}", text, re.DOTALL)
    if len(found) != 1 or (text.count(begin), text.count(end)) != (1, 1):
        raise ValueError(f"found {text.count(begin)} of {begin!r} and {text.count(end)} of {end!r}; one pair is needed")
    return text.replace(found[0], f"{begin}\n{content}\n{end}")


def blocks_of(readme: Path, figures: Path) -> dict[str, str]:
    """The generated parts of a README of the checkout."""
    path = {"learning path": learning_path(paths.NOTEBOOKS, readme.parent)}
    if readme.parent != paths.ROOT:
        return path
    blocks = {"answer": answer_block(figures), "findings": findings_block(figures), "real data": real_block(figures)}
    return blocks | {"protection": protection_block(figures)} | path


def write_agreements(figures: Path) -> list[Path]:
    """Give again the verdicts on the paper's claims that notebook 90 wrote, for the tables that are there now.

    A notebook that runs alone, after notebook 90, would leave verdicts on what was there before.

    Returns:
        What was written: nothing for a profile of which notebook 90 never ran.
    """
    written = []
    for path in sorted([*figures.glob(f"*/{AGREEMENT}.csv"), *figures.glob(f"*/*/{AGREEMENT}.csv")]):
        table = agreement_table(path.parent)
        path.write_text(table.to_csv(index=False), encoding="utf-8")
        path.with_suffix(".md").write_text(table.to_markdown(index=False) + "\n", encoding="utf-8")
        written += [path, path.with_suffix(".md")]
    return written


def write_reports(figures: Path | None = None) -> list[Path]:
    """Write `README.md` into a folder of figures, and the verdicts of its profiles again; of the folder of the checkout,
    also the generated parts of its READMEs and what every model card says of whom a merge protects against.

    Args:
        figures: default `figures`, or where `FREE_LUNCH_FIGURES` says.

    Returns:
        What was written.
    """
    figures = figures or paths.figures_dir("").resolve()
    agreements = write_agreements(figures)  # first: the documents quote them
    written = {figures / "README.md": findings_document(figures)}
    if figures == paths.ROOT / "figures":
        for readme in (paths.ROOT / "README.md", paths.NOTEBOOKS / "README.md"):
            text = readme.read_text(encoding="utf-8")
            for name, content in blocks_of(readme, figures).items():
                text = replace_block(text, name, content)
            written[readme] = text
        written[PROTECTION] = protection_block(figures) + "\n"
    for path, text in written.items():
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(text, encoding="utf-8")
    return [*agreements, *written]
