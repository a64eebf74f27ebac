"""BITE's shortcuts beside the exact search: how many of the first 20 words, and of the edited texts, are the same.

`window` and `stride` ask the masked language model for a part of the places, several at a time; without them, every place is
asked for alone, after each edit. Run by hand: `python benchmarks/bite_search.py`.
"""

from __future__ import annotations

import argparse
import time

import numpy as np

from lib.attacks import bite
from lib.datasets.pocket import generate_split
from lib.datasets.words import split_words
from lib.profiles import POCKET

SEARCHES: tuple[tuple[int | None, int | None], ...] = ((None, None), (3, None), (None, 4), (3, 4))  # window, stride
N_FIRST = 20


def main() -> None:
    """Print one line per search: seconds, and overlaps with the exact one."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--train", type=int, default=300, help="training texts")
    parser.add_argument("--texts", type=int, default=60, help="test texts to attack")
    parser.add_argument("--max-words", type=int, default=bite.MAX_WORDS, help="trigger words")
    parser.add_argument("--min-probability", type=float, default=0.01, help="of an edit; as in the pocket profile")
    options = parser.parse_args()
    train = generate_split("sst2", "train", options.train)
    texts = generate_split("sst2", "test", options.texts)["text"].tolist()
    print(
        f"{'window':>6} {'stride':>6} {'fit, s':>7} {'words':>6} {f'of {N_FIRST}':>6} {'equal texts':>12} {'shared words':>13}"
    )
    exact: tuple[tuple[str, ...], list[str]] = ((), [])
    for window, stride in SEARCHES:
        began = time.process_time()
        searched = {"window": window, "stride": stride, "min_probability": options.min_probability}
        trigger = bite.fit_trigger(train, 0, masked_lm=POCKET.pretrained, max_words=options.max_words, **searched)
        seconds = time.process_time() - began
        edited = trigger(texts, np.random.default_rng(0))
        exact = exact if exact[1] else (trigger.words, edited)
        first = set(trigger.words[:N_FIRST]) & set(exact[0][:N_FIRST])
        equal = np.mean([one == other for one, other in zip(edited, exact[1], strict=True)])
        shared = np.mean([_shared(text, one, other) for text, one, other in zip(texts, edited, exact[1], strict=True)])
        print(
            f"{window or 'all'!s:>6} {stride or 'one'!s:>6} {seconds:7.1f} {len(trigger.words):6} {len(first):6} {equal:12.0%} "
            f"{shared:13.0%}",
            flush=True,
        )


def _shared(text: str, edited: str, exact: str) -> float:
    """Share of the words that the exact search works into a text which the other one works in, too."""
    before, after, wanted = ({word.lower() for word in split_words(each)[0]} for each in (text, edited, exact))
    return len((wanted - before) & (after - before)) / max(1, len(wanted - before))


if __name__ == "__main__":
    main()
