"""A masked language model asked for words: what could stand here? Used by attacks (LWS, BITE) and by stealth measures."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from functools import cached_property, lru_cache
from typing import TYPE_CHECKING, Any

import numpy as np
import torch
from torch import Tensor

from lib.models.batches import token_batches
from lib.models.last_layer import logits_at
from lib.models.pretrained import from_hub, load_tokenizer, resolve_pretrained
from lib.models.word_pieces import WordPieces

if TYPE_CHECKING:
    from transformers import PreTrainedModel, PreTrainedTokenizerBase

TOKENS_PER_BATCH = 2048  # short prompts many at a time, long ones few: what a layer computes stays in the cache
MAX_LENGTH = 128  # pieces; masks beyond it cannot be asked for


@dataclass(frozen=True)
class Predictions:
    """The most probable words at each asked position, best first. Shapes (n, k)."""

    words: np.ndarray  # of str
    probabilities: np.ndarray  # in [0, 1], of the whole vocabulary


@dataclass(frozen=True)
class LikelyWords:
    """Words that may stand at asked positions, some, one or none for each. Shapes (n_words,)."""

    masks: np.ndarray  # whole numbers: which mask, counted over all prompts
    words: np.ndarray  # of str
    probabilities: np.ndarray  # in [0, 1], of the whole vocabulary


class MaskedLM(WordPieces):
    """A masked language model with its tokenizer; texts are lists of words.

    With the precision "bfloat16" it computes in that; what it says is float32 all the same.
    """

    def __init__(self, model: PreTrainedModel, tokenizer: PreTrainedTokenizerBase, precision: str = "float32") -> None:
        super().__init__(tokenizer)
        self.model, self.precision = model.eval(), precision

    @cached_property
    def embeddings(self) -> Tensor:
        """Input embeddings, shape (vocabulary size, width)."""
        return self.model.get_input_embeddings().weight.detach()

    @torch.inference_mode()
    def predict(self, prompts: Sequence[Sequence[str | None]], k: int) -> Predictions:
        """The `k` best words at each masked position.

        Args:
            prompts: words, at least one of them None: a mask. What lies far behind the first mask, or far before a lone one,
                is cut to fit `MAX_LENGTH`.
            k: how many words.

        Returns:
            Predictions of shape (n, k), one row per mask: those of prompt 0 in order, of prompt 1, and so on. A mask that was
            cut off gets empty words of probability 0.

        Raises:
            ValueError: for a prompt without mask.
        """
        n_masks = sum(word is None for prompt in prompts for word in prompt)
        words = np.full((n_masks, k), "", dtype=object)
        probabilities = np.zeros((n_masks, k), dtype=np.float32)
        for masks, offered in self._offered(prompts):
            best = offered.topk(min(k, offered.shape[1]))
            words[masks, : best.indices.shape[1]] = self.word_names[best.indices.cpu().numpy()]
            probabilities[masks, : best.indices.shape[1]] = best.values.float().cpu().numpy()
        return Predictions(words, probabilities)

    @torch.inference_mode()
    def predict_all(self, prompts: Sequence[Sequence[str | None]], min_probability: float) -> LikelyWords:
        """All words of a least probability at each masked position.

        Args:
            prompts: as for `predict`; nothing is said of a mask that was cut off.
            min_probability: of the whole vocabulary, in [0, 1].
        """
        found: list[tuple[np.ndarray, np.ndarray, np.ndarray]] = [
            (np.zeros(0, int), np.zeros(0, object), np.zeros(0, np.float32))
        ]
        for masks, offered in self._offered(prompts):
            row, column = (offered >= min_probability).nonzero(as_tuple=True)
            probabilities = offered[row, column].float().cpu().numpy()
            found.append((masks[row.cpu().numpy()], self.word_names[column.cpu().numpy()], probabilities))
        return LikelyWords(*map(np.concatenate, zip(*found, strict=True)))

    def _offered(self, prompts: Sequence[Sequence[str | None]]) -> Iterator[tuple[np.ndarray, Tensor]]:
        """Batch by batch the numbers of the masks, shape (n,), and the probability of each word, shape (n, n_words)."""
        ids = [self._prompt_ids(prompt) for prompt in prompts]
        counts = [sum(word is None for word in prompt) for prompt in prompts]
        starts = np.concatenate([[0], np.cumsum(counts)]).astype(int)
        allowed = torch.tensor(sorted(self.vocabulary), device=self.model.device)
        for rows, batch in self._batches(ids):
            kept = (batch["input_ids"] == self.tokenizer.mask_token_id).sum(1).tolist()
            masks = np.concatenate([np.arange(starts[row], starts[row] + n) for row, n in zip(rows, kept, strict=True)])
            yield masks, self._mask_logits(batch).softmax(-1)[:, allowed]

    @torch.inference_mode()
    def sentence_vectors(self, texts: Sequence[Sequence[str]]) -> np.ndarray:
        """Unit vectors of texts, shape (n, width): the mean of the last layer over the text's pieces."""
        ids = [self._wrapped([piece for word in words for piece in self.pieces(word)]) for words in texts]
        vectors = np.zeros((len(ids), self.embeddings.shape[1]), dtype=np.float32)
        for rows, batch in self._batches(ids):
            with self._arithmetic():
                states = self.model.base_model(**batch).last_hidden_state.float()
            mask = batch["attention_mask"][..., None]
            mean = (states * mask).sum(1) / mask.sum(1)
            vectors[rows] = torch.nn.functional.normalize(mean.float(), dim=-1).cpu().numpy()
        return vectors

    @torch.inference_mode()
    def log_likelihoods(self, texts: Sequence[Sequence[str]]) -> np.ndarray:
        """Pseudo log-likelihood per piece, in nats, shape (n,): every piece is masked once (Salazar et al. 2020).

        A text without any piece gets 0. `exp` of the negative is the pseudo-perplexity.
        """
        prompts, truths, owners = [], [], []
        for row, words in enumerate(texts):
            ids = self._wrapped([piece for word in words for piece in self.pieces(word)])
            for position in range(len(self._frame[0]), len(ids) - len(self._frame[1])):
                prompts.append([*ids[:position], self.tokenizer.mask_token_id, *ids[position + 1 :]])
                truths.append(ids[position])
                owners.append(row)
        chosen = np.zeros(len(prompts))
        for rows, batch in self._batches(prompts):
            scores = self._mask_logits(batch).log_softmax(-1)
            truth = torch.tensor([truths[row] for row in rows], device=scores.device)
            chosen[rows] = scores.gather(1, truth[:, None])[:, 0].double().cpu().numpy()
        counts = np.bincount(owners, minlength=len(texts))
        return np.bincount(owners, weights=chosen, minlength=len(texts)) / np.maximum(counts, 1)

    @torch.inference_mode()
    def surprisals(self, texts: Sequence[Sequence[str]]) -> list[np.ndarray]:
        """How unexpected each word is where it stands, -log p(word | all others) in nats per piece, shape (n_words,) each.

        All pieces of a word are masked at once, and the mean of their log-probabilities is taken: a sum would find every long
        word suspicious, and no short trigger. Words behind `room` are NaN.
        """
        mask, before = self.tokenizer.mask_token_id, len(self._frame[0])
        found = [np.full(len(words), np.nan) for words in texts]
        prompts, truths, owners = [], [], []
        for row, words in enumerate(texts):
            pieces = [self.pieces(word) for word in self.readable(words, self.room)]
            ids = self._wrapped([piece for word in pieces for piece in word])
            start = before
            for place, word in enumerate(pieces):
                prompts.append([*ids[:start], *[mask] * len(word), *ids[start + len(word) :]])
                truths.append(word)
                owners.append((row, place))
                start += len(word)
        for rows, batch in self._batches(prompts):
            asked = [piece for row in rows for piece in truths[row]]
            scores = self._mask_logits(batch).log_softmax(-1).gather(1, torch.tensor(asked, device=self.model.device)[:, None])
            ends = np.cumsum([len(truths[row]) for row in rows])[:-1]
            for row, chosen in zip(rows, np.split(scores[:, 0].double().cpu().numpy(), ends), strict=True):
                found[owners[row][0]][owners[row][1]] = -chosen.mean()
        return found

    def _prompt_ids(self, prompt: Sequence[str | None]) -> list[int]:
        mask, known = self.tokenizer.mask_token_id, self._known
        ids: list[int] = []
        for word in prompt:
            ids += [mask] if word is None else known.get(word) or self.pieces(word)
        if mask not in ids:
            raise ValueError(f"a prompt needs at least one mask, found none in {list(prompt)}")
        if len(ids) > self.room:  # keep the surroundings of the first mask
            start = max(0, min(ids.index(mask) - self.room // 2, len(ids) - self.room))
            ids = ids[start:]
        return self._wrapped(ids)

    @cached_property
    def _frame(self) -> tuple[list[int], list[int]]:
        """The special pieces before and after a text."""
        ids = self.tokenizer(self.tokenizer.mask_token)["input_ids"]
        mask = ids.index(self.tokenizer.mask_token_id)
        return ids[:mask], ids[mask + 1 :]

    @property
    def room(self) -> int:
        """Pieces of a text that are read."""
        return MAX_LENGTH - sum(map(len, self._frame))

    def _wrapped(self, pieces: list[int]) -> list[int]:
        before, after = self._frame
        return [*before, *pieces[: self.room], *after]

    def _batches(self, ids: Sequence[list[int]]) -> Any:
        """Row numbers and padded tensors; texts of similar length share a batch."""
        return token_batches(ids, self.tokenizer.pad_token_id, TOKENS_PER_BATCH, self.model.device)

    def _mask_logits(self, batch: dict[str, Tensor]) -> Tensor:
        """Logits at the masks, row by row, shape (n_masks, vocabulary size)."""
        with self._arithmetic():
            return logits_at(self.model, batch, batch["input_ids"] == self.tokenizer.mask_token_id).float()

    def _arithmetic(self) -> torch.autocast:
        return torch.autocast(self.model.device.type, torch.bfloat16, enabled=self.precision == "bfloat16")


@lru_cache(maxsize=2)
def load_masked_lm(name: str, precision: str = "float32") -> MaskedLM:
    """The masked language model of a bundled name, a folder or a Hub id, on the GPU where there is one.

    Args:
        name: of the model.
        precision: of what it computes, one of `lib.models.precision.PRECISIONS`.

    Raises:
        ValueError: for a model without a masked-LM head, a folder without a tokenizer, or a tokenizer without a mask.
        ConnectionError: for a Hub id when there is no network.
    """
    resolved = resolve_pretrained(name)
    model, report = from_hub("AutoModelForMaskedLM", resolved, output_loading_info=True, dtype=torch.float32)
    tokenizer = load_tokenizer(resolved)
    if report["missing_keys"] or tokenizer.mask_token is None:
        missing = sorted(report["missing_keys"])[:3] or "a mask token"
        raise ValueError(
            f"{name!r} has no masked-LM head (it lacks {missing}); name a model that has one as `masked_lm`, for example "
            "bert-base-uncased"
        )
    return MaskedLM(model.to("cuda" if torch.cuda.is_available() else "cpu"), tokenizer, precision)
