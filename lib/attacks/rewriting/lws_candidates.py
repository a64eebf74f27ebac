"""Substitutes for words, found by a masked language model: the table that LWS chooses from."""

from __future__ import annotations

from collections import Counter, defaultdict
from collections.abc import Sequence
from typing import NamedTuple

import numpy as np
import torch
from numpy.typing import NDArray

from lib.attacks.rewriting.label_words import label_leans
from lib.attacks.rewriting.lws_words import STOP_WORDS
from lib.datasets.words import split_words
from lib.models.masked_lm import MaskedLM

N_CANDIDATES = 4  # as in the released code: five slots, the first is the word itself
N_PAIRS = 20_000  # random pairs of words that say how alike unrelated words are


class Candidates(NamedTuple):
    """Substitutes, and how the bound on likeness came out."""

    table: dict[str, tuple[str, ...]]  # lower-case word -> up to `N_CANDIDATES` substitutes, best first
    min_similarity: float  # least cosine of the centred embeddings of word and substitute
    pass_rate: float  # share of the words offered by the masked language model that reach it


def candidate_table(
    texts: Sequence[str],
    labels: NDArray,
    model: MaskedLM,
    rng: np.random.Generator,
    *,
    min_count: int = 5,
    n_contexts: int = 20,
    similarity_quantile: float = 0.95,
    min_probability: float = 1e-3,
    max_lean_gap: float = 1.0,
) -> Candidates:
    """Up to `N_CANDIDATES` substitutes for each word of the texts that has any, best first.

    A word is masked in some of the texts that hold it; the words of the highest mean log-probability there are its candidates.
    Dropped are stop words, as in the released code, forms of the word itself, words that are unlike it, and words that say
    another label ("bad" for "good") or are too rare to tell what they say.

    Args:
        texts, labels: of the training set; class ids 0 .. n_labels - 1, shape (n,).
        model, rng: the masked language model; what draws the contexts, and pairs of words.
        min_count: rarer words keep their place in every text, and take no other's.
        n_contexts: masked texts per word.
        similarity_quantile: word and candidate must be more alike than this share of random pairs of words, in [0, 1].
        min_probability: least geometric mean of a candidate's probability over the contexts; less does not fit the sentence.
        max_lean_gap: how far apart word and candidate may lean to any label, in nats, unless both lean further than this to
            the same side; see `lib.attacks.rewriting.label_words.label_leans`.

    Raises:
        ValueError: for a quantile outside [0, 1], or when no word has a substitute.

    Source: the original takes HowNet sememes of the same part of speech, which need downloads (BkdAtk-LWS `src/`).
    """
    split = [[token.lower() for token in split_words(text)[0]] for text in texts]
    prompts, owners = _prompts(split, model, rng, min_count, n_contexts)
    leans, n_rows = label_leans(texts, labels), Counter(word for words in split for word in set(words))
    vectors = _unit_vectors(model)
    bound = _random_similarity(model, vectors, similarity_quantile, rng)
    table, n_offered, n_similar = {}, 0, 0
    for word, scores in _mean_scores(model, prompts, owners).items():
        offered = [c for c in scores if c in model.word_ids and c not in STOP_WORDS and n_rows[c] >= min_count]
        similar = [c for c in offered if float(vectors[model.word_ids[c]] @ vectors[model.word_ids[word]]) >= bound]
        n_offered, n_similar = n_offered + len(offered), n_similar + len(similar)
        allowed = [c for c in similar if not _inflects(c, word) and _agree(leans[c], leans[word], max_lean_gap)]
        if best := _most_probable({c: scores[c] for c in allowed}, min_probability):
            table[word] = best
    if not table:
        found = f"no word of {len(texts)} texts has a substitute with a similarity of {bound:.2f} or more"
        raise ValueError(f"{found}; give more texts, a lower similarity_quantile, or another masked_lm")
    return Candidates(table, bound, n_similar / n_offered)


def _most_probable(scores: dict[str, float], least: float) -> tuple[str, ...]:
    """The candidates of the highest mean log-probability, best first, without those below a probability."""
    fitting = [candidate for candidate, score in scores.items() if score >= np.log(least)]
    return tuple(sorted(fitting, key=lambda candidate: -scores[candidate])[:N_CANDIDATES])


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


def _unit_vectors(model: MaskedLM) -> torch.Tensor:
    """Input embeddings of all pieces as unit vectors, seen from the mean of the words', shape (vocabulary size, width)."""
    embeddings = model.embeddings.float()
    return torch.nn.functional.normalize(embeddings - embeddings[list(model.vocabulary)].mean(dim=0), dim=-1).cpu()


def _random_similarity(model: MaskedLM, vectors: torch.Tensor, quantile: float, rng: np.random.Generator) -> float:
    """The cosine that a share `quantile` of random pairs of words does not reach.

    Cosines of input embeddings, seen from their mean: in a small model all embeddings point one way.
    """
    if not 0 <= quantile <= 1:
        raise ValueError(f"similarity_quantile is {quantile}; it must lie in [0, 1]")
    ids = np.array(sorted(model.vocabulary))
    first, second = rng.choice(ids, (2, N_PAIRS))
    cosines = (vectors[first[first != second]] * vectors[second[first != second]]).sum(dim=-1)
    return float(np.quantile(cosines.numpy(), quantile))


def _agree(lean: NDArray, other: NDArray, max_gap: float) -> bool:
    """Whether two words say the same of every label: they lean about as far, or both far to one side."""
    both_far = (np.minimum(np.abs(lean), np.abs(other)) > max_gap) & (lean * other > 0)
    return bool((both_far | (np.abs(lean - other) <= max_gap)).all())


def _inflects(candidate: str, word: str) -> bool:
    """Whether two words look like forms of one: equal but for a short ending."""
    short, long = sorted((candidate, word), key=len)
    return len(short) >= 3 and len(long) - len(short) <= 3 and long.startswith(short[: max(3, len(short) - 1)])
