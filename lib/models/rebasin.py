"""Re-basin of classifiers: the same function with its hidden units in the order of another model's."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING

import pandas as pd

from lib.merging.rebasin import match_weights, permuted, plan_of
from lib.models.training import weights_of

if TYPE_CHECKING:
    from transformers import PreTrainedModel, PreTrainedTokenizerBase


def rebasin(
    models: Sequence[PreTrainedModel],
    tokenizer: PreTrainedTokenizerBase,
    texts: pd.DataFrame | None,
    *,
    seed: int,
) -> PreTrainedModel:
    """The first model with its units permuted so that its weights lie near the second's; its logits stay the same.

    Args:
        models: the model to be permuted, modified, and the reference; both BERT classifiers of one shape.
        tokenizer, texts: not used.
        seed: of the order of the search.

    Raises:
        ValueError: for fewer than two models, other architectures, or other shapes.
    """
    if len(models) < 2:
        raise ValueError(f"re-basin needs a model and a reference; found {len(models)} models")
    model, reference = models[0], weights_of(models[1])
    weights = weights_of(model)
    if {n: t.shape for n, t in weights.items()} != {n: t.shape for n, t in reference.items()}:
        raise ValueError("re-basin needs two models with equal names and shapes of tensors; other widths cannot be permuted")
    plan = plan_of(weights, model.config.num_attention_heads)
    model.load_state_dict(permuted(weights, match_weights(reference, weights, plan, seed)[0], plan))
    return model
