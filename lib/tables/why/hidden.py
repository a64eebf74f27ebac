"""Table `13_hidden`: what happens inside on the way from the backdoored model to its partners."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from typing import Any

import numpy as np
import pandas as pd
from numpy.typing import NDArray

from lib.study.planning import Planner
from lib.study.probes import ProbeRecipe, plan_probe, probed
from lib.study.study import Study
from lib.tables.rows import Needed, backdoored_recipes, cases_of, declares, progress
from lib.tables.why.modules import trigger_tokens
from lib.tables.why.ways import Way
from lib.why.states import linearity, moved_by_trigger, principal_axes

COLUMNS = (
    "task", "attack", "seed", "coefficient", "layer", "moved", "linearity_clean", "linearity_triggered", "attention_ratio",
    "attention_of_top_head",
)  # fmt: skip
PLACES, N_TEXTS = (0.0, 0.2, 0.4, 0.6, 0.8, 1.0), 64


def _needed(planner: Planner, task: str, attacks: Sequence[str]) -> Needed:
    cases = cases_of(planner, [task], attacks)
    return Needed(backdoored_recipes(planner, cases, ["other_domains"]), 2 * len(cases) * len(PLACES))


@declares(_needed)
def hidden_table(study: Study, task: str, attacks: Sequence[str]) -> pd.DataFrame:
    """Table `13_hidden`: one row per backdoored model, coefficient and layer (0: embeddings).

    `moved` is how far the trigger moves the state that the head reads along the direction in which it moves it in the
    backdoored model: 1 there. `linearity_*` is the mean cosine of the states of the average with the average of the models'
    states. `attention_ratio` is the attention that this position pays to the trigger, over the trigger's share of the tokens,
    mean over heads; `attention_of_top_head` that of the head which pays most in the backdoored model.

    Args:
        study: makes the models.
        task: whose models they are.
        attacks: of the backdoored models.
    """
    ways = [Way(study, *case, "other_domains") for case in cases_of(study.planner, [task], attacks)]
    probed(study, [plan for way in ways for plan in _plans(way)])
    return pd.DataFrame([row for way in progress(ways) for row in _rows(way)])[list(COLUMNS)]


def _plans(way: Way) -> list[ProbeRecipe]:
    where = ([way.victim, *way.partners], way.task, way.seed)
    given: dict[str, Any] = {"places": PLACES, "n": N_TEXTS}
    looks = [
        plan_probe(way.study, "hidden", *where, trigger=way.trigger, **given),
        plan_probe(way.study, "hidden", *where, without_label=way.target, **given),
    ]
    tokens = trigger_tokens(way)
    attention = [plan_probe(way.study, "attention", *where, trigger=way.trigger, tokens=tokens, **given)] if tokens else []
    return looks + attention


def _rows(way: Way) -> Iterator[dict[str, Any]]:
    triggered, clean, *attention = probed(way.study, _plans(way))
    states = [each["states"].astype(float) for each in (clean, triggered)]  # each (n_places + n_models, n_layers + 1, n, width)
    ratio = attention[0]["ratio"] if attention else None  # (n_places, n_layers, n_heads)
    n_partners = len(way.partners)
    for layer in range(states[0].shape[1]):
        at = [each[:, layer] for each in states]
        direction = (at[1][0] - at[0][0]).mean(axis=0)
        if not direction.any():  # the first token's embedding is the same with and without a trigger
            continue
        for i, place in enumerate(PLACES):
            weights = [1 - place, *[place / n_partners] * n_partners]
            row = {"task": way.task, "attack": way.attack, "seed": way.seed, "coefficient": place, "layer": layer}
            row["moved"] = moved_by_trigger(at[0][i], at[1][i], direction)
            both = (linearity(each[i], each[len(PLACES) :], weights) for each in at)
            row |= dict(zip(("linearity_clean", "linearity_triggered"), both, strict=True))
            heads = ratio[:, layer - 1] if ratio is not None and layer else None
            row["attention_ratio"] = float(heads[i].mean()) if heads is not None else np.nan
            row["attention_of_top_head"] = float(heads[i, heads[0].argmax()]) if heads is not None else np.nan
            yield row


def state_points(study: Study, task: str, attack: str, seed: int = 0) -> pd.DataFrame:
    """The states of the last layer in the plane of the backdoored model's two first principal axes, fitted once.

    Returns:
        One row per text, coefficient and kind of text: `task, attack, seed, coefficient, split, x, y`.
    """
    way = Way(study, task, attack, seed, "other_domains")
    triggered, clean = (each["states"][:, -1].astype(float) for each in probed(study, _plans(way)[:2]))
    centre, axes = principal_axes(np.concatenate([clean[0], triggered[0]]))
    rows = [
        _points(each[i] @ axes.T - centre @ axes.T).assign(coefficient=place, split=split)
        for i, place in enumerate(PLACES)
        for split, each in (("clean", clean), ("triggered", triggered))
    ]
    return pd.concat(rows, ignore_index=True).assign(task=task, attack=attack, seed=seed)


def _points(places: NDArray[np.float64]) -> pd.DataFrame:
    return pd.DataFrame(places, columns=["x", "y"])
