"""How visible a trigger is: what it does to the texts themselves, before any model is trained."""

from __future__ import annotations

import json
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd

from lib.masked_lm import MaskedLM, load_masked_lm
from lib.models import fingerprint
from lib.recipes import DataRecipe, Recipe, TriggerRecipe
from lib.study import TEST_SEED, Study
from lib.words import split_words

STEALTH_FILE = "stealth.json"


@dataclass(frozen=True)
class StealthRecipe(Recipe):
    """Measures of the first `n_texts` triggered test texts of a trigger."""

    data: DataRecipe
    trigger: TriggerRecipe
    masked_lm: str  # fingerprint
    n_texts: int
    seed: int


def share_of_words_changed(original: str, changed: str) -> float:
    """Word-level Levenshtein distance, divided by the number of words of the original (at least 1).

    >>> share_of_words_changed("a good film", "a cf good movie")
    0.6666666666666666
    """
    before, after = split_words(original)[0], split_words(changed)[0]
    distances = np.arange(len(after) + 1)
    for row, word in enumerate(before, start=1):
        replaced = distances[:-1] + np.array([word != other for other in after], dtype=int)
        previous, distances = distances, np.empty_like(distances)
        distances[0] = row
        for column in range(1, len(after) + 1):
            distances[column] = min(replaced[column - 1], previous[column] + 1, distances[column - 1] + 1)
    return float(distances[-1]) / max(1, len(before))


def stealth(originals: Sequence[str], triggered: Sequence[str], model: MaskedLM, seed: int = 0) -> dict[str, float]:
    """Measures of aligned texts before and after a trigger.

    Args:
        originals: untouched texts, n of them.
        triggered: the same with the trigger.
        model: gives pseudo-perplexities (every piece masked once) and sentence vectors (mean of the last layer).
        seed: of the shuffle below.

    Returns:
        `perplexity_increase`, the median difference; `perplexity_ratio`, the geometric mean of the ratios; `similarity`, the
        mean cosine of the sentence vectors, and `similarity_shuffled`, that of texts that do not belong together (a high
        cosine means little where this one is high, too); `words_changed`, the mean share of the words.

    Raises:
        ValueError: for no texts, or lists of different lengths.
    """
    if not originals or len(originals) != len(triggered):
        raise ValueError(f"stealth needs aligned texts, found {len(originals)} originals and {len(triggered)} triggered texts")
    before, after = ([split_words(text)[0] for text in texts] for texts in (originals, triggered))
    log_before, log_after = (-model.log_likelihoods(texts) for texts in (before, after))
    vectors, others = model.sentence_vectors(before), model.sentence_vectors(after)
    shuffled = np.random.default_rng(seed).permutation(len(others))
    return {
        "perplexity_increase": float(np.median(np.exp(log_after) - np.exp(log_before))),
        "perplexity_ratio": float(np.exp(np.mean(log_after - log_before))),
        "similarity": float((vectors * others).sum(axis=1).mean()),
        "similarity_shuffled": float((vectors * others[shuffled]).sum(axis=1).mean()),
        "words_changed": float(np.mean([share_of_words_changed(*pair) for pair in zip(originals, triggered, strict=True)])),
    }


def stealth_table(
    study: Study, tasks: Sequence[str], attacks: Sequence[str], n_texts: int = 200, seed: int = 0
) -> pd.DataFrame:
    """Table `02_stealth`: one row per task and attack, measured on the first `n_texts` triggered test texts."""
    recipes = [study.recipe(task, attack, seed) for task in tasks for attack in attacks]
    study.prepare_tests(recipes)
    masked_lm = study.profile.masked_lm or study.profile.pretrained
    rows: list[dict[str, Any]] = []
    for trigger in [recipe.trigger for recipe in recipes if recipe.trigger]:
        frame = study.triggered_test(trigger.data.dataset, trigger.attack, seed)
        shown = frame.head(n_texts)

        def make(folder: Path, shown: pd.DataFrame = shown) -> None:
            measures = stealth(shown["original"].tolist(), shown["text"].tolist(), load_masked_lm(masked_lm), seed)
            (folder / STEALTH_FILE).write_text(json.dumps(measures), encoding="utf-8")

        test = study.planner.data(trigger.data.dataset, "test", TEST_SEED)
        folder = study.store.get_or_make(StealthRecipe(test, trigger, fingerprint(masked_lm), n_texts, seed), make)
        what = {"task": trigger.data.dataset, "attack": trigger.attack, "seed": seed, "n_texts": len(shown)}
        changed = {"share_changed": float(frame["is_changed"].mean())}
        rows.append(what | changed | json.loads((folder / STEALTH_FILE).read_text(encoding="utf-8")))
    return pd.DataFrame(rows)
