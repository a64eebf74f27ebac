"""How each recipe becomes files. These functions run in worker processes: all they need travels as arguments."""

from __future__ import annotations

import errno
import inspect
import json
from dataclasses import dataclass, replace
from pathlib import Path

import numpy as np
import pandas as pd

from lib.attacks import ATTACKS, Trigger, load_trigger, poison, save_trigger, trigger_types, triggered_test
from lib.attacks.published import PublishedAttack, load_published
from lib.datasets import Dataset, format_texts, load_dataset, stratified_sample
from lib.study.recipes import DataRecipe, InitialRecipe, ModelRecipe, StatisticsRecipe, TriggeredRecipe, TriggerRecipe
from lib.study.store import Store

TRIGGER_FILE, RECORD_FILE, TEXTS_FILE = "trigger.json", "training.json", "texts.json"
# Streams of random numbers that must not depend on each other, drawn from one seed.
POISON_STREAM, TRIGGERED_STREAM = 1, 2


@dataclass(frozen=True)
class Locations:
    """Where data, pretrained model and artifacts lie: needed to make an artifact, but no part of what it is."""

    data_dir: Path | None
    pretrained: str
    cache_dir: Path
    masked_lm: str = ""  # "": the pretrained model itself

    @property
    def store(self) -> Store:
        """The store under `cache_dir`."""
        return Store(self.cache_dir)


def load_data(recipe: DataRecipe, locations: Locations) -> Dataset:
    """All rows of the recipe's dataset.

    Raises:
        ValueError: when the files are no longer those of the recipe.
    """
    task = load_dataset(recipe.dataset, recipe.source, locations.data_dir, recipe.pair_mode, recipe.text_format)
    if task.fingerprint != recipe.fingerprint:
        raise ValueError(f"the files of dataset {recipe.dataset!r} changed while the study was running; start it again")
    return task


def load_rows(recipe: DataRecipe, locations: Locations) -> pd.DataFrame:
    """The drawn rows of the recipe's split."""
    return stratified_sample(getattr(load_data(recipe, locations), recipe.split), recipe.n, recipe.seed)


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
            "masked_lm": locations.masked_lm or locations.pretrained,
            "pretrained": locations.pretrained,
            "rng": np.random.default_rng([recipe.seed, POISON_STREAM]),  # as in `poisoned_rows`: the same rows are drawn
        }
        needed = {name: value for name, value in available.items() if name in inspect.signature(fit_trigger).parameters}
        train = load_rows(recipe.data, locations)
        trigger = fit_trigger(train, recipe.target_label, seed=recipe.seed, **dict(recipe.settings), **needed)
        save_trigger(trigger, folder / TRIGGER_FILE)

    return load_trigger(locations.store.get_or_make(recipe, make) / TRIGGER_FILE, trigger_types())


def published_attack(recipe: TriggerRecipe, locations: Locations) -> PublishedAttack:
    """The published files of a recipe, their texts in the recipe's format.

    Raises:
        ValueError: when the files are no longer those of the recipe.
    """
    task = load_data(recipe.data, locations)
    published = load_published(
        locations.data_dir, recipe.data.dataset, recipe.attack, len(task.label_names), recipe.target_label
    )
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
    if recipe.trigger.published:
        train = published_attack(recipe.trigger, locations).train
        # Both the labels and the poisoned rows keep their shares.
        strata = train.assign(true_label=train["label"], label=2 * train["label"] + train["is_poisoned"])
        drawn = stratified_sample(strata, recipe.data.n, recipe.data.seed)
        return drawn.assign(label=drawn.pop("true_label"))
    train = load_rows(recipe.data, locations)
    rng = np.random.default_rng([recipe.trigger.seed, POISON_STREAM])
    trigger = fitted_trigger(recipe.trigger, locations)
    return poison(train, trigger, recipe.poisoning_rate, recipe.trigger.target_label, rng, recipe.regime)


def triggered_rows(data: DataRecipe, recipe: TriggerRecipe, locations: Locations) -> pd.DataFrame:
    """The triggered test set: the same texts, kept in the store, for every model that is scored with this trigger."""
    if recipe.published:
        return published_attack(recipe, locations).triggered
    test = load_rows(data, locations)

    def make(folder: Path) -> None:
        rng = np.random.default_rng([recipe.seed, TRIGGERED_STREAM])
        triggered = triggered_test(test, fitted_trigger(recipe, locations), recipe.target_label, rng)
        (folder / TEXTS_FILE).write_text(json.dumps(triggered["text"].tolist(), ensure_ascii=False), encoding="utf-8")

    folder = locations.store.get_or_make(TriggeredRecipe(data, recipe), make)
    texts = json.loads((folder / TEXTS_FILE).read_text(encoding="utf-8"))
    return triggered_test(test, lambda _texts, _rng: texts, recipe.target_label, np.random.default_rng(0))


def make_triggered(recipe: TriggeredRecipe, locations: Locations, n_threads: int | None = None) -> str:
    """Put a trigger into a test set unless the store has it; returns a name for the progress bar."""
    if n_threads:
        import torch

        torch.set_num_threads(n_threads)
    triggered_rows(recipe.data, recipe.trigger, locations)
    return f"{recipe.data.dataset} {recipe.trigger.attack} seed {recipe.trigger.seed}"


def make_checkpoint(recipe: ModelRecipe, locations: Locations, n_threads: int | None = None) -> str:
    """Fine-tune the model of a recipe unless the store has it; returns the recipe's name, for the progress bar.

    Raises:
        RuntimeError: when the training fails; names the recipe.
        StoreError: when the store cannot be written.
    """

    def make(folder: Path) -> None:
        import torch
        from safetensors import SafetensorError

        from lib.models.checkpoints import load_tokenizer, new_classifier, quiet_transformers
        from lib.models.training import fine_tune

        if n_threads:
            torch.set_num_threads(n_threads)
        tokenizer = load_tokenizer(locations.pretrained)
        with quiet_transformers():
            tokenizer.save_pretrained(folder)  # before it is used: it would keep the length at which it cut the texts
        label_names = load_data(recipe.data, locations).label_names
        model = new_classifier(locations.pretrained, label_names, recipe.head_seed)
        record = fine_tune(model, tokenizer, poisoned_rows(recipe, locations), recipe.training, recipe.seed)
        try:
            with quiet_transformers():
                model.save_pretrained(folder)
        except SafetensorError as error:  # it hides the system's error number
            is_full = "No space left" in str(error)
            raise OSError(errno.ENOSPC if is_full else errno.EIO, str(error)) from error
        (folder / RECORD_FILE).write_text(json.dumps(record.as_dict()), encoding="utf-8")

    try:
        locations.store.get_or_make(recipe, make)
    except OSError:
        raise  # the store's own errors say what to do
    except Exception as error:
        raise RuntimeError(f"training {recipe.name!r} failed: {type(error).__name__}: {error}") from error
    return recipe.name


def make_initial(recipe: InitialRecipe, locations: Locations) -> Path:
    """The folder of a classifier before fine-tuning, made now or read from the store."""

    def make(folder: Path) -> None:
        from lib.models.checkpoints import load_tokenizer, new_classifier, quiet_transformers

        with quiet_transformers():
            new_classifier(locations.pretrained, recipe.label_names, recipe.head_seed).save_pretrained(folder)
            load_tokenizer(locations.pretrained).save_pretrained(folder)

    return locations.store.get_or_make(recipe, make)


def make_statistics(recipe: StatisticsRecipe, locations: Locations, n_threads: int | None = None) -> str:
    """Measure a model of the store on clean texts unless that was done; returns a name for the progress bar."""

    def make(folder: Path) -> None:
        import torch
        from safetensors.torch import save_file

        from lib.models.checkpoints import WEIGHTS
        from lib.models.statistics import measure_folder

        if n_threads:
            torch.set_num_threads(n_threads)
        texts = load_rows(recipe.data, locations).head(recipe.n)
        found = measure_folder(locations.store.root / recipe.model, recipe.kind, texts, recipe.max_length)
        save_file(found, folder / WEIGHTS)

    locations.store.get_or_make(recipe, make)
    return f"{recipe.kind} {recipe.data.dataset}"
