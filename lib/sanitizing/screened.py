"""Screen, then merge: which models are left out is found first, and the others are merged."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

import pandas as pd

from lib.sanitizing.model_folders import open_models
from lib.sanitizing.plan import Plan
from lib.sanitizing.screening import Screening, screen
from lib.sanitizing.texts import read_texts


def screen_then_merge(
    names: Sequence[str],
    method: str,
    *,
    pretrained: str | None = None,
    texts: Path | None = None,
    same_labels: bool = False,
    permute_heads: bool = False,
    **settings: Any,
) -> tuple[Screening, Plan]:
    """Screen model folders and plan the merge of those that are left; nothing is written yet.

    Models in memory, such as those of a study, take the same two steps: `screen(models, ...)`, then a merge of
    `[models[place] for place in screening.kept]`.

    Args:
        names: folders or Hub ids, the suspect first; at least 3.
        method: a key of `MERGE_METHODS`.
        pretrained: folder or Hub id of what they were fine-tuned from; two of the statistics need it.
        texts: file of clean texts, one per line; two of the statistics need it.
        same_labels, permute_heads: as for `open_models`.
        settings: of the merge.

    Returns:
        What the screen found, and the merge, which knows it.

    Raises:
        ValueError: for fewer than 3 models, models that do not fit together, or `weights`, of which none is known to be left.
    """
    if settings.get("weights") is not None:
        raise ValueError("weights are one per model, but a screen may drop some; give weights, or screen")
    models = open_models(names, same_labels, permute_heads)
    start = models.open_pretrained(pretrained) if pretrained else None
    frame = pd.DataFrame({"text": read_texts(texts)}) if texts else None
    screening = screen(models.checkpoints, start, frame, sources=models.sources, tied=models.tied)
    if screening.dropped:  # opened anew: heads are brought into the order of the first model that is left
        models = open_models([names[place] for place in screening.kept], same_labels, permute_heads)
    plan = models.plan(method, pretrained=pretrained, texts=texts, **settings)
    return screening, replace(plan, screening=screening)
