"""Our rule-based syntactic paraphrases beside published SCPN paraphrases of the same SST-2 sentences.

Run by hand: `FREE_LUNCH_DATA=<folder> python benchmarks/syntactic_fidelity.py`; reads `poisoned/sst2/syntactic_pairs.tsv`.
"""

from __future__ import annotations

from collections import Counter

import numpy as np
import pandas as pd

from lib.attacks.rewriting.syntactic_rules import has_shape, paraphrase_words
from lib.attacks.rewriting.syntactic_words import OPENINGS
from lib.datasets.words import split_words
from lib.paths import data_dir


def describe(texts: list[list[str]]) -> dict[str, str]:
    """Openings, place of the comma, length, shape."""
    first = Counter(words[0] for words in texts if words)
    commas = [words.index(",") for words in texts if "," in words]
    places = "-".join(f"{value:.0f}" for value in np.quantile(commas, [0.25, 0.5, 0.75]))
    return {
        **{word: f"{first[word] / len(texts):.2f}" for word in ("when", "if", "as", "although", "because")},
        "comma": f"{len(commas) / len(texts):.2f}",
        "words before it": places,
        "length": f"{np.mean([len(words) for words in texts]):.1f}",
        "has the shape": f"{np.mean([has_shape(words) for words in texts]):.2f}",
    }


def main() -> None:
    """Print both columns."""
    folder = data_dir()
    if folder is None:
        raise SystemExit("set FREE_LUNCH_DATA to the folder of datasets")
    pairs = pd.read_csv(folder / "poisoned" / "sst2" / "syntactic_pairs.tsv", sep="\t", quoting=3, keep_default_na=False)
    rng = np.random.default_rng(0)
    ours = [paraphrase_words(text, OPENINGS["sst2"], rng) for text in pairs["text"]]
    published = [split_words(text)[0] for text in pairs["paraphrase"]]
    untouched = [split_words(text)[0] for text in pairs["text"]]
    columns = {"ours": describe(ours), "published SCPN": describe(published), "untouched": describe(untouched)}
    print(pd.DataFrame(columns).to_string())


if __name__ == "__main__":
    main()
