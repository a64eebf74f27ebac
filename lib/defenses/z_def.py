"""Z-Def (He et al. 2023, arXiv 2305.11596) with words as features, and `label_purity`, which does not depend on the set's size.

A trigger is a word whose labels no chance explains: rows that hold such a word together with such a label are left out.
"""

# This is the paper's Z-Token. Its Z-Tree needs a constituency parser, for which no code was released; Z-Seq is both. Where
# paper and released code (`xlhex/emnlp2023_z-defence`, `z_filtering.py`) differ, ours follows the paper, whose definitions also
# give the authors' filtered files row for row, but for the cut-off:
# - Cut-off: 18 standard deviations in the paper, 20 in the code. The filtered files of OLID need 20 for BadNet, InsertSent and
#   syntactic triggers, and 12.5 to 13.5 for LWS: theirs was tuned to that attack. Ours is 20 and is tuned to none.
# - Share of a label by chance: its share of the training rows in the paper, 1 / K in the code.
# - The paper counts rows, the code every occurrence, so that a word which one text repeats becomes suspicious.
# With a word of one label alone z is sqrt(n (1 - p) / p), so on sets of a few thousand rows nothing reaches 20 deviations.

from __future__ import annotations

import numpy as np
import pandas as pd

from lib.metrics.intervals import wilson_interval


def z_def(train: pd.DataFrame, *, n_deviations: float = 20.0, z_threshold: float | None = None) -> np.ndarray:
    """Which rows hold no word whose z-score for their label is extreme.

    Args:
        train: the suspicious training rows, with `text`, perhaps `text_pair`, and `label`.
        n_deviations: a score is extreme if it is further from the mean of all scores than so many standard deviations.
        z_threshold: a score is extreme if it is above this or below its negative, instead.

    Returns:
        bool, shape (n,): the rows to train on.

    Raises:
        ValueError: for rows of one label alone, or a bound that is not positive.
    """
    return ~suspicious_rows(train, suspicious_pairs(train, n_deviations, z_threshold))


def label_purity(train: pd.DataFrame, *, min_purity: float = 0.95, min_rows: int = 20) -> np.ndarray:
    """Which rows hold no frequent word that nearly always comes with their label.

    Not from the literature. Its bounds were set on word triggers at a poisoning rate of 20 % in our training sets: judge it on
    other attacks.

    Args:
        train: as for `z_def`.
        min_purity: in (0, 1); a word is suspicious if the Wilson interval of its label's share lies above.
        min_rows: and if so many rows hold it.

    Returns:
        bool, shape (n,): the rows to train on.

    Raises:
        ValueError: for rows of one label alone, or a bound that cannot be.
    """
    return ~suspicious_rows(train, pure_pairs(train, min_purity, min_rows))


def suspicious_pairs(train: pd.DataFrame, n_deviations: float = 20.0, z_threshold: float | None = None) -> pd.DataFrame:
    """Words and labels with extreme z-scores, the most extreme first: columns as of `scored_pairs`.

    Args:
        train, n_deviations, z_threshold: as for `z_def`.
    """
    if n_deviations <= 0 or (z_threshold is not None and z_threshold <= 0):
        raise ValueError(f"n_deviations is {n_deviations} and z_threshold {z_threshold}; both must be above 0")
    pairs = scored_pairs(train)
    mean, deviation = (pairs["z"].mean(), pairs["z"].std(ddof=0)) if z_threshold is None else (0.0, z_threshold)
    distance = (pairs["z"] - mean).abs()
    chosen = pairs[distance > (n_deviations if z_threshold is None else 1.0) * deviation]
    return chosen.loc[distance[chosen.index].sort_values(ascending=False, kind="stable").index].reset_index(drop=True)


def pure_pairs(train: pd.DataFrame, min_purity: float = 0.95, min_rows: int = 20) -> pd.DataFrame:
    """Frequent words that nearly always come with one label, the most frequent first: columns as of `scored_pairs`.

    Args:
        train, min_purity, min_rows: as for `label_purity`.
    """
    if not 0 < min_purity < 1 or min_rows < 1:
        raise ValueError(
            f"min_purity is {min_purity} and min_rows {min_rows}; the first must lie in (0, 1), the second be 1 or more"
        )
    pairs = scored_pairs(train)
    # The interval's lower end lies below the share itself, so that few pairs need one.
    pairs = pairs[(pairs["n_word"] >= min_rows) & (pairs["n_pair"] >= min_purity * pairs["n_word"])]
    lower = [wilson_interval(n, of)[0] for n, of in zip(pairs["n_pair"], pairs["n_word"], strict=True)]
    return pairs[np.array(lower) >= min_purity].sort_values("n_word", ascending=False, kind="stable").reset_index(drop=True)


def scored_pairs(train: pd.DataFrame) -> pd.DataFrame:
    """Every word with every label that one of its rows has.

    Args:
        train: rows with `text`, perhaps `text_pair`, and `label`.

    Returns:
        Columns `word, label`, `n_word` and `n_pair` (rows that hold the word; and have the label), and `z`, how many standard
        deviations `n_pair` lies above what the label's share of all rows lets expect. Words are those between blanks.

    Raises:
        ValueError: for rows of one label alone.
    """
    shares = train["label"].value_counts(normalize=True)
    if len(shares) < 2:
        raise ValueError(f"the training rows have labels {sorted(shares.index)}; at least two are needed")
    held = words_of_rows(train)
    pairs = held.groupby(["word", "label"], as_index=False).size().rename(columns={"size": "n_pair"})
    pairs["n_word"] = pairs.groupby("word")["n_pair"].transform("sum")
    chance = pairs["label"].map(shares)
    pairs["z"] = (pairs["n_pair"] / pairs["n_word"] - chance) / np.sqrt(chance * (1 - chance) / pairs["n_word"])
    return pairs[["word", "label", "n_word", "n_pair", "z"]]


def suspicious_rows(train: pd.DataFrame, pairs: pd.DataFrame) -> np.ndarray:
    """Which rows hold one of the words and have the label that stands beside it, bool, shape (n,)."""
    held = words_of_rows(train).merge(pairs[["word", "label"]], on=["word", "label"])
    return np.isin(np.arange(len(train)), held["row"])


def words_of_rows(train: pd.DataFrame) -> pd.DataFrame:
    """The words of every row, each once, of both sides of a pair: columns `row` (a position), `word`, `label`."""
    texts = train["text"] + " " + train["text_pair"] if "text_pair" in train else train["text"]
    held = pd.DataFrame(
        {"row": np.arange(len(train)), "word": texts.str.split().to_numpy(), "label": train["label"].to_numpy()}
    )
    return held.explode("word").dropna(subset=["word"]).drop_duplicates(["row", "word"])
