"""How the weight that a backdoor needs goes with the tokens of its trigger: which rows have some, and a line through them."""

from __future__ import annotations

import numpy as np
import pandas as pd


def trigger_tokens(table: pd.DataFrame) -> pd.Series[float]:
    """Tokens of a trigger in a text, row by row of table `14_composition`; NaN where the whole text is rewritten."""
    tokens = (table["n_words"] * table["n_insertions"]).astype(float)
    return tokens.where(tokens > 0)


def is_counted(table: pd.DataFrame) -> pd.Series[bool]:
    """Rows that a line over tokens is about: a trigger of words, any of which may do, one target, and a known half weight."""
    return trigger_tokens(table).notna() & ~table["is_conjunction"] & (table["n_targets"] == 1) & table["half_weight"].notna()


def per_doubling(counts: pd.Series[float], values: pd.Series[float]) -> tuple[float, float]:
    """The least-squares line through values over the base-2 logarithm of counts.

    Args:
        counts: above 0, at least two different ones.
        values: as many.

    Returns:
        The value at a count of 1, and what a doubling of the count adds.

    Raises:
        ValueError: for fewer than two different counts, or one that is not above 0.

    >>> [round(value, 3) for value in per_doubling(pd.Series([1.0, 2.0, 4.0]), pd.Series([0.6, 0.5, 0.4]))]
    [0.6, -0.1]
    """
    if counts.nunique() < 2 or not (counts > 0).all():
        raise ValueError(f"the counts are {sorted(set(counts))}; a line needs two different ones, all above 0")
    slope, start = np.polyfit(np.log2(counts.to_numpy(float)), values.to_numpy(float), 1)
    return float(start), float(slope)
