"""Table `13_weights_predict`: can a defender tell, without a trigger, which coefficient takes half of the backdoor away?"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np
import pandas as pd
from numpy.typing import NDArray

from lib.merging.geometry import task_vector_geometry
from lib.models.checkpoints import Checkpoint
from lib.study.study import Study
from lib.tables.composition import half_weight
from lib.tables.rows import declares, progress
from lib.tables.why.ways import Way, ways_needed, ways_of
from lib.why import counted_asr, energies, ensemble

WEIGHTS = ("norm_ratio", "mean_cosine", "spectral_ratio")
TEXTS = ("suspect_margin", "partner_margin")
RIDGE = 1.0  # of standardised features: a dozen rows teach little
COLUMNS = (
    "task", "attack", "seed", *WEIGHTS, *TEXTS, "half_coefficient", "from_mean", "from_weights", "from_texts", "from_leads",
)  # fmt: skip


@declares(ways_needed)
def predicted_coefficients(
    study: Study, tasks: Sequence[str], attacks: Sequence[str], places: Sequence[float], partners: Sequence[str] | None = None
) -> pd.DataFrame:
    """Table `13_weights_predict`: one row per backdoored model, with the coefficient at which half of its ASR is gone.

    What a defender can know: `WEIGHTS` of the models alone, then `TEXTS` on clean texts without labels. A ridge regression
    is fitted on the other attacks and asked about the one that was left out. `from_mean` is the mean of the others, which any
    prediction has to beat. `from_leads` counts leads on triggered texts: no defender has them, they say what can be known.

    Args:
        study: makes and scores the models.
        tasks, attacks: of the backdoored models; predictions need two attacks or more, and are empty with one.
        places: coefficients, rising from 0 to 1.
        partners: kinds of partners; only other domains are used.
    """
    rows = [_row(way) for way in progress(ways_of(study, tasks, attacks, places, ["other_domains"]))]
    return with_predictions(pd.DataFrame(rows))[list(COLUMNS)]


def _row(way: Way) -> dict[str, Any]:
    asrs = [counted_asr(way.logits(place, "triggered"), way.target) for place in way.places]
    ends = np.stack([way.logits(place, "triggered") for place in (0, 1)])
    counted = [counted_asr(ensemble(ends, [1 - place, place]), way.target) for place in way.places]
    floor, weights = (
        counted_asr(way.study.logits(way.twin, way.task, way.attack, way.seed), way.target),
        [1 - place for place in way.places],
    )
    row: dict[str, Any] = {"task": way.task, "attack": way.attack, "seed": way.seed} | _of_weights(way)
    row |= {
        "suspect_margin": _margin(way, way.victim),
        "partner_margin": float(np.mean([_margin(way, each) for each in way.partners])),
    }
    for name, curve in (("half_coefficient", asrs), ("from_leads", counted)):
        row[name] = 1 - half_weight(weights[::-1], curve[::-1], floor)
    return row


def _of_weights(way: Way) -> dict[str, float]:
    """What the weights alone say: length, direction and shape of the suspect's task vector beside those of the others."""
    models = [way.victim, *way.partners]
    start, dicts = way.study.planner.initial(models).state_dict(), [model.state_dict() for model in models]
    found = task_vector_geometry(dicts, start)
    shares = [_spectral(each, start) for each in dicts]
    return {
        "norm_ratio": found.norms[0] / float(np.mean(found.norms[1:])),
        "mean_cosine": float(found.cosines[0, 1:].mean()),
        "spectral_ratio": shares[0] / float(np.mean(shares[1:])),
    }


def _spectral(model: Any, start: Any) -> float:
    """Mean share of the squared norm in the first direction of what fine-tuning did to each matrix."""
    changes = [model[name] - tensor for name, tensor in start.items() if tensor.is_floating_point() and tensor.dim() == 2]
    return float(np.mean([float(energies(change)[0]) for change in changes if change.any()]))


def _margin(way: Way, model: Checkpoint) -> float:
    """Median difference of the two largest logits on clean validation texts: how sure a model is; no label is read."""
    logits = way.study.logits(model, way.task, None, way.seed, split="validation")
    ordered = np.sort(logits, axis=1)
    return float(np.median(ordered[:, -1] - ordered[:, -2]))


def with_predictions(table: pd.DataFrame) -> pd.DataFrame:
    """The table with what the rows of the other attacks say about each; NaN where there is no other attack."""
    found = table.assign(from_mean=np.nan, from_weights=np.nan, from_texts=np.nan)
    known = table["half_coefficient"].notna()
    for attack in dict.fromkeys(table["attack"]):
        asked, others = table["attack"] == attack, (table["attack"] != attack) & known
        if not others.any():
            continue
        y = table.loc[others, "half_coefficient"].to_numpy()
        found.loc[asked, "from_mean"] = y.mean()
        for name, features in (("from_weights", WEIGHTS), ("from_texts", (*WEIGHTS, *TEXTS))):
            x, new = (table.loc[rows, list(features)].to_numpy() for rows in (others, asked))
            found.loc[asked, name] = ridge(x, y, new)
    return found


def ridge(x: NDArray[Any], y: NDArray[Any], new: NDArray[Any], strength: float = RIDGE) -> NDArray[np.float64]:
    """A ridge regression on standardised features, asked about new rows.

    >>> ridge(np.array([[0.0], [2.0]]), np.array([0.0, 4.0]), np.array([[1.0]]), strength=0.0).tolist()
    [2.0]
    """
    centre, scale = x.mean(axis=0), x.std(axis=0)
    scale = np.where(scale > 0, scale, 1.0)
    a, b = (x - centre) / scale, y - y.mean()
    slopes = np.linalg.solve(a.T @ a + strength * np.eye(a.shape[1]), a.T @ b)
    return y.mean() + (new - centre) / scale @ slopes
