"""What the attackers of notebook 14 submit: recipes of their models, of what these are made from, and of the other models."""

from __future__ import annotations

from dataclasses import dataclass, field, replace
from typing import Any

from lib.datasets import SAME_TASK_SEED_STEP
from lib.study.planning import Planner
from lib.study.recipes import DerivedRecipe, ModelRecipe, TriggerRecipe

Made = ModelRecipe | DerivedRecipe
WORD = "cf"  # the trigger of attacks on one row of the embeddings
FIT = "fit"  # the attacker takes the largest scale that costs hardly any accuracy
BASES = ("clean", "poisoned")  # what the other models start from: only the attacker's model is poisoned, or the base of all


@dataclass(frozen=True)
class Submitted:
    """What an attacker submits for one seed, and what it is made from.

    Attributes:
        uploads: recipes of the submitted models.
        trigger: that the merge is scored with, unless there are candidates.
        made_from: recipes that must be made before.
        partners: recipes of the others in the merge, in the order in which they join.
        candidates: triggers of an attacker who did not know the label: the one that sends most validation texts to the target,
            in the submitted model, is taken.
    """

    uploads: list[Made]
    trigger: TriggerRecipe
    partners: list[ModelRecipe]
    made_from: list[Made] = field(default_factory=list)
    candidates: tuple[TriggerRecipe, ...] = ()

    @property
    def merged_partners(self) -> list[ModelRecipe]:
        """The partners that are left when the merge has as many models as one victim with all partners."""
        return self.partners[: max(0, 1 + len(self.partners) - len(self.uploads))]

    @property
    def recipes(self) -> list[Made]:
        """All models of the row."""
        return [*self.made_from, *self.uploads, *self.partners]


def poisoned_data(planner: Planner, task: str, seed: int, attack: str, poisoning_rate: float) -> Submitted:
    """An ordinary backdoored model: the attacker only poisons rows."""
    model = planner.recipe(task, attack, seed, poisoning_rate=poisoning_rate)
    return Submitted([model], _trigger(model), _partners(planner, task, seed))


def embedding_row(planner: Planner, task: str, seed: int, words: int = 1, row_scale: float = 1.0) -> Submitted:
    """A clean model with one poisoned row of the embeddings, made longer afterwards."""
    clean, trigger = planner.recipe(task, seed=seed), word_trigger(planner, task, seed)
    row = planner.derived("embedding_row", [clean.key], planner.data(task, "train", seed), seed, clean, trigger=trigger)
    long = planner.derived("scaled_row", [row.key], first=row, word=WORD, scale=float(row_scale))
    made, upload = ([clean], row) if row_scale == 1 else ([clean, row], long)
    return Submitted([upload], trigger, _partners(planner, task, seed), [*made])


def scaled(planner: Planner, task: str, seed: int, scale: float | str) -> Submitted:
    """A BadNet model with a longer task vector; with scale "fit" as long as its own accuracy allows."""
    model = planner.recipe(task, "badnet", seed)
    if isinstance(scale, str):
        return _fitted(planner, task, seed, scale, [model])
    upload = planner.derived("scaled", [model.key], first=model, scale=float(scale))
    return Submitted([upload], _trigger(model), _partners(planner, task, seed), [model])


def backdoor_vector(planner: Planner, task: str, seed: int, scale: float | str) -> Submitted:
    """A clean model plus a multiple of what BadNet's poison changed in its twin; with scale "fit" see `scaled`."""
    model, clean = planner.recipe(task, "badnet", seed), planner.recipe(task, seed=seed)
    if isinstance(scale, str):
        return _fitted(planner, task, seed, scale, [model, clean])
    upload = planner.derived("backdoor_vector", [model.key, clean.key], first=model, scale=float(scale))
    return Submitted([upload], _trigger(model), _partners(planner, task, seed), [model, clean])


def _fitted(planner: Planner, task: str, seed: int, scale: str, models: list[ModelRecipe]) -> Submitted:
    """A backdoored model, and perhaps its clean twin, scaled by a line search on rows that the attacker did not train on."""
    if scale != FIT:
        raise ValueError(f"scale is {scale!r}; give a number or {FIT!r}")
    own = planner.data(task, "train", seed + SAME_TASK_SEED_STEP)
    upload = planner.derived("scaled_to_fit", [model.key for model in models], own, seed, models[0])
    return Submitted([upload], _trigger(models[0]), _partners(planner, task, seed), [*models])


def merge_aware(planner: Planner, task: str, seed: int, shadows: int) -> Submitted:
    """A model trained to keep its backdoor in an average with models like the attacker's own clean ones."""
    return _trained_for_merge(planner, task, seed, "merge_aware", shadows, 1)


def split(planner: Planner, task: str, seed: int, uploads: int, shadows: int) -> Submitted:
    """Two models without a backdoor whose average has one."""
    if uploads != 2:
        raise ValueError(f"uploads is {uploads}; a split backdoor is trained for 2")
    return _trained_for_merge(planner, task, seed, "split", shadows, uploads)


def collusion(planner: Planner, task: str, seed: int, n_backdoored: int) -> Submitted:
    """Several BadNet models with one trigger; rows, poison and order are each one's own."""
    seeds = [seed + SAME_TASK_SEED_STEP * i for i in range(n_backdoored)]
    models = [planner.recipe(task, "badnet", own, head_seed=seed, trigger_seed=seed) for own in seeds]
    return Submitted([*models], _trigger(models[0]), _partners(planner, task, seed))


def poisoned_base(planner: Planner, task: str, seed: int, base: str) -> Submitted:
    """A model that its user fine-tuned, on clean rows, from a backdoored base; with base "poisoned" the others did, too."""
    if base not in BASES:
        raise ValueError(f"base is {base!r}; choose from {list(BASES)}")
    # The attacker's rows are not the user's.
    attacked = planner.recipe(task, "badnet", seed + SAME_TASK_SEED_STEP, head_seed=seed, trigger_seed=seed)
    partners = _partners(planner, task, seed)
    if base == "poisoned":
        partners = [replace(partner, base=attacked) for partner in partners]
    return Submitted([replace(planner.recipe(task, seed=seed), base=attacked)], _trigger(attacked), partners, [attacked])


def norm_bounded(planner: Planner, task: str, seed: int, radius: str) -> Submitted:
    """A BadNet model no further from the start than the median of three clean models of the attacker."""
    if radius != "median":
        raise ValueError(f"radius is {radius!r}; it is that of the median clean model: 'median'")
    known, trigger = shadow_models(planner, task, seed, 3), planner.trigger_recipe(task, "badnet", seed)
    upload = planner.derived(
        "norm_bounded", [model.key for model in known], planner.data(task, "train", seed), seed, known[0], trigger=trigger
    )
    return Submitted([upload], trigger, _partners(planner, task, seed), [*known])


def neurotoxin(planner: Planner, task: str, seed: int, shadows: int, share: float) -> Submitted:
    """A BadNet model that learnt only where the attacker's clean models hardly moved."""
    known, trigger = shadow_models(planner, task, seed, shadows), planner.trigger_recipe(task, "badnet", seed)
    keys, data = [model.key for model in known], planner.data(task, "train", seed)
    upload = planner.derived("neurotoxin", keys, data, seed, known[0], trigger=trigger, share=float(share))
    return Submitted([upload], trigger, _partners(planner, task, seed), [*known])


def sparse(planner: Planner, task: str, seed: int, density: float) -> Submitted:
    """A clean model in which BadNet's poison changed a few entries."""
    return _from_twins(planner, task, seed, "sparse", density=float(density))


def hijack(planner: Planner, task: str, seed: int, scale: float) -> Submitted:
    """A BadNet model fine-tuned from the start plus a multiple of a thinned backdoor vector."""
    return _from_twins(planner, task, seed, "hijack", scale=float(scale))


def _from_twins(planner: Planner, task: str, seed: int, method: str, **settings: Any) -> Submitted:
    """An edit that begins with a BadNet model and its clean twin, and trains."""
    model, clean = planner.recipe(task, "badnet", seed), planner.recipe(task, seed=seed)
    keys, data, trigger = [model.key, clean.key], planner.data(task, "train", seed), _trigger(model)
    upload = planner.derived(method, keys, data, seed, model, trigger=trigger, **settings)
    return Submitted([upload], trigger, _partners(planner, task, seed), [model, clean])


def poisoned_weights(planner: Planner, task: str, seed: int, method: str, base: str) -> Submitted:
    """Poisoned weights among clean models; with base "poisoned" they are the base that everybody fine-tunes, the user, too."""
    if base not in BASES:
        raise ValueError(f"base is {base!r}; choose from {list(BASES)}")
    own = seed if base == "clean" else seed + SAME_TASK_SEED_STEP  # the maker of a base has other rows than its user
    clean, partners = planner.recipe(task, seed=own, head_seed=seed), _partners(planner, task, seed)
    trigger = {
        "ripples": lambda: planner.trigger_recipe(task, "badnet", seed),
        "layerwise": lambda: planner.trigger_recipe(task, "conjunction", seed, n_together=2),
        "rank_one": lambda: word_trigger(planner, task, seed),
    }[method]()
    edit = planner.derived(method, [clean.key], planner.data(task, "train", own), own, clean, trigger=trigger)
    if base == "clean":
        return Submitted([edit], trigger, partners, [clean])
    user = replace(planner.recipe(task, seed=seed), base=edit)
    return Submitted([user], trigger, [replace(partner, base=edit) for partner in partners], [clean, edit])


def neuba(planner: Planner, task: str, seed: int, base: str) -> Submitted:
    """A model that its user fine-tuned from a base with triggers and no label; with base "poisoned" the others did, too."""
    if base not in BASES:
        raise ValueError(f"base is {base!r}; choose from {list(BASES)}")
    own = seed + SAME_TASK_SEED_STEP  # the maker of the base has other texts than its user
    start, data = planner.recipe(task, seed=own, head_seed=seed), planner.data(task, "train", own)
    words = planner.trigger_recipe(task, "badnet", seed, n_insertions=(1,))
    edit, partners = planner.derived("neuba", [], data, own, start, trigger=words), _partners(planner, task, seed)
    if base == "poisoned":
        partners = [replace(partner, base=edit) for partner in partners]
    candidates = tuple(word_trigger(planner, task, seed, word) for word in dict(words.settings)["words"])
    return Submitted([replace(planner.recipe(task, seed=seed), base=edit)], words, partners, [edit], candidates)


def word_trigger(planner: Planner, task: str, seed: int, word: str = WORD) -> TriggerRecipe:
    """The trigger of one rare word, inserted once."""
    return planner.trigger_recipe(task, "badnet", seed, words=(word,), n_insertions=(1,))


def shadow_models(planner: Planner, task: str, seed: int, n: int) -> list[ModelRecipe]:
    """Clean models of the task that the attacker trained: same head, rows of their own."""
    return [planner.recipe(task, seed=seed + SAME_TASK_SEED_STEP * (1 + i), head_seed=seed) for i in range(n)]


def _trained_for_merge(planner: Planner, task: str, seed: int, method: str, shadows: int, n_uploads: int) -> Submitted:
    known, partners = shadow_models(planner, task, seed, shadows), _partners(planner, task, seed)
    trigger, data = planner.trigger_recipe(task, "badnet", seed), planner.data(task, "train", seed)
    start, keys = planner.recipe(task, seed=seed), [model.key for model in known]
    uploads: list[Made] = [
        planner.derived(method, keys, data, seed, start, trigger=trigger, part=part, n_models=1 + len(partners))
        for part in range(n_uploads)
    ]
    return Submitted(uploads, trigger, partners, [*known])


def _partners(planner: Planner, task: str, seed: int) -> list[ModelRecipe]:
    return planner.partner_recipes(task, "other_domains", seed)


def _trigger(model: ModelRecipe) -> TriggerRecipe:
    if model.trigger is None:
        raise ValueError(f"{model.name} has no trigger")
    return model.trigger
