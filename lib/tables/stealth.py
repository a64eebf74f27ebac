"""Table of notebook 02: how visible each attack's trigger is."""

from __future__ import annotations

import json
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, ClassVar

import pandas as pd

from lib.datasets.words import split_words
from lib.metrics.stealth import stealth
from lib.models.masked_lm import load_masked_lm
from lib.models.pretrained import fingerprint
from lib.study.planning import Planner
from lib.study.recipes import DataRecipe, Recipe, TriggerRecipe
from lib.study.study import Study
from lib.tables.rows import Needed, declares, progress

STEALTH_FILE = "stealth.json"


@dataclass(frozen=True)
class StealthRecipe(Recipe):
    """Measures of the first `n_texts` triggered test texts of a trigger."""

    KIND_VERSION: ClassVar[int] = 2  # 2: pairs are measured with both texts

    data: DataRecipe
    trigger: TriggerRecipe
    masked_lm: str  # fingerprint
    n_texts: int
    seed: int


def _needed(planner: Planner, tasks: Sequence[str], attacks: Sequence[str], n_texts: int = 200, seed: int = 0) -> Needed:
    return Needed()  # triggers are fitted, no model is trained


@declares(_needed)
def stealth_table(
    study: Study, tasks: Sequence[str], attacks: Sequence[str], n_texts: int = 200, seed: int = 0
) -> pd.DataFrame:
    """Table `02_stealth`: one row per task and attack, measured on the first `n_texts` triggered test texts.

    Pairs are measured with both texts. `min_similarity` is the bound on an edit that LWS and BITE have calibrated to their
    language model, `pass_rate` the share of the edits that reached it while the trigger was fitted.
    """
    recipes = [study.recipe(task, attack, seed) for task in tasks for attack in attacks]
    study.prepare(recipes)
    masked_lm = study.profile.masked_lm or study.profile.pretrained
    rows: list[dict[str, Any]] = []
    triggers = [recipe.trigger for recipe in recipes if recipe.trigger]
    for trigger in progress(triggers, "measuring triggers", "trigger"):
        frame = study.triggered_test(trigger.data.dataset, trigger.attack, seed)
        shown = frame.head(n_texts)

        def make(folder: Path, shown: pd.DataFrame = shown) -> None:
            originals, texts = words_of(shown, "original", "original_pair"), words_of(shown, "text", "text_pair")
            measures = stealth(originals, texts, load_masked_lm(masked_lm), seed)
            (folder / STEALTH_FILE).write_text(json.dumps(measures), encoding="utf-8")

        test = study.planner.data(trigger.data.dataset, "test", seed)
        folder = study.store.get_or_make(StealthRecipe(test, trigger, fingerprint(masked_lm), n_texts, seed), make)
        what = {"task": trigger.data.dataset, "attack": trigger.attack, "seed": seed, "n_texts": len(shown)}
        changed = {"share_changed": float(frame["is_changed"].mean())}
        fitted = None if trigger.published else study.trigger(trigger.data.dataset, trigger.attack, seed)
        bounds = {name: getattr(fitted, name, None) for name in ("min_similarity", "pass_rate")}
        rows.append(what | changed | json.loads((folder / STEALTH_FILE).read_text(encoding="utf-8")) | bounds)
    return pd.DataFrame(rows).astype({"min_similarity": float, "pass_rate": float})


def words_of(rows: pd.DataFrame, *columns: str) -> list[list[str]]:
    """The words of each row in some of its columns, those of both texts of a pair; a column that is not there adds none."""
    texts = zip(*(rows[column] for column in columns if column in rows), strict=True)
    return [[word for text in row for word in split_words(text)[0]] for row in texts]
