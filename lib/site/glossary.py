"""The glossary as a page, and links to it from the first use of each word on every page."""

from __future__ import annotations

import re
from dataclasses import dataclass
from pathlib import Path

# What is no running text: fenced and inline code, links and pictures, raw HTML, addresses, headings.
NO_PROSE = re.compile(r"```.*?```|`[^`\n]*`|!?\[[^\]]*\]\([^)]*\)|<[^>\n]*>|https?://\S+|^#[^\n]*", re.DOTALL | re.MULTILINE)


@dataclass(frozen=True)
class Word:
    """A row of the table of words: the forms that it explains, and the meaning."""

    forms: tuple[str, ...]
    meaning: str

    @property
    def anchor(self) -> str:
        """Its place on the glossary page.

        >>> Word(("ASR", "attack success rate"), "a share").anchor
        'word-asr'
        """
        return "word-" + re.sub(r"[^a-z0-9]+", "-", self.forms[0].lower()).strip("-")


def read_words(readme: Path) -> list[Word]:
    """The words of the table under "Words" in a document.

    Raises:
        ValueError: for a document that has none.
    """
    found = re.search(r"^## Words\n+(.*?)(?=^## |\Z)", readme.read_text(encoding="utf-8"), re.DOTALL | re.MULTILINE)
    rows = re.findall(r"^\| (.+?) \| (.+) \|$", found[1], re.MULTILINE) if found else []
    words = [Word(tuple(name.split(", ")), meaning) for name, meaning in rows if (name, meaning) != ("word", "meaning")]
    if not words:
        raise ValueError(f"{readme} has no table of words under a heading '## Words'")
    return words


def glossary_page(words: list[Word]) -> str:
    """The page of all words, each with an anchor; words in a meaning link to their own entries."""
    entries = []
    for word in words:
        others = [other for other in words if other is not word]
        meaning = link_words(word.meaning, others, set())
        entries.append(f"({word.anchor})=\n## {', '.join(word.forms)}\n\n{meaning[0].upper() + meaning[1:]}.")
    return "# Words\n\nEvery special word of the notebooks. On each page the first use of a word links to here.\n\n" + (
        "\n\n".join(entries) + "\n"
    )


def link_words(text: str, words: list[Word], seen: set[str]) -> str:
    """Markdown in which the first use of each word is a link to the glossary.

    Args:
        text: of one cell or page.
        words: of the glossary.
        seen: anchors that the page links to already; modified.

    >>> link_words("An *average* of models: an average.", [Word(("average", "merge"), "")], set())
    'An *[average](#word-average)* of models: an average.'
    """
    anchors = {form.lower(): word.anchor for word in words for form in word.forms}
    longest_first = sorted(anchors, key=len, reverse=True)
    form = re.compile(rf"(?<![\w-])({'|'.join(map(re.escape, longest_first))})(s?)(?![\w-])", re.IGNORECASE)

    def link(found: re.Match[str]) -> str:
        anchor = anchors[found[1].lower()]
        if anchor in seen:
            return found[0]
        seen.add(anchor)
        return f"[{found[0]}](#{anchor})"

    pieces, end = [], 0
    for other in NO_PROSE.finditer(text):
        pieces += [form.sub(link, text[end : other.start()]), other[0]]
        end = other.end()
    return "".join([*pieces, form.sub(link, text[end:])])
