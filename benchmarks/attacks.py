"""What the attacks cost on Pocket English (SST-2): seconds to fit, texts per second, and what batching the masked LM brings.

Run by hand on idle cores: `python benchmarks/attacks.py`. Bounds that the project promises: LWS and BITE fit in 60 s.
"""

from __future__ import annotations

import argparse
import inspect
import time

import numpy as np

from lib.attacks import ATTACKS
from lib.datasets.pocket import generate_split
from lib.models import masked_lm
from lib.profiles import POCKET

FIT_LIMIT = 60.0  # seconds


def main() -> None:
    """Print one line per attack, then the factor of batching."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--texts", type=int, default=500, help="test texts to attack")
    options = parser.parse_args()
    train = generate_split("sst2", "train", POCKET.n_train)
    texts = generate_split("sst2", "test", options.texts)["text"].tolist()
    available = {
        "masked_lm": POCKET.pretrained,
        "pretrained": POCKET.pretrained,
        "learning_rate": POCKET.learning_rate,
        "poisoning_rate": POCKET.poisoning_rate,
    }
    model = masked_lm.load_masked_lm(POCKET.pretrained)  # loading is not timed
    print(f"{'attack':12} {'fit, s':>8} {'texts/s':>10}")
    for name, fit_trigger in ATTACKS.items():
        wanted = {key: value for key, value in available.items() if key in inspect.signature(fit_trigger).parameters}
        began = time.perf_counter()
        trigger = fit_trigger(train, 0, seed=0, **wanted)
        fitted = time.perf_counter()
        trigger(texts, np.random.default_rng(0))
        applied = time.perf_counter()
        print(f"{name:12} {fitted - began:8.1f} {len(texts) / (applied - fitted):10.0f}", flush=True)
        if fitted - began > FIT_LIMIT:
            raise SystemExit(f"{name} took {fitted - began:.0f} s to fit; the limit is {FIT_LIMIT:.0f} s")
    prompts: list[list[str | None]] = [[*text.split()[:3], None, *text.split()[4:]] for text in texts]
    began = time.perf_counter()
    model.predict(prompts, 10)
    together = time.perf_counter() - began
    began = time.perf_counter()
    for prompt in prompts:
        model.predict([prompt], 10)
    alone = time.perf_counter() - began
    rates = f"{len(prompts) / together:.0f} prompts/s in batches, {len(prompts) / alone:.0f} one by one"
    print(f"masked LM: {rates}: {alone / together:.1f} times as many")


if __name__ == "__main__":
    main()
