"""How each recipe becomes files. These functions run in worker processes: all they need travels as arguments."""

from __future__ import annotations

import inspect
import json
from dataclasses import dataclass, field, replace
from functools import cached_property
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd

from lib import paths
from lib.attacks import ATTACKS, Trigger, load_trigger, poison, save_trigger, trigger_types, triggered_test
from lib.attacks.poisoning import halved
from lib.attacks.published import PublishedAttack, load_published, load_published_test
from lib.datasets import data_fingerprint, dealt_sample, draw_number, format_texts, part_of, rows_of_seed, task_spec
from lib.models.pretrained import fingerprint, remember_content
from lib.profiles import Profile
from lib.study.plugins import load_plugins, resolve_plugins
from lib.study.recipes import DataRecipe, DefenseRecipe, ModelRecipe, TriggeredRecipe, TriggerRecipe
from lib.study.store import Store
from lib.study.texts import TextsRecipe

TRIGGER_FILE, ROWS_FILE = "trigger.json", "rows.json"
# Streams of random numbers that must not depend on each other, drawn from one seed.
POISON_STREAM, TRIGGERED_STREAM = 1, 2


@dataclass(frozen=True)
class Locations:
    """Where data, pretrained models and artifacts lie: needed to make an artifact, but no part of what it is.

    Attributes:
        models: where content lies that recipes name by fingerprint or key: pretrained models of this study and its variants,
            and models of elsewhere.
        plugins: modules that every worker imports first.
    """

    data_dir: Path | None
    cache_dir: Path
    models: dict[str, str] = field(default_factory=dict)
    plugins: tuple[str, ...] = ()

    @cached_property
    def store(self) -> Store:
        """The store under `cache_dir`; one object, which remembers what it has checked."""
        return Store(self.cache_dir)

    def pretrained(self, content: str) -> str:
        """Folder or name of the pretrained model that a recipe means.

        Raises:
            ValueError: for a model that this study does not know, or whose files changed.
        """
        if content not in self.models:
            raise ValueError(
                f"the recipe's pretrained model {content} is unknown here: this study has {sorted(self.models.values())}; "
                "train a variant's recipes with the variant, or with the study that it came from"
            )
        if fingerprint(self.models[content]) != content:
            raise ValueError(f"the files of {self.models[content]!r} changed while the study was running; start it again")
        return self.models[content]

    def model_folder(self, key: str) -> Path:
        """The folder of a model: of the store, or of elsewhere."""
        return Path(self.models[key]) if key in self.models else self.store.root / key


def find_locations(profile: Profile, data_dir: str | Path = "", cache_dir: str | Path = "") -> Locations:
    """The locations of a study, its plugins imported; an empty folder means the environment's, or the default.

    Raises:
        ValueError: for a data folder that does not exist, or a plugin that cannot be imported.
    """
    folder = Path(data_dir).expanduser().resolve() if data_dir else paths.data_dir()
    if profile.source == "real" and folder is not None and not folder.is_dir():
        raise ValueError(f"data folder {folder} does not exist; name a folder of datasets, or unset FREE_LUNCH_DATA")
    cache = Path(cache_dir).expanduser().resolve() if cache_dir else paths.cache_dir()
    plugins = resolve_plugins(profile.plugins)
    load_plugins(plugins)
    return Locations(folder, cache, plugins=plugins)


def given_to(defense: DefenseRecipe, seed: int, locations: Locations) -> dict[str, Any]:
    """What a defense gets beside its settings if it names it: a seed, and where the models lie that its recipe identifies."""
    found = {"masked_lm": defense.masked_lm, "causal_lm": defense.causal_lm, "pretrained": defense.pretrained}
    return {"seed": seed} | {name: locations.pretrained(content) for name, content in found.items() if content}


def load_rows(recipe: DataRecipe, locations: Locations) -> pd.DataFrame:
    """The rows of a recipe. Texts of Pocket English are generated once and kept in the store: drawing them takes seconds.

    Raises:
        ValueError: when the files are no longer those of the recipe.
    """
    return kept_rows(recipe, locations) if recipe.source == "pocket" else _drawn_rows(recipe, locations)


def kept_rows(recipe: DataRecipe, locations: Locations) -> pd.DataFrame:
    """As `load_rows`, always from the store: scores ask for the same few rows in every notebook, and for none of the others."""
    if recipe.n == 0:  # all there is: a second copy of a large dataset would help nobody
        return _drawn_rows(recipe, locations)
    folder = locations.store.get_or_make(recipe, lambda folder: _save_rows(_drawn_rows(recipe, locations), folder))
    return _read_rows(folder)


def load_texts(recipe: TextsRecipe, locations: Locations) -> pd.DataFrame:
    """The texts of a recipe, part after part, without a label.

    Raises:
        ValueError: for a part with fewer rows than the recipe takes of each.
    """
    frames = [load_rows(part, locations) for part in recipe.parts]
    for part, frame in zip(recipe.parts, frames, strict=True):
        if len(frame) < recipe.n:
            raise ValueError(f"{part.dataset} has {len(frame)} rows, but {recipe.n} texts are wanted of it; ask for fewer")
    texts = pd.concat([frame.head(recipe.n) for frame in frames], ignore_index=True)
    return texts.drop(columns="label", errors="ignore")


def _drawn_rows(recipe: DataRecipe, locations: Locations) -> pd.DataFrame:
    check_files(recipe, locations)
    drawn = (recipe.dataset, recipe.source, recipe.split, recipe.n, recipe.seed)
    rows = rows_of_seed(*drawn, locations.data_dir, recipe.pair_mode, recipe.text_format, recipe.n_partners)
    return part_of(rows, recipe.kept, recipe.without_label)


def check_files(recipe: DataRecipe, locations: Locations) -> None:
    """Raise a `ValueError` when a dataset's files are no longer those of the recipe."""
    if data_fingerprint(recipe.dataset, recipe.source, locations.data_dir) != recipe.fingerprint:
        raise ValueError(f"the files of dataset {recipe.dataset!r} changed while the study was running; start it again")


def _save_rows(frame: pd.DataFrame, folder: Path) -> None:
    columns = {name: frame[name].tolist() for name in frame}
    (folder / ROWS_FILE).write_text(json.dumps(columns, ensure_ascii=False), encoding="utf-8")


def _read_rows(folder: Path) -> pd.DataFrame:
    return pd.DataFrame(json.loads((folder / ROWS_FILE).read_text(encoding="utf-8")))


def fitted_trigger(recipe: TriggerRecipe, locations: Locations) -> Trigger:
    """The trigger of a recipe, fitted now or read from the store.

    Raises:
        ValueError: for published texts, which no function made that could be applied to others.
    """
    if recipe.published:
        raise ValueError(f"{recipe.attack!r} on {recipe.data.dataset!r} are published texts: they fit no other text")

    def make(folder: Path) -> None:
        fit_trigger = ATTACKS[recipe.attack]
        # What a fit needs beyond its settings it names as an argument.
        available = {
            "masked_lm": recipe.masked_lm and locations.pretrained(recipe.masked_lm),
            "pretrained": recipe.pretrained and locations.pretrained(recipe.pretrained),
            "precision": recipe.precision,
            "rng": np.random.default_rng([recipe.seed, POISON_STREAM]),  # as in `poisoned_rows`: the same rows are drawn
        }
        needed = {name: value for name, value in available.items() if name in inspect.signature(fit_trigger).parameters}
        train = load_rows(recipe.data, locations)
        trigger = fit_trigger(train, recipe.target_label, seed=recipe.seed, **dict(recipe.settings), **needed)
        save_trigger(trigger, folder / TRIGGER_FILE)

    resources = {"masked_lm": recipe.masked_lm and locations.pretrained(recipe.masked_lm)}
    return load_trigger(locations.store.get_or_make(recipe, make) / TRIGGER_FILE, trigger_types(), resources)


def published_attack(recipe: TriggerRecipe, locations: Locations) -> PublishedAttack:
    """The published files of a recipe, their texts in the recipe's format.

    Raises:
        ValueError: when the files are no longer those of the recipe.
    """
    check_files(recipe.data, locations)
    n_labels = len(task_spec(recipe.data.dataset, recipe.data.source, locations.data_dir).label_names)
    load = load_published_test if recipe.test_only else load_published
    published = load(locations.data_dir, recipe.data.dataset, recipe.attack, n_labels, recipe.target_label)
    if published.fingerprint != recipe.published:
        raise ValueError(f"the published files of {recipe.attack!r} changed while the study was running; start it again")
    train, triggered = (format_texts(frame, recipe.data.text_format) for frame in (published.train, published.triggered))
    # Published files are tokenised in other ways than their originals: another writing is no change.
    same = format_texts(triggered.dropna(subset=["original"]), "treebank").eval("text == original")
    changed = (~same).reindex(triggered.index)
    return replace(published, train=train, triggered=triggered.assign(is_changed=changed.astype(float)))


def poisoned_rows(recipe: ModelRecipe, locations: Locations) -> pd.DataFrame:
    """The training set of a model: clean, or poisoned with its trigger (column `is_poisoned`)."""
    if recipe.trigger is None:
        return load_rows(recipe.data, locations)
    if recipe.trigger.test_only:
        attacked = f"{recipe.trigger.attack!r} on {recipe.data.dataset!r}"
        raise ValueError(f"the published texts of {attacked} are test texts: no model can be trained on them")
    if recipe.trigger.published:
        train = published_attack(recipe.trigger, locations).train
        # Both the labels and the poisoned rows keep their shares.
        strata = train.assign(true_label=train["label"], label=2 * train["label"] + train["is_poisoned"])
        drawn = dealt_sample(strata, recipe.data.n, draw_number(recipe.data.seed, recipe.data.n_partners))
        return drawn.assign(label=drawn.pop("true_label"))
    train = load_rows(recipe.data, locations)
    rng = np.random.default_rng([recipe.trigger.seed, POISON_STREAM])
    trigger = fitted_trigger(recipe.trigger, locations)
    target, rate, regime = recipe.trigger.target_label, recipe.poisoning_rate, recipe.regime
    negatives: dict[str, Any] = {"negatives": recipe.negatives, "negatives_rate": recipe.negatives_rate}
    poisoned = poison(train, trigger, rate, target, rng, regime, **negatives)
    if second := recipe.second:
        poisoned = poison(poisoned, fitted_trigger(second, locations), rate, second.target_label, rng, regime)
    return halved(train, poisoned, recipe.placebo) if recipe.placebo else poisoned


def triggered_rows(data: DataRecipe, recipe: TriggerRecipe, locations: Locations) -> pd.DataFrame:
    """The triggered test set: the same texts, kept in the store, for every model that is scored with this trigger."""
    if recipe.published:
        return published_attack(recipe, locations).triggered

    def make(folder: Path) -> None:
        rng = np.random.default_rng([recipe.seed, TRIGGERED_STREAM])
        test = load_rows(data, locations)
        _save_rows(triggered_test(test, fitted_trigger(recipe, locations), recipe.target_label, rng), folder)

    return _read_rows(locations.store.get_or_make(TriggeredRecipe(data, recipe), make))


def prepare_worker(locations: Locations, n_threads: int | None) -> None:
    """What every job does first: import the plugins, learn where the models lie, and take its share of the cores."""
    load_plugins(locations.plugins)
    remember_content(locations.models)
    if n_threads:
        import torch

        torch.set_num_threads(n_threads)


def make_triggered(recipe: TriggeredRecipe, locations: Locations, n_threads: int | None = None) -> str:
    """Put a trigger into a test set unless the store has it; returns a name for the progress bar."""
    prepare_worker(locations, n_threads)
    triggered_rows(recipe.data, recipe.trigger, locations)
    return f"{recipe.data.dataset} {recipe.trigger.attack} seed {recipe.trigger.seed}"
