"""A screen before the merge: which of the models is not like the others, by four statistics that must agree in pairs.

| statistic | what it is | suspicious if |
|---|---|---|
| `mean_cosine` | mean cosine of the model's task vector to those of the others | low |
| `vocabulary` | how far an embedding row moved whose token is in none of the clean texts, in median lengths of a row | high |
| `leave_one_out` | how much the probabilities of the plain average change without the model: mean total variation | high |
| `row_norm` | largest row norm of the word embeddings over the median row norm | high |

A statistic flags a model whose value lies beyond the median of the *other* models' values by more than a margin times the size
of that median, and by at least `least`. A model is dropped if two statistics or more flag it, those with most flags first, and
never so many that fewer than 3 models are left. The median stands while fewer than half of the others are an attacker's; a
screen is no proof either way.

The margins are measured on clean models alone, so that at most 5 % of them are dropped; see `lib.sanitizing.margins`. They are
of sets of five small models. The first model has margins of its own: the texts should be of its domain, and such a model has
more to say about them. `least` is no measured number: a difference below it is too small to matter.
"""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import pandas as pd

from lib.merging import ModelSource, StateDictSource
from lib.merging.screening import WeightMeasures, measure_weights, unseen_moves, word_embeddings
from lib.merging.state_dicts import tied_tensors
from lib.models.checkpoints import Checkpoint
from lib.sanitizing.leave_one_out import leave_one_out
from lib.sanitizing.margins import N_AGREEING, OTHER, OWN, Margins, excess, read_margins

VERSION = 1  # bump when a statistic or a rule changes
MIN_MODELS = 3  # of two, neither is like the others
N_WORDS = 5
WHOLE = 1_000_000  # tokens: the audit asks what is in a text, not what a model reads of it
MAX_LENGTH = 128  # tokens that a model reads
LOW, HIGH = -1, 1


@dataclass(frozen=True)
class Statistic:
    """What a statistic needs, in which direction it is suspicious, and from which difference on it counts; see above."""

    needs: str
    direction: int
    least: float


STATISTICS: dict[str, Statistic] = {
    "mean_cosine": Statistic("pretrained", LOW, least=0.02),
    "vocabulary": Statistic("pretrained, texts", HIGH, least=0.02),
    "leave_one_out": Statistic("texts", HIGH, least=0.005),
    "row_norm": Statistic("nothing", HIGH, least=0.5),
}
MARGINS = read_margins()  # by role and statistic


@dataclass(frozen=True)
class Screening:
    """What a screen found.

    Attributes:
        table: one row per statistic and model: `model, statistic, needs, value, others_low, others_high, rank, n_models,
            is_flagged`; rank 1 is the most suspicious. Where a statistic is empty, value and rank are missing.
        words: `model, token, move`: the tokens of no text whose rows moved furthest, a few per model.
        notes: what could not be measured, and why.
        dropped: position of each model that is dropped, and why.
        spared: position of each model that would be dropped if there were more of them, and why.
    """

    table: pd.DataFrame
    words: pd.DataFrame
    notes: tuple[str, ...]
    dropped: dict[int, str]
    spared: dict[int, str]

    @property
    def n_models(self) -> int:
        """Number of models that were looked at."""
        return int(self.table["n_models"].iloc[0])

    @property
    def kept(self) -> list[int]:
        """Positions of the models that are left."""
        return [place for place in range(self.n_models) if place not in self.dropped]


def screen(
    models: Sequence[Checkpoint],
    pretrained: ModelSource | None = None,
    texts: pd.DataFrame | None = None,
    *,
    sources: Sequence[ModelSource] | None = None,
    tied: Mapping[str, str] | None = None,
    max_length: int = MAX_LENGTH,
) -> Screening:
    """Measure every statistic that can be measured, flag, and say which models to drop; nothing is merged.

    Args:
        models: at least 3 of one architecture, labels and tokenizer.
        pretrained: what they were fine-tuned from; without it there are no cosines and no vocabulary audit.
        texts: clean texts, `text` and perhaps `text_pair`; labels are not looked at. Without them there is neither a vocabulary
            audit nor a change of probabilities.
        sources: where the weights are read, one per model; default the models' own.
        tied: further names of a tensor to its first name, as for a merge; default those of a small first model.
        max_length: tokens that a model reads of a text.

    Raises:
        ValueError: for fewer than 3 models, no text, or values that are not finite.
    """
    if len(models) < MIN_MODELS:
        raise ValueError(f"a screen takes {MIN_MODELS} models or more, found {len(models)}")
    if texts is not None and texts.empty:
        raise ValueError("no text to screen with; give some, or none at all")
    sources = list(sources or [model.source() for model in models])
    embeddings = word_embeddings(sources[0], models[0].config.get("vocab_size", 0))
    if tied is None:
        tied = tied_tensors(models[0].state_dict()) if isinstance(sources[0], StateDictSource) else {}
    measures = measure_weights(sources, embeddings, pretrained, tied)
    names, notes = [model.name for model in models], list[str]()
    values: dict[str, list[float]] = {"row_norm": measures.largest_rows()}
    words: list[dict[str, Any]] = []
    if pretrained is None:
        notes.append("mean_cosine and vocabulary were not measured: they need the pretrained model")
    else:
        values["mean_cosine"] = measures.mean_cosines()
        if texts is not None:
            values["vocabulary"], words = _audited(models[0], names, measures, texts, notes)
    if texts is None:
        notes.append("vocabulary and leave_one_out were not measured: they need clean texts")
    elif not _is_classifier(models[0]):
        notes.append("leave_one_out was not measured: it needs classifiers")
    else:
        values["leave_one_out"] = leave_one_out(sources, models[0].folder, texts, max_length, tied)
    table = flagged(values, names)
    dropped, spared = agreed(table)
    return Screening(table, pd.DataFrame(words, columns=["model", "token", "move"]), tuple(notes), dropped, spared)


def _is_classifier(model: Checkpoint) -> bool:
    return any("SequenceClassification" in name for name in model.config.get("architectures") or [])


def _audited(
    first: Checkpoint, names: Sequence[str], measures: WeightMeasures, texts: pd.DataFrame, notes: list[str]
) -> tuple[list[float], list[dict[str, Any]]]:
    """Values of the vocabulary audit, and the words behind them."""
    from lib.models.prediction import tokenize
    from lib.models.pretrained import load_tokenizer

    tokenizer, moves = load_tokenizer(str(first.folder)), measures.row_moves
    assert moves is not None  # there is a pretrained model
    if not moves.any():
        notes.append("vocabulary is empty: no embedding row moved in any model, as with LoRA or frozen embeddings")
        return [math.nan] * len(names), []
    seen = {token for ids in tokenize(tokenizer, texts, WHOLE)["input_ids"] for token in ids}
    # Padding is read nowhere, and an unknown piece stands for words that nobody can name.
    seen |= {token for token in (tokenizer.pad_token_id, tokenizer.unk_token_id) if token is not None}
    values, rows = unseen_moves(moves, seen, N_WORDS)
    if math.isnan(values[0]):
        notes.append("vocabulary is empty: every token is in the texts")
    found = [(place, token) for place, ids in enumerate(rows) for token in ids]
    return values, [{"model": names[i], "token": _token(tokenizer, t), "move": float(moves[i, t])} for i, t in found]


def _token(tokenizer: Any, token: int) -> str:
    """A token for a person: somebody else chose it, and rows behind the vocabulary have none."""
    name = tokenizer.convert_ids_to_tokens(token) if token < len(tokenizer) else None
    return name if name and name.isprintable() and "|" not in name else f"token {token}"


def flagged(values: Mapping[str, Sequence[float]], names: Sequence[str], margins: Margins = MARGINS) -> pd.DataFrame:
    """The table of a screen from one value per statistic and model, that of the texts' own domain first; see `Screening`."""
    rows = []
    for statistic in (name for name in STATISTICS if name in values):
        rule, found = STATISTICS[statistic], [float(value) for value in values[statistic]]
        for place, value in enumerate(found):
            others = found[:place] + found[place + 1 :]
            is_empty = math.isnan(value)
            row = {"model": names[place], "statistic": statistic, "needs": rule.needs, "value": value}
            row |= {"others_low": min(others), "others_high": max(others)}
            row["rank"] = None if is_empty else 1 + sum(rule.direction * (other - value) > 0 for other in others)
            margin = margins[OTHER if place else OWN][statistic]
            rows.append(row | {"n_models": len(names), "is_flagged": not is_empty and is_outlier(value, others, rule, margin)})
    return pd.DataFrame(rows).astype({"rank": "Int64"})


def is_outlier(value: float, others: Sequence[float], rule: Statistic, margin: float) -> bool:
    """Whether a value lies beyond the median of the others by more than the margin, and by enough to matter.

    >>> [is_outlier(value, [0.5, 0.4, 0.5, 0.6], Statistic("", LOW, least=0.02), 0.1) for value in (0.44, 0.46, 0.9)]
    [True, False, False]
    """
    return excess(value, others, rule.direction, rule.least) > margin


def agreed(table: pd.DataFrame) -> tuple[dict[int, str], dict[int, str]]:
    """Which models are dropped and which are only spared because few would be left, by position, with the reason."""
    n, statistics = int(table["n_models"].iloc[0]), list(dict.fromkeys(table["statistic"]))
    flags = table["is_flagged"].to_numpy(dtype=bool).reshape(len(statistics), n)
    reasons = {
        place: f"flagged by {' and '.join(name for name, flag in zip(statistics, flags[:, place], strict=True) if flag)}"
        for place in sorted(range(n), key=lambda place: -flags[:, place].sum())
        if flags[:, place].sum() >= N_AGREEING
    }
    dropped = dict(list(reasons.items())[: n - MIN_MODELS])
    return dropped, {place: reason for place, reason in reasons.items() if place not in dropped}
