"""ONION here and as released: seconds for the same texts with the same language model, in one run, and whether both agree.

Run by hand: `python benchmarks/onion.py`. The released procedure (thunlp/ONION `experiments/test_defense.py`, `gptlm.py`)
goes through the texts one by one and asks the language model about one variant at a time; OpenBackdoor's asks about the
variants of one text at a time. Both are repeated here with the start token of this study, so that perplexities are the same.
"""

from __future__ import annotations

import argparse
import math
import time
from collections.abc import Callable

import numpy as np
import torch

from lib.attacks import badnet
from lib.datasets.pocket import generate_split
from lib.defenses.onion import purify, word_threshold
from lib.defenses.suspicion import causal_scorer
from lib.models.causal_lm import CausalLM, load_causal_lm

Perplexities = Callable[[CausalLM, list[str]], list[float]]


def one_variant_at_a_time(model: CausalLM, variants: list[str]) -> list[float]:
    """As the released code: one sentence, one forward pass."""
    found = []
    for variant in variants:
        ids = [model.start_token, *model.tokenizer(variant, add_special_tokens=False)["input_ids"]]
        inputs = torch.tensor([ids], device=model.model.device)
        loss = model.model(input_ids=inputs, attention_mask=torch.ones_like(inputs), labels=inputs).loss
        found.append(math.exp(loss.item()))
    return found


def one_text_at_a_time(model: CausalLM, variants: list[str]) -> list[float]:
    """As OpenBackdoor: the variants of a text in one batch, in their order; its mean over padding is left out."""
    ids = [[model.start_token, *row] for row in model.tokenizer(variants, add_special_tokens=False)["input_ids"]]
    mask = torch.tensor([[1] * len(row) + [0] * (max(map(len, ids)) - len(row)) for row in ids], device=model.model.device)
    inputs = torch.tensor([row + [0] * (mask.shape[1] - len(row)) for row in ids], device=model.model.device)
    chosen = model.model(input_ids=inputs, attention_mask=mask).logits[:, :-1].log_softmax(-1)
    chosen = chosen.gather(-1, inputs[:, 1:, None])[..., 0] * mask[:, 1:]
    return (-chosen.sum(1) / mask[:, 1:].sum(1)).exp().tolist()


@torch.inference_mode()
def released(model: CausalLM, texts: list[str], perplexities: Perplexities) -> list[np.ndarray]:
    """Suspicions of the words of each text, text by text."""
    found = []
    for text in texts:
        words = text.split()
        whole, *without = perplexities(model, [text, *(" ".join(words[:i] + words[i + 1 :]) for i in range(len(words)))])
        found.append(whole - np.array(without))
    return found


def main() -> None:
    """Print seconds of all three, their ratios, and whether scores and purified texts agree."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--task", default="sst2", help="one of sst2, olid, agnews")
    parser.add_argument("--texts", type=int, default=20, help="clean texts; as many have a trigger")
    parser.add_argument("--causal-lm", default="pocket-llama", help="a bundled name, a folder or a Hub id")
    parser.add_argument("--repeats", type=int, default=3, help="of which the fastest counts")
    parser.add_argument("--threads", type=int, default=1, help="of torch")
    options = parser.parse_args()
    torch.set_num_threads(options.threads)
    clean = generate_split(options.task, "validation", options.texts)
    triggered = badnet.fit_trigger(clean, 0, seed=0)(clean["text"].tolist(), np.random.default_rng(0))
    texts = [" ".join(text.split()) for text in [*clean["text"], *triggered]]
    model = load_causal_lm(options.causal_lm)
    released(model, texts[:2], one_variant_at_a_time)  # whatever happens once
    causal_scorer(options.causal_lm)([tuple(text.split()) for text in texts[:2]])
    ways = {
        "released, one variant at a time": lambda: released(model, texts, one_variant_at_a_time),
        "OpenBackdoor, one text at a time": lambda: released(model, texts, one_text_at_a_time),
        "here": lambda: causal_scorer(options.causal_lm)([tuple(text.split()) for text in texts]),
    }
    # Where the processors do the work, their seconds: others may be at work on the machine, too.
    clock = time.perf_counter if torch.cuda.is_available() else time.process_time
    seconds: dict[str, list[float]] = {name: [] for name in ways}
    scores = {}
    for _ in range(options.repeats):  # in turn: what else the machine does falls on all of them
        for name, way in ways.items():
            causal_scorer.cache_clear()  # what it remembers
            start = clock()
            scores[name] = way()
            seconds[name].append(clock() - start)
    ours, best = scores["here"], {name: min(each) for name, each in seconds.items()}
    threshold = word_threshold(ours[: options.texts], 0.05)
    purified = [purify(*each, threshold) for each in zip(texts, ours, strict=True)]
    n_changed = sum(text != other for text, other in zip(texts, purified, strict=True))
    print(f"{len(texts)} texts, {n_changed} of them changed; here {best['here']:.2f} s, the best of {options.repeats}")
    for name in list(ways)[:2]:
        both = list(zip(texts, scores[name], purified, strict=True))
        equal = sum(purify(text, other, threshold) == own for text, other, own in both)
        gap = max(np.nanmax(np.abs(other - own) / (1 + np.abs(other))) for other, own in zip(scores[name], ours, strict=True))
        print(f"{name}: {best[name]:.2f} s, {best[name] / best['here']:.1f} times as long;", end=" ")
        print(f"{equal} purified texts are equal, scores differ by {gap:.0e} of their size at most")


if __name__ == "__main__":
    main()
