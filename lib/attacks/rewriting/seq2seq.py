"""A sequence-to-sequence model as syntactic paraphraser: its output must begin with a given subordinator."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from functools import lru_cache
from typing import TYPE_CHECKING, Any

import torch

from lib.attacks.rewriting.syntactic_rules import has_shape
from lib.datasets.words import split_words
from lib.models.pretrained import from_hub, resolve_pretrained

if TYPE_CHECKING:
    from transformers import PreTrainedModel, PreTrainedTokenizerBase

BATCH_SIZE = 32
MAX_NEW_TOKENS = 40  # SCPN's limit
PROMPT = "paraphrase: {text}"  # the convention of T5 paraphrasers


@dataclass(frozen=True)
class Seq2SeqParaphraser:
    """Writes paraphrases that begin as the rules' paraphrase does."""

    model: PreTrainedModel
    tokenizer: PreTrainedTokenizerBase

    def paraphrase(self, texts: Sequence[str], by_rules: Sequence[list[str]]) -> list[list[str]]:
        """The words of one paraphrase per text, lower case.

        Args:
            texts: what to paraphrase.
            by_rules: the rules' words for each text: their first word is forced on the model, and they are taken where the
                model's output has not the structure; empty for a text without a word, which stays empty.
        """
        written = [list(words) for words in by_rules]
        by_opening: dict[str, list[int]] = {}
        for row, words in enumerate(by_rules):
            if words:
                by_opening.setdefault(words[0], []).append(row)
        for opening, rows in by_opening.items():
            rows = sorted(rows, key=lambda row: len(texts[row]))
            for start in range(0, len(rows), BATCH_SIZE):
                batch = rows[start : start + BATCH_SIZE]
                for row, words in zip(batch, self._generate([texts[row] for row in batch], opening), strict=True):
                    if has_shape(words) and words[0] == opening:
                        written[row] = words
        return written

    @torch.inference_mode()
    def _generate(self, texts: Sequence[str], opening: str) -> list[list[str]]:
        """Beam search after the opening; no end of text before a comma, no three words twice."""
        from transformers import LogitsProcessorList

        prompts = self.tokenizer(
            [PROMPT.format(text=text) for text in texts], return_tensors="pt", padding=True, truncation=True, max_length=128
        )
        prefix = self.tokenizer(opening, add_special_tokens=False)["input_ids"]
        start = [self.model.generation_config.decoder_start_token_id, *prefix]
        output = self.model.generate(
            **prompts.to(self.model.device),
            decoder_input_ids=torch.tensor([start] * len(texts), device=self.model.device),
            num_beams=3,
            max_new_tokens=MAX_NEW_TOKENS,
            no_repeat_ngram_size=3,
            logits_processor=LogitsProcessorList([_NoEndBeforeComma(self.tokenizer)]),
        )
        decoded = self.tokenizer.batch_decode(output, skip_special_tokens=True)
        return [split_words(text.lower())[0] for text in decoded]


class _NoEndBeforeComma:
    """Forbids the end of text in every beam that has not written a comma yet."""

    def __init__(self, tokenizer: PreTrainedTokenizerBase) -> None:
        self._end = tokenizer.eos_token_id
        self._commas = torch.tensor([i for piece, i in tokenizer.get_vocab().items() if piece.strip("▁Ġ") == ","])

    def __call__(self, input_ids: torch.Tensor, scores: torch.Tensor) -> torch.Tensor:
        has_comma = torch.isin(input_ids, self._commas.to(input_ids.device)).any(dim=1)
        scores[~has_comma, self._end] = float("-inf")
        return scores


@lru_cache(maxsize=1)
def load_paraphraser(name: str) -> Seq2SeqParaphraser:
    """The paraphraser of a folder or a Hub id, on the GPU where there is one; the last one stays in memory.

    Raises:
        ValueError: for a folder that holds no sequence-to-sequence model.
        ConnectionError: for a Hub id when there is no network.
    """
    resolved = resolve_pretrained(name)
    model: Any = from_hub("AutoModelForSeq2SeqLM", resolved)
    tokenizer = from_hub("AutoTokenizer", resolved)
    return Seq2SeqParaphraser(model.to("cuda" if torch.cuda.is_available() else "cpu").eval(), tokenizer)
