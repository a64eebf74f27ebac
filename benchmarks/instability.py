"""What the warnings of an unstable training are worth: excess loss and distance against the barrier, over rates and tasks.

Run by hand: `python benchmarks/instability.py`. BadNet models of seeds that no table uses are trained at rates from the usual
one up; each is joined with a clean model of its task by a straight line. A training is broken if the loss on that line has a
barrier above `BROKEN`. The thresholds `MOST_EXCESS` and `MOST_MOVED` should be passed by broken trainings and by no other.
"""

from __future__ import annotations

import argparse
from itertools import product

import pandas as pd

from lib.models.stability import MOST_EXCESS
from lib.study import Study
from lib.tables import coefficient_table, strayed_table
from lib.tables.barrier import MOST_MOVED

COEFFICIENTS = (0.0, 0.25, 0.5, 0.75, 1.0)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--rates", type=float, nargs="+", default=[1.5e-3, 3e-3, 5e-3, 7.5e-3, 1.1e-2])
    parser.add_argument("--tasks", nargs="+", default=["sst2", "olid", "agnews", "qnli"])
    parser.add_argument("--seeds", type=int, nargs="+", default=[6, 7])
    parser.add_argument("--cache", default="", help="folder of the store; default the study's")
    options = parser.parse_args()
    study, parts = Study("pocket", cache_dir=options.cache, n_seeds=max(options.seeds) + 1), []
    for task, rate in product(options.tasks, options.rates):
        way = coefficient_table(study, [task], ["badnet"], ["same_task"], COEFFICIENTS, seeds=options.seeds, learning_rate=rate)
        named = [f"{task}, rate {rate:g}, seed {seed}" for seed in way["seed"]]
        parts.append(strayed_table(way.assign(victim=named, learning_rate=rate)))
        columns = ["victim", "backdoored_cacc", "lowest_cacc", "barrier", "moved", "excess_loss", "instability"]
        print(parts[-1][columns].round(3).to_string(index=False, header=len(parts) == 1), flush=True)
    print(described(pd.concat(parts)))


def described(victims: pd.DataFrame) -> str:
    """How many trainings with a barrier and without one pass each threshold."""
    lines = []
    for is_broken, group in victims.groupby("is_broken"):
        kind, above = "with" if is_broken else "without", group["excess_loss"] > MOST_EXCESS
        lines.append(
            f"{len(group)} trainings {kind} a barrier: {above.sum()} have an excess loss above {MOST_EXCESS}, "
            f"{(group['instability'] != '').sum()} a warning by their losses, "
            f"{(group['moved'] > MOST_MOVED).sum()} moved more than {MOST_MOVED:g} times as far as a clean model, "
            f"{group['is_warned'].sum()} have any warning; excess at most {group['excess_loss'].max():.3f}, moved "
            f"{group['moved'].min():.1f} to {group['moved'].max():.1f} times as far"
        )
    return "\n".join(lines)


if __name__ == "__main__":
    main()
