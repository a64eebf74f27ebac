"""How far models of one architecture lie from each other and from their average, layer by layer: which one stands out?"""

from __future__ import annotations

import re
from collections.abc import Sequence

import pandas as pd
import torch

from lib.merging import Merge, ModelSource
from lib.merging.inner_products import inner_products, squared_distances

LAYER = re.compile(r"^(.*?\b(?:layers?|h|blocks?)\.\d+)\.")


def layer_of(key: str) -> str:
    """The layer of a tensor, or the first two parts of its name outside numbered layers.

    >>> [layer_of(key) for key in ("bert.encoder.layer.3.output.dense.weight", "bert.embeddings.LayerNorm.bias", "score.bias")]
    ['bert.encoder.layer.3', 'bert.embeddings', 'score']
    """
    if match := LAYER.match(key):
        return match[1]
    return ".".join(key.split(".")[:-1][:2])


def layer_report(models: Sequence[ModelSource]) -> pd.DataFrame:
    """Distances by layer and model, and over the whole model (layer "all"), in one pass over the weights.

    Returns:
        One row per layer and model: `layer, model, distance_to_average, distance_to_others` (mean over the others),
        Euclidean, and `z`: how many standard deviations the distance to the average is above the mean over the models.
    """
    merge = Merge(models)
    floating = [name for name, info in merge.tensors.items() if info.dtype.is_floating_point]
    grams: dict[str, torch.Tensor] = {}
    for name in floating:
        gram = inner_products((part.tensors for part in merge.inputs(name)), centred=True)
        for layer in (layer_of(name), "all"):
            grams[layer] = grams.get(layer, 0) + gram
    return pd.concat([_rows(layer, gram, models) for layer, gram in grams.items()], ignore_index=True)


def _rows(layer: str, gram: torch.Tensor, models: Sequence[ModelSource]) -> pd.DataFrame:
    to_average = gram.diagonal().clamp(min=0).sqrt()
    to_others = squared_distances(gram).sqrt().sum(dim=1) / max(1, len(models) - 1)
    spread = to_average.std(correction=0) if len(models) > 2 else torch.tensor(0.0)
    z = (to_average - to_average.mean()) / spread if spread > 0 else torch.zeros_like(to_average)
    return pd.DataFrame(
        {
            "layer": layer,
            "model": [model.name for model in models],
            "distance_to_average": to_average.tolist(),
            "distance_to_others": to_others.tolist(),
            "z": z.tolist(),
        }
    )


def report_table(report: pd.DataFrame) -> str:
    """A Markdown table of distances to the average, one column per model, and a sentence on who stands out.

    Two models lie equally far from their average, so that none can stand out.
    """
    table = report.pivot_table("distance_to_average", "layer", "model", sort=False).round(3)
    whole = report[report["layer"] == "all"].set_index("model")
    farthest = whole["distance_to_average"].idxmax()
    if len(whole) < 3:
        sentence = "With two models neither can stand out: both are equally far from their average."
    else:
        ratio = whole["distance_to_average"][farthest] / whole["distance_to_average"].drop(farthest).mean()
        sentence = (
            f"Farthest from the average: {farthest}, {ratio:.2f} times as far as the others on average. "
            "Backdoored classifiers are usually no outliers in weight space: this proves nothing alone."
        )
    return f"{table.to_markdown()}\n\n{sentence}"
