"""A new masked-LM head on an encoder: the checks that a model and its tokenizer can have one, and the tied layer."""

from __future__ import annotations

import math
from typing import TYPE_CHECKING

import torch

from lib.models.pretrained import from_hub, load_config, load_tokenizer, resolve_pretrained

if TYPE_CHECKING:
    from transformers import PreTrainedModel, PreTrainedTokenizerBase


def usable_tokenizer(pretrained: str, max_length: int) -> PreTrainedTokenizerBase:
    """The tokenizer of an encoder.

    Raises:
        ValueError: for one without mask or padding piece, one that cannot cut lines, or a length that the model does not read.
    """
    tokenizer, config = load_tokenizer(pretrained), load_config(pretrained)
    missing = [name for name in ("mask_token", "pad_token") if getattr(tokenizer, name) is None]
    if missing or not tokenizer.is_fast:
        what = f"no {' and no '.join(missing)}" if missing else "no tokenizer.json"
        raise ValueError(f"the tokenizer of {pretrained} has {what}; a masked language model needs one")
    longest = min(tokenizer.model_max_length, getattr(config, "max_position_embeddings", math.inf))
    if max_length > longest:
        raise ValueError(f"max_length is {max_length}; {pretrained} reads at most {longest} pieces")
    return tokenizer


def with_masked_lm_head(pretrained: str, seed: int) -> PreTrainedModel:
    """An encoder with a new masked-LM head in float32, its output layer tied to the word embeddings.

    Args:
        pretrained: a folder or Hub id.
        seed: of the head's random weights.

    Raises:
        ValueError: for a decoder, a model that has such a head already, or one that lacks weights of its encoder.
    """
    from transformers.models.auto.modeling_auto import MODEL_FOR_MASKED_LM_MAPPING_NAMES

    config = load_config(pretrained)
    is_decoder = getattr(config, "is_decoder", False) or getattr(config, "is_encoder_decoder", False)
    if is_decoder or config.model_type not in MODEL_FOR_MASKED_LM_MAPPING_NAMES:
        raise ValueError(
            f"{pretrained} is a decoder or no text encoder (model_type {config.model_type!r}); name an encoder, for example a "
            "BERT or a RoBERTa"
        )
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(seed)
        model, found = from_hub(
            "AutoModelForMaskedLM",
            resolve_pretrained(pretrained),
            output_loading_info=True,
            dtype=torch.float32,
            tie_word_embeddings=True,
        )
    if not found["missing_keys"]:
        raise ValueError(f"{pretrained} has a masked-LM head already; use it as it is: `-p masked_lm {pretrained}`")
    lost = sorted(key for key in found["missing_keys"] if key.startswith(f"{model.base_model_prefix}."))
    if lost:
        raise ValueError(f"{pretrained} lacks {len(lost)} weights of its encoder, the first is {lost[0]}; it is incomplete")
    if model.get_output_embeddings().weight is not model.get_input_embeddings().weight:
        raise ValueError(f"{pretrained} is a {config.model_type}, whose output layer is not tied to its word embeddings")
    return model
