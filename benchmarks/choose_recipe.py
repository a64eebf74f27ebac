"""Which fine-tuning recipe a pretrained model gets: rates and epochs compared on validation texts of seeds that no table uses.

Run by hand: `python benchmarks/choose_recipe.py --rates 5e-4 1e-3 --epochs 1 2`.
A recipe is fit for the study when every backdoored model of the plain attacks has an ASR of 95 % or more and a CACC within 1.5
points of the clean model, and no training is unstable; both are means over seeds. Of the fit recipes (or, if none is fit, of
those with the fewest unfit cells) the one whose averages with other domains have the highest CACC is taken.
"""

from __future__ import annotations

import argparse
import time
from dataclasses import asdict, dataclass
from itertools import product

import pandas as pd

from lib.metrics.scores import Score
from lib.models.model import Model
from lib.study import Study

ATTACKS = ("badnet", "insertsent", "syntactic")
UNUSED_SEEDS = (6, 7, 8)  # the study has 0 to 2, its headline 0 to 5; the rows of all nine are alike


@dataclass
class Cell:
    """One backdoored model, alone and averaged with the other domains; rates on validation texts."""

    task: str
    attack: str
    seed: int
    clean_cacc: float
    cacc: float
    asr: float
    floor: float
    merged_cacc: float
    merged_asr: float
    n_unstable: int
    distance: float


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--pretrained", default="pocket-bert")
    parser.add_argument("--rates", type=float, nargs="+", default=[3e-4, 6e-4, 1e-3, 1.5e-3])
    parser.add_argument("--epochs", type=float, nargs="+", default=[1.0])
    parser.add_argument("--tasks", nargs="+", default=["sst2", "olid", "agnews", "qnli"])
    parser.add_argument("--seeds", type=int, nargs="+", default=list(UNUSED_SEEDS))
    parser.add_argument("--cache", default="", help="folder of the store; default the study's")
    parser.add_argument("--lora-rank", type=int, default=0)
    options = parser.parse_args()
    study = Study("pocket", pretrained=options.pretrained, cache_dir=options.cache, lora_rank=options.lora_rank)
    for rate, epochs in product(options.rates, options.epochs):
        began = time.perf_counter()
        variant = study.variant(learning_rate=rate, epochs=epochs)
        cells = [cell for seed in options.seeds for task in options.tasks for cell in cells_of(variant, task, seed)]
        print(f"\n=== {options.pretrained}, learning rate {rate:g}, {epochs:g} epochs, {time.perf_counter() - began:.0f} s")
        print(described(pd.DataFrame([asdict(cell) for cell in cells])), flush=True)


def cells_of(study: Study, task: str, seed: int) -> list[Cell]:
    """The cells of a task and seed; all models are trained in one parallel call."""
    recipes = [study.recipe(task, attack, seed) for attack in (None, *ATTACKS)]
    clean, *backdoored = study.train([*recipes, *study.partner_recipes(task, "other_domains", seed)])[: 1 + len(ATTACKS)]
    others = study.partners(task, "other_domains", seed)
    cells = []
    for attack, model in zip(ATTACKS, backdoored, strict=True):

        def score(scored: Model, attack: str = attack) -> Score:
            return study.score(scored, task, attack, seed, split="validation")

        alone, merged, reference = score(model), score(study.merge([model, *others])), score(clean)
        n_unstable = sum(bool(each.instability) for each in (model, clean, *others))
        rates = (reference.cacc, alone.cacc, alone.asr, reference.asr, merged.cacc, merged.asr)
        cells.append(Cell(task, attack, seed, *rates, n_unstable, model.distance))
    return cells


def described(cells: pd.DataFrame) -> str:
    """Means over seeds per task, and how far the worst cells are from the rule."""
    cells = cells.assign(lost=cells["clean_cacc"] - cells["cacc"], lost_in_merge=cells["clean_cacc"] - cells["merged_cacc"])
    means = cells.groupby(["task", "attack"], sort=False).mean(numeric_only=True).drop(columns="seed")
    unfit = means[(means["asr"] < 0.95) | (means["lost"] > 0.015)]
    total = cells.mean(numeric_only=True).drop("seed")
    summary = (
        f"mean: {', '.join(f'{name} {value:.3f}' for name, value in total.items())}\n"
        f"lowest mean ASR of a cell {means['asr'].min():.3f}, largest CACC loss {means['lost'].max():+.3f}, "
        f"{len(unfit)} of {len(means)} cells unfit: {[' '.join(cell) for cell in unfit.index]}"
    )
    return f"{means.round(3).to_string()}\n{summary}"


if __name__ == "__main__":
    main()
