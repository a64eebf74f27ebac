"""How each recipe becomes files. These functions run in worker processes: all they need travels as arguments."""

from __future__ import annotations

import errno
import json
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import pandas as pd

from lib.attacks import ATTACKS, TRIGGER_TYPES, Trigger, load_trigger, poison, save_trigger, triggered_test
from lib.datasets import Task, load_task, stratified_sample
from lib.recipes import DataRecipe, ModelRecipe, TriggerRecipe
from lib.store import Store

TRIGGER_FILE, RECORD_FILE = "trigger.json", "training.json"
# Streams of random numbers that must not depend on each other, drawn from one seed.
POISON_STREAM, TRIGGERED_STREAM = 1, 2


@dataclass(frozen=True)
class Sources:
    """Where data, pretrained model and artifacts lie: needed to make an artifact, but no part of what it is."""

    data_dir: Path | None
    pretrained: str
    cache_dir: Path

    @property
    def store(self) -> Store:
        """The store under `cache_dir`."""
        return Store(self.cache_dir)


def load_data(recipe: DataRecipe, sources: Sources) -> Task:
    """All rows of the recipe's dataset.

    Raises:
        ValueError: when the files are no longer those of the recipe.
    """
    task = load_task(recipe.dataset, recipe.source, sources.data_dir, recipe.pair_mode)
    if task.fingerprint != recipe.fingerprint:
        raise ValueError(f"the files of dataset {recipe.dataset!r} changed while the study was running; start it again")
    return task


def load_rows(recipe: DataRecipe, sources: Sources) -> pd.DataFrame:
    """The drawn rows of the recipe's split."""
    return stratified_sample(getattr(load_data(recipe, sources), recipe.split), recipe.n, recipe.seed)


def fitted_trigger(recipe: TriggerRecipe, sources: Sources) -> Trigger:
    """The trigger of a recipe, fitted now or read from the store."""

    def make(folder: Path) -> None:
        train = load_rows(recipe.data, sources)
        trigger = ATTACKS[recipe.attack](train, recipe.target_label, seed=recipe.seed, **dict(recipe.settings))
        save_trigger(trigger, folder / TRIGGER_FILE)

    return load_trigger(sources.store.get_or_make(recipe, make) / TRIGGER_FILE, TRIGGER_TYPES)


def poisoned_rows(recipe: ModelRecipe, sources: Sources) -> pd.DataFrame:
    """The training set of a model: clean, or poisoned with its trigger (column `is_poisoned`)."""
    train = load_rows(recipe.data, sources)
    if recipe.trigger is None:
        return train
    rng = np.random.default_rng([recipe.trigger.seed, POISON_STREAM])
    trigger = fitted_trigger(recipe.trigger, sources)
    return poison(train, trigger, recipe.poisoning_rate, recipe.trigger.target_label, rng)


def triggered_rows(data: DataRecipe, recipe: TriggerRecipe, sources: Sources) -> pd.DataFrame:
    """The triggered test set: the same texts for every model that is scored with this trigger."""
    test = load_rows(data, sources)
    rng = np.random.default_rng([recipe.seed, TRIGGERED_STREAM])
    return triggered_test(test, fitted_trigger(recipe, sources), recipe.target_label, rng)


def make_checkpoint(recipe: ModelRecipe, sources: Sources, n_threads: int | None = None) -> str:
    """Fine-tune the model of a recipe unless the store has it; returns the recipe's name, for the progress bar.

    Raises:
        RuntimeError: when the training fails; names the recipe.
        StoreError: when the store cannot be written.
    """

    def make(folder: Path) -> None:
        import torch
        from safetensors import SafetensorError

        from lib.models import load_tokenizer, new_classifier, quiet_transformers
        from lib.training import fine_tune

        if n_threads:
            torch.set_num_threads(n_threads)
        tokenizer = load_tokenizer(sources.pretrained)
        label_names = load_data(recipe.data, sources).label_names
        model = new_classifier(sources.pretrained, label_names, recipe.head_seed)
        record = fine_tune(model, tokenizer, poisoned_rows(recipe, sources), recipe.training, recipe.seed)
        try:
            with quiet_transformers():
                model.save_pretrained(folder)
                tokenizer.save_pretrained(folder)
        except SafetensorError as error:  # it hides the system's error number
            is_full = "No space left" in str(error)
            raise OSError(errno.ENOSPC if is_full else errno.EIO, str(error)) from error
        (folder / RECORD_FILE).write_text(json.dumps(record.as_dict()), encoding="utf-8")

    try:
        sources.store.get_or_make(recipe, make)
    except OSError:
        raise  # the store's own errors say what to do
    except Exception as error:
        raise RuntimeError(f"training {recipe.name!r} failed: {type(error).__name__}: {error}") from error
    return recipe.name
