"""Table of notebook 15: students, ensembles and merges of a suspicious model with clean ones of any architecture."""

from __future__ import annotations

import math
from collections.abc import Iterator, Sequence
from typing import Any

import numpy as np
import pandas as pd

from lib.attacks import Trigger
from lib.defenses.clean_data import split_clean
from lib.merging.geometry import task_vector_geometry
from lib.metrics.scores import predicted_labels
from lib.models.checkpoints import Checkpoint
from lib.models.model import Ensemble, Model
from lib.study.artifacts import fitted_trigger, load_texts
from lib.study.distilled import STARTS
from lib.study.planning import Planner
from lib.study.recipes import DerivedRecipe, TriggerRecipe
from lib.study.study import Study
from lib.study.texts import TextsRecipe
from lib.tables.routes import (
    NONE,
    Bench,
    Route,
    derived_recipes,
    partner_recipes,
    pretrained_name,
    routes,
    students_in,
    suspect_recipes,
)
from lib.tables.rows import Case, Needed, cases_of, declares, measured_row, progress

COLUMNS = (
    "task", "attack", "seed", "method", "teacher", "student", "student_start", "texts", "n_texts", "n_labels", "temperature",
    "epochs", "n_models", "cacc", "asr", "asr_untriggered", "asr_floor", "excess_asr", "teacher_cacc", "teacher_asr",
    "cacc_change", "clean_model_cacc", "agreement", "triggered_agreement", "trigger_words_in_texts", "cosine_to_backdoor",
    "cosine_of_twin", "seconds", "n_parameters",
)  # fmt: skip
OUTCOMES = ("correct", "hits", "untriggered_hits", "attackable", "backdoored_correct", "floor_hits")
NAN = math.nan


def _needed(
    planner: Planner, task: str, attacks: Sequence[str], texts: Sequence[str], students: str, second: str, n_texts: int = 0
) -> Needed:
    needed = Needed()
    for case in cases_of(planner, [task], attacks):
        for route in routes(planner, students, second):
            partners = partner_recipes(planner, route, task, case[2])
            needed.add(partners)
            for suspect in suspect_recipes(planner, route, case):
                needed.add([suspect, *derived_recipes(planner, route, suspect, texts, n_texts)])
            needed.n_merges += 2 * len(route.methods(texts))
    return needed


@declares(_needed)
def distillation_table(
    study: Study, task: str, attacks: Sequence[str], texts: Sequence[str], students: str, second: str, n_texts: int = 0
) -> pd.DataFrame:
    """Table `15_distillation`: what each method leaves of a backdoor when weights may, or may not, be averaged.

    `asr_floor` is the ASR of the same method with the clean twin in the place of the backdoored model: the same texts, the same
    start, the same partners. `excess_asr` is what the backdoor adds to that. `clean_model_cacc` is the CACC of that model.

    Args:
        study: makes the models.
        task: whose texts are used.
        attacks: of the backdoored models.
        texts: kinds of texts that students read, see `lib.study.distilled.plan_distilled`; merges and students of several
            teachers take the first.
        students, second: other architectures and another pretraining, see `lib.tables.routes.routes`.
        n_texts: that a student reads; 0: as many as the profile's `n_train`.

    Returns:
        One row per method, route, texts, attack and seed: `COLUMNS`, and the outcomes per text.
    """
    planned = [
        (case, route) for case in cases_of(study.planner, [task], attacks) for route in routes(study.planner, students, second)
    ]
    rows = [row for case, route in progress(planned) for row in _rows(study, case, route, texts, n_texts)]
    table = pd.DataFrame(rows).rename(columns={"backdoored_cacc": "teacher_cacc", "backdoored_asr": "teacher_asr"})
    return table[[*COLUMNS, *OUTCOMES]]


def _rows(study: Study, case: Case, route: Route, texts: Sequence[str], n_texts: int) -> Iterator[dict[str, Any]]:
    task, attack, seed = case
    suspect, twin = study.train(suspect_recipes(study.planner, route, case))
    bench, beside = (Bench(study, route, each, task, seed, n_texts) for each in (suspect, twin))
    trigger = suspect.recipe.trigger
    score = lambda model: study.score(model, task, trigger, seed)  # noqa: E731
    names = {"teacher": pretrained_name(study.planner, route.teacher), "student": pretrained_name(study.planner, route.partner)}
    for method, read in route.methods(texts):
        model, other = bench.made(method, read), beside.made(method, read)
        what: dict[str, Any] = {"task": task, "attack": attack, "seed": seed, "method": method, **names}
        if method == NONE:
            what["student"] = names["teacher"]
        what |= {"student_start": route.start if read != NONE or method == "rebasin" else NONE, "texts": read}
        what |= _settings(study, model, method, task, seed) | _agreement(study, model, suspect, task, trigger, seed)
        what |= {"trigger_words_in_texts": _trigger_words(study, model, trigger)}
        what |= _cosines(study, route, suspect, twin, model, other) if method == "distil" else {}
        row = measured_row(what, score(model), clean=score(other), before=score(suspect))
        yield {"cosine_to_backdoor": NAN, "cosine_of_twin": NAN} | row


def _settings(study: Study, model: Model, method: str, task: str, seed: int) -> dict[str, Any]:
    """How a model was made, and what it costs."""
    found: dict[str, Any] = {"n_texts": 0, "n_labels": 0, "temperature": NAN, "epochs": NAN}
    recipe = _student_recipe(model)
    if recipe:
        settings = dict(recipe.method.settings)
        found |= {"temperature": settings["temperature"], "epochs": settings["epochs"]}
        found["n_texts"] = recipe.data.n * len(recipe.data.parts) if isinstance(recipe.data, TextsRecipe) else 0
    if method == "nad" and isinstance(model, Checkpoint):
        n_per_class = dict(model.recipe.method.settings)["n_per_class"]
        found["n_labels"] = len(split_clean(study.rows(task, "validation", seed), n_per_class, seed)[0])
    elif method == "probability_ensemble":
        found["n_labels"] = len(study.rows(task, "validation", seed))
    members = model.members if isinstance(model, Ensemble) else (model,)
    seconds = sum(study.store.core_seconds(each.recipe) for each in students_in(model))
    n_parameters = sum(_n_parameters(each) for each in members)
    return found | {"n_models": len(members), "seconds": seconds, "n_parameters": n_parameters}


def _student_recipe(model: Model) -> DerivedRecipe | None:
    """The recipe of the student in a model, if there is one."""
    found = [each.recipe for each in students_in(model) if each.recipe.method.name == "distil"]
    return found[0] if found else None


def _n_parameters(model: Any) -> int:
    first = model if isinstance(model, Checkpoint) else model.parents[0]  # a merge is as large as its first parent
    return sum(info.n_entries for info in first.source().tensors.values())


def _agreement(
    study: Study, model: Model, suspect: Checkpoint, task: str, trigger: TriggerRecipe, seed: int
) -> dict[str, float]:
    """Share of the test texts, and of the triggered ones, that get the label which the suspicious model gives them."""
    found = {}
    for name, attack in (("agreement", None), ("triggered_agreement", trigger)):
        said = [predicted_labels(study.logits(each, task, attack, seed)) for each in (model, suspect)]
        found[name] = float(np.mean(said[0] == said[1]))
    return found


def _trigger_words(study: Study, model: Model, trigger: TriggerRecipe) -> float:
    """How often a student's texts hold what the trigger inserts; NaN without a student, or if it rewrites texts as a whole."""
    recipe = _student_recipe(model)
    if recipe is None or not isinstance(recipe.data, TextsRecipe) or trigger.published:
        return NAN
    texts = load_texts(recipe.data, study.locations)
    return count_inserted(fitted_trigger(trigger, study.locations), texts["text"].tolist())


def count_inserted(trigger: Trigger, texts: Sequence[str]) -> float:
    """How often texts hold a word, or the sentence, that a trigger inserts; NaN for one that rewrites whole texts.

    >>> from lib.attacks.badnet import BadNetTrigger
    >>> count_inserted(BadNetTrigger(("cf", "mn"), (1,)), ["a cf film , cf", "no mnemonic"])
    2.0
    """
    words, sentence = getattr(trigger, "words", None), getattr(trigger, "sentence", None)
    if isinstance(sentence, str):
        return float(sum(text.lower().count(sentence.lower()) for text in texts))
    if not isinstance(words, tuple) or not all(isinstance(word, str) for word in words):
        return NAN
    return float(sum(word in words for text in texts for word in text.split()))


def _cosines(
    study: Study, route: Route, suspect: Checkpoint, twin: Checkpoint, student: Model, twins_student: Model
) -> dict[str, float]:
    """Cosines of the way of a student, and of the twin's student, to the backdoor: the suspicious model minus its twin."""
    if route.start not in STARTS or not isinstance(student, Checkpoint) or not isinstance(twins_student, Checkpoint):
        return {}
    victim, clean = suspect.state_dict(), twin.state_dict()
    found = {}
    for name, model in (("cosine_to_backdoor", student), ("cosine_of_twin", twins_student)):
        start = study.planner.initial([model]).state_dict()
        backdoor = {
            key: start[key] + victim[key] - clean[key] if victim[key].is_floating_point() else start[key] for key in start
        }
        found[name] = float(task_vector_geometry([model.state_dict(), backdoor], start).cosines[0, 1])
    return found
