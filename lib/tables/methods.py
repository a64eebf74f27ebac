"""Tables of notebook 05: every merge method as a defense, and how density and merge coefficient move it."""

from __future__ import annotations

import json
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field
from typing import Any

import pandas as pd

from lib.merging import get_merge_method
from lib.merging.geometry import share_kept
from lib.metrics.scores import Score
from lib.models.checkpoints import Checkpoint
from lib.study.merged import MergedModel
from lib.study.planning import Planner
from lib.study.study import Study
from lib.tables.partners import n_without_suspect
from lib.tables.rows import Case, Needed, backdoored_and_clean, backdoored_recipes, declares, measured_row, progress

GRID = (0.2, 0.4, 0.7, 1.0)  # merge coefficients among which clean validation accuracy chooses


@dataclass(frozen=True)
class Variant:
    """A merge method with settings, as one line of the comparison."""

    name: str
    method: str  # a key of MERGE_METHODS, or "greedy_soup"
    settings: dict[str, Any] = field(default_factory=dict)
    is_chosen: bool = False  # the merge coefficient is chosen on clean validation texts
    n_models: int = 0  # how many models it takes; 0: all

    @property
    def described(self) -> str:
        """Settings as JSON, for tables."""
        chosen = {"merge_coefficient": "chosen on validation"} if self.is_chosen else {}
        return json.dumps(self.settings | chosen, sort_keys=True)


# Defaults of the papers where they have any; sums of task vectors need a coefficient, which is chosen without triggers.
VARIANTS = (
    Variant("weight average", "weight_average"),
    Variant("Fisher", "fisher"),
    Variant("RegMean", "regmean"),
    Variant("task arithmetic", "task_arithmetic", is_chosen=True),
    Variant("TIES", "ties", {"density": 0.2}),
    Variant("DARE", "dare", {"density": 0.5}, is_chosen=True),
    Variant("DARE + TIES", "dare", {"density": 0.5, "combine": "ties"}),
    Variant("DELLA", "della"),
    Variant("Breadcrumbs", "breadcrumbs"),
    Variant("Model Stock", "model_stock"),
    Variant("SLERP, 2 models", "slerp", n_models=2),
    Variant("greedy soup", "greedy_soup"),
    Variant("median", "median"),
    Variant("trimmed mean", "trimmed_mean"),
    Variant("geometric median", "geometric_median"),
    Variant("Krum", "krum"),
    Variant("Multi-Krum, 2 of n", "krum", {"n_selected": 2}),
)
SWEEPS: dict[tuple[str, str], tuple[str, dict[str, Any], tuple[float, ...]]] = {
    ("TIES", "density"): ("ties", {}, (0.05, 0.1, 0.2, 0.4, 0.7, 1.0)),
    ("DARE + TIES", "density"): ("dare", {"combine": "ties"}, (0.05, 0.1, 0.2, 0.4, 0.7, 1.0)),
    ("TIES", "merge_coefficient"): ("ties", {"density": 0.2}, (0.1, 0.2, 0.4, 0.6, 0.8, 1.0)),
    ("task arithmetic", "merge_coefficient"): ("task_arithmetic", {}, (0.05, 0.1, 0.2, 0.3, 0.4, 0.6)),
}


def usable_variants(n_models: int) -> dict[str, str]:
    """Why a variant cannot merge so many models, "" if it can."""
    return {variant.name: _obstacle(variant, n_models) for variant in VARIANTS}


def _obstacle(variant: Variant, n_models: int) -> str:
    if variant.method == "greedy_soup":
        return "" if n_models >= 2 else "a soup takes 2 models or more"
    try:
        get_merge_method(variant.method).checked(variant.n_models or n_models, None, True, **variant.settings)
    except ValueError as error:
        return str(error)
    return ""


def n_alone(variant: Variant, n_models: int) -> int:
    """How many partners a variant merges if the suspect is thrown away; 0 where it is not defined for so few.

    Of a method that takes two models it is the one partner, of all others the partners that there are. A single partner stands
    for itself.
    """
    n_partners = (variant.n_models or n_models) - 1
    return n_partners if n_partners == 1 or (n_partners and not _obstacle(variant, n_partners)) else 0


def _n_scored(variant: Variant, n_models: int) -> int:
    """Merges that are scored for a variant, with the suspect and without it."""
    return (len(GRID) if variant.is_chosen else 1) * (1 + n_without_suspect(n_alone(variant, n_models)))


def _usable(planner: Planner, task: str) -> list[Variant]:
    """The variants that can merge a suspect with all other domains of a task."""
    return [variant for variant in VARIANTS if not _obstacle(variant, 1 + len(planner.other_domains(task)))]


def _n_all_scored(planner: Planner, task: str) -> int:
    """Merges that are scored for one victim and every usable variant."""
    return sum(_n_scored(variant, 1 + len(planner.other_domains(task))) for variant in _usable(planner, task))


def _methods_needed(planner: Planner, task: str, attacks: Sequence[str]) -> Needed:
    needed = _cases_needed(planner, task, attacks)
    return Needed(needed.models, needed.n_merges * _n_all_scored(planner, task))


@declares(_methods_needed)
def methods_table(study: Study, task: str, attacks: Sequence[str]) -> pd.DataFrame:
    """Table `05_methods`: a backdoored model merged with the models of all other domains, by every usable variant.

    The unmerged victim is in it as the method "none". Without the suspect the same method merges the partners alone,
    coefficients and soups chosen anew; `partners_only_*` is empty where the method is not defined for so few.
    """
    rows = []
    for attack, seed, models, compared, row in _cases(study, task, attacks):
        what = row | {"variant": "backdoored model", "merge_method": "none", "settings": "{}", "n_models": 1}
        rows.append(measured_row(what, study.score(models[0], task, attack, seed), **compared))
        for variant in progress(_usable(study.planner, task)):
            merged = build(study, variant, models, task, seed)
            what = row | {"variant": variant.name, "merge_method": variant.method, "settings": variant.described}
            compared |= {"partners_only": _score_alone(study, variant, models, (task, attack, seed))}
            score = study.score(merged, task, attack, seed)
            rows.append(measured_row(what | {"n_models": len(merged.parents)}, score, **compared))
    return pd.DataFrame(rows)


def _sweeps_needed(planner: Planner, task: str, attacks: Sequence[str]) -> Needed:
    needed = _cases_needed(planner, task, attacks)
    n_merges = 2 * sum(len(values) for _, _, values in SWEEPS.values())  # with the suspect, and without it
    return Needed(needed.models, needed.n_merges * n_merges)


@declares(_sweeps_needed)
def sweeps_table(study: Study, task: str, attacks: Sequence[str]) -> pd.DataFrame:
    """Table `05_sweeps`: ASR and CACC against density and merge coefficient, with the suspect and without it."""
    rows = []
    for attack, seed, models, compared, row in _cases(study, task, attacks):
        for (name, setting), (method, fixed, values) in SWEEPS.items():
            for value in progress(values):
                settings: dict[str, Any] = {**fixed, setting: value, **_seeded(method, seed)}
                merges = [study.merge(chosen, method, **settings) for chosen in (models, models[1:])]
                score, without = (study.score(merged, task, attack, seed) for merged in merges)
                what = row | {"variant": name, "setting": setting, "value": value}
                rows.append(measured_row(what, score, **compared | {"partners_only": without}))
    return pd.DataFrame(rows)


def _kept_needed(planner: Planner, task: str, attack: str, seed: int = 0) -> Needed:
    return Needed(_cases_needed(planner, task, [attack], [seed]).models, _n_all_scored(planner, task))


@declares(_kept_needed)
def kept_table(study: Study, task: str, attack: str, seed: int = 0) -> pd.DataFrame:
    """Table `05_kept`: how much of the backdoor's direction each method keeps, beside the ASR; one seed.

    The direction goes from the clean model of the same seed, the victim's twin, to the victim.
    """
    [(_, _, models, compared, row)] = _cases(study, task, [attack], [seed])
    twin = study.model(task, seed=seed)
    rows = []
    for variant in progress(_usable(study.planner, task)):
        merged = build(study, variant, models, task, seed)
        parents = [twin if parent == models[0] else parent for parent in merged.parents]
        other = study.merge(parents, merged.method, **merged.settings)
        kept = share_kept(merged.state_dict(), other.state_dict(), models[0].state_dict(), twin.state_dict())
        what = row | {"variant": variant.name, "merge_method": variant.method, "kept": kept}
        compared |= {"partners_only": _score_alone(study, variant, models, (task, attack, seed))}
        rows.append(measured_row(what, study.score(merged, task, attack, seed), **compared))
    return pd.DataFrame(rows)


def build(study: Study, variant: Variant, models: Sequence[Checkpoint], task: str, seed: int) -> MergedModel:
    """The merge of a variant; what has to be chosen is chosen on clean validation texts of the task."""
    models = models[: variant.n_models] if variant.n_models else models
    if variant.method == "greedy_soup":
        return study.soup(models, task)
    settings = variant.settings | _seeded(variant.method, seed)
    if not variant.is_chosen:
        return study.merge(models, variant.method, **settings)
    candidates = [study.merge(models, variant.method, merge_coefficient=value, **settings) for value in GRID]
    return study.choose(candidates, task)


def build_alone(
    study: Study, variant: Variant, models: Sequence[Checkpoint], task: str, seed: int
) -> MergedModel | Checkpoint | None:
    """The same without the suspect, the first of `models`; None where the method is not defined for so few."""
    n_partners = n_alone(variant, len(models))
    if n_partners <= 1:
        return models[1] if n_partners else None
    return build(study, variant, models[1 : 1 + n_partners], task, seed)


def _score_alone(study: Study, variant: Variant, models: Sequence[Checkpoint], case: Case) -> Score | None:
    without = build_alone(study, variant, models, case[0], case[2])
    return study.score(without, *case) if without else None


def _seeded(method: str, seed: int) -> dict[str, Any]:
    return {"seed": seed} if "seed" in get_merge_method(method).settings else {}


def _cases_needed(planner: Planner, task: str, attacks: Sequence[str], seeds: Sequence[int] | None = None) -> Needed:
    """The models of every attack and seed; `n_merges` is the number of cases."""
    cases = _chosen_cases(planner, task, attacks, seeds)
    return Needed(backdoored_recipes(planner, cases, ["other_domains"]), len(cases))


def _chosen_cases(planner: Planner, task: str, attacks: Sequence[str], seeds: Sequence[int] | None) -> list[Case]:
    return [(task, attack, seed) for seed in (planner.seeds if seeds is None else seeds) for attack in attacks]


def _cases(
    study: Study, task: str, attacks: Sequence[str], seeds: Sequence[int] | None = None
) -> Iterator[tuple[str, int, list[Checkpoint], dict[str, Score | None], dict[str, Any]]]:
    """Attack, seed, the backdoored model with its partners, scores it is compared with, and the columns that every row has."""
    cases = _chosen_cases(study.planner, task, attacks, seeds)
    everyone = study.train(_cases_needed(study.planner, task, attacks, seeds).models)
    for kind in ("fishers", "grams"):
        study.measure(kind, everyone)  # in parallel, and not one by one below
    for case in progress(cases):
        (_, attack, seed), (backdoored, clean) = case, backdoored_and_clean(study, case)
        models = [backdoored, *study.partners(task, "other_domains", seed)]
        compared: dict[str, Score | None] = {"clean": study.score(clean, *case), "before": study.score(backdoored, *case)}
        yield attack, seed, models, compared, {"task": task, "attack": attack, "seed": seed}
