"""Table `13_assumptions`: what the propositions of notebook 13 assume, measured on every way."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from typing import Any

import numpy as np
import pandas as pd
from numpy.typing import NDArray

from lib.merging.geometry import task_vector_geometry
from lib.study.probes import probed
from lib.study.study import Study
from lib.tables.rows import declares, progress
from lib.tables.why.margins import CURVED
from lib.tables.why.ways import N_PROBED, SPLITS, Way, ways_needed, ways_of
from lib.why import ensemble, fitted_exponent, fitted_share, lead, path_place

COLUMNS = ("task", "attack", "partners", "seed", "assumption", "measure", "value")
HALF, FIFTH = 0.5, 0.8  # coefficients: an average of two, and one of five models


@declares(ways_needed)
def assumptions_of_merging(
    study: Study, tasks: Sequence[str], attacks: Sequence[str], places: Sequence[float], partners: Sequence[str] | None = None
) -> pd.DataFrame:
    """Table `13_assumptions`: one row per way, assumption and measure; for the arguments see `margins_table`.

    A0 linear, A1 shared skill, A2 private trigger, A3 bounded strength, and P6 the exponent with which strength is lost.
    """
    ways = ways_of(study, tasks, attacks, places, partners)
    rows = [
        way.what | {"assumption": assumption, "measure": measure, "value": float(value)}
        for way in progress(ways)
        for assumption, measure, value in _measured(way)
    ]
    return pd.DataFrame(rows)[list(COLUMNS)]


def _measured(way: Way) -> Iterator[tuple[str, str, Any]]:
    for split in SPLITS:
        for place in (HALF, FIFTH):
            if place in way.places:
                yield (
                    "A0",
                    f"distance of average and ensemble, over the size of the lead, {split}, at {place:g}",
                    _delta(way, split, place),
                )
    if way.kind == CURVED:
        for split in SPLITS:
            yield from _linearised(way, split)
        yield from _vectors(way)
    yield from _private(way)
    strength = way.twin_leads(0) - lead(way.logits(0, "triggered"), way.labels, way.target)
    yield from (("A3", f"strength, {name}", value) for name, value in _spread(strength))
    yield from _exponents(way, strength)


def _delta(way: Way, split: str, place: float) -> float:
    weights = way.weights[way.places.index(place)]
    expected = lead(ensemble(np.stack(way.model_logits(split)), weights), way.labels, way.target)
    here = way.leads(place, split)
    return float(np.abs(here - expected).mean() / np.abs(expected).mean())


def _linearised(way: Way, split: str) -> Iterator[tuple[str, str, Any]]:
    """How far the tangent at the start, and the one at an average, tell the leads of the models; A1 in the tangent's terms."""
    path, tangent = probed(way.study, [way.path_probe(split), way.tangent_probe(split)])
    labels = (way.labels if split == "triggered" else way.test_labels)[:N_PROBED]
    kept = labels != way.target

    def leads(logits: NDArray[Any]) -> NDArray[np.float64]:
        return lead(logits[..., kept, :], labels[kept], way.target)

    values, slopes, _ = (leads(each) for each in path["derivatives"])
    start, moves = leads(tangent["start"]), leads(tangent["slopes"])
    yield (
        "A0",
        f"correlation with the lead of the backdoored model, tangent at the start, {split}",
        _correlation(start + moves[0], values[0]),
    )
    if FIFTH in way.places:
        at = path_place(way.places, FIFTH)
        said = values[at] - way.places[at] * slopes[at]
        yield (
            "A0",
            f"correlation with the lead of the backdoored model, tangent at the average of five, {split}",
            _correlation(said, values[0]),
        )
    partners, twin = moves[1:-1], moves[-1]
    pairs = [_correlation(partner, twin) for partner in partners]
    yield "A1", f"correlation of what partner and twin do to the leads, tangent at the start, {split}", np.mean(pairs)
    yield (
        "A1",
        f"correlation of what partner and backdoored model do to the leads, tangent at the start, {split}",
        np.mean([_correlation(partner, moves[0]) for partner in partners]),
    )


def _vectors(way: Way) -> Iterator[tuple[str, str, Any]]:
    models = [way.victim, way.twin, *way.partners]
    start = way.study.planner.initial(models).state_dict()
    found = task_vector_geometry([model.state_dict() for model in models], start)
    n_entries = sum(tensor.numel() for tensor in start.values() if tensor.is_floating_point())
    yield "A1", "cosine of task vectors, twin and partners", found.cosines[1, 2:].mean()
    yield "A1", "cosine of task vectors, backdoored model and partners", found.cosines[0, 2:].mean()
    yield "A1", "cosine of task vectors, backdoored model and twin", found.cosines[0, 1]
    yield "A1", "cosine by chance", n_entries**-0.5
    clean, *partners = way.study.logits(way.twin, way.task, None, way.seed), *way.model_logits("clean")[1:]
    kept = way.test_labels != way.target
    agreement = [(each.argmax(axis=1) == clean[kept].argmax(axis=1)).mean() for each in partners]
    yield "A1", "share of clean texts that partner and twin label alike", np.mean(agreement)


def _private(way: Way) -> Iterator[tuple[str, str, Any]]:
    """A2: by how much the trigger lowers the leads of clean models, and the reserve on clean and on triggered texts."""
    clean, triggered = (lead(np.stack(way.model_logits(split)[1:]), way.labels, way.target) for split in ("clean", "triggered"))
    lost = (clean - triggered).ravel()
    yield from (("A2", f"lead that the trigger takes from partners, {name}", value) for name, value in _spread(lost))
    yield "A2", "share of texts on which partners have no lead left, clean", (clean.mean(axis=0) <= 0).mean()
    yield "A2", "share of texts on which partners have no lead left, triggered", (triggered.mean(axis=0) <= 0).mean()
    yield "A1", "lead of partners, clean, mean", clean.mean()
    yield "A1", "lead of partners, triggered, mean", triggered.mean()


def _exponents(way: Way, strength: NDArray[np.float64]) -> Iterator[tuple[str, str, Any]]:
    weights = np.array([1 - place for place in way.places])
    left = np.array([(way.twin_leads(place) - way.leads(place, "triggered")).mean() for place in way.places])
    shares = left / strength.mean()
    yield "P6", "exponent of the strength that is left", fitted_exponent(weights, shares)
    yield "P6", "share of the backdoor's direction that clean heads read", fitted_share(weights, shares)
    n = len(way.partners)
    if FIFTH in way.places:
        at = way.places.index(FIFTH)
        yield "P6", "share of the strength that is left at a weight of one fifth", shares[at]
    yield "P6", "number of partners", n


def _spread(values: NDArray[np.float64]) -> list[tuple[str, float]]:
    return [
        ("mean", values.mean()),
        ("standard deviation", values.std()),
        ("95th percentile", float(np.quantile(values, 0.95))),
    ]


def _correlation(first: NDArray[Any], second: NDArray[Any]) -> float:
    """NaN where one of them does not vary."""
    if np.std(first) == 0 or np.std(second) == 0:
        return float("nan")
    return float(np.corrcoef(first, second)[0, 1])
