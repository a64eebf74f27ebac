"""Encoders that were given a masked-LM head, kept in the store: equal settings are found again, a killed training goes on."""

from __future__ import annotations

import json
from collections.abc import Callable, Sequence
from dataclasses import asdict
from pathlib import Path
from typing import TYPE_CHECKING, Any

from lib.datasets import UnlabelledTexts, unlabelled_texts
from lib.folders import read_json
from lib.models.pretrained import fingerprint
from lib.models.saving import save_model, save_tokenizer
from lib.study.recipes import MaskedLMRecipe, as_settings
from lib.study.store import Store

if TYPE_CHECKING:
    from lib.models.adapting import AdaptingSettings

ADAPTED_RECORD = "masked_lm.json"


def adapted_masked_lm(
    pretrained: str,
    names: Sequence[str],
    settings: AdaptingSettings,
    *,
    data_dir: Path | None,
    store: Store,
    report: Callable[[int, float], None] | None = None,
) -> Path:
    """The folder of an encoder with a masked-LM head, made now or found in the store; its record is in `ADAPTED_RECORD`.

    Args:
        pretrained: a folder or Hub id of an encoder without such a head.
        names: of datasets in the data folder; their order does not matter.
        settings: of the training.
        data_dir: the data folder.
        store: where the result lies, and until then the state of the training.
        report: as for `lib.models.adapting.adapt`; not called for what is found.

    Raises:
        ValueError: for a model, dataset or setting that cannot be used; says why.
        StoreError: when the store cannot be written.
    """
    if len(set(names)) < len(names):
        raise ValueError(f"the datasets are {list(names)}; name each once")
    texts = {name: unlabelled_texts(name, data_dir) for name in sorted(names)}
    settings = settings.resolved()
    fingerprints = tuple((name, each.fingerprint) for name, each in texts.items())
    recipe = MaskedLMRecipe(fingerprint(pretrained), fingerprints, as_settings(asdict(settings)))
    kept = store.root / f".{recipe.key}.progress"  # beside the unfinished folder, which a killed run loses

    def make(folder: Path) -> None:
        from lib.models.pretrained import load_tokenizer

        save_tokenizer(load_tokenizer(pretrained), folder)  # before it is used: it keeps the length at which it cut the texts
        model, record = _adapted(pretrained, texts, settings, report, kept, recipe)
        save_model(model, folder)
        (folder / ADAPTED_RECORD).write_text(json.dumps(record, indent=1), encoding="utf-8")
        for file in (kept, *store.root.glob(f".{recipe.key}.*.partial")):  # of runs that were killed while they wrote a state
            file.unlink(missing_ok=True)

    return store.get_or_make(recipe, make)


def read_adapted(folder: Path) -> dict[str, Any]:
    """The record of a folder from `adapted_masked_lm`."""
    return read_json(folder / ADAPTED_RECORD)


def _adapted(
    pretrained: str,
    texts: dict[str, UnlabelledTexts],
    settings: AdaptingSettings,
    report: Callable[[int, float], None] | None,
    kept: Path,
    recipe: MaskedLMRecipe,
) -> tuple[Any, dict[str, Any]]:
    """The model and its record, with what only the study knows: fingerprints, and where the held-out texts are from."""
    import torch

    from lib.models.adapting import N_REPORTS, TextsOfDataset, adapt
    from lib.models.progress import Progress

    progress = Progress(kept, f"{recipe.key} {torch.__version__}", -(-settings.n_steps // N_REPORTS))
    given = {name: TextsOfDataset(each.train, each.held_out) for name, each in texts.items()}
    model, record = adapt(pretrained, given, settings, report, progress)
    for name, each in texts.items():
        source = "training texts set aside" if each.is_set_aside else "validation texts"
        record["texts"][name] |= {"fingerprint": each.fingerprint, "held_out": source}
    return model, {"pretrained": recipe.pretrained} | record
