"""Table `13_certificates`: for how many texts can no f of the models change the answer, whatever they say?"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from itertools import combinations
from typing import Any

import numpy as np
import pandas as pd
from numpy.typing import NDArray

from lib.models.prediction import probabilities
from lib.study.planning import Planner
from lib.study.probes import ProbeRecipe, probed
from lib.study.study import Study
from lib.tables.rows import Needed, backdoored_recipes, cases_of, declares, progress
from lib.tables.why.ways import SPLITS, Way, chosen_kinds
from lib.why import certified, probability_certificate, subset_tolerance, vote_certificate

COLUMNS = (
    "task", "attack", "partners", "seed", "combination", "n_models", "n_voters", "n_bad", "cacc", "asr", "certified_cacc",
    "certified_safe",
)  # fmt: skip
BAD = (1, 2)
AVERAGE, LOGITS, VOTE, PROBABILITIES = "average of the weights", "mean of the logits", "vote", "mean of the probabilities"
GROUPS, PAIRS = "vote of averages of disjoint groups", "vote of averages of all pairs"
GROUP_SIZE = 2
Subset = tuple[int, ...]
Answers = tuple[NDArray[np.int64], NDArray[np.int64]]  # labels, and how many models may be bad; each of shape (n,)


def _needed(
    planner: Planner,
    tasks: Sequence[str],
    attacks: Sequence[str],
    paired: Sequence[str] = (),
    partners: Sequence[str] | None = None,
) -> Needed:
    cases, kinds = cases_of(planner, tasks, attacks), chosen_kinds(planner, partners)
    return Needed(backdoored_recipes(planner, cases, kinds), 20 * len(cases) * len(kinds))


@declares(_needed)
def certificates_table(
    study: Study,
    tasks: Sequence[str],
    attacks: Sequence[str],
    paired: Sequence[str] = (),
    partners: Sequence[str] | None = None,
) -> pd.DataFrame:
    """Table `13_certificates`: one row per case, kind of partners, way to combine the models, and number of bad models.

    `certified_cacc` is the share of clean texts that are answered rightly and stay so whatever `n_bad` of the models say;
    `certified_safe` the share of triggered texts that are not sent to the target and never can be. An average of weights and
    a mean of logits certify nothing: one model of unbounded weights moves them anywhere.

    Args:
        study: makes and scores the models.
        tasks, attacks: of the backdoored models.
        paired: attacks for which averages of all pairs vote, too; they are many.
        partners: kinds of partners; default those that the profile has.
    """
    kinds = chosen_kinds(study.planner, partners)
    ways = [Way(study, *case, kind) for case in cases_of(study.planner, tasks, attacks) for kind in kinds]
    voting = [Voting(way, way.attack in paired) for way in ways]
    probed(study, [each.plan(split) for each in voting for split in SPLITS])
    return pd.DataFrame([row for each in progress(voting) for row in each.rows()])[list(COLUMNS)]


class Voting:
    """The models of a case, and the averages of some of them, that vote."""

    def __init__(self, way: Way, has_pairs: bool) -> None:
        self.way = way
        self.models = [way.victim, *way.study.partners(way.task, way.kind, way.seed)]
        n = len(self.models)
        self.n = n
        self.combinations: dict[str, list[Subset]] = {AVERAGE: [tuple(range(n))], VOTE: [(i,) for i in range(n)]}
        if n > 2 * GROUP_SIZE:
            self.combinations[GROUPS] = [tuple(range(i, min(i + GROUP_SIZE, n))) for i in range(0, n, GROUP_SIZE)]
        if has_pairs and n > 2 * GROUP_SIZE:
            self.combinations[PAIRS] = list(combinations(range(n), 2))
        self.subsets = list(dict.fromkeys(subset for each in self.combinations.values() for subset in each))

    def plan(self, split: str) -> ProbeRecipe:
        """What all these averages say to clean texts, or to attackable ones with the trigger."""
        weights = tuple(tuple((i in subset) / len(subset) for i in range(self.n)) for subset in self.subsets)
        return self.way.plan("averages", self.models, split, weights=weights)

    def rows(self) -> Iterator[dict[str, Any]]:
        """The rows of the table."""
        way = self.way
        logits = [probed(way.study, [self.plan(split)])[0]["logits"] for split in SPLITS]
        said = [self._answers(each) for each in logits]
        for name in said[0]:
            (clean, held), (attacked, held_attacked) = (each[name] for each in said)
            is_right, is_safe = clean == way.test_labels, attacked != way.target
            row = way.what | {
                "combination": name,
                "n_models": self.n,
                "n_voters": len(self.combinations.get(name, self.models)),
            }
            row |= {"cacc": is_right.mean(), "asr": 1 - is_safe.mean()}
            for n_bad in BAD:
                if n_bad < self.n:
                    promised = {"certified_cacc": certified(clean, held, is_right, n_bad)}
                    promised["certified_safe"] = certified(attacked, held_attacked, is_safe, n_bad)
                    yield row | {"n_bad": n_bad} | promised

    def _answers(self, logits: NDArray[np.float32]) -> dict[str, Answers]:
        """What each combination answers, and how many models may be bad; `logits` of all subsets, (n_subsets, n, n_labels)."""
        of = dict(zip(self.subsets, logits, strict=True))
        alone, n_labels = np.stack([of[(i,)] for i in range(self.n)]), logits.shape[2]
        nothing = np.zeros(logits.shape[1], dtype=np.int64)
        answers = {
            AVERAGE: (of[tuple(range(self.n))].argmax(axis=1), nothing),
            LOGITS: (alone.mean(axis=0).argmax(axis=1), nothing),
        }
        answers[PROBABILITIES] = probability_certificate(np.stack([probabilities(each) for each in alone]))
        for name in (VOTE, GROUPS, PAIRS):
            if name in self.combinations:
                votes = np.stack([of[subset].argmax(axis=1) for subset in self.combinations[name]])
                label, held = vote_certificate(votes, n_labels)
                # A bad model spoils the one group that it is in, but four of ten pairs of five models.
                answers[name] = label, subset_tolerance(held, self.n, 2) if name == PAIRS else held
        return answers
