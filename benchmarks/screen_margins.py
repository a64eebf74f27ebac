"""Margins of the screen: how far a clean model stands apart from other clean models, by profile.

Run by hand: `python benchmarks/screen_margins.py`. For every task and seed the clean model of the task and its clean partners
of other domains are one set. By default it is screened with texts of each of its domains in turn, so every model is once the
one whose domain it is, the one that is far from all others, too. With `--texts task` the texts are always the task's, round
which the other domains were chosen: margins of the first model are smaller then, but it takes 39 sets to show them and more to
check them, eleven seeds of four tasks. Notebook 14 uses none of these seeds. The margins go into
`lib/sanitizing/screen_margins.json`, in place of those that the profile had; a screen takes the largest of all profiles.
`held_out` is the check: margins from all tasks but one (from all seeds but one where the other tasks are too few), and how
many clean models of the one that was left out they drop.
"""

from __future__ import annotations

import argparse
import json
from collections.abc import Sequence
from typing import Any

import pandas as pd

from lib.metrics.intervals import wilson_interval
from lib.sanitizing.margins import DROP_RATE, MARGINS_FILE, OWN, Margins, calibrated, rate_per_statistic
from lib.study import Study
from lib.tables.clean_sets import clean_sets_table, excesses_of, judged, models_dropped

SEEDS = (3, 4, 5)  # models that the runs with six seeds have anyway


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--profile", default="pocket")
    parser.add_argument("--seeds", type=int, nargs="+", default=list(SEEDS), help="outside of the study's seeds")
    parser.add_argument("--drop-rate", type=float, default=DROP_RATE, help="largest share of clean models that may be dropped")
    parser.add_argument("--texts", default="every_domain", choices=["every_domain", "task"], help="whose texts the screen gets")
    parser.add_argument("--cache", default="", help="folder of the store; default the study's")
    options = parser.parse_args()
    study = Study(options.profile, cache_dir=options.cache)
    if taken := sorted(set(options.seeds) & set(study.seeds)):
        raise SystemExit(f"seeds {taken} are seeds of the study; margins must not be chosen on them")
    values = clean_sets_table(study, study.profile.tasks, options.seeds, options.texts == "every_domain")
    by = left_out(values, options.drop_rate)
    entry = {
        "profile": options.profile,
        "pretrained": study.profile.pretrained,
        "tasks": list(study.profile.tasks),
        "seeds": options.seeds,
        "texts": options.texts,
        "drop_rate": options.drop_rate,
        "n_sets": len(values[["task", "seed"]].drop_duplicates()),
        "n_screens": len(values[["task", "seed", "texts"]].drop_duplicates()),
        "n_models": int(values["n_models"].iloc[0]),
        "margins": _margins(values, options.drop_rate),
        "held_out": held_out(values, by, options.drop_rate),
    }
    write(entry)
    print(json.dumps(entry, indent=2))


def left_out(values: pd.DataFrame, drop_rate: float) -> str:
    """By what the check divides the sets: by task, the harder one, if the others are enough to show the rate, else by seed."""
    first_models = values[(values["role"] == OWN) & (values["statistic"] == values["statistic"].iloc[0])]
    needed = 1 / rate_per_statistic(values["statistic"].nunique(), drop_rate) - 1
    fewest = len(first_models) - first_models["task"].value_counts().max()
    return "task" if fewest >= needed else "seed"


def held_out(values: pd.DataFrame, by: str, drop_rate: float) -> dict[str, Any]:
    """How many clean models are dropped by margins that were found without their task, or without their seed."""
    parts = [
        models_dropped(judged(values[values[by] == part], _margins(values[values[by] != part], drop_rate)))
        for part in values[by].unique()
    ]
    found = pd.concat(parts)
    by_screen = found.groupby(["task", "texts", "seed"])["is_dropped"].any()
    return {"left_out": by} | counted("models", found["is_dropped"]) | counted("screens", by_screen)


def _margins(values: pd.DataFrame, drop_rate: float) -> Margins:
    return calibrated(excesses_of(values), drop_rate)


def counted(what: str, is_dropped: pd.Series) -> dict[str, Any]:
    """How many there are, how many are dropped or lose a model, and the Wilson interval as if all were independent."""
    n, n_dropped = len(is_dropped), int(is_dropped.sum())
    return {what: n, f"{what}_dropped": n_dropped, f"{what}_interval": [round(x, 4) for x in wilson_interval(n_dropped, n)]}


def write(entry: dict[str, Any]) -> None:
    """Put a calibration into the file, in place of that of the same profile."""
    known: dict[str, Any] = json.loads(MARGINS_FILE.read_text(encoding="utf-8")) if MARGINS_FILE.is_file() else {}
    others: Sequence[dict[str, Any]] = [each for each in known.get("calibrations", []) if each["profile"] != entry["profile"]]
    content = {"made_by": "benchmarks/screen_margins.py", "calibrations": [*others, entry]}
    MARGINS_FILE.write_text(json.dumps(content, indent=2) + "\n", encoding="utf-8")


if __name__ == "__main__":
    main()
