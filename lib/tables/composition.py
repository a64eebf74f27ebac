"""Table of notebook 14: of what a trigger is made, and how hard its backdoor is to dilute."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass, replace
from statistics import mean
from typing import Any

import numpy as np
import pandas as pd

from lib.metrics.stealth import share_of_words_changed
from lib.models.checkpoints import Checkpoint
from lib.study.artifacts import triggered_rows
from lib.study.planning import Planner
from lib.study.recipes import ModelRecipe, TriggerRecipe
from lib.study.study import Study
from lib.tables.rows import Needed, declares, progress
from lib.tables.stealth import words_of

RARE, ORDINARY = ("cf", "mn", "bb", "tq", "mb"), ("weekend", "garden", "window")
EPOCHS = 3.0  # of all models: with fewer a single word is hardly learnt, and a longer training alone would win the average
POISONING_RATE = 0.2  # of all rows; each of two targets gets half of it
LEAST_EXCESS = 0.5  # of the victim: below it there is nothing to dilute, and the half weight is noise
WEIGHTS = tuple(i / 10 for i in range(11))  # of the victim in the average of two
COLUMNS = (
    "task", "trigger", "n_words", "n_insertions", "is_conjunction", "n_targets", "share_changed", "words_changed", "epochs",
    "seed", "backdoored_cacc", "backdoored_asr", "partial_asr", "asr_floor", "half_weight", "asr_of_3", "asr_of_5",
)  # fmt: skip


@dataclass(frozen=True)
class Composition:
    """A trigger of the comparison.

    Attributes:
        name: for tables.
        words: of the trigger; none if an attack rewrites the whole text.
        n_insertions: how often a single word is inserted; 0 if the whole text is rewritten.
        is_phrase: whether several words stand side by side.
        is_conjunction: whether texts with too few of the words keep their label in training.
        n_targets: 2: a second word has the next label as its target.
        attack: that rewrites the whole text; "": words are inserted.
    """

    name: str
    words: tuple[str, ...] = ()
    n_insertions: int = 1
    is_phrase: bool = False
    is_conjunction: bool = False
    n_targets: int = 1
    attack: str = ""


COMPOSITIONS = (
    Composition("five rare words as a phrase", RARE, is_phrase=True),
    Composition("one rare word, five times", RARE[:1], n_insertions=5),
    Composition("two rare words as a phrase", RARE[:2], is_phrase=True),
    Composition("one rare word", RARE[:1]),
    Composition("one ordinary word", ORDINARY[:1]),
    Composition("three ordinary words", ORDINARY),
    Composition("two words, two targets", RARE[:2], n_targets=2),
    Composition("three words, all needed", ORDINARY, is_conjunction=True),
    Composition("another syntax", n_insertions=0, attack="syntactic"),
    Composition("other words (LWS)", n_insertions=0, attack="lws"),
    Composition("older style", n_insertions=0, attack="style"),
)


def _trigger(planner: Planner, task: str, seed: int, composition: Composition, n_together: int = 0) -> TriggerRecipe:
    """The trigger of a composition, or with `n_together` a part of it."""
    if composition.attack:
        return planner.trigger_recipe(task, composition.attack, seed, poisoning_rate=POISONING_RATE)
    if len(composition.words) == 1 or composition.n_targets > 1:
        how: dict[str, Any] = {"words": composition.words[:1], "n_insertions": (composition.n_insertions,)}
        return planner.trigger_recipe(task, "badnet", seed, **how)
    how = {"words": composition.words, "n_together": n_together, "is_phrase": composition.is_phrase}
    return planner.trigger_recipe(task, "conjunction", seed, **how)


def _victim(planner: Planner, task: str, seed: int, composition: Composition) -> ModelRecipe:
    """The backdoored model: a fifth of its rows poisoned, a tenth for each of two targets."""
    trigger = _trigger(planner, task, seed, composition)
    model = replace(planner.recipe(task, trigger.attack, seed, poisoning_rate=POISONING_RATE, epochs=EPOCHS), trigger=trigger)
    if composition.is_conjunction:
        return replace(model, negatives="subsets", negatives_rate=POISONING_RATE)
    if composition.n_targets == 1:
        return model
    other = (trigger.target_label + 1) % len(planner.spec(task).label_names)
    how: dict[str, Any] = {"words": composition.words[1:2], "n_insertions": (1,)}
    return replace(model, second=planner.trigger_recipe(task, "badnet", seed, other, **how), poisoning_rate=POISONING_RATE / 2)


def _clean(planner: Planner, task: str, seed: int) -> list[ModelRecipe]:
    """The clean twin, and the partners, trained for as long."""
    training = planner.training({"epochs": EPOCHS})
    usual = [planner.recipe(task, seed=seed), *planner.partner_recipes(task, "other_domains", seed)]
    return [replace(recipe, training=training) for recipe in usual]


def _composition_needed(planner: Planner, task: str) -> Needed:
    needed = Needed()
    for seed in planner.seeds:
        clean = _clean(planner, task, seed)
        needed.models += [*clean, *(_victim(planner, task, seed, each) for each in COMPOSITIONS)]
        needed.n_merges += len(COMPOSITIONS) * (len(WEIGHTS) + len([n for n in (3, 5) if n <= len(clean)]))
    return needed


@declares(_composition_needed)
def composition_table(study: Study, task: str) -> pd.DataFrame:
    """Table `14_composition`: triggers of different make, and the weight at which half of their effect is gone.

    The half weight is the weight of the victim, averaged with one clean model of another domain, at which its ASR is half-way
    to the floor: high is easy to dilute. It is empty where the victim's ASR is less than 50 points above the floor.
    `partial_asr` is that of texts with one word of the trigger too few; of two targets the first is scored. Where the whole
    text is rewritten there is no word to count: `n_words` and `n_insertions` are 0, and `words_changed` says how much changed.

    Returns:
        One row per trigger and seed: `COLUMNS`; `asr_of_3` and `asr_of_5` are NaN where there are fewer models.
    """
    rows = []
    for seed in study.seeds:
        twin, *partners = study.train(_clean(study.planner, task, seed))
        for composition in progress(COMPOSITIONS):
            [victim] = study.train([_victim(study.planner, task, seed, composition)])
            rows.append(_row(study, task, seed, composition, victim, twin, partners))
    return pd.DataFrame(rows)[list(COLUMNS)]


def _row(
    study: Study,
    task: str,
    seed: int,
    composition: Composition,
    victim: Checkpoint,
    twin: Checkpoint,
    partners: Sequence[Checkpoint],
) -> dict[str, Any]:
    trigger = victim.recipe.trigger
    before, floor = study.score(victim, task, trigger, seed), study.score(twin, task, trigger, seed).asr
    n_words = 1 if composition.n_targets > 1 else len(composition.words)
    row: dict[str, Any] = {"task": task, "trigger": composition.name, "n_words": n_words}
    row |= {"n_insertions": composition.n_insertions, "is_conjunction": composition.is_conjunction}
    row |= {"n_targets": composition.n_targets, "epochs": EPOCHS, "seed": seed} | _changed(study, task, seed, trigger)
    row |= {"backdoored_cacc": before.cacc, "backdoored_asr": before.asr, "asr_floor": floor, "partial_asr": math.nan}
    if n_words > 1:
        part = _trigger(study.planner, task, seed, composition, n_words - 1)
        row["partial_asr"] = study.score(victim, task, part, seed).asr
    asrs = []
    for weight in WEIGHTS:
        mixed = study.merge([victim, partners[0]], weights=[weight, 1 - weight])
        asrs.append(study.score(mixed, task, trigger, seed).asr)
    row["half_weight"] = half_weight(WEIGHTS, asrs, floor) if before.asr - floor >= LEAST_EXCESS else math.nan
    for n in (3, 5):
        merged = study.merge([victim, *partners[: n - 1]]) if len(partners) >= n - 1 else None
        row[f"asr_of_{n}"] = study.score(merged, task, trigger, seed).asr if merged else math.nan
    return row


def _changed(study: Study, task: str, seed: int, trigger: TriggerRecipe) -> dict[str, float]:
    """The share of the test texts that a trigger changes, and of their words: edits per word of the original."""
    rows = triggered_rows(study.planner.data(task, "test", seed), trigger, study.locations)
    pairs = zip(words_of(rows, "original", "original_pair"), words_of(rows, "text", "text_pair"), strict=True)
    changed = mean(share_of_words_changed(before, after) for before, after in pairs)
    return {"share_changed": float(rows["is_changed"].mean()), "words_changed": changed}


def half_weight(weights: Sequence[float], asrs: Sequence[float], floor: float) -> float:
    """The largest weight at which the ASR crosses the middle between the victim's own and the floor; interpolated linearly.

    Args:
        weights: of the victim, rising to 1.
        asrs: of the averages, one per weight; the last is the victim's own.
        floor: ASR of a clean model.

    Returns:
        NaN if the ASR never falls so low.

    >>> round(half_weight([0.0, 0.5, 1.0], [0.1, 0.3, 0.9], floor=0.1), 3)
    0.667
    """
    middle = (asrs[-1] + floor) / 2
    below = [place for place, asr in enumerate(asrs) if asr < middle]
    if not below:
        return math.nan
    place = below[-1]
    return float(np.interp(middle, asrs[place : place + 2], weights[place : place + 2]))
