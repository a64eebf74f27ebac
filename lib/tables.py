"""Tidy tables of the study: one row per measured thing, rates as fractions, columns named as in the field.

Functions train what is missing, score, and return a frame. The columns `correct` and `hits` hold one outcome per test example
for intervals; they are not written to files.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from itertools import combinations
from typing import Any

import numpy as np
import pandas as pd
from tqdm.auto import tqdm

from lib.attacks import trigger_types
from lib.choices import attacks_on
from lib.planning import PARTNERS
from lib.scoring import Model, Score
from lib.study import Study

COEFFICIENTS = tuple(round(float(value), 2) for value in np.linspace(0, 1, 11))


def story_table(study: Study, task: str, attack: str, seed: int = 0) -> pd.DataFrame:
    """Table `00_story`: the clean model, the backdoored one, and its average with the models of all other domains."""
    train_victims(study, [(task, attack, seed)], ["other_domains"])
    backdoored, clean = victim(study, task, attack, seed)
    merged = study.merge([backdoored, *study.partners(task, "other_domains", seed)])
    models = {"clean": clean, "backdoored": backdoored, "merged": merged}
    what = {"task": task, "attack": attack, "seed": seed}
    return pd.DataFrame(
        [{"model": name, **what, **rates(study.score(model, task, attack, seed))} for name, model in models.items()]
    )


def tasks_table(study: Study, tasks: Sequence[str]) -> pd.DataFrame:
    """Table `01_tasks`: the tasks and their other domains, as loaded."""
    rows = []
    for name in [dataset for task in tasks for dataset in (task, *study.other_domains(task))]:
        data = study.task(name)
        splits = {split: study.rows(name, split) for split in ("train", "validation", "test")}
        rows.append(
            {
                "task": data.task,
                "dataset": name,
                "source": data.source,
                "labels": ", ".join(data.label_names),
                **{f"n_{split}": len(frame) for split, frame in splits.items()},
                "target_label": data.label_names[data.target_label],
                "mean_words": float(splits["train"]["text"].str.split().str.len().mean()),
                "target_share": float((splits["train"]["label"] == data.target_label).mean()),
            }
        )
    return pd.DataFrame(rows)


def transfer_table(study: Study, task: str, seed: int = 0) -> pd.DataFrame:
    """Table `01_transfer`: accuracy of a clean model of each domain (`trained_on`) on each domain's test set (`tested_on`)."""
    names = [task, *study.other_domains(task)]
    models = study.train([study.recipe(name, seed=seed) for name in names])
    pairs = [(model, trained, tested) for model, trained in zip(models, names, strict=True) for tested in names]
    rows = []
    for model, trained_on, tested_on in progress(pairs):
        score = study.score(model, tested_on)
        rows.append({"task": task, "trained_on": trained_on, "tested_on": tested_on, "seed": seed, "cacc": score.cacc})
    return pd.DataFrame(rows)


def attacks_table(study: Study, tasks: Sequence[str], attacks: Sequence[str], skip: str = "") -> pd.DataFrame:
    """Table `03_attacks`: backdoored models beside the clean model of the same seed, whose ASR is the floor."""
    cases = [(task, attack, seed) for task in tasks for seed in study.seeds for attack in attacks_on(task, attacks, skip)]
    train_victims(study, cases)
    rows = []
    for task, attack, seed in progress(cases):
        backdoored, clean, recipe = *victim(study, task, attack, seed), study.recipe(task, attack, seed)
        score, floor = study.score(backdoored, task, attack, seed), study.score(clean, task, attack, seed)
        rows.append(
            {
                "task": task,
                "attack": attack,
                "target_label": recipe.trigger.target_label if recipe.trigger else None,
                "poisoning_rate": recipe.poisoning_rate,
                "seed": seed,
                "n_clean": score.n_clean,
                "n_triggered": score.n_triggered,
                **rates(score),
                "clean_model_cacc": floor.cacc,
                "asr_floor": floor.asr,
                "trigger_source": "published" if recipe.trigger and recipe.trigger.published else "fitted",
                "regime": recipe.regime or trigger_types()[attack].regime,
                "flip_rate": score.flip_rate,
                "share_changed": score.share_changed,
                "distance": backdoored.record["distance"],
                "clean_model_distance": clean.record["distance"],
                "is_stable": not backdoored.record["instability"],
                "floor_hits": floor.hits,
                "clean_correct": floor.correct,
            }
        )
    return pd.DataFrame(rows)


def loss_curves(study: Study, task: str, attacks: Sequence[str], seed: int = 0) -> pd.DataFrame:
    """Table `03_loss_curves`: training losses of the clean, the backdoored and the other-domain models of one seed."""
    recipes = [study.recipe(task, attack, seed) for attack in (None, *attacks)]
    recipes += study.partner_recipes(task, "other_domains", seed)
    frames = []
    for recipe, model in zip(recipes, study.train(recipes), strict=True):
        record = model.record
        what = {"dataset": recipe.data.dataset, "attack": recipe.trigger.attack if recipe.trigger else "clean", "seed": seed}
        curve = {"step": record["steps"], "loss": record["losses"]}
        rest = {"chance_loss": record["chance_loss"], "distance": record["distance"], "instability": record["instability"]}
        frames.append(pd.DataFrame(curve).assign(**what, **rest))
    return pd.concat(frames, ignore_index=True)


def merging_table(study: Study, task: str, attacks: Sequence[str]) -> pd.DataFrame:
    """Table `04_merging`: uniform averages of a backdoored model with 0, 1, 2, ... clean ones; `n_models` counts all."""
    cases = [(task, attack, seed) for seed in study.seeds for attack in attacks]
    train_victims(study, cases, PARTNERS)
    steps = []
    for _, attack, seed in cases:
        for partners in PARTNERS:
            others = study.partners(task, partners, seed)
            steps += [(attack, seed, partners, others[:n]) for n in range(len(others) + 1)]
    rows = []
    for attack, seed, partners, others in progress(steps):
        backdoored, clean = victim(study, task, attack, seed)
        before, floor = study.score(backdoored, task, attack, seed), study.score(clean, task, attack, seed)
        score = study.score(study.merge([backdoored, *others]), task, attack, seed) if others else before
        rows.append(
            {
                **{"task": task, "attack": attack, "merge_method": "weight_average", "partners": partners},
                **{"n_models": 1 + len(others), "seed": seed, **rates(score)},
                **{"backdoored_cacc": before.cacc, "backdoored_asr": before.asr, "asr_floor": floor.asr},
                **{"clean_model_cacc": floor.cacc, "excess_asr": score.asr - floor.asr},
            }
        )
    return pd.DataFrame(rows)


def coefficient_table(
    study: Study,
    task: str,
    attacks: Sequence[str],
    partners: Sequence[str] = PARTNERS,
    coefficients: Sequence[float] = COEFFICIENTS,
    seeds: Sequence[int] | None = None,
    **training: float,
) -> pd.DataFrame:
    """Table `06_coefficient`: interpolation from the backdoored model (0) to its partner (1).

    The partner is one clean model of the same task, or the uniform average of the other domains' models. `training` changes
    the *victim's* fine-tuning only, e.g. `learning_rate`.
    """
    cases = [(task, attack, seed) for seed in (study.seeds if seeds is None else seeds) for attack in attacks]
    train_victims(study, cases, partners, **training)
    steps = [(attack, seed, kind, value) for _, attack, seed in cases for kind in partners for value in coefficients]
    rows = []
    for attack, seed, kind, coefficient in progress(steps):
        backdoored, clean = victim(study, task, attack, seed, **training)
        others = study.partners(task, kind, seed)
        others = others[:1] if kind == "same_task" else others
        weights = [1 - coefficient, *[coefficient / len(others)] * len(others)]
        model: Model = study.merge([backdoored, *others], weights=weights) if coefficient else backdoored
        score = study.score(model, task, attack, seed)
        rows.append(
            {
                **{"task": task, "attack": attack, "partners": kind, "coefficient": coefficient, "seed": seed},
                **rates(score),
                "clean_loss": score.clean_loss,
                "asr_floor": study.score(clean, task, attack, seed).asr,
                "distance": backdoored.record["distance"],
                "instability": backdoored.record["instability"],
            }
        )
    return pd.DataFrame(rows)


def domains_table(study: Study, task: str, attacks: Sequence[str]) -> pd.DataFrame:
    """Table `07_domains`: uniform averages of a backdoored model with every subset of the other domains' models."""
    cases = [(task, attack, seed) for seed in study.seeds for attack in attacks]
    train_victims(study, cases, ["other_domains"])
    names = study.other_domains(task)
    subsets = [subset for n in range(len(names) + 1) for subset in combinations(range(len(names)), n)]
    rows = []
    for (_, attack, seed), subset in progress([(case, subset) for case in cases for subset in subsets]):
        backdoored, clean = victim(study, task, attack, seed)
        others = study.partners(task, "other_domains", seed)
        model: Model = study.merge([backdoored, *[others[i] for i in subset]]) if subset else backdoored
        score = study.score(model, task, attack, seed)
        rows.append(
            {
                **{"task": task, "attack": attack, "n_domains": len(subset)},
                **{"domains": "+".join(names[i] for i in subset) or "none", "seed": seed, **rates(score)},
                **{"asr_floor": study.score(clean, task, attack, seed).asr},
            }
        )
    return pd.DataFrame(rows)


# --- shared steps ------------------------------------------------------------------------------------------------------


def train_victims(study: Study, cases: Iterable[tuple[str, str, int]], partners: Sequence[str] = (), **training: Any) -> None:
    """Train everything that the cases need in one parallel call."""
    recipes = []
    for task, attack, seed in cases:
        recipes += [study.recipe(task, attack, seed, **training), study.recipe(task, seed=seed)]
        recipes += [recipe for kind in partners for recipe in study.partner_recipes(task, kind, seed)]
    study.train(recipes)
    study.prepare_tests(recipes)


def victim(study: Study, task: str, attack: str, seed: int, **training: Any) -> tuple[Any, Any]:
    """The backdoored model (with its own training settings) and the clean model of the same task and seed."""
    return study.model(task, attack, seed, **training), study.model(task, seed=seed)


def rates(score: Score) -> dict[str, Any]:
    """The columns of a score."""
    return {"cacc": score.cacc, "asr": score.asr, "correct": score.correct, "hits": score.hits}


def progress(steps: Sequence[Any]) -> Iterable[Any]:
    """A bar over things to score."""
    return tqdm(steps, desc="scoring", unit="score", leave=False)
