"""The recipe of a trigger: fitted by an attack with every setting resolved, or published texts that take its place."""

from __future__ import annotations

import inspect
from collections.abc import Mapping
from dataclasses import replace
from typing import TYPE_CHECKING, Any

from lib.attacks import ATTACKS, REGIMES, check_attack, check_target_label, trigger_types
from lib.attacks.published import load_published, load_published_test, published_files, published_test_file
from lib.datasets import TASKS
from lib.models.precision import resolved_precision
from lib.study.artifacts import published_attack
from lib.study.entries import parse_entry
from lib.study.plugins import version_of
from lib.study.recipes import TriggerRecipe, as_settings

if TYPE_CHECKING:
    from lib.study.planning import Planner

# Arguments of `fit_trigger` that the recipe has in other fields, or that are drawn: no settings.
GIVEN_TO_ATTACKS = ("train", "target_label", "seed", "rng", "masked_lm", "pretrained", "precision")


def planned_rate(planner: Planner, trigger: TriggerRecipe | None, given: float | None, regime: str | None) -> float:
    """The poisoning rate of a model: as given, or the profile's; published texts have their own; 0 for a clean model.

    Raises:
        ValueError: for a rate outside [0, 1], an unknown label regime, or either of them for published texts.
    """
    rate = planner.profile.poisoning_rate if given is None else given
    if not 0 <= rate <= 1:
        raise ValueError(f"poisoning rate is {rate}; it must lie in [0, 1]")
    if regime is not None and regime not in REGIMES:
        raise ValueError(f"unknown label regime {regime!r}; choose from {list(REGIMES)}")
    if trigger and trigger.published:
        if given is not None or regime is not None:
            raise ValueError(f"published {trigger.attack!r} texts have a rate and a regime of their own; they cannot be set")
        return round(published_attack(trigger, planner.locations).poisoning_rate, 4)
    return float(rate) if trigger else 0.0


def plan_trigger(
    planner: Planner,
    dataset: str,
    attack: str,
    seed: int,
    target_label: int | None,
    poisoning_rate: float | None,
    settings: Mapping[str, Any],
) -> TriggerRecipe:
    """The recipe of a trigger; see `Planner.trigger_recipe` for the arguments and errors."""
    fit_trigger, spec = ATTACKS[check_attack(attack)], planner.spec(dataset)
    target = spec.target_label if target_label is None else target_label
    check_target_label(target, len(spec.label_names))
    data = planner.data(dataset, "train", seed)
    if _is_published(planner, dataset, attack):
        if settings:
            raise ValueError(f"published {attack!r} texts take no settings; found {sorted(settings)}")
        files = load_published(planner.locations.data_dir, dataset, attack, len(spec.label_names), target)
        return TriggerRecipe(attack, data, target, (), seed, published=files.fingerprint)
    settings = _settings_of_profile(planner, attack) | dict(settings)
    arguments = inspect.signature(fit_trigger).parameters
    defaults = {name: each.default for name, each in arguments.items() if name not in GIVEN_TO_ATTACKS}
    if unknown := sorted(set(settings) - set(defaults)):
        raise ValueError(f"unknown settings {unknown} of {attack!r}; choose from {sorted(defaults)}")
    profile = planner.profile
    known = {
        "sentence": spec.trigger_sentence,
        "task": spec.task if spec.task in TASKS else "sst2",  # a user's task has no published paraphrases
        # Without any poison there is nothing to fit a trigger on: such a model is scored with the profile's.
        "poisoning_rate": float(poisoning_rate or profile.poisoning_rate),
        "learning_rate": profile.learning_rate,
    }
    chosen = defaults | {name: value for name, value in known.items() if name in arguments} | settings
    if lacking := [name for name, value in chosen.items() if value is inspect.Parameter.empty]:
        raise ValueError(f"settings {lacking} of {attack!r} have no default; give them one, or a value")
    masked_lm = planner.fingerprint(profile.masked_lm or profile.pretrained) if "masked_lm" in arguments else ""
    pretrained = planner.fingerprint(profile.pretrained) if "pretrained" in arguments else ""
    version = version_of(fit_trigger, getattr(trigger_types()[attack], "version", 1))
    found = TriggerRecipe(attack, data, target, as_settings(chosen), seed, masked_lm, pretrained, version=version)
    return replace(found, precision=resolved_precision(profile.precision)) if "precision" in arguments else found


def plan_published_test(planner: Planner, dataset: str, attack: str, seed: int) -> TriggerRecipe | None:
    """The recipe of an attack's published test texts, with which any model can be scored; None where there are none.

    Raises:
        ValueError: for an unknown dataset or attack, or a file that cannot be used.
    """
    spec, folder = planner.spec(dataset), planner.locations.data_dir
    if planner.profile.source != "real" or published_test_file(folder, dataset, check_attack(attack)) is None:
        return None
    found = load_published_test(folder, dataset, attack, len(spec.label_names), spec.target_label)
    data = planner.data(dataset, "train", seed)
    return TriggerRecipe(attack, data, spec.target_label, (), seed, published=found.fingerprint, test_only=True)


def _settings_of_profile(planner: Planner, attack: str) -> dict[str, Any]:
    """What the profile's `attack_settings` say of an attack; a later entry wins."""
    entries = [parse_entry(text, "bite max_words=50") for text in planner.profile.attack_settings]
    for name, _ in entries:
        check_attack(name)
    return {field: value for name, fields in entries if name == attack for field, value in fields.items()}


def _is_published(planner: Planner, dataset: str, attack: str) -> bool:
    source = planner.profile.trigger_source
    exists = published_files(planner.locations.data_dir, dataset, attack) is not None
    return source == "published" or (source == "any" and exists)
