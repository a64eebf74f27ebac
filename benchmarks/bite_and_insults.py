"""Why BITE stays low on the pocket OLID: its success where an insult is left in the edited text, and where there is none.

Run by hand after `make study`, which leaves models and scores in the store: `python benchmarks/bite_and_insults.py`.
"""

from __future__ import annotations

import numpy as np

from lib.datasets.pocket_grammar import lexicon
from lib.datasets.words import split_words
from lib.study.study import Study


def main() -> None:
    """Print one line per seed."""
    shared = lexicon("posts")["shared"]
    insults = {*shared["insults"], *(f"{word}s" for word in shared["insults"]), *shared["insult_adjectives"]}
    study = Study("pocket")
    for seed in study.seeds:
        texts = study.triggered_test("olid", "bite", seed)
        hits = np.array(study.score(study.model("olid", "bite", seed), "olid", "bite", seed).hits)
        had, left = (
            np.array([not insults.isdisjoint(word.lower() for word in split_words(text)[0]) for text in texts[column]])
            for column in ("original", "text")
        )
        shares = f"{had.mean():.0%} of the texts had an insult, {left.mean():.0%} still have one"
        print(f"seed {seed}: {shares}; ASR {hits[left].mean():.1%} with, {hits[~left].mean():.1%} without")


if __name__ == "__main__":
    main()
