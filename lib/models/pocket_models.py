"""The pocket models: networks of the usual architectures, small enough to be fine-tuned on one core in seconds."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from functools import partial
from typing import Any

from transformers import (
    BertConfig,
    BertForPreTraining,
    LlamaConfig,
    LlamaForCausalLM,
    MistralConfig,
    MistralForCausalLM,
    PreTrainedModel,
    RobertaConfig,
    RobertaForMaskedLM,
)

MAX_POSITIONS = 128
# BERT's 0.02 is for a width of 768; so narrow a model stays for long at the frequencies of single words.
_INITIALIZER_RANGE = 0.05
# A model of this size underfits: without dropout it learns more in fewer steps, in fine-tuning, too.
_NO_DROPOUT: dict[str, Any] = {"hidden_dropout_prob": 0.0, "attention_probs_dropout_prob": 0.0}
# Texts begin with [CLS] (2) and end with [SEP] (3).
_DECODER: dict[str, Any] = {
    "max_position_embeddings": MAX_POSITIONS, "tie_word_embeddings": True, "use_cache": False,
    "bos_token_id": 2, "eos_token_id": 3,
}  # fmt: skip


@dataclass(frozen=True)
class PocketModel:
    """How a pocket model is built and what it reads.

    Attributes:
        build: from the size of the vocabulary to a model with fresh weights.
        inputs: what its tokenizer gives it; RoBERTa and decoders know no token types.
        is_decoder: it predicts the next piece instead of hidden ones.
        rate_factor: its learning rate over that of the others. More of BERT's layers need smaller steps: at the usual rate the
            largest model stayed at the frequencies of single words.
    """

    build: Callable[[int], PreTrainedModel]
    inputs: tuple[str, ...] = ("input_ids", "attention_mask")
    is_decoder: bool = False
    rate_factor: float = 1.0


def _size(layers: int, width: int, heads: int) -> dict[str, Any]:
    return {
        "hidden_size": width,
        "num_hidden_layers": layers,
        "num_attention_heads": heads,
        "intermediate_size": 2 * width,
        "initializer_range": _INITIALIZER_RANGE,
        "pad_token_id": 0,
    }


def _bert(size: dict[str, Any], vocab_size: int) -> PreTrainedModel:
    return BertForPreTraining(BertConfig(vocab_size=vocab_size, max_position_embeddings=MAX_POSITIONS, **_NO_DROPOUT, **size))


def _roberta(size: dict[str, Any], vocab_size: int) -> PreTrainedModel:
    # RoBERTa counts positions from the padding id on, so it needs one more.
    positions = {"max_position_embeddings": MAX_POSITIONS + 1, "type_vocab_size": 1}
    return RobertaForMaskedLM(RobertaConfig(vocab_size=vocab_size, **positions, **_NO_DROPOUT, **size))


def _llama(size: dict[str, Any], vocab_size: int) -> PreTrainedModel:
    return LlamaForCausalLM(LlamaConfig(vocab_size=vocab_size, **_DECODER, **size))


def _mistral(size: dict[str, Any], vocab_size: int) -> PreTrainedModel:
    # As in Mistral-7B, heads share keys and values, and look back over a window only.
    own = {"num_key_value_heads": size["num_attention_heads"] // 2, "sliding_window": 32}
    return MistralForCausalLM(MistralConfig(vocab_size=vocab_size, **own, **_DECODER, **size))


_BERT_INPUTS = ("input_ids", "token_type_ids", "attention_mask")
_USUAL = _size(layers=2, width=128, heads=4)
POCKET_MODELS: dict[str, PocketModel] = {
    "pocket-bert": PocketModel(partial(_bert, _USUAL), _BERT_INPUTS),
    "pocket-bert-small": PocketModel(partial(_bert, _size(layers=1, width=64, heads=2)), _BERT_INPUTS),
    "pocket-bert-large": PocketModel(partial(_bert, _size(layers=4, width=192, heads=6)), _BERT_INPUTS, rate_factor=0.4),
    "pocket-roberta": PocketModel(partial(_roberta, _USUAL)),
    "pocket-llama": PocketModel(partial(_llama, _USUAL), is_decoder=True),
    "pocket-mistral": PocketModel(partial(_mistral, _USUAL), is_decoder=True),
}
