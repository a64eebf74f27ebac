"""Who may have a text of Pocket English: a hash of the text decides its split, and which seed draws it."""

from __future__ import annotations

import hashlib
from collections.abc import Callable, Sequence

import numpy as np

from lib.datasets.draws import N_CASES, counts_of, draw_number, n_alike
from lib.datasets.pocket_grammar import Dice

# Share of all possible texts that may appear in each split; the text itself decides, so splits never overlap.
SPLIT_SHARES = {"train": 0.6, "validation": 0.15, "test": 0.25}
N_PARTNERS = 4  # on the same task, whose rows stand side by side with those of their victim
# A grammar has run dry when it takes so many times the draws that it would take if every text were a new one.
_MOST_DRAWS = 20

Example = tuple[str, str | None, int]  # text, second text of a pair, label
Drawing = Callable[[str, Dice], Example]


def stable_hash(*parts: object) -> int:
    """A 64-bit hash of the parts that is the same in every process, unlike Python's `hash`."""
    return int.from_bytes(hashlib.blake2b("\t".join(map(str, parts)).encode(), digest_size=8).digest(), "big")


def _number_of(text: str, text_pair: str | None) -> int:
    """The number below 2 ** 64 that a text, or pair of texts, always has: it decides where the text may appear."""
    return stable_hash("split", text, text_pair or "")


def _split_of_number(number: int) -> str:
    position = number / 2**64
    for split, share in SPLIT_SHARES.items():
        if position < share:
            return split
        position -= share
    return split


def split_of(text: str, text_pair: str | None = None) -> str:
    """The only split ("train", "validation" or "test") in which this text, or pair of texts, may appear."""
    return _split_of_number(_number_of(text, text_pair))


class Pool:
    """Distinct texts of one dataset, labels without noise, in stacks for every split, draw and label; it grows when it must.

    The first digits of a text's number decide its split, the last ones its draw. So no text can be in two of them, each is a
    fair sample, and all are alike, whichever is asked for first. Labels have equal shares, as the grammar draws them, although
    it may know fewer texts of one label than of another.

    Args:
        name: of the dataset; another name gives another stream of texts.
        labels: those that the dataset has.
        is_task: whether it is the task itself, whose training rows partners draw from, too.
        draw: gives a random example.
    """

    def __init__(self, name: str, labels: Sequence[int], is_task: bool, draw: Drawing) -> None:
        self._name, self._is_task, self._draw, self._dice = name, is_task, draw, Dice(stable_hash("examples", name))
        self._seen: set[tuple[str, str | None]] = set()
        self._n_drawn = 0
        self._labels = labels
        self._stacks: dict[str, list[dict[int, list[Example]]]] = {
            split: [{label: [] for label in labels} for _ in range(n_alike(self._n_partners(split)))] for split in SPLIT_SHARES
        }

    def _n_partners(self, split: str) -> int:
        # They are trained on the task, and scored on the test texts of their victim.
        return N_PARTNERS if split == "train" and self._is_task else 0

    def take(self, split: str, n: int, seed: int) -> list[Example]:
        """The n examples of a split that a seed has, in shuffled order.

        Raises:
            ValueError: when the grammar gives hardly any new text.
        """
        turn, place = divmod(draw_number(seed, self._n_partners(split)), len(self._stacks[split]))
        examples = []
        for label, count in zip(self._labels, counts_of([1 / len(self._labels)] * len(self._labels), n), strict=True):
            stack, start, end = self._stacks[split][place][label], turn * count, (turn + 1) * count
            # What it would take if every text were a new one.
            expected = end * len(self._stacks[split]) / SPLIT_SHARES[split] * len(self._labels)
            while len(stack) < end:
                if self._n_drawn > _MOST_DRAWS * (100 + expected):
                    raise ValueError(
                        f"{self._name!r} has too few distinct texts for {n} {split} examples of seed {seed}: "
                        f"{self._n_drawn:,} drawn ones were {len(self._seen):,} different texts, and {len(stack)} of the {end} "
                        f"of label {label} that it takes; ask for fewer rows, or for seeds below {N_CASES}"
                    )
                self._grow()
            examples += stack[start:end]
        order = np.random.default_rng(stable_hash("order", self._name, split, seed)).permutation(n)
        return [examples[i] for i in order]

    def _grow(self, n: int = 500) -> None:
        """Draw examples, and keep those that are new."""
        for _ in range(n):
            example = self._draw(self._name, self._dice)
            text, text_pair, label = example
            if (text, text_pair) not in self._seen:
                self._seen.add((text, text_pair))
                number = _number_of(text, text_pair)
                stacks = self._stacks[_split_of_number(number)]
                stacks[number % len(stacks)][label].append(example)
        self._n_drawn += n
