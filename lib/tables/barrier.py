"""Tables of notebook 06 on victims that strayed: the way from a victim to a clean model, and what it says of the victim."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from typing import Any

import pandas as pd

from lib.metrics.rates import loss_barrier
from lib.study.planning import Planner
from lib.study.study import Study
from lib.tables.coefficient import coefficient_table
from lib.tables.partners import kinds_of_partners
from lib.tables.rows import Needed, declares

GOOD_ALONE = 0.10  # a victim is good alone if its CACC is at most so far below the partner's
BROKEN = 0.05  # a barrier above so many nats breaks the averages; stable trainings have 0.02 at most
# A victim that moved so many times as far as the clean model may have left its basin. Of the trainings by which the warning in
# `lib.models.stability` is judged none of 12 at up to 3.3 times the usual rate did, all of 8 beyond it did; five had a barrier.
MOST_MOVED = 3.0
VICTIM = ("victim", "learning_rate", "seed")


def _barrier_needed(planner: Planner, task: str, attack: str, coefficients: Sequence[float]) -> Needed:
    return sum(
        (
            coefficient_table.needed(planner, [task], [attack], _one_kind(planner), coefficients, learning_rate=rate)
            for rate in _rates(planner)
        ),
        Needed(),
    )


def _rates(planner: Planner) -> tuple[float, float]:
    return planner.profile.learning_rate, planner.profile.unstable_learning_rate


def _one_kind(planner: Planner) -> list[str]:
    """A clean model of the task, or the other domains where the profile has none."""
    return kinds_of_partners(planner)[:1]


@declares(_barrier_needed)
def barrier_table(study: Study, task: str, attack: str, coefficients: Sequence[float]) -> pd.DataFrame:
    """Table `06_barrier`: the way from a victim to its partner, for the usual and a much higher rate, every seed.

    The partner (column `partners`) is a clean model of the task, or the average of the other domains where the profile has no
    model of the same task. The column `victim` names the training.
    """
    paths = []
    for rate in _rates(study.planner):
        path = coefficient_table(study, [task], [attack], _one_kind(study.planner), coefficients, learning_rate=rate)
        named = [f"rate {rate:g}, seed {seed}" for seed in path["seed"]]
        paths.append(path.assign(victim=named, learning_rate=rate))
    return pd.concat(paths, ignore_index=True)


def strayed_table(barrier: pd.DataFrame) -> pd.DataFrame:
    """Table `06_strayed`: each victim of table `06_barrier` alone, on the way to a clean model, and what its training said.

    Returns:
        One row per victim: `VICTIM`, `backdoored_cacc` (alone), `clean_model_cacc`, `lowest_cacc` on the way, `barrier` in
        nats, `is_good_alone`, `is_broken` (the barrier is above `BROKEN`), `moved` (its distance from the pretrained weights,
        over that of the clean model), `excess_loss`, `instability`, `is_warned` (unstable, or moved above `MOST_MOVED`).
    """
    rows = []
    for values, path in barrier.sort_values("coefficient", kind="stable").groupby(list(VICTIM), sort=False):
        alone, clean = path["cacc"].iloc[0], path["clean_model_cacc"].iloc[0]
        height = loss_barrier(path["coefficient"], path["clean_loss"])
        row: dict[str, Any] = dict(zip(VICTIM, values, strict=True))
        row |= {"backdoored_cacc": alone, "clean_model_cacc": clean, "lowest_cacc": path["cacc"].min(), "barrier": height}
        moved, reason = path["distance"].iloc[0] / path["clean_model_distance"].iloc[0], path["instability"].fillna("").iloc[0]
        row |= {"is_good_alone": alone >= clean - GOOD_ALONE, "is_broken": height > BROKEN, "moved": moved}
        row |= {"excess_loss": path["excess_loss"].iloc[0], "instability": reason}
        rows.append(row | {"is_warned": bool(reason) or moved > MOST_MOVED})
    return pd.DataFrame(rows)


def strayed_findings(strayed: pd.DataFrame) -> Iterator[str]:
    """A sentence for each rate of table `06_strayed`, and one on what the warnings are worth; read from the file, too."""
    strayed = strayed.assign(instability=strayed["instability"].fillna(""))
    for rate, models in strayed.groupby("learning_rate"):
        hidden = models["is_good_alone"] & models["is_broken"]
        yield (
            f"Learning rate {rate:g}: of {len(models)} backdoored models {models['is_good_alone'].sum()} are good alone (CACC "
            f"within {100 * GOOD_ALONE:.0f} points of a clean model), {models['is_broken'].sum()} have a barrier above "
            f"{BROKEN:g} nats, {hidden.sum()} both: good alone and broken in averages."
        )
        for row in models[hidden].itertuples():
            yield (
                f"{row.victim}: CACC {row.backdoored_cacc:.1%} alone and {row.lowest_cacc:.1%} at worst on the way to a model "
                f"of {row.clean_model_cacc:.1%}, barrier {row.barrier:.2f} nats. It moved {row.moved:.1f} times as "
                f"far as that model; {row.instability or 'its losses fell as if nothing had happened'}."
            )
    broken, whole = strayed[strayed["is_broken"]], strayed[~strayed["is_broken"]]
    yield (
        f"By its losses alone a training gives a warning in {(broken['instability'] != '').sum()} of {len(broken)} models "
        f"with a barrier and {(whole['instability'] != '').sum()} of {len(whole)} without. By its losses or by its distance "
        f"from the start it does so in {broken['is_warned'].sum()} of {len(broken)} and {whole['is_warned'].sum()} of "
        f"{len(whole)}."
    )
