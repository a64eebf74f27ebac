"""BKI, backdoor keyword identification (Chen and Dai 2021, arXiv 2007.12070): rows in which the one key word stands out go."""

# The authors' `main.py` and OpenBackdoor agree, and so do we, but for three things. The network is an LSTM in the paper, and
# the study's encoder here. The code finds one word, which is `cf` of BadNet's five, and leaves the others; so `n_keywords` may
# ask for more. The code deletes every word of every row; ours finds the key word on a sample, and then asks only the rows that
# hold it: a word that stands in a tenth of the rows stands in a tenth of the sample, too.

from __future__ import annotations

from collections.abc import Iterator
from typing import TYPE_CHECKING

import numpy as np
import pandas as pd

from lib.defenses.suspicious_encoder import load_encoder, text_vectors
from lib.models.prediction import encode
from lib.profiles import TrainingSettings

if TYPE_CHECKING:
    from transformers import PreTrainedModel, PreTrainedTokenizerBase

N_TOGETHER = 256  # texts whose shortened copies are held at a time


def bki(
    train: pd.DataFrame,
    *,
    suspicious_model: str,
    training: TrainingSettings,
    seed: int,
    n_prominent: int = 5,
    n_keywords: int = 1,
    n_rows: int = 500,
) -> np.ndarray:
    """Which rows have no key word among the words that matter most to them, for a model trained on all rows.

    Args:
        train: the suspicious training rows, with `text`, perhaps `text_pair`, and `label`.
        suspicious_model: folder of the model that was fine-tuned on all of the rows.
        training: how it was.
        n_prominent: words of a row that count, those whose deletion moves its vector most.
        seed: draws the sample.
        n_keywords: words of highest score whose rows go.
        n_rows: rows on which the key words are found; 0: all.

    Returns:
        bool, shape (n,): the rows to train on.

    Raises:
        ValueError: for a number below 1, or fewer rows than 0.
    """
    if min(n_prominent, n_keywords) < 1 or n_rows < 0:
        raise ValueError(
            f"n_prominent is {n_prominent}, n_keywords {n_keywords}, n_rows {n_rows}; the first two must be 1 or more, the "
            "last 0 for all, or above"
        )
    model, tokenizer = load_encoder(suspicious_model)

    def prominent(rows: np.ndarray) -> pd.DataFrame:
        found = prominent_words(model, tokenizer, train.iloc[rows], training.max_length, n_prominent)
        return found.assign(row=rows[found["row"].to_numpy(int)])

    sample = np.random.default_rng(seed).permutation(len(train))[: n_rows or None]
    keywords = set(word_scores(prominent(np.sort(sample)))["word"].head(n_keywords))
    words = train[[column for column in ("text", "text_pair") if column in train]].agg(" ".join, axis=1).str.split()
    found = prominent(np.flatnonzero(words.map(lambda each: not keywords.isdisjoint(each))))
    return ~np.isin(np.arange(len(train)), found.loc[found["word"].isin(keywords), "row"])


def prominent_words(
    model: PreTrainedModel, tokenizer: PreTrainedTokenizerBase, train: pd.DataFrame, max_length: int, n: int = 5
) -> pd.DataFrame:
    """The words of each row whose deletion moves the vector of its first token most.

    Args:
        model, tokenizer: a classifier.
        train: rows with `text`, perhaps `text_pair`; words are those between blanks, of both.
        max_length: tokens; longer texts are cut.
        n: words of a row; a row with fewer has all.

    Returns:
        Columns `row` (a position), `word`, and `moved`, the largest change of an entry of the vector; each word once a row.
    """
    found = []
    for start in range(0, len(train), N_TOGETHER):
        rows = train.iloc[start : start + N_TOGETHER].reset_index(drop=True)
        shortened = pd.DataFrame(_shortened(rows))
        if shortened.empty:
            continue
        whole = text_vectors(model, encode(tokenizer, rows, max_length), "hidden")
        vectors = text_vectors(model, encode(tokenizer, shortened, max_length), "hidden")
        moved = np.abs(vectors - whole[shortened["row"]]).max(axis=1)  # over the entries of (n_words, width)
        found.append(pd.DataFrame({"row": shortened["row"] + start, "word": shortened["word"], "moved": moved}))
    words = pd.concat(found or [pd.DataFrame({"row": [], "word": [], "moved": []})], ignore_index=True)
    words = words.sort_values("moved", ascending=False, kind="stable").groupby("row").head(n)
    return words.drop_duplicates(["row", "word"]).sort_values("row", kind="stable").reset_index(drop=True)


def word_scores(prominent: pd.DataFrame) -> pd.DataFrame:
    """Every prominent word with `n` (rows), `moved` (their mean) and `score`, `log10(n) * moved`, highest score first.

    Args:
        prominent: as from `prominent_words`.

    >>> rows = pd.DataFrame({"row": [0, 1, 2], "word": ["cf", "cf", "the"], "moved": [1.0, 3.0, 9.0]})
    >>> word_scores(rows).round(3).to_numpy().tolist()
    [['cf', 2, 2.0, 0.602], ['the', 1, 9.0, 0.0]]
    """
    scores = prominent.groupby("word", as_index=False).agg(n=("row", "size"), moved=("moved", "mean"))
    scores["score"] = np.log10(scores["n"].astype(float)) * scores["moved"]
    return scores.sort_values("score", ascending=False, kind="stable").reset_index(drop=True)


def _shortened(rows: pd.DataFrame) -> Iterator[dict[str, object]]:
    """Every row without one of its words, for each of them: the row, the word, and the texts."""
    columns = [column for column in ("text", "text_pair") if column in rows]
    for row, texts in enumerate(rows[columns].to_dict("records")):
        for column in columns:
            words = texts[column].split()
            for position, word in enumerate(words):
                left = " ".join(words[:position] + words[position + 1 :])
                yield {"row": row, "word": word} | texts | {column: left}
