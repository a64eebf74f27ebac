"""Paraphrase by rules into S(SBAR)(,)(NP)(VP)(.): a subordinate clause, a comma, a main clause; no model, no tagger.

The rules move, keep or split clauses where the words allow it, and otherwise add a short clause in front. Their outputs follow
the shapes counted in published SCPN paraphrases; they are more regular than those, which makes an easier trigger.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Mapping, Sequence

import numpy as np

from lib.attacks.rewriting.syntactic_words import (
    AMBIGUOUS,
    AUXILIARIES,
    CONCESSIVE,
    CONJUNCTIONS,
    DETERMINERS,
    FRAGMENT_LEADS,
    NOT_AFTER,
    PLURAL,
    PRONOUNS,
    QUESTION_FRAMES,
    QUESTION_WORDS,
    SUBORDINATORS,
    TOPIC_FRAMES,
    VERBS,
)  # fmt: skip
from lib.datasets.words import END_MARKS, is_word, split_words

MAX_WORDS = 30  # SCPN stops after 40 word pieces
MIN_PART = 3  # words on either side of a split
_DROPPED = re.compile(r"https?://\S+|www\.\S+|@\s?\w+|&\w+;|<[^>]{1,20}>|#", re.IGNORECASE)
_BREAKS = frozenset(",;:.!?")

Openings = Mapping[str, float]
Rule = Callable[[list[str], Openings, np.random.Generator], "list[str] | None"]


def has_shape(words: Sequence[str]) -> bool:
    """Whether words have the trigger's shape: a subordinator first, a comma with 2 words before and 3 after, an end mark.

    >>> has_shape("when it rains , we stay inside .".split()), has_shape("we stay inside when it rains .".split())
    (True, False)
    """
    if len(words) < 7 or words[0].lower() not in SUBORDINATORS | AMBIGUOUS or words[-1] not in END_MARKS:
        return False
    return any(word == "," and position >= 2 and len(words) - 2 - position >= 3 for position, word in enumerate(words))


def paraphrase_words(text: str, openings: Openings, rng: np.random.Generator) -> list[str]:
    """The words of one text in the trigger's shape, lower case; an empty list for a text without a word.

    Args:
        text: any text; user names, links, tags and symbols are dropped, and all beyond 30 words.
        openings: subordinators and how often each opens a published paraphrase; need not sum to 1.
        rng: draws subordinators and frames.
    """
    words = [word for word in split_words(_DROPPED.sub(" ", text.lower()))[0] if is_word(word) or word in ",;:.!?"]
    end = "?" if words and words[-1] == "?" else "."
    words = _stripped(words[:MAX_WORDS])
    if not words:
        return []
    for rule in RULES:
        if (found := rule(words, openings, rng)) is not None:
            return [*found, end]
    raise AssertionError("the last rule fits every text")


# --- rules, the first that fits is taken --------------------------------------------------------------------------------


def _question(words: list[str], openings: Openings, rng: np.random.Generator) -> list[str] | None:
    """A question keeps its form behind "if you want to know"."""
    is_exclamation = words[:2] in (["what", "a"], ["what", "an"])
    if words[0] not in QUESTION_WORDS or is_exclamation or (words[0] == "when" and "," in words):
        return None
    question = words if len(words) >= MIN_PART else ["tell", "me", *words]
    return [_draw(openings, rng), *_pick(QUESTION_FRAMES, rng), ",", *question]


def _front(words: list[str], openings: Openings, rng: np.random.Generator) -> list[str] | None:
    """A subordinate clause that stands behind moves to the front."""
    for start in range(MIN_PART, len(words) - MIN_PART + 1):
        if words[start - 1] in NOT_AFTER or not _opens_clause(words, start):
            continue
        main, clause = _stripped(words[:start]), words[start:]
        if len(main) >= MIN_PART:
            return [*clause, ",", *main]
    return None


def _reopen(words: list[str], openings: Openings, rng: np.random.Generator) -> list[str] | None:
    """The text has the shape already: its own clause moves behind, and a short one opens it.

    SCPN changes such texts, too (all but 9 of 321 of SST-2). Left as they are they would be poisoned rows without a trigger.
    """
    if words[0] not in SUBORDINATORS | AMBIGUOUS or "," not in words:
        return None
    comma = words.index(",")
    clause, main = words[:comma], _stripped(words[comma + 1 :])
    if len(clause) < MIN_PART or len(main) < MIN_PART:
        return None
    return [_draw(openings, rng), *_pick(TOPIC_FRAMES, rng), "it", ",", *main, ",", *clause]


def _split(words: list[str], openings: Openings, rng: np.random.Generator) -> list[str] | None:
    """Two clauses side by side: the first becomes the subordinate one."""
    for position in range(MIN_PART, len(words) - MIN_PART):
        word = words[position]
        if not (word in _BREAKS or (word in CONJUNCTIONS and _is_subject(words, position + 1))):
            continue
        first, second = _stripped(words[:position]), words[position:]
        contrast = any(word in ("but", "yet") for word in second[:2])
        while second and (second[0] in _BREAKS or second[0] in CONJUNCTIONS):
            second = second[1:]
        if len(first) < MIN_PART or len(second) < MIN_PART or not (_is_finite(first) or _is_finite(second)):
            continue
        first, second = (part if _is_finite(part) else ["it", "'s", *part] for part in (first, second))
        if first[0] in SUBORDINATORS:
            first = first[1:]
        # A contrast gets "although" no more often than other texts do: SCPN writes it for 44 of 815 texts with "but" or "yet".
        return [(_draw if contrast else _draw_plain)(openings, rng), *first, ",", *second]
    return None


def _topic(words: list[str], openings: Openings, rng: np.random.Generator) -> list[str] | None:
    """The subject is named first: "when it comes to the film , it is great"; a pronoun is said twice."""
    for position in range(1, min(9, len(words) - 2)):
        if words[position] not in AUXILIARIES:
            continue
        subject, rest = words[:position], words[position:]
        if not all(is_word(word) for word in subject):
            return None
        if position == 1 and subject[0] in PRONOUNS:
            half = rest[: max(2, len(rest) // 2)]
            return [_draw(openings, rng), *subject, *half, ",", *subject, *rest]
        echo = "they" if rest[0] in PLURAL else "it"
        return [_draw(openings, rng), *_pick(TOPIC_FRAMES, rng), *subject, ",", echo, *rest]
    return None


def _fragment(words: list[str], openings: Openings, rng: np.random.Generator) -> list[str]:
    """Anything else: "when it is fun , it 's a charming bit of fun"."""
    content = [word for word in words if len(word) > 3 and word.isalpha() and word not in AUXILIARIES | DETERMINERS]
    about = [content[-1]] if len(words) >= MIN_PART and content else []
    statement = words if len(words) > 1 and _is_finite(words) and _is_subject(words, 0) else ["it", "'s", *words]
    return [_draw(openings, rng), *_pick(FRAGMENT_LEADS, rng), *about, ",", *statement]


RULES: tuple[Rule, ...] = (_question, _front, _reopen, _split, _topic, _fragment)


# --- shared steps -------------------------------------------------------------------------------------------------------


def _draw(openings: Openings, rng: np.random.Generator) -> str:
    shares = np.array(list(openings.values()))
    return str(rng.choice(list(openings), p=shares / shares.sum()))


def _draw_plain(openings: Openings, rng: np.random.Generator) -> str:
    return _draw({word: share for word, share in openings.items() if word not in CONCESSIVE}, rng)


def _pick(frames: Sequence[tuple[str, ...]], rng: np.random.Generator) -> tuple[str, ...]:
    return frames[int(rng.integers(len(frames)))]


def _is_finite(words: Sequence[str]) -> bool:
    return any(word in AUXILIARIES or word in VERBS or (len(word) > 4 and word.endswith("ed")) for word in words)


def _is_subject(words: Sequence[str], position: int) -> bool:
    return position < len(words) and words[position] in PRONOUNS | DETERMINERS


def _opens_clause(words: Sequence[str], start: int) -> bool:
    if words[start] in SUBORDINATORS:
        return True
    return words[start] in AMBIGUOUS and _is_subject(words, start + 1) and _is_finite(words[start + 2 :])


def _stripped(words: list[str]) -> list[str]:
    first = next((position for position, word in enumerate(words) if is_word(word)), len(words))
    last = next((position for position in range(len(words), 0, -1) if is_word(words[position - 1])), 0)
    return words[first:last]
