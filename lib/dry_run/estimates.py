"""What a training would cost before anything is downloaded: weights, floating-point operations, GPU hours, disk."""

from __future__ import annotations

import math
from dataclasses import dataclass
from functools import lru_cache
from typing import TYPE_CHECKING

from lib.datasets import get_spec
from lib.models.prediction import BATCH_SIZE
from lib.models.pretrained import load_config
from lib.study.recipes import DataRecipe, ModelRecipe

if TYPE_CHECKING:
    from lib.dry_run.speed import Speed

# For estimates without a download, about: rows on the Hub (training, test), and pieces of a row, none above 128. Pieces were
# counted on 600 rows of each dataset by the tokenizer of BERT; those of yelp and amazon are guesses for whole reviews.
HUB_ROWS = {
    "sst2": (67_349, 872, 13), "yelp": (560_000, 38_000, 105), "cr": (3_012, 753, 24), "tweet_sentiment": (24_942, 6_347, 27),
    "amazon": (3_600_000, 400_000, 90), "imdb": (25_000, 25_000, 123), "mr": (8_530, 1_066, 28),
    "olid": (11_916, 860, 32), "hsol": (24_783, 2_478, 26), "tweet_hate": (9_000, 2_970, 31),
    "agnews": (120_000, 7_600, 51), "bbc": (1_225, 1_000, 128),
    "qnli": (104_743, 5_463, 48), "mnli": (392_702, 9_815, 40), "snli": (549_367, 9_824, 26), "rte": (2_490, 277, 66),
}  # fmt: skip
# Weights of models whose configuration may not be at hand: all, those a token is multiplied with (no embeddings), and those of
# an adapter of rank 1 on every linear layer.
HUB_WEIGHTS = {
    "bert-base-uncased": (109_500_000, 85_000_000, 167_424),
    "roberta-large": (355_400_000, 302_000_000, 442_368),
    "meta-llama/Llama-2-7b-hf": (6_607_000_000, 6_476_000_000, 2_498_560),
    "mistralai/Mistral-7B-v0.1": (7_111_000_000, 6_980_000_000, 2_621_440),
    "sentence-transformers/all-MiniLM-L6-v2": (22_700_000, 10_600_000, 42_240),
    "google/bert_uncased_L-4_H-256_A-4": (11_200_000, 3_200_000, 18_944),
}
GPU_FLOPS = 312e12  # of an NVIDIA A100 in bfloat16, dense, at its best
UTILISATION = 0.35  # of it in fine-tuning short texts
BYTES_PER_WEIGHT = 4  # checkpoints are float32


@dataclass(frozen=True)
class Cost:
    """Of one training: hours of one A100, hours of one core of this machine (of its GPU, if it has one), disk and memory."""

    n_rows: int
    gpu_hours: float
    hours_here: float  # NaN where this machine was not tried
    gigabytes: float
    memory_gigabytes: float  # of weights, gradients and moments; activations come on top


def training_cost(recipe: ModelRecipe, pretrained: str, n_rows: int, n_pieces: float, speed: Speed | None = None) -> Cost:
    """Estimate the cost of one fine-tuning.

    A token costs 6 operations per weight that it is multiplied with: 2 forwards, 4 backwards (Kaplan et al. 2020, arXiv
    2001.08361, section 2.1). With adapters the weights get no gradient of their own: 4.

    Args:
        recipe: what is trained.
        pretrained: bundled name, folder or Hub id.
        n_rows: training rows.
        n_pieces: of a row, on average.
        speed: of this machine.
    """
    n_weights, n_multiplied, n_adapter = weights_of(pretrained)
    training, n_texts = recipe.training, n_rows * recipe.training.epochs
    operations = (4 if training.lora_rank else 6) * n_multiplied * n_texts * n_pieces
    here = speed.training.seconds(n_texts, n_pieces, training.batch_size) / 3600 if speed else math.nan
    is_adapter = training.lora_rank and recipe.defense is None and recipe.base is None
    n_stored = training.lora_rank * n_adapter if is_adapter else n_weights
    # AdamW keeps two moments beside weight and gradient; a copy of the start, and one of the end, tell how far a model went.
    n_trained = training.lora_rank * n_adapter or n_weights
    memory = max(2 * n_weights + 3 * n_trained, 3 * n_weights + (n_trained if training.lora_rank else 0))
    gigabytes = [n * BYTES_PER_WEIGHT / 1e9 for n in (n_stored, memory)]
    return Cost(n_rows, _gpu_hours(operations), here, *gigabytes)


def scoring_hours(pretrained: str, n_texts: int, n_pieces: float, speed: Speed | None = None) -> tuple[float, float]:
    """Hours of one A100, and of one core of this machine, for one pass over texts: 2 operations per token and weight."""
    operations = 2 * weights_of(pretrained)[1] * n_texts * n_pieces
    here = speed.asking.seconds(n_texts, n_pieces, BATCH_SIZE) / 3600 if speed else math.nan
    return _gpu_hours(operations), here


def _gpu_hours(operations: float) -> float:
    return operations / (GPU_FLOPS * UTILISATION) / 3600


def hub_rows(data: DataRecipe) -> int:
    """Rows that a recipe draws from a dataset of the Hub, about.

    Raises:
        ValueError: for a dataset that is not on the Hub.
    """
    if data.dataset not in HUB_ROWS:
        raise ValueError(f"{get_spec(data.dataset).name!r} is not on the Hub: name a data folder that has it")
    all_rows = HUB_ROWS[data.dataset][data.split == "test"]
    return min(all_rows, data.n) if data.n else all_rows


@lru_cache(maxsize=32)
def weights_of(pretrained: str) -> tuple[int, int, int]:
    """How many weights a classifier has, with how many a token is multiplied, and how many an adapter of rank 1 has.

    Raises:
        ConnectionError: for another Hub model without a network.
    """
    if pretrained in HUB_WEIGHTS:
        return HUB_WEIGHTS[pretrained]
    import torch
    from transformers import AutoModelForSequenceClassification

    with torch.device("meta"):
        model = AutoModelForSequenceClassification.from_config(load_config(pretrained))
    sizes = {name: weight.numel() for name, weight in model.named_parameters()}
    embeddings = {f"{name}.weight" for name, module in model.named_modules() if isinstance(module, torch.nn.Embedding)}
    layers = [module for module in model.base_model.modules() if isinstance(module, torch.nn.Linear)]
    n_adapter = sum(layer.in_features + layer.out_features for layer in layers)
    return sum(sizes.values()), sum(size for name, size in sizes.items() if name not in embeddings), n_adapter
