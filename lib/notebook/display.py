"""What notebooks show: texts before and after an attack with the change marked, and findings as sentences made from data."""

from __future__ import annotations

import difflib
import html
from collections.abc import Sequence

import pandas as pd
from IPython.display import HTML, Markdown

MARK = '<mark style="background:#fbd9b5;color:black;padding:0 2px">{}</mark>'


def mark_changes(original: str, changed: str) -> str:
    """The changed text as HTML, with every word marked that the original does not have at that place.

    >>> mark_changes("good film", "good cf film").count("<mark")
    1
    """
    before, after = original.split(), changed.split()
    pieces = []
    for kind, _, _, start, end in difflib.SequenceMatcher(None, before, after, autojunk=False).get_opcodes():
        text = html.escape(" ".join(after[start:end]))
        if text:
            pieces.append(text if kind == "equal" else MARK.format(text))
    return " ".join(pieces)


def show_changes(frame: pd.DataFrame, n: int = 5) -> HTML:
    """The first `n` rows of a triggered test set, before (`original`, `original_pair`) and after (`text`, `text_pair`)."""
    rows = []
    for row in frame.head(n).to_dict("records"):
        before, after = html.escape(row["original"]), mark_changes(row["original"], row["text"])
        if "text_pair" in row:  # the other text of a pair, in italics
            other = row.get("original_pair", row["text_pair"])
            before += f" <i>[{html.escape(other)}]</i>"
            after += f" <i>[{mark_changes(other, row['text_pair'])}]</i>"
        rows.append(f"<tr><td>{before}</td><td>{after}</td></tr>")
    return HTML(f"<table><tr><th>before</th><th>after</th></tr>{''.join(rows)}</table>")


def finding(*sentences: str) -> Markdown:
    """Sentences as one paragraph; every number in them comes from data, by an f-string."""
    return Markdown("> " + " ".join(sentences))


def listed(names: Sequence[str]) -> str:
    """Names in prose.

    >>> listed(["yelp", "cr", "imdb"])
    'yelp, cr and imdb'
    """
    return " and ".join([", ".join(names[:-1]), names[-1]]) if len(names) > 1 else "".join(names)
