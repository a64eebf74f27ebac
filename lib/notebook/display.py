"""What notebooks show: texts before and after an attack with the change marked, and findings as sentences made from data."""

from __future__ import annotations

import difflib
import html
from collections.abc import Sequence

import pandas as pd
from IPython.display import HTML, Markdown

from lib.metrics.summary import points

MARK = '<mark style="background:#fbd9b5;color:black;padding:0 2px">{}</mark>'

LEFT = 'style="text-align:left"'


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
    """The first `n` rows of a triggered test set, before (`original`, `original_pair`) and after (`text`, `text_pair`).

    Rows of several attacks have a column `attack`; it is shown first.
    """
    rows = []
    for row in frame.head(n).to_dict("records"):
        before, after = html.escape(row["original"]), mark_changes(row["original"], row["text"])
        if "text_pair" in row:  # the other text of a pair, in italics
            other = row.get("original_pair", row["text_pair"])
            before += f" <i>[{html.escape(other)}]</i>"
            after += f" <i>[{mark_changes(other, row['text_pair'])}]</i>"
        rows.append([*([html.escape(row["attack"])] if "attack" in row else []), before, after])
    heads = [*(["attack"] if "attack" in frame else []), "before", "after"]
    return texts_table(rows, heads)


def texts_table(rows: Sequence[Sequence[str]], heads: Sequence[str] = ()) -> HTML:
    """A table of running texts (HTML), as wide as the page, its columns read from the left."""
    lines = [f"<tr>{''.join(f'<th {LEFT}>{head}</th>' for head in heads)}</tr>"] if heads else []
    lines += [f"<tr>{''.join(f'<td {LEFT}>{cell}</td>' for cell in row)}</tr>" for row in rows]
    return HTML(f'<table class="texts" style="width:100%">{"".join(lines)}</table>')


def finding(*sentences: str) -> Markdown:
    """Sentences as one paragraph; every number in them comes from data, by an f-string."""
    return Markdown("> " + " ".join(sentences))


def outcomes(*rows: tuple[str, str, str]) -> Markdown:
    """What we expected, what we found, and what may explain it, as a table: the end of a notebook.

    Args:
        rows: each the expectation, what the data say (an f-string), and the reason, or that it is not known.

    Raises:
        ValueError: for a row that has not these three parts.

    >>> print(outcomes(("it falls", "it falls by 3", "not known")).data.splitlines()[-1])
    | it falls | it falls by 3 | not known |
    """
    lines = ["| we expected | we found | a possible reason |", "|---|---|---|"]
    for row in rows:
        if len(row) != 3:
            raise ValueError(f"a row has {len(row)} parts; it needs 3: what was expected, what was found, a reason")
        lines.append(f"| {' | '.join(part.replace('|', '/') for part in row)} |")
    return Markdown("\n".join(lines))


def guessed(guess: float | None, found: float) -> Markdown:
    """A rate that a reader wrote down before the data came, beside what the data say; fractions in [0, 1].

    Raises:
        ValueError: for a guess outside [0, 1]: per cent were meant.

    >>> guessed(0.3, 0.25).data
    '> You guessed 30.0%, the data say 25.0%: +5.0 points.'
    """
    if guess is None:
        return Markdown(f"> No guess was written down; the data say {found:.1%}.")
    if not 0 <= guess <= 1:
        raise ValueError(f"the guess is {guess}; give a fraction in [0, 1]")
    return Markdown(f"> You guessed {guess:.1%}, the data say {found:.1%}: {points(guess - found)}.")


def listed(names: Sequence[str]) -> str:
    """Names in prose.

    >>> listed(["yelp", "cr", "imdb"])
    'yelp, cr and imdb'
    """
    return " and ".join([", ".join(names[:-1]), names[-1]]) if len(names) > 1 else "".join(names)
