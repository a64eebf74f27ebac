"""What a training would cost before anything is downloaded: weights, floating-point operations, GPU hours, disk."""

from __future__ import annotations

from dataclasses import dataclass
from functools import lru_cache

from lib.datasets import get_spec
from lib.models.pretrained import load_config
from lib.study.recipes import DataRecipe, ModelRecipe

# Rows on the Hub, about (training, test), for estimates without a download.
HUB_ROWS = {
    "sst2": (67_349, 872), "yelp": (560_000, 38_000), "cr": (3_012, 753), "tweet_sentiment": (24_942, 6_347),
    "amazon": (3_600_000, 400_000), "imdb": (25_000, 25_000), "mr": (8_530, 1_066),
    "olid": (11_916, 860), "hsol": (24_783, 2_478), "tweet_hate": (9_000, 2_970),
    "agnews": (120_000, 7_600), "bbc": (1_225, 1_000),
    "qnli": (104_743, 5_463), "mnli": (392_702, 9_815), "snli": (549_367, 9_824), "rte": (2_490, 277),
}  # fmt: skip
# Weights of models whose configuration may not be at hand: all, and those a token is multiplied with (no embeddings).
HUB_WEIGHTS = {
    "bert-base-uncased": (109_500_000, 85_000_000),
    "roberta-large": (355_400_000, 302_000_000),
    "meta-llama/Llama-2-7b-hf": (6_607_000_000, 6_476_000_000),
    "mistralai/Mistral-7B-v0.1": (7_111_000_000, 6_980_000_000),
    "sentence-transformers/all-MiniLM-L6-v2": (22_700_000, 10_600_000),
    "google/bert_uncased_L-4_H-256_A-4": (11_200_000, 3_200_000),
}
GPU_FLOPS = 312e12  # of an NVIDIA A100 in bfloat16, dense, at its best
UTILISATION = 0.35  # of it in fine-tuning short texts
BYTES_PER_WEIGHT = 4  # checkpoints are float32


@dataclass(frozen=True)
class Cost:
    """Of one training. `gpu_hours` are those of one A100; an upper bound, because every text counts with its full length."""

    n_rows: int
    gpu_hours: float
    gigabytes: float


def training_cost(recipe: ModelRecipe, pretrained: str, n_rows: int) -> Cost:
    """Estimate the cost of one fine-tuning.

    A token costs 6 operations per weight that it is multiplied with: 2 forwards, 4 backwards (Kaplan et al. 2020, arXiv
    2001.08361, section 2.1). With adapters the weights get no gradient of their own: 4.

    Args:
        recipe: what is trained.
        pretrained: bundled name, folder or Hub id.
        n_rows: training rows.
    """
    n_weights, n_multiplied = weights_of(pretrained)
    n_tokens = n_rows * recipe.training.epochs * recipe.training.max_length
    operations = (4 if recipe.training.lora_rank else 6) * n_multiplied * n_tokens
    return Cost(n_rows, operations / (GPU_FLOPS * UTILISATION) / 3600, n_weights * BYTES_PER_WEIGHT / 1e9)


def scoring_hours(pretrained: str, n_texts: int, max_length: int) -> float:
    """GPU hours of one pass over texts: 2 operations per token and weight."""
    return 2 * weights_of(pretrained)[1] * n_texts * max_length / (GPU_FLOPS * UTILISATION) / 3600


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
def weights_of(pretrained: str) -> tuple[int, int]:
    """How many weights a classifier has, and how many of them a token is multiplied with.

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
    return sum(sizes.values()), sum(size for name, size in sizes.items() if name not in embeddings)
