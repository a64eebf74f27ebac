"""How an answer is judged: "not attempted", "correct", or what is wrong with it and on which input; never the answer itself."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Sequence
from copy import deepcopy
from functools import wraps
from typing import Any, ParamSpec

import numpy as np

NOT_ATTEMPTED, CORRECT = "not attempted", "correct"
P = ParamSpec("P")
Mistake = tuple[Any, str]  # what a usual mistake gives (a value, or a function), and what to say to it


class Answer(str):
    """A verdict that a notebook shows as lines of text, without quotes."""

    __slots__ = ()

    def _repr_pretty_(self, printer: Any, cycle: bool) -> None:
        printer.text(str(self))


def exercise(*hints: str) -> Callable[[Callable[P, str]], Callable[..., Answer]]:
    """Give a check up to three hints, which `hint=1`, `hint=2` and `hint=3` add to the verdict, from vague to plain."""

    def decorate(check: Callable[P, str]) -> Callable[..., Answer]:
        @wraps(check)
        def checked(*arguments: Any, hint: int = 0, **settings: Any) -> Answer:
            verdict = check(*arguments, **settings)
            if not hint:
                return Answer(verdict)
            if hint not in range(1, len(hints) + 1):
                return Answer(f"{verdict}\nthis exercise has {len(hints)} hints, hint=1 to hint={len(hints)}")
            return Answer(f"{verdict}\nhint {hint} of {len(hints)}: {hints[hint - 1]}")

        checked.hints = hints  # type: ignore[attr-defined]
        return checked

    return decorate


def value(answer: Any, expected: float, mistakes: Iterable[Mistake] = ()) -> str:
    """Judge a number."""
    if answer is None:
        return NOT_ATTEMPTED
    number = _numbers(answer)
    if number is None or number.shape != ():
        return f"{answer!r:.80} is not right yet: one number is wanted"
    if np.isclose(number, expected, atol=1e-3):
        return CORRECT
    return f"{answer!r} is not right yet: {_said_to(number, (), mistakes) or _direction(float(number), expected)}"


def name(answer: Any, expected: str, known: Sequence[str]) -> str:
    """Judge a name among known ones."""
    if answer is None:
        return NOT_ATTEMPTED
    if answer == expected:
        return CORRECT
    reason = "look again" if answer in known else f"it is not among {list(known)}"
    return f"{answer!r:.80} is not right yet: {reason}"


def names(answer: Any, expected: Sequence[str], known: Sequence[str]) -> str:
    """Judge a set of names among known ones: how many are missing or too many is said, not which."""
    if answer is None:
        return NOT_ATTEMPTED
    if isinstance(answer, str) or not isinstance(answer, Iterable):
        return f"{answer!r:.80} is not right yet: a list of names is wanted"
    given, wanted = set(answer), set(expected)
    if given == wanted:
        return CORRECT
    if unknown := sorted(map(str, given - set(known))):
        return f"{unknown[0]!r:.80} is not among {list(known)}"
    return f"not right yet: {len(wanted - given)} missing, {len(given - wanted)} too many"


def function(
    answer: Any, reference: Callable[..., Any], cases: Sequence[tuple[Any, ...]], mistakes: Iterable[Mistake] = ()
) -> str:
    """Judge a function by what it gives for some inputs; the first input on which it is wrong is shown.

    Args:
        answer: of the student; it gets copies, so that it cannot change the inputs.
        reference: gives what is right.
        cases: arguments, as tuples.
        mistakes: functions with usual mistakes, and what to say to them.
    """
    if answer is None:
        return NOT_ATTEMPTED
    if not callable(answer):
        return f"{answer!r:.80} is not right yet: a function is wanted, such as `lambda ...: ...`"
    for case in cases:
        try:
            given = answer(*deepcopy(case))
        except Exception as error:
            return f"for the input {_shown(case)} your function stops: {type(error).__name__}: {error}"
        if wrong := _wrong(given, reference(*case), case, mistakes):
            return f"for the input {_shown(case)} {wrong}"
    return CORRECT


def _wrong(given: Any, expected: Any, case: tuple[Any, ...], mistakes: Iterable[Mistake]) -> str:
    """What is wrong with a result; "" if nothing is."""
    if given is None:
        return "your function returns nothing (None)"
    found, wanted = _numbers(given), np.asarray(expected, dtype=float)
    if found is None:
        return f"your function returns {given!r:.80}: numbers are wanted"
    if found.shape != wanted.shape:
        return f"your function returns shape {found.shape}; the shape {wanted.shape} is wanted"
    if np.allclose(found, wanted, atol=1e-6):
        return ""
    result = f"the answer is {given}"
    if not np.isfinite(found).all():
        return f"{result}: not every value is a finite number; is something divided by 0?"
    if said := _said_to(found, case, mistakes):
        return f"{result}: {said}"
    if np.allclose(found, -wanted, atol=1e-6):
        return f"{result}: the sign is wrong"
    if found.shape == ():
        return f"{result}: {_direction(float(found), float(wanted))}"
    place = int(np.flatnonzero(~np.isclose(found, wanted, atol=1e-6).ravel())[0])
    return f"{result}: value {place}, counted from 0, {_direction(found.ravel()[place], wanted.ravel()[place], '')}"


def _said_to(found: np.ndarray, case: tuple[Any, ...], mistakes: Iterable[Mistake]) -> str:
    """What is to be said to a usual mistake; "" if it is none of these."""
    for wrong, said in mistakes:
        with np.errstate(all="ignore"):
            usual = np.asarray(wrong(*case) if callable(wrong) else wrong, dtype=float)
        if usual.shape == found.shape and np.allclose(found, usual, atol=1e-6):
            return said
    return ""


def _direction(given: float, expected: float, subject: str = "it ") -> str:
    return f"{subject}is too {'large' if given > expected else 'small'}"


def _numbers(given: Any) -> np.ndarray | None:
    """Numbers as an array; None of anything else, and of lists that are no table."""
    try:
        found = np.asarray([np.asarray(each, dtype=float) for each in given] if isinstance(given, list) else given, dtype=float)
    except (TypeError, ValueError, RuntimeError):
        return None
    return found


def _shown(case: tuple[Any, ...]) -> str:
    return f"({', '.join(' '.join(repr(value).split()) for value in case)})"
