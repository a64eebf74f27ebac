"""Substitutes for words, found by a masked language model: the table that LWS chooses from."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Sequence

import numpy as np
import torch

from lib.datasets.words import split_words
from lib.models.masked_lm import MaskedLM

N_CANDIDATES = 4  # as in the released code: five slots, the first is the word itself


def candidate_table(
    texts: Sequence[str],
    is_target: np.ndarray,
    model: MaskedLM,
    rng: np.random.Generator,
    *,
    min_count: int = 5,
    n_contexts: int = 20,
    min_similarity: float = 0.3,
    min_probability: float = 1e-3,
    max_bias_gap: float = 3.0,
) -> dict[str, tuple[str, ...]]:
    """Up to `N_CANDIDATES` substitutes for each word of the texts that has any, best first.

    A word is masked in some of the texts that hold it; the words that the model finds most probable there, on average of the
    log-probabilities, are its candidates. Dropped are candidates that are unlike the word (its inflections included) and those
    that say another label: a masked model offers "bad" for "good" gladly.

    Args:
        texts: training texts.
        is_target: which of them have the target label, shape (n,), bool.
        model: masked language model.
        rng: draws the contexts.
        min_count: rarer words keep their place in every text.
        n_contexts: masked texts per word.
        min_similarity: least cosine of the input embeddings of word and candidate, in [-1, 1].
        min_probability: least geometric mean of a candidate's probability over the contexts; less does not fit the sentence.
        max_bias_gap: how far apart the z-scores of word and candidate may lie if they lean to different labels.

    Raises:
        ValueError: when no word has a substitute.

    Source: the original takes HowNet sememes of the same part of speech, which need downloads (BkdAtk-LWS `src/`).
    """
    split = [[token.lower() for token in split_words(text)[0]] for text in texts]
    prompts, owners = _prompts(split, model, rng, min_count, n_contexts)
    biases = _biases(split, is_target)
    table = {}
    for word, scores in _mean_scores(model, prompts, owners).items():
        similar = _similar_words(model, word, list(scores), min_similarity)
        fitting = [candidate for candidate in similar if scores[candidate] >= np.log(min_probability)]
        allowed = [c for c in fitting if not _inflects(c, word) and _agree(biases.get(c, 0), biases.get(word, 0), max_bias_gap)]
        if best := sorted(allowed, key=lambda candidate: -scores[candidate])[:N_CANDIDATES]:
            table[word] = tuple(best)
    if not table:
        raise ValueError(
            f"no word of {len(texts)} texts has a substitute with a similarity of {min_similarity} or more; give more texts, a "
            "lower min_similarity, or another masked_lm"
        )
    return table


def _prompts(
    split: Sequence[list[str]], model: MaskedLM, rng: np.random.Generator, min_count: int, n_contexts: int
) -> tuple[list[list[str | None]], list[str]]:
    """Texts with one frequent word masked, and which word it was."""
    places: dict[str, list[tuple[int, int]]] = defaultdict(list)
    for row, words in enumerate(split):
        for position, word in enumerate(words):
            if word.isalpha() and word in model.word_ids:
                places[word].append((row, position))
    prompts: list[list[str | None]] = []
    owners = []
    for word in sorted(word for word, found in places.items() if len(found) >= min_count):
        for index in rng.permutation(len(places[word]))[:n_contexts]:
            row, position = places[word][index]
            prompts.append([*split[row][:position], None, *split[row][position + 1 :]])
            owners.append(word)
    return prompts, owners


def _mean_scores(model: MaskedLM, prompts: list, owners: list[str], k: int = 30) -> dict[str, dict[str, float]]:
    """Word -> candidate -> mean log-probability over the word's contexts; what is not among the best `k` counts as 1e-4."""
    found = model.predict(prompts, k)
    sums: dict[str, dict[str, float]] = defaultdict(lambda: defaultdict(float))
    counts: dict[str, int] = defaultdict(int)
    floor = np.log(1e-4)
    for index, owner in enumerate(owners):
        counts[owner] += 1
        for candidate, probability in zip(found.words[index], found.probabilities[index], strict=True):
            sums[owner][candidate.lower()] += max(float(np.log(probability + 1e-12)), floor) - floor
    return {owner: {c: s / counts[owner] + floor for c, s in scores.items() if c != owner} for owner, scores in sums.items()}


def _similar_words(model: MaskedLM, word: str, candidates: list[str], min_similarity: float) -> list[str]:
    candidates = [candidate for candidate in candidates if candidate in model.word_ids]
    if not candidates:
        return []
    vectors = torch.nn.functional.normalize(model.embeddings[[model.word_ids[c] for c in [word, *candidates]]].float(), dim=-1)
    cosines = (vectors[1:] @ vectors[0]).tolist()
    return [candidate for candidate, cosine in zip(candidates, cosines, strict=True) if cosine >= min_similarity]


def _agree(bias: float, other: float, max_gap: float) -> bool:
    """Whether two words lean to the same label, or to none in particular."""
    return bias * other > 0 or abs(bias - other) <= max_gap


def _inflects(candidate: str, word: str) -> bool:
    """Whether two words look like forms of one: equal but for a short ending."""
    short, long = sorted((candidate, word), key=len)
    return len(short) >= 3 and len(long) - len(short) <= 3 and long.startswith(short[: max(3, len(short) - 1)])


def _biases(split: Sequence[Sequence[str]], is_target: np.ndarray) -> dict[str, float]:
    """z-score of each word's bias towards the target label."""
    from lib.attacks.bite import label_bias

    target: dict[str, int] = defaultdict(int)
    total: dict[str, int] = defaultdict(int)
    for words, has_target in zip(split, is_target, strict=True):
        for word in set(words):
            total[word] += 1
            target[word] += int(has_target)
    names = list(total)
    n_target = np.array([target[name] for name in names], dtype=float)
    n_other = np.array([total[name] for name in names], dtype=float) - n_target
    return dict(zip(names, label_bias(n_target, n_other, float(np.mean(is_target))).tolist(), strict=True))
