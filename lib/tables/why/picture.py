"""Table `13_plane`: the plane through a backdoored model, its clean twin and its partner, with loss and ASR."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

import numpy as np
import pandas as pd
from torch import Tensor

from lib.merging.inner_products import inner_products
from lib.metrics.scores import cross_entropy
from lib.study.planning import Planner
from lib.study.probes import plan_probe, probed
from lib.study.study import Study
from lib.tables.rows import Needed, backdoored_recipes, declares
from lib.tables.why.ways import Way
from lib.why import counted_asr
from lib.why.probes import average

COLUMNS = ("task", "attack", "seed", "name", "of_victim", "of_partner", "x", "y", "clean_loss", "cacc", "asr")
N_TEXTS = 250
MARGIN = 0.3  # beyond the three models, in units of their distances


def _needed(planner: Planner, task: str, attack: str, n_steps: int, seed: int = 0) -> Needed:
    return Needed(backdoored_recipes(planner, [(task, attack, seed)], ["other_domains"]), n_steps**2)


@declares(_needed)
def picture_table(study: Study, task: str, attack: str, n_steps: int, seed: int = 0) -> pd.DataFrame:
    """Table `13_plane`: loss and CACC on clean texts, ASR on triggered ones, on a square grid of averages; one seed.

    The weights of a point are `of_victim` (the backdoored model), `of_partner` (the average of the other domains) and the rest
    (the clean twin); they sum to 1, and some are negative. `x` runs from the twin to the backdoored model, `y` at a right
    angle to it, both in units of weights. Rows with a `name` are models, and the average of as many models as there are
    domains and one.

    Args:
        study: makes the models.
        task, attack, seed: of the backdoored model.
        n_steps: points on each side of the grid, 3 or more.

    Raises:
        ValueError: for fewer steps.
    """
    if n_steps < 3:
        raise ValueError(f"n_steps is {n_steps}; a plane needs 3 or more")
    way = Way(study, task, attack, seed, "other_domains")
    places, partners = np.linspace(-MARGIN, 1 + MARGIN, n_steps), way.partners
    n = len(partners)
    named = {"backdoored model": (1.0, 0.0), "clean twin": (0.0, 0.0), "partners": (0.0, 1.0)}
    named[f"average of {n + 1} models"] = (1 / (n + 1), n / (n + 1))
    points = [*named.values(), *((float(a), float(b)) for b in places for a in places)]
    weights = tuple((a, 1 - a - b, *[b / n] * n) for a, b in points)
    where = (study, "averages", [way.victim, way.twin, *partners], task, seed)
    recipes = [plan_probe(*where, trigger=t, n=N_TEXTS, weights=weights) for t in (way.trigger, None)]
    triggered, clean = (found["logits"] for found in probed(study, recipes))
    labels = way.test_labels[:N_TEXTS]
    average_partner = average(partners, [1 / n] * n)
    frame = pd.DataFrame(points, columns=["of_victim", "of_partner"]).assign(task=task, attack=attack, seed=seed)
    frame["name"] = [*named, *[""] * (len(points) - len(named))]
    axes = plane_axes(way.twin.state_dict(), way.victim.state_dict(), average_partner)
    frame[["x", "y"]] = frame[["of_victim", "of_partner"]].to_numpy() @ axes
    frame["clean_loss"] = [cross_entropy(each, labels) for each in clean]
    frame["cacc"] = [(each.argmax(axis=1) == labels).mean() for each in clean]
    frame["asr"] = [counted_asr(each, way.target) for each in triggered]
    return frame[list(COLUMNS)]


def plane_axes(origin: Mapping[str, Tensor], first: Mapping[str, Tensor], second: Mapping[str, Tensor]) -> np.ndarray:
    """Where two models lie in the plane that they span with a third: rows are their places, shape (2, 2).

    The origin is at 0, the first model on the x-axis, the second above it; distances are those of the weights.
    """
    names = [name for name, tensor in origin.items() if tensor.is_floating_point()]
    gram = inner_products((first[name] - origin[name], second[name] - origin[name]) for name in names).numpy()
    length = float(np.sqrt(gram[0, 0]))
    along = float(gram[0, 1]) / length
    return np.array([[length, 0.0], [along, float(np.sqrt(max(gram[1, 1] - along**2, 0.0)))]])


@dataclass(frozen=True)
class Picture:
    """The table as a map that can be asked about points between those of the grid."""

    table: pd.DataFrame

    def at(self, of_victim: float, of_partner: float) -> dict[str, float]:
        """Place, loss and rates of a point, read off the grid by a bilinear interpolation.

        Raises:
            ValueError: for a point beyond the grid.
        """
        from scipy.interpolate import RegularGridInterpolator

        grid = self.table[self.table["name"].fillna("") == ""]
        sides = [np.sort(grid[column].unique()) for column in ("of_partner", "of_victim")]
        if not all(side[0] <= value <= side[-1] for side, value in zip(sides, (of_partner, of_victim), strict=True)):
            raise ValueError(f"({of_victim}, {of_partner}) lies beyond the grid, {sides[0][0]:g} to {sides[0][-1]:g}")
        found = {}
        for column in ("x", "y", "clean_loss", "cacc", "asr"):
            values = grid.pivot_table(index="of_partner", columns="of_victim", values=column).to_numpy()
            found[column] = float(RegularGridInterpolator(sides, values)([[of_partner, of_victim]])[0])
        return found
