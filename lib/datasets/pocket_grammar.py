"""Dice, templates and lexicons: the small grammar machine behind Pocket English."""

import json
import re
from collections.abc import Iterator, Mapping, Sequence
from functools import cache
from pathlib import Path
from typing import Any

import numpy as np

POCKET_LEXICONS = Path(__file__).resolve().parents[2] / "data" / "pocket"

_SLOT = re.compile(r"\{(\w+)\}")
_ARTICLE = re.compile(r"\ba (?=(?:[aeio]|u(?!ni|se))(?!ne\b))|\ba (?=ho(?:nest|ur))")

Words = Mapping[str, "str | Sequence[str]"]


class Dice:
    """A stream of random choices drawn from one seeded numpy generator.

    Uniform numbers are drawn in blocks, because a scalar call of a numpy generator costs more than writing a sentence.
    """

    def __init__(self, seed: int) -> None:
        self._rng = np.random.default_rng(seed)
        self._numbers: Iterator[float] = iter(())

    def uniform(self) -> float:
        """One number from the uniform distribution on [0, 1)."""
        for number in self._numbers:
            return number
        self._numbers = iter(self._rng.random(4096).tolist())
        return next(self._numbers)

    def chance(self, probability: float) -> bool:
        """Whether an event of this probability, in [0, 1], happens."""
        return self.uniform() < probability

    def choose(self, options: Sequence[Any]) -> Any:
        """One of the options, each with the same probability."""
        return options[int(self.uniform() * len(options))]

    def choose_two(self, options: Sequence[Any]) -> tuple[Any, Any]:
        """Two different options, in random order; at least two must be given."""
        first = int(self.uniform() * len(options))
        second = int(self.uniform() * (len(options) - 1))
        return options[first], options[second + (second >= first)]


@cache
def _slots_of(template: str) -> tuple[str, ...]:
    return tuple(_SLOT.split(template))


def expand(template: str, words: Words, dice: Dice) -> str:
    """Replace every `{slot}` of a template by one of its words, and the slots of that word in turn.

    Args:
        template: text with slots, such as "the {noun} is {adjective}".
        words: for each slot one string, or a sequence from which the dice choose.
        dice: source of the choices.

    Raises:
        KeyError: if a slot has no words.

    >>> expand("the {noun} is {quality}", {"noun": "plot", "quality": ["very {how}"], "how": ["thin"]}, Dice(0))
    'the plot is very thin'
    """
    parts = _slots_of(template)
    if len(parts) == 1:
        return template
    filled = list(parts)
    for position in range(1, len(parts), 2):
        options = words[parts[position]]
        chosen = options if isinstance(options, str) else dice.choose(options)
        filled[position] = expand(chosen, words, dice) if "{" in chosen else chosen
    return "".join(filled)


def with_articles(text: str) -> str:
    """The text with "a" written "an" before a vowel sound.

    >>> with_articles("a awful hour with a useful owl")
    'an awful hour with a useful owl'
    """
    return _ARTICLE.sub("an ", text)


def sentence(clause: str, mark: str = ".") -> str:
    """A clause closed by a punctuation mark, unless it already ends in one."""
    return clause if clause[-1] in ".!?" else clause + mark


@cache
def lexicon(family: str) -> dict[str, Any]:
    """The word lists of one family of tasks, read once from `data/pocket/<family>.json`; treat them as read-only."""
    return json.loads((POCKET_LEXICONS / f"{family}.json").read_text(encoding="utf-8"))
