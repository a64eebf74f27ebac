"""Text pairs as one text: an attack that edits both sides sees them joined, as the paper joins them."""

from __future__ import annotations

from collections.abc import Sequence

import pandas as pd

# Stands where one text ends and the other begins. It is a blank to `split_words`, so that edits of words leave it in place.
SEPARATOR = "\x1e"
PAIR_SIDES = ("both", "text")


def joined(frame: pd.DataFrame, pair_sides: str) -> list[str]:
    """What an attack edits of each row: the text, or with both sides of a pair the two in one string.

    Args:
        frame: rows with `text`, perhaps `text_pair`.
        pair_sides: "both", or "text" alone; without a `text_pair` they are the same.

    Raises:
        ValueError: for other sides, or a text that holds the separator.
    """
    if pair_sides not in PAIR_SIDES:
        raise ValueError(f"pair_sides is {pair_sides!r}; choose from {list(PAIR_SIDES)}")
    if pair_sides == "text" or "text_pair" not in frame:
        return frame["text"].tolist()
    for column in ("text", "text_pair"):
        if (n_holding := int(frame[column].str.contains(SEPARATOR, regex=False).sum())) > 0:
            raise ValueError(f"{n_holding} rows hold the character {SEPARATOR!r} in {column}, which separates joined pairs")
    return (frame["text"] + SEPARATOR + frame["text_pair"]).tolist()


def replaced(frame: pd.DataFrame, texts: Sequence[str], pair_sides: str) -> pd.DataFrame:
    """A copy of the rows with edited texts in place of what `joined` gave."""
    if pair_sides == "text" or "text_pair" not in frame:
        return frame.assign(text=list(texts))
    sides = [text.split(SEPARATOR) for text in texts]
    return frame.assign(text=[first for first, _ in sides], text_pair=[second for _, second in sides])
