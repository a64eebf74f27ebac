"""A causal language model asked how likely texts are, and how likely they are without each of their words."""

from __future__ import annotations

from collections.abc import Sequence
from functools import cached_property, lru_cache
from typing import TYPE_CHECKING

import numpy as np
import torch
from torch import Tensor

from lib.models.batches import token_batches
from lib.models.leave_one_out import WHOLE, Packed, pack, packed_batches
from lib.models.pretrained import from_hub, load_tokenizer, resolve_pretrained
from lib.models.word_pieces import WordPieces

if TYPE_CHECKING:
    from transformers import PreTrainedModel, PreTrainedTokenizerBase

TOKENS_PER_BATCH = 1024  # the logits of more leave the cache of a core
MAX_LENGTH = 256  # pieces; no profile's classifier reads more


class CausalLM(WordPieces):
    """A causal language model with its tokenizer; texts are lists of words, each written as in running text."""

    def __init__(self, model: PreTrainedModel, tokenizer: PreTrainedTokenizerBase) -> None:
        super().__init__(tokenizer)
        self.model = model.eval()
        known = (tokenizer.bos_token_id, model.config.bos_token_id, tokenizer.cls_token_id, tokenizer.eos_token_id)
        found = [token for token in known if token is not None]
        if not found:
            raise ValueError("the language model has no token that a text could start with (bos, cls, eos)")
        self.start_token: int = found[0]

    @property
    def room(self) -> int:
        """Pieces of a text that are read."""
        return min(MAX_LENGTH, getattr(self.model.config, "max_position_embeddings", MAX_LENGTH)) - 1

    @torch.inference_mode()
    def log_likelihoods(self, texts: Sequence[Sequence[str]]) -> np.ndarray:
        """Log-likelihood per piece, in nats, shape (n,), after a start token; padding has no part in it.

        Words that do not fit into `room` are left out. A text without any word gets 0. `exp` of the negative is the perplexity.
        """
        ids = [[piece for word in self.readable(words, self.room) for piece in self.pieces(word)] for words in texts]
        found = np.zeros(len(texts))
        for rows, batch in token_batches([[self.start_token, *row] for row in ids], 0, TOKENS_PER_BATCH, self.model.device):
            targets = batch["input_ids"][:, 1:]
            logits = self.model(**batch).logits[:, :-1].float().log_softmax(-1)
            chosen = logits.gather(-1, targets[..., None])[..., 0].double() * batch["attention_mask"][:, 1:]
            found[rows] = (chosen.sum(1) / batch["attention_mask"][:, 1:].sum(1).clamp(min=1)).cpu().numpy()
        return found

    @torch.inference_mode()
    def leave_one_out(self, texts: Sequence[Sequence[str]]) -> list[tuple[float, np.ndarray]]:
        """Log-likelihood per piece of each text, and of the same text without each word, shape (n_words,).

        As `log_likelihoods` gives them for all variants, up to the order of sums. What lies behind `room` is not read: NaN
        stands for such a word, and for the only word of a text.
        """
        read = [self.readable(words, self.room) for words in texts]
        if not self.packs:
            return [self._written_out(words, whole) for words, whole in zip(read, texts, strict=True)]
        pieces = [[self.pieces(word) for word in words] for words in read]
        rows = [row for text, words in enumerate(pieces) if any(words) for row in pack(text, words, self.start_token)]
        whole = [np.zeros(sum(map(len, words))) for words in pieces]
        behind = [np.zeros(len(words)) for words in pieces]  # sums over what follows each deleted word
        for batch, inputs in packed_batches(rows, TOKENS_PER_BATCH):
            for row, chosen in zip(batch, self._asked(batch, inputs), strict=True):
                is_whole = row.owners == WHOLE
                if is_whole.any():
                    whole[row.text] = chosen[is_whole]
                behind[row.text] += np.bincount(row.owners[~is_whole], chosen[~is_whole], len(behind[row.text]))
        return [_means(*each) for each in zip(whole, behind, pieces, map(len, texts), strict=True)]

    def _asked(self, batch: list[Packed], inputs: dict[str, Tensor]) -> list[np.ndarray]:
        """Log-likelihoods of what each row of a batch asks for."""
        logits = self.model(**{name: values.to(self.model.device) for name, values in inputs.items()}).logits.float()
        counts = [len(row.slots) for row in batch]
        rows = np.repeat(np.arange(len(batch)), counts)
        slots, targets = (np.concatenate([getattr(row, name) for row in batch]) for name in ("slots", "targets"))
        chosen = logits.log_softmax(-1)[rows, slots, targets]
        return np.split(chosen.double().cpu().numpy(), np.cumsum(counts)[:-1])

    def _written_out(self, read: Sequence[str], whole: Sequence[str]) -> tuple[float, np.ndarray]:
        variants = [read, *([*read[:place], *read[place + 1 :]] for place in range(len(read)))]
        first, *others = self.log_likelihoods(variants)
        found = np.full(len(whole), np.nan)
        if len(read) > 1:
            found[: len(read)] = others
        return first, found

    @cached_property
    def packs(self) -> bool:
        """Whether the model takes branches: tried out, for some (ALiBi, sliding windows) compute distances by themselves."""
        ids = torch.randint(len(self.tokenizer), (self.room,), generator=torch.Generator().manual_seed(0)).tolist()
        row = next(pack(0, [ids[:1], ids[1:]], self.start_token))  # one branch: the text without its first word
        inputs = next(packed_batches([row], 1))[1]
        variant = torch.tensor([[self.start_token, *ids[1:-1]]], device=self.model.device)
        with torch.inference_mode():
            packed = self.model(**{name: values.to(self.model.device) for name, values in inputs.items()}).logits[0]
            plain = self.model(input_ids=variant).logits[0, 1:]
        return torch.allclose(packed[-len(plain) :], plain, rtol=1e-3, atol=1e-3)

    def looks_ahead(self) -> bool:
        """Whether what follows a word changes what is predicted for it: no causal model does so."""
        ids = torch.tensor(
            [[self.start_token] * 3, [self.start_token] * 2 + [len(self.tokenizer) - 1]], device=self.model.device
        )
        with torch.inference_mode():
            one, other = self.model(input_ids=ids).logits[:, :2]
        return not torch.allclose(one, other, rtol=1e-3, atol=1e-3)


def _means(whole: np.ndarray, behind: np.ndarray, pieces: list[list[int]], n_words: int) -> tuple[float, np.ndarray]:
    """Means over the pieces of a text and of its variants: what stands before the deleted word is as in the text."""
    lengths = np.array([len(word) for word in pieces], dtype=int)
    before = np.concatenate([[0.0], np.cumsum(whole)])[np.cumsum(lengths) - lengths]
    left = lengths.sum() - lengths
    found = np.full(n_words, np.nan)
    found[: len(pieces)] = np.divide(before + behind, left, out=np.full(len(pieces), np.nan), where=left > 0)
    return float(whole.mean()) if len(whole) else 0.0, found


@lru_cache(maxsize=2)
def load_causal_lm(name: str) -> CausalLM:
    """The causal language model of a bundled name, a folder or a Hub id, on the GPU where there is one.

    Raises:
        ValueError: for a model without a language-model head, one that looks ahead, or one without a start token.
        ConnectionError: for a Hub id when there is no network.
    """
    resolved = resolve_pretrained(name)
    model, report = from_hub("AutoModelForCausalLM", resolved, output_loading_info=True, dtype=torch.float32)
    if report["missing_keys"]:
        missing = sorted(report["missing_keys"])[:3]
        raise ValueError(f"{name!r} has no language-model head (it lacks {missing}); name a causal model, for example gpt2")
    loaded = CausalLM(model.to("cuda" if torch.cuda.is_available() else "cpu"), load_tokenizer(resolved))
    if loaded.looks_ahead():
        raise ValueError(f"{name!r} looks at the words behind the one that it predicts; name a causal model, for example gpt2")
    return loaded
