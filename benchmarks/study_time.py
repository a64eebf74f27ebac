"""Where the time of a study goes: processor seconds by kind of artifact, from what a store recorded while it was filled.

Run by hand after a cold run: `FREE_LUNCH_CACHE=<empty folder> make study`, then
`FREE_LUNCH_CACHE=<that folder> python benchmarks/study_time.py`. What a notebook does beside making artifacts
(imports, intervals, figures) is the rest of the run's time. `--by notebook` gives each notebook of the pocket study what it
adds: the artifacts behind its tables and figures that no notebook before it asked for.
"""

from __future__ import annotations

import argparse
import json
from collections import defaultdict
from pathlib import Path

from lib import paths
from lib.study.store import ARTIFACT

NAMES = {
    "ModelRecipe": "fine-tuning",
    "TriggerRecipe": "fitting triggers",
    "TriggeredRecipe": "attacking test texts",
    "LogitsRecipe": "merging, and asking models",
    "DataRecipe": "drawing rows",
    "StatisticsRecipe": "Fisher information, inputs of layers",
    "InitialRecipe": "classifiers before fine-tuning",
    "DerivedRecipe": "repairs",
    "StealthRecipe": "stealth of the triggers",
    "CostRecipe": "measuring what defenses cost",
}


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--store", type=Path, default=paths.cache_dir())
    parser.add_argument("--by", choices=["kind", "notebook"], default="kind")
    options = parser.parse_args()
    first_notebook = _first_notebooks(paths.figures_dir("pocket") / paths.MANIFEST) if options.by == "notebook" else {}
    seconds: dict[str, list[float]] = defaultdict(list)
    for path in options.store.glob(f"*/{ARTIFACT}"):
        artifact = json.loads(path.read_text(encoding="utf-8"))
        name = first_notebook.get(path.parent.name, "behind no table") if first_notebook else _name(artifact)
        seconds[name].append(artifact.get("core_seconds", float("nan")))
    total = sum(map(sum, seconds.values()))
    print(f"{'what':48} {'number':>7} {'core-seconds':>13} {'each':>7} {'share':>6}")
    for name, each in sorted(seconds.items(), key=lambda item: -sum(item[1])):
        print(f"{name:48} {len(each):7,} {sum(each):13,.0f} {sum(each) / len(each):7.2f} {sum(each) / total:6.1%}")
    print(f"{'all':48} {sum(map(len, seconds.values())):7,} {total:13,.0f}")


def _first_notebooks(manifest: Path) -> dict[str, str]:
    """Key of an artifact -> the first notebook of whose tables and figures it is a part."""
    found: dict[str, str] = {}
    outputs = json.loads(manifest.read_text(encoding="utf-8")).values()
    for output in sorted(outputs, key=lambda output: output["notebook"]):
        for key in output["runs"]:
            found.setdefault(key, output["notebook"])
    return found


def _name(artifact: dict) -> str:
    kind, recipe = artifact["kind"], artifact["recipe"]
    name = NAMES.get(kind, kind)
    if kind == "TriggerRecipe":
        return f"{name}: {recipe['attack']}"
    if kind == "TriggeredRecipe":
        return f"{name}: {recipe['trigger']['attack']}"
    if kind == "ModelRecipe" and recipe.get("defense"):
        return f"{name} behind a defense"
    return name


if __name__ == "__main__":
    main()
