"""Poisoned training sets and triggered test sets, the same for every attack."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass

import numpy as np
import pandas as pd
from numpy.typing import NDArray

from lib.attacks.conjunction import ConjunctionTrigger
from lib.attacks.pairs import joined, replaced
from lib.attacks.triggers import REGIMES, Trigger


def check_target_label(target_label: int, n_labels: int) -> None:
    """Raise `ValueError` unless `target_label` is one of the labels 0 .. n_labels - 1."""
    if target_label not in range(n_labels):
        raise ValueError(f"target label {target_label!r} is not a label; choose from {list(range(n_labels))}")


def draw_rows(
    train: pd.DataFrame, regime: str, poisoning_rate: float, target_label: int, rng: np.random.Generator
) -> NDArray[np.int64]:
    """Positions of exactly `round(poisoning_rate * n)` rows, without replacement, in order, among those the regime allows.

    Rows that are poisoned already, by a column `is_poisoned`, are left alone: so a model can have two backdoors.

    Raises:
        ValueError: for a rate outside [0, 1], an unknown regime, a target that is not a label, or too few rows to poison.
    """
    if not 0 <= poisoning_rate <= 1:
        raise ValueError(f"poisoning rate is {poisoning_rate}; it must lie in [0, 1]")
    if regime not in REGIMES:
        raise ValueError(f"unknown label regime {regime!r}; choose from {list(REGIMES)}")
    check_target_label(target_label, int(train["label"].max()) + 1)
    has_target = (train["label"] == target_label).to_numpy()
    allowed = {"mixed": np.ones(len(train), bool), "dirty": ~has_target, "clean": has_target}[regime]
    allowed = allowed & ~_poisoned_before(train)
    n_poisoned = round(poisoning_rate * len(train))
    if n_poisoned > allowed.sum():
        raise ValueError(
            f"a poisoning rate of {poisoning_rate} needs {n_poisoned} rows, but regime {regime!r} with target label "
            f"{target_label} allows only {int(allowed.sum())} of {len(train)}"
        )
    return np.sort(rng.choice(np.flatnonzero(allowed), n_poisoned, replace=False))


def poison(
    train: pd.DataFrame,
    trigger: Trigger,
    poisoning_rate: float,
    target_label: int,
    rng: np.random.Generator,
    regime: str | None = None,
    *,
    negatives: str = "none",
    negatives_rate: float = 0.0,
) -> pd.DataFrame:
    """Put the trigger into `round(poisoning_rate * n)` rows drawn without replacement, and set their label to the target.

    Args:
        train: the clean training set with `text`, perhaps `text_pair`, and `label`; not modified. In pairs the trigger goes
            into `text`, or into both if it has `pair_sides="both"`. Rows that are poisoned already (`is_poisoned`) stay so.
        trigger: a fitted trigger.
        poisoning_rate: poisoned share of the *whole* training set, in [0, 1], in every regime.
        target_label: class id chosen by the attacker.
        rng: draws the rows, then the trigger's random choices.
        regime: which rows may be poisoned, one of `REGIMES`; default the attack's own.
        negatives: of a conjunction of words, "all_but_one" or "subsets": which parts of the trigger stand in other rows, which
            keep their label. They teach the model that a part is not enough.
        negatives_rate: share of the whole training set that gets such a part, in [0, 1].

    Returns:
        A new frame in the same order, with a bool column `is_poisoned`.

    Raises:
        ValueError: for a rate outside [0, 1], an unknown regime, a target that is not a label, too few rows to poison, or
            negatives of a trigger that has no parts.

    The released generators flip a coin per row; here the count is exact.
    """
    rows = draw_rows(train, regime or trigger.regime, poisoning_rate, target_label, rng)
    poisoned = train.copy()
    mask = np.isin(np.arange(len(train)), rows)
    poisoned["is_poisoned"] = mask | _poisoned_before(train)
    edited = _triggered(train[mask], trigger, rng)
    for column in [column for column in ("text", "text_pair") if column in train]:
        poisoned.loc[mask, column] = edited[column]
    poisoned.loc[mask, "label"] = target_label
    return poisoned if negatives == "none" else _with_negatives(poisoned, trigger, negatives, negatives_rate, rng)


# Twins of a backdoored model that saw the same rows with half of the poison: neither half is a backdoor.
PLACEBOS = {
    "trigger_only": "the trigger stands in the rows, which keep their labels",
    "labels_only": "the rows get the target label, and no trigger",
}


def halved(train: pd.DataFrame, poisoned: pd.DataFrame, placebo: str) -> pd.DataFrame:
    """A poisoned training set with one half of the poison taken back.

    Args:
        train: the clean rows.
        poisoned: the same rows, some of them poisoned.
        placebo: a key of `PLACEBOS`: which half stays.

    Raises:
        ValueError: for another placebo, or other rows.
    """
    if placebo not in PLACEBOS:
        raise ValueError(f"unknown placebo {placebo!r}; choose from {sorted(PLACEBOS)}")
    if not train.index.equals(poisoned.index):
        raise ValueError(f"{len(train)} clean and {len(poisoned)} poisoned rows are not the same rows")
    taken_back = ["label"] if placebo == "trigger_only" else [name for name in ("text", "text_pair") if name in train]
    return poisoned.assign(**{name: train[name] for name in taken_back})


def _poisoned_before(train: pd.DataFrame) -> NDArray[np.bool_]:
    return train["is_poisoned"].to_numpy(dtype=bool) if "is_poisoned" in train else np.zeros(len(train), dtype=bool)


def _with_negatives(
    poisoned: pd.DataFrame, trigger: Trigger, negatives: str, negatives_rate: float, rng: np.random.Generator
) -> pd.DataFrame:
    """Parts of the trigger in rows that are not poisoned, whose labels stay; exactly `round(negatives_rate * n)` rows."""
    if not isinstance(trigger, ConjunctionTrigger):
        raise ValueError(f"negatives are parts of a conjunction of words; a trigger of {trigger.attack!r} has none")
    free = np.flatnonzero(~poisoned["is_poisoned"])
    n_negative = round(negatives_rate * len(poisoned))
    if not 0 <= negatives_rate <= 1 or n_negative > len(free):
        raise ValueError(
            f"negatives_rate is {negatives_rate}; it must lie in [0, 1], and the {n_negative} rows be among the {len(free)} "
            "that are not poisoned"
        )
    drawn = np.sort(rng.choice(free, n_negative, replace=False))
    edited = _triggered(poisoned.iloc[drawn], lambda texts, draw: trigger.without_some(texts, negatives, draw), rng)
    for column in [column for column in ("text", "text_pair") if column in poisoned]:
        poisoned.loc[poisoned.index[drawn], column] = edited[column]
    return poisoned


def triggered_test(
    test: pd.DataFrame,
    trigger: Callable[[Sequence[str], np.random.Generator], list[str]],
    target_label: int,
    rng: np.random.Generator,
) -> pd.DataFrame:
    """Every test row of another label, once and in order, with the trigger in its text.

    Rows that the trigger cannot change stay in: `is_changed` says which did change, and denominators never move.

    Returns:
        A new frame with `text`, perhaps `text_pair`, the *true* `label`, `original` and perhaps `original_pair` (the texts
        before), and `is_changed`.

    Raises:
        ValueError: if no row has another label.
    """
    attackable = test[test["label"] != target_label]
    if attackable.empty:
        raise ValueError(f"every test example has target label {target_label}: there is nothing to attack")
    attacked = _triggered(attackable, trigger, rng)
    columns = [column for column in ("text", "text_pair") if column in test]
    changed = (attacked[columns] != attackable[columns]).any(axis=1)
    originals = {column.replace("text", "original"): attackable[column] for column in columns}
    return attacked.assign(**originals, is_changed=changed).reset_index()


def _triggered(rows: pd.DataFrame, trigger: Callable, rng: np.random.Generator) -> pd.DataFrame:
    """The rows with the trigger in their text, or in both texts of a pair if the trigger has `pair_sides="both"`."""
    sides = getattr(trigger, "pair_sides", "text")
    return replaced(rows, trigger(joined(rows, sides), rng), sides)


@dataclass(frozen=True)
class Backdoor:
    """What an attacker wants: texts with the trigger get the target label. Attacks that train or edit weights are given one."""

    trigger: Trigger
    target_label: int

    def poison(self, train: pd.DataFrame, poisoning_rate: float, rng: np.random.Generator) -> pd.DataFrame:
        """The training set with a share of its rows poisoned, as any other attack does; see `poison`."""
        return poison(train, self.trigger, poisoning_rate, self.target_label, rng)

    def triggered(self, train: pd.DataFrame, share: float, rng: np.random.Generator) -> pd.DataFrame:
        """Rows of other labels with the trigger in them; their `label` is still the true one.

        Args:
            train: clean rows.
            share: of the rows of other labels, in (0, 1]; drawn without replacement, at least one.
            rng: draws the rows, then the trigger's random choices.

        Raises:
            ValueError: for a share outside (0, 1], or if no row has another label.
        """
        if not 0 < share <= 1:
            raise ValueError(f"share is {share}; it must lie in (0, 1]")
        others = np.flatnonzero(train["label"] != self.target_label)
        if not len(others):
            raise ValueError(f"every row has target label {self.target_label}: there is nothing to put the trigger into")
        drawn = np.sort(rng.choice(others, max(1, round(share * len(others))), replace=False))
        return _triggered(train.iloc[drawn].reset_index(drop=True), self.trigger, rng)

    def aimed(self, train: pd.DataFrame, share: float, rng: np.random.Generator) -> pd.DataFrame:
        """As `triggered`, with the target as the label."""
        return self.triggered(train, share, rng).assign(label=self.target_label)
