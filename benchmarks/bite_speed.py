"""BITE's edits here and in another working tree, at equal settings: processor seconds, and whether words and texts are equal.

Run by hand: `git worktree add /tmp/before 13bf02b; python benchmarks/bite_speed.py /tmp/before`. Both run one after the other,
on one thread, with the texts and the language model of this tree, and the limits that both know: no bound on the similarity,
no word that says a label.
"""

from __future__ import annotations

import argparse
import json
import os
import subprocess
import sys
import tempfile
from pathlib import Path

from lib.datasets.pocket import generate_split
from lib.paths import POCKET, ROOT

# Runs in either tree. The older one may go on asking for similarity; equal words and texts show that it rejected nothing.
SCRIPT = """
import inspect, json, sys, time
import numpy as np, pandas as pd, torch
from lib.attacks import bite
from lib.models.masked_lm import load_masked_lm

torch.set_num_threads(1)
masked_lm, folder = sys.argv[1:]
train, texts = (pd.read_json(f"{folder}/{split}.json") for split in ("train", "test"))
texts = texts["text"].tolist()
known = inspect.signature(bite.fit_trigger).parameters
unbound = {name: None for name in ("similarity_quantile", "max_lean") if name in known}
load_masked_lm(masked_lm).predict([["a", None]], 1)
times = [time.process_time()]
trigger = bite.fit_trigger(train, 0, masked_lm=masked_lm, max_words=30, **unbound)
times.append(time.process_time())
edited = trigger(texts, np.random.default_rng(0))
times.append(time.process_time())
seconds = [times[1] - times[0], times[2] - times[1]]
print(json.dumps({"seconds": seconds, "words": trigger.words, "poison": list(trigger.edited.values()), "texts": edited}))
"""


def main() -> None:
    """Print seconds of both trees, their ratio, and the share of equal texts."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("before", type=Path, help="a working tree of an earlier commit")
    parser.add_argument("--task", default="sst2", help="one of sst2, olid, agnews, qnli")
    parser.add_argument("--train", type=int, default=2000, help="training texts")
    parser.add_argument("--texts", type=int, default=250, help="test texts to attack")
    options = parser.parse_args()
    with tempfile.TemporaryDirectory() as folder:
        for split, n in (("train", options.train), ("test", options.texts)):
            generate_split(options.task, split, n).to_json(f"{folder}/{split}.json")
        before, now = (_run(tree, folder) for tree in (options.before.resolve(), ROOT))
    for index, what in enumerate(("fit", "attack")):
        old, new = before["seconds"][index], now["seconds"][index]
        print(f"{what}: {old:.1f} s before, {new:.1f} s now, {old / new:.1f} times as fast")
    for what in ("words", "poison", "texts"):
        equal = sum(one == other for one, other in zip(before[what], now[what], strict=True))
        print(f"{what}: {equal} of {len(now[what])} equal")


def _run(tree: Path, folder: str) -> dict:
    command = [sys.executable, "-c", SCRIPT, str(POCKET / "pocket-bert"), folder]
    environment = os.environ | {"PYTHONPATH": str(tree), "OMP_NUM_THREADS": "1"}
    done = subprocess.run(command, cwd=tree, env=environment, capture_output=True, text=True)
    if done.returncode:
        raise SystemExit(f"{tree}: {done.stderr}")
    return json.loads(done.stdout.splitlines()[-1])


if __name__ == "__main__":
    main()
