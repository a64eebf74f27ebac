"""How far a clean model may stand apart before a screen flags it: margins found on sets of clean models alone.

With n models, all clean, one of them has the most suspicious value. So no rule that looks at one set can flag fewer than one
clean model in n, unless it knows how far clean models lie apart elsewhere. A margin is such knowledge. It is the value that a
further clean model exceeds with a stated probability at most (split conformal prediction), for each statistic and each role:
the model of the texts' own domain has more to say about them than the others have.

A model is dropped if k = 2 of m = 4 statistics flag it. By Markov's inequality, however they depend on each other,
P(k flags or more) <= m x rate / k. So each statistic gets the rate k / m x `DROP_RATE`.
"""

from __future__ import annotations

import json
import math
from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path
from statistics import median

MARGINS_FILE = Path(__file__).with_name("screen_margins.json")
DROP_RATE = 0.05  # at most this share of clean models may be dropped
N_AGREEING = 2  # statistics that must flag a model before it is dropped
OWN, OTHER = "own_domain", "other_domain"  # roles of a model: that of the texts' domain, which comes first, and the others
Margins = dict[str, dict[str, float]]  # role, statistic


def rate_per_statistic(n_statistics: int, drop_rate: float = DROP_RATE) -> float:
    """At most which share of clean models one statistic may flag, so that at most `drop_rate` get two flags.

    >>> rate_per_statistic(4, 0.05)
    0.025
    """
    if not 0 < drop_rate < 1:
        raise ValueError(f"drop_rate is {drop_rate}; it must lie in (0, 1)")
    return N_AGREEING * drop_rate / n_statistics


def excess(value: float, others: Sequence[float], direction: int, least: float) -> float:
    """How far a value lies beyond the median of the others, in sizes of that median; 0 where it is less than `least` beyond.

    Args:
        value: of one model.
        others: values of the other models, at least one.
        direction: 1 if a high value is suspicious, -1 if a low one is.
        least: smallest difference that counts, in the statistic's own unit.

    Returns:
        At least 0; infinite beyond a median of 0; NaN for a value that is missing.

    >>> excess(0.5, [0.2, 0.25, 0.9], 1, least=0.02), excess(0.26, [0.2, 0.25, 0.9], 1, least=0.02)
    (1.0, 0.0)
    """
    middle = median(others)
    beyond = direction * (value - middle)
    if math.isnan(beyond):
        return math.nan
    if beyond < least or beyond <= 0:
        return 0.0
    return beyond / abs(middle) if middle else math.inf


def conformal_margin(excesses: Iterable[float], rate: float) -> float:
    """The smallest margin that a further clean model exceeds with a probability of at most `rate`.

    Holds for a model that is exchangeable with the measured ones, over their draw and its own. It is the k-th smallest of n
    excesses with k = ceil((n + 1) (1 - rate)).

    Args:
        excesses: of clean models; NaN is left out.
        rate: in (0, 1).

    Raises:
        ValueError: for a rate outside (0, 1), too few models for it, or a margin that is not finite.

    Source: Vovk et al. 2005, Algorithmic Learning in a Random World; Lei et al. 2018, arXiv 1604.04173.

    >>> conformal_margin([0.1, 0.4, 0.2, 0.3], rate=0.4)  # one of five models is above the third
    0.3
    """
    if not 0 < rate < 1:
        raise ValueError(f"rate is {rate}; it must lie in (0, 1)")
    ordered = sorted(value for value in excesses if not math.isnan(value))
    n, slack = len(ordered), 1e-9  # 0.6 * 5 is 3.0000000000000004 on some machines and is meant exactly
    place = math.ceil((n + 1) * (1 - rate) - slack)
    if place > n:
        needed = math.ceil(1 / rate - slack) - 1
        raise ValueError(f"{n} clean models cannot show a rate of {rate:g}; give {needed} or more")
    if not math.isfinite(ordered[place - 1]):
        raise ValueError("the margin is infinite: the median of the other models is 0 too often; this statistic cannot be used")
    return ordered[place - 1]


def calibrated(excesses: Mapping[str, Mapping[str, Sequence[float]]], drop_rate: float = DROP_RATE) -> Margins:
    """The margin of every role and statistic.

    Args:
        excesses: of clean models, by role and statistic.
        drop_rate: at most which share of clean models a screen may drop, in (0, 1).

    Raises:
        ValueError: as `conformal_margin`; names role and statistic.
    """
    found: Margins = {}
    for role, by_statistic in excesses.items():
        rate = rate_per_statistic(len(by_statistic), drop_rate)
        for statistic, values in by_statistic.items():
            try:
                found.setdefault(role, {})[statistic] = conformal_margin(values, rate)
            except ValueError as error:
                raise ValueError(f"{statistic} of {role}: {error}") from None
    return found


def read_margins(path: Path = MARGINS_FILE) -> Margins:
    """The margins that a screen uses: the largest of all calibrations in a file, for each role and statistic.

    What the models of a screen are is not known, so it is as tolerant as the kind that needs it most.

    Raises:
        ValueError: for a file without calibrations, or one that lacks a role.
    """
    calibrations = json.loads(path.read_text(encoding="utf-8")).get("calibrations", [])
    if not calibrations:
        raise ValueError(f"{path.name} has no calibrations; make one with benchmarks/screen_margins.py")
    found: Margins = {}
    for role in (OWN, OTHER):
        if lacking := [each.get("profile") for each in calibrations if role not in each["margins"]]:
            raise ValueError(f"{path.name}: the calibrations of {lacking} have no margins of {role}")
        names = list(dict.fromkeys(name for each in calibrations for name in each["margins"][role]))
        found[role] = {name: max(each["margins"][role].get(name, 0.0) for each in calibrations) for name in names}
    return found
