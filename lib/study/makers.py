"""How models become files: fine-tuned, derived from others, measured. These functions run in worker processes."""

from __future__ import annotations

import json
import shutil
import time
from collections.abc import Callable
from dataclasses import replace
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from lib.attacks import Backdoor
from lib.datasets import task_spec
from lib.defenses import get_defense
from lib.models.saving import save_config, save_model, save_tokenizer
from lib.study.artifacts import Locations, fitted_trigger, given_to, load_rows, load_texts, poisoned_rows, prepare_worker
from lib.study.derived import get_derivation
from lib.study.recipes import DataRecipe, DerivedRecipe, InitialRecipe, ModelRecipe, Recipe, StatisticsRecipe
from lib.study.scoring import teacher_logits
from lib.study.texts import TextsRecipe

if TYPE_CHECKING:
    import pandas as pd

    from lib.models.training import TrainingRecord

RECORD_FILE = "training.json"
PART = "model_{}"  # subfolder of the models that were made together with the first


def make_checkpoint(recipe: ModelRecipe | DerivedRecipe, locations: Locations, n_threads: int | None = None) -> str:
    """Fine-tune or derive the model of a recipe unless the store has it; returns its name, for the progress bar.

    The parents of a derived model must be in the store.

    Raises:
        RuntimeError: when that fails; names the recipe.
        StoreError: when the store cannot be written.
    """
    doing = "deriving" if isinstance(recipe, DerivedRecipe) else "training"
    return _made(recipe, doing, recipe.name, partial(_make, recipe, locations), locations, n_threads)


def _make(recipe: ModelRecipe | DerivedRecipe, locations: Locations, folder: Path) -> None:
    if isinstance(recipe, DerivedRecipe):
        _derive(recipe, locations, folder)
    else:
        _make_model(recipe, locations, folder)


def _make_model(recipe: ModelRecipe, locations: Locations, folder: Path) -> None:
    from lib.models.adapters import save_adapter
    from lib.models.pretrained import load_tokenizer

    pretrained = locations.pretrained(recipe.pretrained)
    tokenizer = load_tokenizer(pretrained)
    save_tokenizer(tokenizer, folder)  # before it is used: it would keep the length at which it cut the texts
    labels = task_spec(recipe.data.dataset, recipe.data.source, locations.data_dir).label_names
    model = _new_network(InitialRecipe(recipe.pretrained, labels, recipe.head_seed, recipe.base), locations)
    is_adapter = bool(recipe.training.lora_rank) and recipe.defense is None and recipe.base is None
    keep = partial(save_adapter, folder=folder, pretrained=pretrained) if is_adapter else None
    record = _fine_tuned(model, tokenizer, poisoned_rows(recipe, locations), recipe, locations, keep)
    if is_adapter:
        save_config(model, folder)
    else:
        save_model(model, folder)
    (folder / RECORD_FILE).write_text(json.dumps(record.as_dict()), encoding="utf-8")


def _fine_tuned(
    model: Any,
    tokenizer: Any,
    train: pd.DataFrame,
    recipe: ModelRecipe,
    locations: Locations,
    on_adapted: Callable[[Any], None] | None,
) -> TrainingRecord:
    """Fine-tune a classifier as its recipe says, behind a defense of training time or without one."""
    from lib.models.training import fine_tune

    shown = _shown(train)
    if recipe.defense is None:
        return fine_tune(model, tokenizer, shown, recipe.training, recipe.seed, on_adapted=on_adapted)
    defense, settings = get_defense(recipe.defense.name), dict(recipe.defense.settings)
    given = given_to(recipe.defense, recipe.seed, locations)
    if defense.kind == "training":
        del given["seed"]  # it comes by position
        return defense.call(model, tokenizer, shown, recipe.training, recipe.seed, settings=settings, **given)
    given["training"] = recipe.training
    if defense.takes("suspicious_model"):
        given["suspicious_model"] = str(_undefended(recipe, locations))
    is_kept = np.asarray(defense.call(shown, settings=settings, **given), dtype=bool)
    if is_kept.shape != (len(shown),) or shown.loc[is_kept, "label"].nunique() < 2:
        raise ValueError(
            f"{recipe.defense.name} keeps {int(is_kept.sum())} of {len(shown)} rows with labels "
            f"{sorted(set(shown.loc[is_kept[: len(shown)], 'label']))}; at least two labels must be left"
        )
    if is_kept.all():  # the same rows in the same order: the same training, to the last bit
        return _copied(model, _undefended(recipe, locations))
    return fine_tune(model, tokenizer, shown[is_kept].reset_index(drop=True), recipe.training, recipe.seed)


def _undefended(recipe: ModelRecipe, locations: Locations) -> Path:
    """The folder of what the rows give without a defense; a table of defenses has it anyway."""
    return locations.store.get_or_make(recipe.undefended, partial(_make_model, recipe.undefended, locations))


def _copied(model: Any, folder: Path) -> TrainingRecord:
    """Put the weights of a trained model into another one of its kind; returns the record of its training."""
    from lib.models.adapters import read_weights
    from lib.models.training import TrainingRecord

    model.load_state_dict(read_weights(folder))
    return TrainingRecord(**json.loads((folder / RECORD_FILE).read_text(encoding="utf-8")))


def _shown(train: pd.DataFrame) -> pd.DataFrame:
    """Training rows as a defense sees them: none may know which of them are poisoned."""
    return train.drop(columns="is_poisoned", errors="ignore")


def _derive(recipe: DerivedRecipe, locations: Locations, folder: Path) -> None:
    """Derive a model from others; of several that are made together the first has the rest in its folder."""
    from lib.models.adapters import load_classifier, read_weights
    from lib.models.pretrained import load_tokenizer
    from lib.models.training import TrainingLog, record_of

    if recipe.part:
        first = replace(recipe, part=0)
        whole = locations.store.get_or_make(first, partial(_derive, first, locations))
        shutil.copytree(whole / PART.format(recipe.part), folder, dirs_exist_ok=True)
        return
    method, initial = recipe.method, make_initial(recipe.initial, locations) if recipe.initial else None
    derivation, folders = get_derivation(method.name), [locations.model_folder(key) for key in recipe.parents]
    is_student = derivation.takes("teacher_logits")  # it begins where `initial` says, and hears its parents instead
    read = [] if is_student else folders
    networks = [load_classifier(each) for each in read]
    rows = _rows(recipe.data, locations) if recipe.data else None
    given = given_to(method, recipe.seed, locations) | {"training": recipe.training}
    if is_student:
        given["teacher_logits"] = [teacher_logits(key, recipe, locations) for key in recipe.parents]
    if recipe.suspicious:
        given["suspicious_train"] = _shown(poisoned_rows(recipe.suspicious, locations))
    if recipe.trigger:
        given["backdoor"] = Backdoor(fitted_trigger(recipe.trigger, locations), recipe.trigger.target_label)
    if derivation.takes("initial"):
        assert initial is not None
        given["initial"] = load_classifier(initial)
    start = str(folders[0] if read else initial)
    given["log"] = log = TrainingLog()
    began = time.perf_counter()
    derived = derivation.call(networks, load_tokenizer(start), rows, settings=dict(method.settings), **given)
    seconds = time.perf_counter() - began
    for part, network in enumerate(derived if isinstance(derived, list) else [derived]):
        place = folder / PART.format(part) if part else folder
        save_tokenizer(load_tokenizer(start), place)  # a used one would keep the length at which it cut the texts
        save_model(network, place)
        if log.losses and initial:
            record = record_of(network, read_weights(initial), log.losses, log.labels, log.epochs, seconds)
            (place / RECORD_FILE).write_text(json.dumps(record.as_dict()), encoding="utf-8")


def _rows(recipe: DataRecipe | TextsRecipe, locations: Locations) -> pd.DataFrame:
    return load_texts(recipe, locations) if isinstance(recipe, TextsRecipe) else load_rows(recipe, locations)


def make_initial(recipe: InitialRecipe, locations: Locations) -> Path:
    """The folder of a classifier before fine-tuning, made now or read from the store."""

    def make(folder: Path) -> None:
        from lib.models.pretrained import load_tokenizer

        save_model(_new_network(recipe, locations), folder)
        save_tokenizer(load_tokenizer(locations.pretrained(recipe.pretrained)), folder)

    return locations.store.get_or_make(recipe, make)


def _new_network(recipe: InitialRecipe, locations: Locations) -> Any:
    """A pretrained model with a fresh head; with a base, that model's encoder under the same head."""
    from lib.models.adapters import read_weights
    from lib.models.pretrained import new_classifier

    network = new_classifier(locations.pretrained(recipe.pretrained), recipe.label_names, recipe.head_seed)
    if recipe.base:
        folder = locations.store.get_or_make(recipe.base, partial(_make, recipe.base, locations))
        prefix = f"{network.base_model_prefix}."
        encoder = {name: tensor for name, tensor in read_weights(folder).items() if name.startswith(prefix)}
        network.load_state_dict(network.state_dict() | encoder)
    return network


def make_statistics(recipe: StatisticsRecipe, locations: Locations, n_threads: int | None = None) -> str:
    """Measure a model on clean texts unless that was done; returns a name for the progress bar."""

    def make(folder: Path) -> None:
        from safetensors.torch import save_file

        from lib.models.checkpoints import WEIGHTS
        from lib.models.statistics import measure_folder

        texts = load_rows(recipe.data, locations).head(recipe.n)
        found = measure_folder(locations.model_folder(recipe.model), recipe.kind, texts, recipe.max_length)
        save_file(found, folder / WEIGHTS)

    return _made(recipe, "measuring", f"{recipe.kind} {recipe.data.dataset}", make, locations, n_threads)


def _made(
    recipe: Recipe, doing: str, name: str, make: Callable[[Path], None], locations: Locations, n_threads: int | None
) -> str:
    """Make an artifact unless the store has it; an error names what was being made. Returns the name."""
    prepare_worker(locations, n_threads)
    try:
        locations.store.get_or_make(recipe, make)
    except OSError:
        raise  # the store's own errors say what to do
    except Exception as error:
        raise RuntimeError(f"{doing} {name!r} failed: {type(error).__name__}: {error}") from error
    return name
