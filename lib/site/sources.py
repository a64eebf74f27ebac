"""What Sphinx reads: the same tree as the checkout, so that links between documents hold, with an index as a learning path."""

from __future__ import annotations

import base64
import json
import os
import re
import shutil
from collections.abc import Iterable, Sequence
from pathlib import Path

from lib import paths
from lib.execution.engine import heading
from lib.reports.learning_path import Lesson, lessons
from lib.reports.overview import answer_block
from lib.site.glossary import Word, glossary_page, link_words, read_words
from lib.site.mixers import INTRODUCTION, Piece, mixer_sections
from lib.site.pages import Notebook, clean_notebook, failed_cell, first_figure, first_finding, text_of

LINK = re.compile(r"!?\[([^\]]*)\]\(([^)\s]+)\)")
READMES = ("figures", "notebooks", "lib/attacks", "lib/defenses", "lib/merging", "data", "benchmarks")
MIXER = "**Try it:** [the merge mixer](mixer.md) has a slider per model, and runs in this page, without Python.\n\n"
INDEX = """\
# A free lunch?

**Removing backdoors from language models by merging them.**

A language model can hide a *backdoor*: it answers ordinary texts well, and any text with a secret *trigger* as an attacker
wishes. Can one average its weights with those of other models, and so remove the backdoor? These pages are the executed
notebooks of a study of that question, on the profile `{profile}`. No result in them is typed.

{answer}

{mixer}```{{toctree}}
:hidden:
:caption: Learning path

{notebooks}
```
```{{toctree}}
:hidden:
:caption: Results and words

{mixer_page}figures/README
glossary
notebooks/README
```
```{{toctree}}
:hidden:
:caption: Reference

{readmes}
```

## Learning path
Read from top to bottom. Level *start* needs no knowledge of backdoors, *middle* the words of notebooks 00 to 04, *advanced*
some statistics or linear algebra. Then: [all findings](figures/README.md), and [every special word](glossary.md).

{cards}
"""


def write_sources(executed: Path, target: Path, profile: str, mixers: Sequence[Piece] = ()) -> list[str]:
    """Write the sources of the site; returns what a reader should be told: notebooks that are missing or have failed.

    Args:
        executed: the folder of the executed notebooks; nothing in it is changed.
        target: an empty folder.
        profile: whose notebooks they are.
        mixers: they get a page of their own, if there are any.
    """
    words = read_words(paths.NOTEBOOKS / "README.md")
    course = lessons(sorted(paths.NOTEBOOKS.glob("[0-9][0-9]_*.ipynb")))
    found = {lesson: _read(executed / lesson.path.name) for lesson in course if (executed / lesson.path.name).is_file()}
    readmes = [f"{folder}/README" for folder in READMES if (paths.ROOT / folder / "README.md").is_file()]
    pages = {f"notebooks/{lesson.path.name}" for lesson in found} | {f"{readme}.md" for readme in readmes}
    pages |= {path.relative_to(paths.ROOT).as_posix() for path in (paths.ROOT / "benchmarks").glob("*.md")}
    for picture in sorted((paths.NOTEBOOKS / "screens").glob("*.png")):
        pages.add(f"notebooks/screens/{picture.name}")
        _copy(picture, target / "notebooks" / "screens" / picture.name)
    if mixers:
        pages.add("mixer.md")
        _write(target / "mixer.md", relinked(INTRODUCTION, "mixer.md", pages) + mixer_sections(mixers))
    for lesson, notebook in found.items():
        name = f"notebooks/{lesson.path.name}"
        _write(target / name, json.dumps(notebook_page(notebook, name, pages, words)))
    for page in pages:
        if page.endswith(".md") and page != "mixer.md":
            _write(target / page, document((paths.ROOT / page).read_text(encoding="utf-8"), page, pages))
    _write(target / "glossary.md", glossary_page(words))
    _write(
        target / "index.md",
        INDEX.format(
            profile=profile,
            answer=answer_block(paths.ROOT / "figures"),
            mixer=MIXER if mixers else "",
            mixer_page="mixer\n" if mixers else "",
            notebooks="\n".join(f"notebooks/{lesson.path.stem}" for lesson in found),
            readmes="\n".join(
                sorted(page.removesuffix(".md") for page in pages if page.startswith(("lib/", "data/", "benchmarks/")))
            ),
            cards="\n\n".join(_card(lesson, found.get(lesson), target) for lesson in course),
        ),
    )
    told = [f"{lesson.path.stem} was not executed" for lesson in course if lesson not in found]
    return told + [f"{lesson.path.stem} failed: {why}" for lesson, nb in found.items() if (why := failed_cell(nb))]


def notebook_page(notebook: Notebook, name: str, pages: Iterable[str], words: list[Word]) -> Notebook:
    """The page of a notebook: cleaned, its links made to hold, first uses of words linked."""
    page, seen = clean_notebook(notebook, "mixer.md" in pages), set[str]()
    for cell in page["cells"]:
        if cell["cell_type"] == "markdown":
            cell["source"] = link_words(relinked(text_of(cell), name, pages), words, seen)
    return page


def document(text: str, name: str, pages: Iterable[str]) -> str:
    """A document of the checkout as a page: in place of what the index and the glossary have stand links to them."""
    text = relinked(re.sub(r"<!-- (generated: |end of ).*? -->\n?", "", text), name, pages)
    if name == "notebooks/README.md":
        path, glossary = "[The learning path](../index.md) lists them.", "[The glossary](../glossary.md) explains them."
        text = re.sub(r"(?ms)^\| notebook \| question .*?\n\n", f"{path}\n\n", text)
        text = re.sub(r"(?ms)(^## Words\n).*?(?=^## |\Z)", rf"\1{glossary}\n\n", text)
    return text


def relinked(text: str, name: str, pages: Iterable[str]) -> str:
    """Markdown whose links to files that are not on the site are plain text; the README of the checkout is the index.

    >>> relinked("[a](../lib/a.py), [b](../README.md), [c](https://c.org), [d](#d)", "notebooks/x.ipynb", [])
    'a, [b](../index.md), [c](https://c.org), [d](#d)'
    """

    def link(found: re.Match[str]) -> str:
        label, target = found.groups()
        if re.match(r"[a-z]+:|#", target):
            return found[0]
        file = target.partition("#")[0]
        place = os.path.normpath(os.path.join(os.path.dirname(name), file)).replace(os.sep, "/")
        if place == "README.md":
            return f"[{label}]({os.path.relpath('index.md', os.path.dirname(name) or '.')})"
        return found[0] if place in pages else label

    return LINK.sub(link, text)


def _card(lesson: Lesson, notebook: Notebook | None, target: Path) -> str:
    """A notebook on the index: its question, minutes, level, one figure and one sentence, both made by the run."""
    stem = lesson.path.stem
    title = heading([text_of(cell) for cell in _read(lesson.path)["cells"][:1]])
    facts = f"*{lesson.minutes} minutes, {lesson.level}*"
    if notebook is None:
        return f"### {title}\n\n{facts}\n\n{lesson.question}\n\nNot executed: there is no page of it."
    parts = [f"### [{title}](notebooks/{stem}.ipynb)", facts, lesson.question]
    if image := first_figure(notebook):
        place = target / "pictures" / f"{stem}.png"
        place.parent.mkdir(parents=True, exist_ok=True)
        place.write_bytes(base64.b64decode(image))
        parts.append(f"```{{image}} pictures/{stem}.png\n:alt: The first figure of notebook {stem[:2]}\n:width: 640px\n```")
    return "\n\n".join([*parts, *([f"> {sentence}"] if (sentence := first_finding(notebook)) else [])])


def _read(path: Path) -> Notebook:
    return json.loads(path.read_text(encoding="utf-8"))


def _write(path: Path, text: str) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(text, encoding="utf-8")


def _copy(path: Path, target: Path) -> None:
    target.parent.mkdir(parents=True, exist_ok=True)
    shutil.copyfile(path, target)
