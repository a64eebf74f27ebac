"""Tidy tables of the study: one row per measured thing, rates as fractions, columns named as in the field.

Functions train what is missing, score, and return a frame. The columns `correct` and `hits` hold one outcome per test example
for intervals; they are not written to files.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from typing import Any

import pandas as pd
from tqdm.auto import tqdm

from lib.attacks import trigger_types
from lib.choices import attacks_on
from lib.scoring import Score
from lib.study import Study


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
    return tqdm(steps, desc="scoring", unit="score", leave=False, delay=1)
