"""Table `13_margins`: leads on the way from a backdoored model to its partner, and what predicts the ASR there."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from typing import Any

import numpy as np
import pandas as pd
from numpy.typing import NDArray

from lib.study.probes import probed
from lib.study.study import Study
from lib.tables.rows import declares, progress
from lib.tables.why.ways import N_PROBED, SPLITS, Way, ways_needed, ways_of
from lib.why import cantelli, counted_asr, curvature_bounds, ensemble, gaussian_asr, guaranteed_asr, lead, path_place

COLUMNS = (
    "task", "attack", "partners", "coefficient", "seed", "split", "n_texts", "lead_mean", "lead_sd", "lead_ensemble",
    "delta_mean", "delta_size", "identity_error", "rule_agreement", "asr", "asr_counted", "asr_counted_models",
    "asr_gaussian", "asr_cantelli", "asr_promised_of_outputs", "asr_floor", "strength", "strength_share", "n_probed",
    "lead_linear", "delta_probed", "curvature_bound", "bounded_share", "asr_probed", "asr_guaranteed", "error_probed",
    "error_guaranteed",
)  # fmt: skip
SLACK = 1e-3  # logits: what two ways to compute the same number may differ by in float32
CURVED = "other_domains"  # kind of partners for which derivatives are taken: they cost most


@declares(ways_needed)
def margins_table(
    study: Study, tasks: Sequence[str], attacks: Sequence[str], places: Sequence[float], partners: Sequence[str] | None = None
) -> pd.DataFrame:
    """Table `13_margins`: one row per way, coefficient and kind of texts; see `lib.metrics.columns` for the columns.

    Rows of the split "clean" are the same texts without the trigger. What needs derivatives is measured on the first texts
    (`n_probed`) of the ways to other domains, and empty elsewhere.

    Args:
        study: makes and scores the models.
        tasks, attacks: of the backdoored models.
        places: coefficients, rising from 0 to 1.
        partners: kinds of partners; default those that the profile has.
    """
    ways = ways_of(study, tasks, attacks, places, partners)
    curved = [way for way in ways if way.kind == CURVED]
    probed(study, [way.twin_probe() for way in ways])
    probed(study, [way.path_probe(split) for way in curved for split in SPLITS])
    probed(study, [way.tangent_probe(split) for way in curved for split in SPLITS])
    rows = [row for way in progress(ways) for split in SPLITS for row in _rows(way, split)]
    return pd.DataFrame(rows)[list(COLUMNS)]


def _rows(way: Way, split: str) -> Iterator[dict[str, Any]]:
    models = np.stack(way.model_logits(split)).astype(float)
    ends = np.stack([way.logits(place, split) for place in (0, 1)]).astype(float)
    victim, partner = (lead(each, way.labels, way.target) for each in ends)
    bent = _Bent(way, split) if way.kind == CURVED else None
    for place, weights in zip(way.places, way.weights, strict=True):
        logits, both = way.logits(place, split), ensemble(ends, [1 - place, place])
        here, all_models = lead(logits, way.labels, way.target), ensemble(models, weights)
        expected = lead(all_models, way.labels, way.target)
        row = way.what | {"coefficient": place, "split": split, "n_texts": len(here)}
        row |= {"lead_mean": here.mean(), "lead_sd": here.std(), "lead_ensemble": expected.mean()}
        row |= {"delta_mean": (here - expected).mean(), "delta_size": np.abs(here - expected).mean()}
        row |= {"asr": counted_asr(logits, way.target), "asr_counted": counted_asr(both, way.target)}
        row |= {"asr_counted_models": counted_asr(all_models, way.target), "asr_cantelli": cantelli(here)}
        row |= {"asr_gaussian": gaussian_asr(victim, partner, place)}
        row |= _strength(way, place, here, victim, partner, expected, both) if split == "triggered" else {}
        yield dict.fromkeys(COLUMNS, np.nan) | row | (bent.row(place) if bent else {})


def _strength(
    way: Way,
    place: float,
    here: NDArray[np.float64],
    victim: NDArray[np.float64],
    partner: NDArray[np.float64],
    expected: NDArray[np.float64],
    both: NDArray[np.float64],
) -> dict[str, Any]:
    """What the clean twin in the victim's place says: the strength that is left, and whether P1 holds."""
    twin = way.twin_leads(0)
    strength, reserve = twin - victim, (1 - place) * twin + place * partner
    left = (way.twin_leads(place) - here).mean()
    ends = lead(both, way.labels, way.target)
    row = {"strength": left, "strength_share": left / strength.mean(), "asr_floor": counted_asr(way.twin_logits(0), way.target)}
    row["identity_error"] = np.abs(ends - (reserve - (1 - place) * strength)).max()
    # P1's rule: the target wins if and only if w s > reserve (with two labels; with more of them only if).
    row["asr_promised_of_outputs"] = guaranteed_asr(reserve, strength, np.zeros_like(strength), 1 - place)  # P3, no curvature
    says = (1 - place) * strength > reserve
    return row | {"rule_agreement": float((says == (both.argmax(axis=1) == way.target)).mean())}


class _Bent:
    """What derivatives along a way say, on its first texts."""

    def __init__(self, way: Way, split: str) -> None:
        self.way, self.split = way, split
        path, tangent = probed(way.study, [way.path_probe(split), way.tangent_probe(split)])
        labels = (way.labels if split == "triggered" else way.test_labels)[:N_PROBED]
        self.kept = labels != way.target
        self.labels, self.attackable = labels, labels[self.kept]
        self.values, _, self.second = path["derivatives"].astype(float)  # (n_places, n, n_labels)
        self.start, self.slopes = tangent["start"].astype(float), tangent["slopes"].astype(float)

    def row(self, place: float) -> dict[str, Any]:
        """The columns that need derivatives, at a place."""
        way, kept = self.way, self.kept
        leads, bends = (lead(each[:, kept], self.attackable, way.target) for each in (self.values, self.second))
        at = path_place(way.places, place)
        victim, average, partner = leads[0], leads[at], leads[-1]
        bound = curvature_bounds(bends, way.places, place)
        delta = average - (1 - place) * victim - place * partner
        n_partners = len(way.partners)
        weights = np.array([1 - place, *[place / n_partners] * n_partners])
        linear = self.start + np.tensordot(weights, self.slopes[: 1 + n_partners], axes=1)
        row = {"n_probed": int(kept.sum()), "lead_linear": lead(linear[kept], self.attackable, way.target).mean()}
        row["delta_probed"] = np.abs(delta).mean()
        row |= {"curvature_bound": bound.mean(), "bounded_share": (np.abs(delta) <= bound + SLACK).mean()}
        if self.split == "clean":
            return row | self._accuracy(place, at)
        twin = way.twin_leads(0)[: len(victim)]
        row["asr_probed"] = (self.values[at].argmax(axis=1) == way.target).mean()
        reserve = (1 - place) * twin + place * partner
        return row | {"asr_guaranteed": guaranteed_asr(reserve, twin - victim, bound, 1 - place)}

    def _accuracy(self, place: float, at: int) -> dict[str, float]:
        """P4: a text on which both ends are right, further from each other label than the bound, stays right."""
        rows, is_safe = np.arange(len(self.labels)), np.ones(len(self.labels), dtype=bool)
        margins = self.values[:, rows, self.labels][:, :, None] - self.values  # (n_places, n, n_labels)
        bends = self.second[:, rows, self.labels][:, :, None] - self.second
        for label in range(self.values.shape[2]):
            bound = curvature_bounds(bends[:, :, label], self.way.places, place)
            far = np.minimum(margins[0, :, label], margins[-1, :, label]) > bound
            is_safe &= far | (self.labels == label)
        wrong = self.values[at].argmax(axis=1) != self.labels
        return {"error_probed": wrong.mean(), "error_guaranteed": (~is_safe).mean()}


def example_leads(study: Study, task: str, attack: str, n: int = 5, seed: int = 0) -> pd.DataFrame:
    """Some triggered texts with their leads: in the clean twin, the backdoored model, the partners' average, and in between.

    Returns:
        `text, label, twin, strength, backdoored, partners, ensemble, average`, in logits; the last two at one fifth of the
        weight for the backdoored model, or its share among as many models as there are.
    """
    others = study.partners(task, CURVED, seed)
    place = round(len(others) / (1 + len(others)), 3)
    way = Way(study, task, attack, seed, CURVED, (0.0, place, 1.0))
    rows = study.triggered_test(task, attack, seed)
    victim, average, partner = (way.leads(each, "triggered") for each in way.places)
    twin = way.twin_leads(0)
    names = study.planner.spec(task).label_names
    found = rows[["text"]].assign(label=[names[label] for label in rows["label"]], twin=twin, strength=twin - victim)
    ensemble_of_two = (1 - place) * victim + place * partner
    return found.assign(backdoored=victim, partners=partner, ensemble=ensemble_of_two, average=average).head(n).round(2)


def sides_of_ways(
    study: Study, task: str, attacks: Sequence[str], places: Sequence[float]
) -> Iterator[tuple[NDArray[np.float64], NDArray[np.float64], float, float, float]]:
    """Leads of both ends on triggered texts, coefficient, measured ASR, and the count, for every place between the ends."""
    for way in ways_of(study, [task], attacks, places):
        ends = np.stack([way.logits(place, "triggered") for place in (0, 1)]).astype(float)
        victim, partner = (lead(each, way.labels, way.target) for each in ends)
        for place in way.places[1:-1]:
            counted = counted_asr(ensemble(ends, [1 - place, place]), way.target)
            yield victim, partner, place, counted_asr(way.logits(place, "triggered"), way.target), counted
